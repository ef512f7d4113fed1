"""The command `sightline`: one parser over both halves, which imports nothing that the command does not need."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.__main__ import COMMANDS as SERVICE
from training.__main__ import COMMANDS as TRAINING

ROOT = Path(__file__).resolve().parents[1]
WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; sys.argv[0] = 'sightline'; import sightline; "


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_help_lists_every_command_of_both_halves_without_torch() -> None:
    loaded = (
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'torch', 'ray', 'pydantic', 'openvino'}))"
    )
    code = f"{WITHOUT_TORCH}\ntry: sightline.main()\nexcept SystemExit: pass\n{loaded}"
    done = python(code, "--help")
    assert done.returncode == 0, done.stderr
    for command in (*SERVICE, *TRAINING):
        assert re.search(rf"^    {command.name}( \(\w+\))?(\s|$)", done.stdout, re.MULTILINE), command.name
    assert done.stdout.splitlines()[-1] == "['torch']"  # the None that stands for it being absent


@pytest.mark.parametrize(
    "command",
    [["train", "photos"], ["train", "--arch", "lenet5", "photos"], ["train", "--help"], ["demo", "--seeds", "3"]],
)
def test_training_without_torch_says_what_to_install(command: list[str]) -> None:
    done = python(f"{WITHOUT_TORCH}sys.exit(sightline.main())", *command)
    assert done.returncode == 2, done.stdout
    assert done.stderr.startswith("not_installed: ")
    assert "needs torch. Run `make install`" in done.stderr
    assert "Traceback" not in done.stderr


def test_serve_needs_no_torch_to_be_parsed() -> None:
    done = python(f"{WITHOUT_TORCH}sys.exit(sightline.main())", "serve", "--help")
    assert done.returncode == 0, done.stderr
    assert "--die-with-parent" in done.stdout


@pytest.mark.parametrize(("arguments", "words"), [(["paint"], "invalid choice: 'paint'"), ([], "COMMAND")])
def test_an_unknown_command_is_refused_by_name(arguments: list[str], words: str) -> None:
    done = python("import sys, sightline; sys.exit(sightline.main())", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
