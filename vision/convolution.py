"""Convolution and pooling in plain NumPy, for teaching and checking, not for speed.

As in every deep-learning library, `conv2d` is a cross-correlation: the kernel is not flipped.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Padding = Literal["valid", "same"] | int
"""`valid` adds no pixels; `same` adds as few as give ⌈side ÷ stride⌉; a number adds that many on each side."""


class NamedFilter(NamedTuple):
    """A 3×3 kernel and one sentence on what it detects or does."""

    kernel: Array
    does: str


class Step(NamedTuple):
    """One position of a kernel.

    Attributes:
        row: of the output.
        column: of the output.
        region: the pixels under the kernel, in the kernel's shape; padded ones are 0.
        products: region × kernel.
        total: their sum, which is the output.
    """

    row: int
    column: int
    region: Array
    products: Array
    total: float


def _named(rows: Sequence[Sequence[float]], does: str, divisor: float = 1.0) -> NamedFilter:
    return NamedFilter(np.array(rows, dtype=np.float64) / divisor, does)


FILTERS: Mapping[str, NamedFilter] = {
    "identity": _named([[0, 0, 0], [0, 1, 0], [0, 0, 0]], "Leaves the image as it is."),
    "vertical_edge": _named(
        [[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]], "Answers where brightness changes from left to right."
    ),
    "horizontal_edge": _named(
        [[-1, -1, -1], [0, 0, 0], [1, 1, 1]], "Answers where brightness changes from top to bottom."
    ),
    "sobel_x": _named(
        [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], "Measures the change from left to right, smoothed along the edge."
    ),
    "sobel_y": _named(
        [[-1, -2, -1], [0, 0, 0], [1, 2, 1]], "Measures the change from top to bottom, smoothed along the edge."
    ),
    "laplacian": _named(
        [[0, 1, 0], [1, -4, 1], [0, 1, 0]], "Answers to fine detail in every direction and is zero on even areas."
    ),
    "sharpen": _named([[0, -1, 0], [-1, 5, -1], [0, -1, 0]], "Adds an image's fine detail to it once more."),
    "box_blur": _named([[1, 1, 1], [1, 1, 1], [1, 1, 1]], "Replaces each pixel by the mean of its neighbourhood.", 9),
    "gaussian_blur": _named([[1, 2, 1], [2, 4, 2], [1, 2, 1]], "Blurs, with the near neighbours weighing more.", 16),
    "emboss": _named(
        [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], "Lights the image from one corner, so that edges look raised."
    ),
}


def output_size(side_px: int, kernel_px: int, stride: int = 1, padding: Padding = "valid") -> int:
    """The number of positions of a kernel along a side.

    Args:
        side_px: at least 1.
        kernel_px: at least 1.
        stride: at least 1.
        padding: see `Padding`.

    Raises:
        ValueError: a number below 1, a negative padding, or a kernel that does not fit inside.
    """
    for name, value in (("side_px", side_px), ("kernel_px", kernel_px), ("stride", stride)):
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1.")
    if padding == "same":
        return -(-side_px // stride)
    added_px = 0 if padding == "valid" else padding
    if added_px < 0:
        raise ValueError(f"padding is {added_px}; it must be at least 0.")
    padded_px = side_px + 2 * added_px
    if kernel_px > padded_px:
        raise ValueError(
            f"kernel_px is {kernel_px}; with padding {padding!r} it must fit into the side of {padded_px} px."
        )
    return (padded_px - kernel_px) // stride + 1


def padding_px(side_px: int, kernel_px: int, stride: int, padding: Padding) -> tuple[int, int]:
    """The pixels added (before, after) a side; the odd one of `same` comes after it, as in TensorFlow's SAME.

    Args:
        side_px: at least 1.
        kernel_px: at least 1.
        stride: at least 1.
        padding: see `Padding`.
    """
    if padding == "valid":
        return 0, 0
    if padding != "same":
        return padding, padding
    missing = max(0, (output_size(side_px, kernel_px, stride, padding) - 1) * stride + kernel_px - side_px)
    return missing // 2, missing - missing // 2


def receptive_field(layers: Sequence[tuple[int, int]]) -> int:
    """The receptive field of these (kernel_px, stride) layers: input pixels along a side that one output depends on."""
    seen, jump = 1, 1
    for kernel_px, stride in layers:
        seen += (kernel_px - 1) * jump
        jump *= stride
    return seen


def parameter_count(kernel_px: int, in_channels: int, out_channels: int, bias: bool = True) -> int:
    """The number of parameters of a convolution with square kernels."""
    return out_channels * (kernel_px * kernel_px * in_channels + int(bias))


def conv2d(
    images: Array, kernels: Array, bias: Array | None = None, stride: int = 1, padding: Padding = "valid"
) -> Array:
    """(C, H, W) with kernels (F, C, kh, kw) and bias (F,) → (F, H', W').

    Raises:
        ValueError: shapes that do not fit.
    """
    if images.ndim != 3 or kernels.ndim != 4 or images.shape[0] != kernels.shape[1]:
        raise ValueError(f"conv2d takes (C, H, W) and (F, C, kh, kw); these are {images.shape} and {kernels.shape}.")
    answers: Array = np.einsum("chwij,fcij->fhw", _windows(images, kernels.shape[2:], stride, padding, 0.0), kernels)
    return answers if bias is None else answers + bias[:, None, None]


def max_pool(images: Array, size_px: int, stride: int | None = None, padding: Padding = "valid") -> Array:
    """(C, H, W) → (C, H', W'): the maximum of each size_px × size_px window; the default stride is size_px."""
    return np.asarray(_windows(images, (size_px, size_px), stride or size_px, padding, -np.inf).max(axis=(3, 4)))


def average_pool(images: Array, size_px: int, stride: int | None = None, padding: Padding = "valid") -> Array:
    """(C, H, W) → (C, H', W'): the mean of each window. Padded pixels are not counted."""
    return np.asarray(np.nanmean(_windows(images, (size_px, size_px), stride or size_px, padding, np.nan), axis=(3, 4)))


def global_average_pool(images: Array) -> Array:
    """(C, H, W) → (C,): each channel's mean."""
    return np.asarray(images.mean(axis=(1, 2)))


def convolution_steps(image: Array, kernel: Array, stride: int = 1, padding: Padding = "valid") -> Iterator[Step]:
    """Every position of a kernel on an image, row by row; the totals are the output of `conv2d` without a bias.

    Args:
        image: (H, W), or (C, H, W) for a kernel with channels.
        kernel: (kh, kw), or (C, kh, kw).
        stride: at least 1.
        padding: see `Padding`.

    Raises:
        ValueError: shapes that do not fit.
    """
    if image.ndim != kernel.ndim or image.ndim not in (2, 3) or image.shape[:-2] != kernel.shape[:-2]:
        raise ValueError(
            f"convolution_steps takes (H, W) and (kh, kw), or both with channels first; these are {image.shape} and "
            f"{kernel.shape}."
        )
    planes = image.reshape((-1, *image.shape[-2:]))
    windows = _windows(planes, kernel.shape[-2:], stride, padding, 0.0)
    for row, column in np.ndindex(windows.shape[1:3]):
        region = windows[:, row, column].reshape(kernel.shape)
        products = region * kernel
        yield Step(row, column, region, products, float(products.sum()))


def _windows(images: Array, kernel: tuple[int, ...], stride: int, padding: Padding, fill: float) -> Array:
    """(C, H, W) → (C, H', W', kh, kw)."""
    for side, px in zip(images.shape[1:], kernel, strict=True):
        output_size(side, px, stride, padding)  # raises if the kernel does not fit
    if padding != "valid":
        around = [padding_px(side, px, stride, padding) for side, px in zip(images.shape[1:], kernel, strict=True)]
        images = np.pad(images.astype(np.float64), [(0, 0), *around], constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(images, kernel, axis=(1, 2))[:, ::stride, ::stride]
