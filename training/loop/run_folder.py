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

from safetensors import SafetensorError

from training.loop.checkpoint import load_checkpoint
from vision.errors import SightlineError

RUN_FILE = "run.json"
LAST = "last.safetensors"
BEST = "best.safetensors"


class RunError(SightlineError):
    """A run cannot be started or resumed as asked."""

    code = "run_error"


def open_run(folder: Path, identity: dict[str, Any], resume: bool) -> dict[str, Any] | None:
    """Makes the folder of a new run, or finds the checkpoint to go on from.

    Args:
        folder: runs/NAME/VERSION.
        identity: everything that decides what the run gives, as JSON can hold it.
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
        known.write_text(json.dumps(identity, indent=2) + "\n")
        return None
    if not known.exists():
        raise RunError(f"{folder} holds no run; leave --resume out to start one.")
    before = json.loads(known.read_text())
    different = [
        name
        for name in sorted(before.keys() | identity.keys())
        if before.get(name) != json.loads(json.dumps(identity.get(name)))
    ]
    if different:
        details = "; ".join(f"{name} was {before.get(name)!r} and is {identity.get(name)!r}" for name in different)
        raise RunError(f"The run in {folder} cannot go on, because it would not be the same run: {details}.")
    if not checkpoint.exists():
        return None
    try:
        return load_checkpoint(checkpoint)
    except (SafetensorError, ValueError, KeyError) as error:
        raise RunError(f"{checkpoint} cannot be read ({error}); remove {folder} to start anew.") from error
