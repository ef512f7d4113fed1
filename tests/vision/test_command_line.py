"""One parser for many commands, of which only the one that runs builds its options."""

import argparse

import pytest

from vision.command_line import Command, run_command
from vision.errors import ManifestInvalid


def fail(parsed: argparse.Namespace) -> None:
    raise ManifestInvalid("manifest.json", "it is empty")


def interrupt(parsed: argparse.Namespace) -> None:
    raise KeyboardInterrupt


def unused(parser: argparse.ArgumentParser) -> None:
    raise AssertionError("options of a command that was not named")


COMMANDS = (
    Command("count", "count", lambda parser: parser.add_argument("--to", type=int), lambda parsed: parsed.to, "c"),
    Command("fail", "fail", lambda parser: None, fail),
    Command("interrupt", "be interrupted", lambda parser: None, interrupt),
    Command("other", "never run", unused, fail),
)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["count", "--to", "3"], 3), (["c", "--to", "1"], 1), (["count"], 0), (["interrupt"], 130)],
)
def test_the_status_is_the_commands_own(arguments: list[str], status: int) -> None:
    assert run_command("test", COMMANDS, arguments) == status


def test_a_refusal_is_one_line_with_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("test", COMMANDS, ["fail"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{ManifestInvalid.code}: ")
    assert "it is empty" in line


def test_another_exception_is_not_hidden() -> None:
    broken = (Command("broken", "broken", lambda parser: None, lambda parsed: 1 // 0),)
    with pytest.raises(ZeroDivisionError):
        run_command("test", broken, ["broken"])
