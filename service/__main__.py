"""`python -m service`, and the service's part of `sightline`: serve."""

import argparse
import sys

from vision.command_line import Command, run_command


def _add_serve_options(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Every setting is an environment variable, SIGHTLINE_…; docs/settings.md lists them."
    parser.add_argument(
        "--die-with-parent", action="store_true", help="also stop when the process that started this one ends"
    )


def _serve(parsed: argparse.Namespace) -> None:
    from rich.console import Console

    from service.local.supervisor import supervise
    from service.settings import Settings

    console = Console(soft_wrap=True, markup=False, highlight=False)
    supervise(Settings.from_environment(), console, with_parent=parsed.die_with_parent)


COMMANDS = (
    Command(
        "serve",
        "serve a model on this machine, in the foreground, until Ctrl-C or SIGTERM",
        _add_serve_options,
        _serve,
        alias="run",
    ),
)


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; see `vision.command_line.run_command`."""
    return run_command("python -m service", COMMANDS, arguments)


if __name__ == "__main__":
    sys.exit(main())
