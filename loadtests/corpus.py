"""The photos that requests carry: real ones where a folder is given, else rendered ones of the same sizes.

Rendered photos are noise whose power falls with the frequency as that of photos does, so that they compress like photos.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from vision.errors import ImageError
from vision.image import DecodeLimits, Pixels, decode

# (width, height) of photos: every tenth of 124 real ones, ordered by area.
SIZES = ((346, 229), (400, 400), (500, 333), (334, 500), (423, 441), (375, 500), (500, 375), (500, 375), (500, 400), (640, 480))
_QUALITY = 90
_COUNT = 64


def photos(folder: Path | None) -> dict[str, bytes]:
    """Encoded images by name, in a fixed order.

    Args:
        folder: where real ones lie. Left out are those that cannot be decoded, and gray ones: on such a one TorchServe's own
            image classifier fails, with the whole batch. None renders.

    Raises:
        ValueError: the folder holds none.
    """
    if folder is None:
        return {f"rendered-{index}.jpg": render(*SIZES[index % len(SIZES)], seed=index) for index in range(_COUNT)}
    found = {}
    for file in sorted(folder.iterdir()):
        data = file.read_bytes()
        try:
            decode(data, DecodeLimits())
        except ImageError:
            continue
        if Image.open(io.BytesIO(data)).mode == "RGB":
            found[file.name] = data
    if not found:
        raise ValueError(f"{folder} holds no colour image that can be decoded.")
    return found


def render(width: int, height: int, seed: int) -> bytes:
    """One JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(_pink_noise(width, height, seed)).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _pink_noise(width: int, height: int, seed: int) -> Pixels:
    """uint8 (height, width, 3); amplitude falls with 1/f, as photos' does (https://doi.org/10.1364/JOSAA.4.002379)."""
    generator = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = np.inf
    gray = np.fft.irfft2(np.fft.rfft2(generator.normal(size=(height, width))) / frequency, (height, width))
    tint = np.fft.irfft2(np.fft.rfft2(generator.normal(size=(height, width))) / frequency**1.5, (height, width))
    planes = [gray / gray.std() + share * tint / tint.std() for share in (0.5, 0.0, -0.5)]
    return (128 + 48 * np.stack(planes, axis=2)).clip(0, 255).astype(np.uint8)
