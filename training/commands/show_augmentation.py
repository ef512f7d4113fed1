"""`train --show-augmentation FILE`: a picture of augmented training images, instead of training."""

from pathlib import Path

from rich.console import Console

from training.config import TrainConfig
from training.data.augmentation import augmentation
from training.data.contact_sheet import contact_sheet
from training.data.preparation import prepare_data
from training.progress import shown


def show_augmentation(data: Path, config: TrainConfig, file: Path, console: Console) -> None:
    """Writes a contact sheet of augmented training images.

    Raises:
        SightlineError: data or settings cannot be used.
    """
    preprocessing = config.resolved_preprocessing
    prepared = prepare_data(data, config.split_rule, config.problem_files, preprocessing, shown(console, "decoding"))
    names = config.augmentation
    file.write_bytes(
        contact_sheet(prepared.train, preprocessing, augmentation(names), len(prepared.categories), config.seed)
    )
    console.print(f"Written to {file}: in each row one training image, first as it is, then augmented with {names!r}.")
