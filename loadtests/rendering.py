"""Rendered photos: noise with the frequency spectrum of photos, so that it compresses as they do.

Needs NumPy and Pillow only.
"""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

# (width, height) of every tenth of 124 real photos, ordered by area.
SIZES = (
    (346, 229),
    (400, 400),
    (500, 333),
    (334, 500),
    (423, 441),
    (375, 500),
    (500, 375),
    (500, 375),
    (500, 400),
    (640, 480),
)
_QUALITY = 90
_COUNT = 64


def render_all() -> dict[str, bytes]:
    """64 JPEGs by name, always the same."""
    return {f"rendered-{index}.jpg": render(*SIZES[index % len(SIZES)], seed=index) for index in range(_COUNT)}


def render(width: int, height: int, seed: int) -> bytes:
    """One JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(_pink_noise(width, height, seed)).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _pink_noise(width: int, height: int, seed: int) -> npt.NDArray[np.uint8]:
    """uint8 (height, width, 3); amplitude falls with 1/f, as photos' does (https://doi.org/10.1364/JOSAA.4.002379)."""
    generator = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = np.inf
    gray = np.fft.irfft2(np.fft.rfft2(generator.normal(size=(height, width))) / frequency, (height, width))
    tint = np.fft.irfft2(np.fft.rfft2(generator.normal(size=(height, width))) / frequency**1.5, (height, width))
    planes = [gray / gray.std() + share * tint / tint.std() for share in (0.5, 0.0, -0.5)]
    return (128 + 48 * np.stack(planes, axis=2)).clip(0, 255).astype(np.uint8)
