"""`python -m service`: run."""

import argparse
import sys

from rich.console import Console

from service.local.supervisor import supervise
from service.settings import Settings
from vision.errors import SightlineError


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; a refusal is printed without a traceback and gives status 2."""
    parsed = _parser().parse_args(arguments)
    try:
        supervise(Settings.from_environment(), Console(soft_wrap=True, markup=False, highlight=False), with_parent=parsed.die_with_parent)
    except SightlineError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m service", description="Serves a bundle. Every setting is a SIGHTLINE_ variable.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="serve on this machine, in the foreground, until Ctrl-C or SIGTERM")
    run.add_argument("--die-with-parent", action="store_true", help="stop when the process that started this one ends, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
