from pathlib import Path

import pytest

from training.loop.checkpoint import save_checkpoint
from training.loop.run_folder import LAST, RunError, open_run

IDENTITY = {"arch": "lenet5", "seed": 0, "data": "abc", "preprocessing": {"mean": (0.5,)}}


def test_a_new_run_has_no_state_and_a_resumed_one_has_its_checkpoint(tmp_path: Path) -> None:
    assert open_run(tmp_path / "1", IDENTITY, resume=False) is None
    assert open_run(tmp_path / "1", IDENTITY, resume=True) is None, "killed before its first checkpoint"
    save_checkpoint(tmp_path / "1" / LAST, {"epoch": 3})
    assert open_run(tmp_path / "1", IDENTITY, resume=True) == {"epoch": 3}


def test_an_unfinished_run_is_not_overwritten(tmp_path: Path) -> None:
    open_run(tmp_path, IDENTITY, resume=False)
    save_checkpoint(tmp_path / LAST, {"epoch": 3})
    with pytest.raises(RunError, match="--resume"):
        open_run(tmp_path, IDENTITY, resume=False)
    assert open_run(tmp_path, IDENTITY, resume=True) == {"epoch": 3}


def test_nothing_else_is_resumed(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no run"):
        open_run(tmp_path / "1", IDENTITY, resume=True)
    open_run(tmp_path / "1", IDENTITY, resume=False)
    with pytest.raises(RunError, match=r"data was 'abc' and is 'abd'; seed was 0 and is 1"):
        open_run(tmp_path / "1", IDENTITY | {"seed": 1, "data": "abd"}, resume=True)


def test_a_damaged_checkpoint_is_refused_with_the_remedy(tmp_path: Path) -> None:
    open_run(tmp_path, IDENTITY, resume=False)
    (tmp_path / LAST).write_bytes(b"half a file")
    with pytest.raises(RunError, match=r"cannot be read .*remove"):
        open_run(tmp_path, IDENTITY, resume=True)
