"""`Preprocessing.apply` for a batch of images of any size, as matrix products on a device.

Resizing is linear and separable: rows and columns are each multiplied by a matrix that combines filter, crop and fill.
Pillow uses weights with 22 bits after the point and rounds to whole values between the two passes, so the order of the
passes matters (https://github.com/python-pillow/Pillow/blob/13.0.0/src/libImaging/Resample.c). To get the same pixels,
each weight is split into two halves of 11 bits. float16 holds each half, and every pixel, exactly, so tensor cores add
them up in float32 without an error.
"""

from collections.abc import Sequence

import numpy as np
import torch

from vision.geometry import Geometry, Placement

_BITS = 22  # Pillow's PRECISION_BITS
_HIGH_BITS = 10  # of them in the upper half: weights are below 2, and float16 holds 11 bits
_BICUBIC_A = -0.5  # Pillow's
_LUMA = (19595, 38470, 7471)  # of 65536: Pillow's `L`, ITU-R 601-2


def squares(pixels: torch.Tensor, geometry: Geometry, placements: Sequence[Placement]) -> torch.Tensor:
    """The geometry of a batch.

    Args:
        pixels: uint8 (N, H, W, 3), each image's box in the upper left corner and anything right of it and below.
        geometry: the specification.
        placements: one for each image.

    Returns:
        uint8 (N, crop_px, crop_px, channels), equal to `Preprocessing.apply`; within 1 of it without antialiasing.
    """
    if geometry.channels == 1:
        pixels = _gray(pixels)
    down_first = [_goes_down_first(one) for one in placements]
    if not any(down_first):
        return _across_then_down(pixels, geometry, placements)
    side = geometry.crop_px
    found = torch.empty((len(placements), side, side, pixels.shape[3]), dtype=torch.uint8, device=pixels.device)
    for order in {*down_first}:
        rows = [row for row, one in enumerate(down_first) if one is order]
        part, where = pixels[rows], [placements[row] for row in rows]
        if order:  # with the axes exchanged
            found[rows] = _across_then_down(
                part.transpose(1, 2), geometry, [_transposed(one) for one in where]
            ).transpose(1, 2)
        else:
            found[rows] = _across_then_down(part, geometry, where)
    return found


def _goes_down_first(placement: Placement) -> bool:
    """Whether Pillow, from 13.0 on, scales the height before the width (`horizontal_first` in Resample.c)."""
    left, top, right, bottom = placement.box
    fewer_columns, fewer_rows = right - left - placement.size[0], bottom - top - placement.size[1]
    return fewer_rows > 0 and fewer_rows > 2 * fewer_columns


def _transposed(placement: Placement) -> Placement:
    left, top, right, bottom = placement.box
    return Placement((top, left, bottom, right), placement.size[::-1], placement.corner[::-1])


def _across_then_down(pixels: torch.Tensor, geometry: Geometry, placements: Sequence[Placement]) -> torch.Tensor:
    """uint8 (N, H, W, C) → (N, crop_px, crop_px, C)."""
    count, height, width, _ = pixels.shape
    boxes = [(one.box[2] - one.box[0], one.box[3] - one.box[1]) for one in placements]
    across, down = (
        _matrices(
            geometry,
            [box[axis] for box in boxes],
            [one.size[axis] for one in placements],
            [one.corner[axis] for one in placements],
            longest,
            pixels.device,
        )
        for axis, longest in ((0, width), (1, height))
    )
    side, channels = geometry.crop_px, pixels.shape[3]
    multiply = _multiply_fixed if geometry.antialias else _multiply
    # (N, side, W) × (N, W, channels·H), then (N, side, H) × (N, H, channels·side): each a plain batched product.
    columns = pixels.permute(0, 2, 3, 1).reshape(count, width, channels * height)
    narrow = multiply(across, columns).view(count, side, channels, height)
    values = multiply(down, narrow.permute(0, 3, 2, 1).reshape(count, height, channels * side))
    values = values.round_().clamp_(0, 255).view(count, side, channels, side).permute(0, 1, 3, 2)
    if geometry.policy == "pad":
        # The weights of a row add up to 1, or to 0 outside the image.
        inside = (down.sum(2) > 0.5)[:, :, None, None] & (across.sum(2) > 0.5)[:, None, :, None]
        values = torch.where(inside, values, float(geometry.fill))
    return values.to(torch.uint8)


def _matrices(
    geometry: Geometry, source: list[int], scaled: list[int], corner: list[int], longest: int, device: torch.device
) -> torch.Tensor:
    """float64 (N, crop_px, longest): output position × input position → weight, for one axis."""
    lengths, targets, corners = (
        torch.from_numpy(np.array(values, np.float64)[:, None, None]).to(device, non_blocking=True)
        for values in (source, scaled, corner)
    )
    at = torch.arange(geometry.crop_px, dtype=torch.float64, device=device)[None, :, None] + corners
    inputs = torch.arange(longest, dtype=torch.float64, device=device)[None, None, :]
    scale = lengths / targets
    centre = (at + 0.5) * scale
    if geometry.interpolation == "nearest":
        weights = (inputs == centre.floor()).double()
    elif not geometry.antialias:
        weights = (1 - (inputs - (centre - 0.5).clamp_min(0).minimum(lengths - 1)).abs()).clamp_min(0)
    else:
        stretch = scale.clamp_min(1)
        radius = stretch * (2 if geometry.interpolation == "bicubic" else 1)
        first, last = (centre - radius + 0.5).floor().clamp_min(0), (centre + radius + 0.5).floor().minimum(lengths)
        weights = _filter(geometry, (inputs + 0.5 - centre) / stretch)
        weights = torch.where((inputs >= first) & (inputs < last), weights, 0.0)
        weights = weights / weights.sum(2, keepdim=True)
    return torch.where((at >= 0) & (at < targets), weights, 0.0)


def _filter(geometry: Geometry, distance: torch.Tensor) -> torch.Tensor:
    x = distance.abs()
    if geometry.interpolation == "bilinear":
        return (1 - x).clamp_min(0)
    near = ((_BICUBIC_A + 2) * x - (_BICUBIC_A + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * _BICUBIC_A
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def _multiply_fixed(weights: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """(N, S, L) × whole values (N, L, K) → float32 (N, S, K), rounded to whole values of 0 to 255, halves up."""
    steps = (weights.abs() * 2**_BITS + 0.5).floor() * weights.sign()
    low_bits = _BITS - _HIGH_BITS
    high = (steps / 2**low_bits).round()
    low = steps - high * 2**low_bits
    halves = torch.cat([high / 2**_HIGH_BITS, low / 2 ** (low_bits - 1)], dim=1)
    on_cpu = not values.is_cuda  # which has no float16 product that adds up in float32
    sums = _multiply(halves, values) if on_cpu else torch.bmm(halves.half(), values.half(), out_dtype=torch.float32)
    upper, lower = sums.chunk(2, dim=1)
    whole = (upper + 0.5).floor()
    rest = (upper + 0.5 - whole) + lower * 2.0 ** -(_HIGH_BITS + 1)  # in one sum the last bits would be lost
    return (whole + rest.floor()).clamp_(0, 255)


def _multiply(weights: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """(N, S, L) × (N, L, K) → float32 (N, S, K)."""
    return torch.bmm(weights.float(), values.float())


def _gray(pixels: torch.Tensor) -> torch.Tensor:
    red, green, blue = (pixels[..., channel].int() * weight for channel, weight in enumerate(_LUMA))
    return ((red + green + blue + 0x8000) >> 16).unsqueeze(3)
