"""The provenance of a bundle: the command that made it, without a path of the machine."""

import pytest

from training.export.composition import _command


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["/srv/clone/training/__main__.py", "train", "my photos"], "python -m training train 'my photos'"),
        (["/srv/clone/.venv/bin/sightline", "train", "photos"], "sightline train photos"),
        (["/srv/clone/examples/time_budget.py", "photos", "models/photos"], "time_budget.py photos models/photos"),
    ],
)
def test_the_command_is_the_one_that_ran(argv: list[str], command: str) -> None:
    assert _command(argv) == command
