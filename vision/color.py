"""Colour spaces: RGB ↔ gray, HSV and LAB, in plain NumPy, for teaching and measuring.

Every function takes float arrays with the colour on the last axis, RGB in 0 to 1 as sRGB
(https://www.w3.org/Graphics/Color/sRGB). Gray networks see Pillow's luma (`vision.preprocessing`, ITU-R 601-2).
`rgb_to_gray` uses the weights of ITU-R 709, which match sRGB's primaries.
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# ITU-R BT.709-6, item 3.2, rounded as scikit-image does: the share of each primary in brightness.
_LUMA_709 = np.array([0.2125, 0.7154, 0.0721])
# IEC 61966-2-1: linear sRGB → CIE XYZ, white point D65, 2° observer.
_RGB_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
_XYZ_TO_RGB = np.linalg.inv(_RGB_TO_XYZ)
_D65 = np.array([0.95047, 1.0, 1.08883])
# CIE 15:2004, section 8.2.1: below this LAB uses a straight line instead of the cube root.
_LAB_KNEE = 6 / 29


def rgb_to_gray(rgb: npt.ArrayLike) -> Array:
    """(…, 3) → (…): brightness, 0 to 1.

    Raises:
        ValueError: the last axis does not hold three values.
    """
    gray: Array = _three(rgb) @ _LUMA_709
    return gray


def gray_to_rgb(gray: npt.ArrayLike) -> Array:
    """(…) → (…, 3): the same value in each channel."""
    return np.repeat(np.asarray(gray, dtype=np.float64)[..., None], 3, axis=-1)


def rgb_to_hsv(rgb: npt.ArrayLike) -> Array:
    """(…, 3) → (…, 3): hue, saturation and value, each 0 to 1. Hue 0 is red, and the hue of gray.

    Raises:
        ValueError: the last axis does not hold three values.
    """
    colours = _three(rgb)
    value = colours.max(axis=-1)
    spread = value - colours.min(axis=-1)
    divisor = np.where(spread == 0, 1.0, spread)
    red, green, blue = np.moveaxis(colours, -1, 0)
    sector = np.select(
        [spread == 0, colours.argmax(axis=-1) == 0, colours.argmax(axis=-1) == 1],
        [np.zeros_like(value), (green - blue) / divisor, 2 + (blue - red) / divisor],
        4 + (red - green) / divisor,
    )
    saturation = spread / np.where(value == 0, 1.0, value)
    return np.stack([sector / 6 % 1, saturation, value], axis=-1)


def hsv_to_rgb(hsv: npt.ArrayLike) -> Array:
    """(…, 3) → (…, 3): the inverse of `rgb_to_hsv`.

    Raises:
        ValueError: the last axis does not hold three values.
    """
    hue, saturation, value = np.moveaxis(_three(hsv), -1, 0)
    # A channel's value falls with the distance of the hue from the channel's own hue, in sixths of the circle.
    distance = (hue[..., None] * 6 + np.array([5.0, 3.0, 1.0])) % 6
    rgb: Array = value[..., None] * (1 - saturation[..., None] * np.clip(np.minimum(distance, 4 - distance), 0, 1))
    return rgb


def rgb_to_lab(rgb: npt.ArrayLike) -> Array:
    """(…, 3) → (…, 3): CIE L*, 0 to 100, and a*, b*, about -110 to 110; white point D65.

    Raises:
        ValueError: the last axis does not hold three values.
    """
    colours = _three(rgb)
    linear = np.where(colours > 0.04045, ((colours + 0.055) / 1.055) ** 2.4, colours / 12.92)
    x, y, z = np.moveaxis(_lab_curve(linear @ _RGB_TO_XYZ.T / _D65), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def lab_to_rgb(lab: npt.ArrayLike) -> Array:
    """(…, 3) → (…, 3): the inverse of `rgb_to_lab`. Colours that sRGB cannot show are clipped to 0 to 1.

    Raises:
        ValueError: the last axis does not hold three values.
    """
    lightness, a, b = np.moveaxis(_three(lab), -1, 0)
    y = (lightness + 16) / 116
    curved = np.stack([y + a / 500, y, y - b / 200], axis=-1)
    xyz = np.where(curved > _LAB_KNEE, curved**3, 3 * _LAB_KNEE**2 * (curved - 4 / 29)) * _D65
    linear = np.clip(xyz @ _XYZ_TO_RGB.T, 0, 1)
    rgb: Array = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    return rgb


def _lab_curve(ratio: Array) -> Array:
    curved: Array = np.where(ratio > _LAB_KNEE**3, np.cbrt(ratio), ratio / (3 * _LAB_KNEE**2) + 4 / 29)
    return curved


def _three(colours: npt.ArrayLike) -> Array:
    values = np.asarray(colours, dtype=np.float64)
    if values.ndim == 0 or values.shape[-1] != 3:
        raise ValueError(f"The last axis must hold the three values of a colour; this array is {values.shape}.")
    return values
