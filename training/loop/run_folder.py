"""What a run leaves behind while it goes on, so that a killed one can be resumed and nothing else can be resumed by mistake.

runs/NAME/VERSION/
  run.json                what is trained on what: only a run with the same can go on
  data_report.json        what was found in the data, and which image is in which part
  last.safetensors        the newest checkpoint
  best.safetensors        the one of the best epoch
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
    """Makes the folder of a new run, or finds the checkpoint to go on from.

    Args:
        folder: runs/NAME/VERSION.
        wanted: the identity of the run that is to start or to be resumed.
        resume: whether an unfinished run is to go on.

    Returns:
        The state of the newest checkpoint; None where there is none, and the run starts from its beginning.

    Raises:
        RunError: resuming what is not there, or another run than this one; not resuming what is there.
    """
    known, checkpoint = folder / RUN_FILE, folder / LAST
    if not resume:
        if checkpoint.exists():
            raise RunError(
                f"{folder} holds an unfinished run; go on with it by --resume, or remove the folder to start anew."
            )
        folder.mkdir(parents=True, exist_ok=True)
        known.write_text(json.dumps(wanted, indent=2) + "\n")
        return None
    if not known.exists():
        raise RunError(f"{folder} holds no run; leave --resume out to start one.")
    before = json.loads(known.read_text())
    different = [
        name
        for name in sorted(before.keys() | wanted.keys())
        if before.get(name) != json.loads(json.dumps(wanted.get(name)))
    ]
    if different:
        details = "; ".join(f"{name} was {before.get(name)!r} and is {wanted.get(name)!r}" for name in different)
        raise RunError(f"The run in {folder} cannot go on, because it would not be the same run: {details}.")
    if not checkpoint.exists():
        return None
    try:
        return load_checkpoint(checkpoint)
    except (SafetensorError, ValueError, KeyError) as error:
        raise RunError(f"{checkpoint} cannot be read ({error}); remove {folder} to start anew.") from error
