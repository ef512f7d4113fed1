"""The command `sightline`: every command of the service and of training in one parser."""

import sys

import service.__main__
import training.__main__
from vision.command_line import run_command


def main() -> int:
    """Runs one command; see `vision.command_line.run_command`."""
    return run_command("sightline", [*service.__main__.COMMANDS, *training.__main__.COMMANDS])


if __name__ == "__main__":
    sys.exit(main())
