"""The folder of a training run, from which a killed run can be resumed.

runs/NAME/VERSION/
  run.json                the run's identity; only a run with the same identity can be resumed
  data_report.json        what was found in the data; the part of each image
  last.safetensors        the newest checkpoint
  best.safetensors        the checkpoint of the best epoch
  history.csv             the epochs' numbers
  metrics.json report.html  written at the end
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from training.loop.checkpoint import load_checkpoint
from vision.errors import SightlineError
from vision.preprocessing import Preprocessing

RUN_FILE = "run.json"
LAST = "last.safetensors"
BEST = "best.safetensors"


class RunError(SightlineError):
    """A run cannot be started or resumed as asked."""

    code = "run_error"


def identity(
    settings: dict[str, Any], preprocessing: Preprocessing, data: str, split: str, workers: int
) -> dict[str, Any]:
    """Everything that decides what a run gives, as JSON can hold it. Only a run with the same identity can be resumed.

    Args:
        settings: the training configuration.
        preprocessing: as resolved from it.
        data: sha256 of the images and categories.
        split: sha256 of the images, categories and parts.
        workers: number of processes.
    """
    return {
        **settings,
        "preprocessing": preprocessing.model_dump(mode="json"),
        "data": data,
        "split": split,
        "torch": torch.__version__,
        "workers": workers,
    }


def open_run(folder: Path, wanted: dict[str, Any], resume: bool) -> dict[str, Any] | None:
    """Creates the folder of a new run, or finds the checkpoint to resume from.

    Args:
        folder: runs/NAME/VERSION.
        wanted: the identity of the run that is to start or to be resumed.
        resume: whether to resume an unfinished run.

    Returns:
        The state of the newest checkpoint; None if there is none, and the run starts from its beginning.

    Raises:
        RunError: there is no run to resume, or it is another run; or there is one and `resume` is false.
    """
    known, checkpoint = folder / RUN_FILE, folder / LAST
    if not resume:
        if checkpoint.exists():
            raise RunError(
                f"{folder} holds an unfinished run. Continue it with --resume, or remove the folder to start again."
            )
        folder.mkdir(parents=True, exist_ok=True)
        known.write_text(json.dumps(wanted, indent=2) + "\n")
        return None
    if not known.exists():
        raise RunError(f"{folder} holds no run. Leave --resume out to start one.")
    before = json.loads(known.read_text())
    different = [
        name
        for name in sorted(before.keys() | wanted.keys())
        if before.get(name) != json.loads(json.dumps(wanted.get(name)))
    ]
    if different:
        details = "; ".join(f"{name} was {before.get(name)!r} and is {wanted.get(name)!r}" for name in different)
        raise RunError(f"The run in {folder} cannot be resumed, because it would not be the same run: {details}.")
    if not checkpoint.exists():
        return None
    try:
        return load_checkpoint(checkpoint)
    except (SafetensorError, ValueError, KeyError) as error:
        raise RunError(f"{checkpoint} cannot be read ({error}); remove {folder} to start again.") from error
