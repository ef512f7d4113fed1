"""A picture of augmented training images, so that a person can see whether the labels still hold."""

import io

import numpy as np
import torch
from PIL import Image

from training.data.augmentation import Augmentation
from training.data.images import ImageSet
from vision.engines.servable import Normalisation
from vision.preprocessing import Preprocessing

ROWS, COLUMNS = 8, 8
_GAP_PX = 2


def contact_sheet(
    train: ImageSet, preprocessing: Preprocessing, augmentation: Augmentation | None, num_classes: int, seed: int
) -> bytes:
    """A PNG. Each row shows one training image as it is, then augmented.

    Args:
        train: at least one image; up to 8 are shown, spread over the set.
        preprocessing: of the images.
        augmentation: None shows the same image in each column.
        num_classes: of the labels.
        seed: another seed gives another sheet.
    """
    torch.manual_seed(seed)
    chosen = np.linspace(0, len(train) - 1, min(ROWS, len(train))).astype(int)
    pixels, labels = torch.from_numpy(train.images[chosen]), torch.from_numpy(train.labels[chosen])
    normalisation = Normalisation(preprocessing)
    columns = [normalisation(pixels)]
    for _ in range(COLUMNS - 1):
        if augmentation is None:
            columns.append(columns[0])
        else:
            columns.append(
                augmentation.on_values(normalisation(augmentation.on_pixels(pixels)), labels, num_classes)[0]
            )
    shown = [
        ((values - normalisation.shift) / normalisation.scale).clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
        for values in columns
    ]
    height, width, channels = preprocessing.shape
    sheet = np.full((len(chosen) * (height + _GAP_PX), COLUMNS * (width + _GAP_PX), channels), 255, dtype=np.uint8)
    for column, images in enumerate(shown):
        for row, image in enumerate(images):
            top, left = row * (height + _GAP_PX), column * (width + _GAP_PX)
            sheet[top : top + height, left : left + width] = image
    stream = io.BytesIO()
    Image.fromarray(sheet[:, :, 0] if channels == 1 else sheet).save(stream, "PNG")
    return stream.getvalue()
