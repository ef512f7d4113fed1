"""The command lines of both halves: a list of commands, of which only the one that runs builds its options.

Options come from settings classes whose modules take seconds to import, and the service may be installed without them.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from vision.errors import SightlineError


class Command(NamedTuple):
    """One command.

    Attributes:
        name: as it is typed.
        help: one sentence for the list of commands.
        add_options: adds the command's options to its parser.
        run: does the work; returns the exit status, None for 0.
        alias: another name that is accepted, or None.
    """

    name: str
    help: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int | None]
    alias: str | None = None


def build_parser(prog: str, commands: Sequence[Command], arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser for these arguments: it knows every command, and the options of the one that is named."""
    parser = argparse.ArgumentParser(
        prog=prog, description="Image classification: from labelled images to POST /classify."
    )
    parsers = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    named = next((argument for argument in arguments if not argument.startswith("-")), None)
    for command in commands:
        aliases = [command.alias] if command.alias else []
        one = parsers.add_parser(command.name, help=command.help, aliases=aliases)
        if named in (command.name, *aliases):
            one.description = command.help
            command.add_options(one)
        one.set_defaults(run=command.run)
    return parser


def run_command(prog: str, commands: Sequence[Command], arguments: Sequence[str] | None = None) -> int:
    """Runs the command that the arguments name.

    Args:
        prog: the program's name in its help.
        commands: at least one.
        arguments: without the program; None takes those of this process.

    Returns:
        The exit status: the command's own; 2 after a refusal, which is printed without a traceback; 130 after Ctrl-C.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        parsed = build_parser(prog, commands, given).parse_args(given)
        return int(parsed.run(parsed) or 0)
    except SightlineError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
