"""Printed characters, distorted until they look handwritten: the task on which the demo's backbone is pretrained.

0-9, A-Z and a-z in the fonts that matplotlib brings, with stroke width, affine and elastic distortion (Simard et al.,
Best practices for convolutional neural networks, 2003), blur, noise, and the low resolution of scikit-learn's digits,
which are 8×8 counts of ink. Nothing is downloaded.
"""

import string
from collections.abc import Callable, Iterable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch.nn import functional

from training.data.images import ImageSet

CHARACTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase
# Fonts that have all 62 characters; matplotlib's other fonts are for mathematics.
FONTS = (
    *(f"DejaVuSans{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSansMono{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{style}" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{style}" for style in ("", "Bol", "Italic", "BolIta")),
    *("cmr10", "cmb10", "cmss10", "cmtt10"),
)
_CANVAS_PX = 48
_GLYPH_PX = 40
_INK_PX = 32  # scikit-learn's digits were 32×32 bitmaps, counted in blocks of 4×4.
_CHUNK = 1000


def render_glyphs(
    count: int,
    side_px: int,
    seed: int,
    progress: Callable[[Iterable[int], int], Iterable[int]] = lambda items, _: items,
) -> ImageSet:
    """Draws distorted characters, dark ink on white paper.

    Args:
        count: how many, at least 1.
        side_px: of the square images, 8 to 48.
        seed: of everything that is drawn.
        progress: shows how many are done.

    Returns:
        uint8 (count, side_px, side_px, 1), labelled with indices into CHARACTERS.
    """
    shapes, labels = _clean_glyphs()
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(shapes), (count,), generator=generator)
    images = np.empty((count, side_px, side_px, 1), dtype=np.uint8)
    for start in progress(range(0, count, _CHUNK), -(-count // _CHUNK)):
        part = chosen[start : start + _CHUNK]
        paper = _on_paper(_distorted(shapes[part], generator), side_px, generator)
        images[start : start + len(part), :, :, 0] = (paper * 255).round().to(torch.uint8)[:, 0].numpy()
    return ImageSet(images, labels[chosen].numpy())


def _clean_glyphs() -> tuple[torch.Tensor, torch.Tensor]:
    """Every character in every font, tightly fitted: float32 ink (62 × fonts, 1, 48, 48) in [0, 1], and labels."""
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    shapes, labels = [], []
    for name in FONTS:
        font = ImageFont.truetype(str(folder / f"{name}.ttf"), 120)
        for label, character in enumerate(CHARACTERS):
            canvas = Image.new("L", (260, 260))
            ImageDraw.Draw(canvas).text((60, 40), character, fill=255, font=font)
            glyph = canvas.crop(canvas.getbbox())
            ratio = _GLYPH_PX / max(glyph.size)
            glyph = glyph.resize(
                (max(2, round(glyph.width * ratio)), max(2, round(glyph.height * ratio))), Image.Resampling.LANCZOS
            )
            fitted = Image.new("L", (_CANVAS_PX, _CANVAS_PX))
            fitted.paste(glyph, ((_CANVAS_PX - glyph.width) // 2, (_CANVAS_PX - glyph.height) // 2))
            shapes.append(np.asarray(fitted))
            labels.append(label)
    return torch.from_numpy(np.stack(shapes)).float()[:, None] / 255, torch.tensor(labels)


def _distorted(ink: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Thinner or thicker strokes, a random affine map, a smooth random displacement. (N, 1, S, S) in and out."""
    count = len(ink)

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.rand(count, generator=generator) * (high - low) + low

    thicker = functional.max_pool2d(ink, 3, 1, 1)
    widths = torch.stack([-functional.max_pool2d(-ink, 3, 1, 1), ink, thicker, functional.max_pool2d(thicker, 3, 1, 1)])
    stroke = torch.multinomial(torch.tensor([0.2, 0.4, 0.25, 0.15]), count, replacement=True, generator=generator)
    ink = widths[stroke, torch.arange(count)]

    angle, shear = uniform(-0.3, 0.3), uniform(-0.35, 0.35)
    far = torch.where(uniform(0, 1) < 0.2, uniform(1.0, 1.6), torch.ones(count))  # some characters leave a wide margin
    width, height = uniform(0.85, 1.35) * far, uniform(0.9, 1.15) * far
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = (
        torch.stack([cos * width, (shear - sin) * height, uniform(-0.1, 0.1)], 1),
        torch.stack([sin * width, cos * height, uniform(-0.1, 0.1)], 1),
    )
    grid = functional.affine_grid(torch.stack(rows, 1), list(ink.shape), align_corners=False)

    field = _blurred(torch.randn(count, 2, _CANVAS_PX // 2, _CANVAS_PX // 2, generator=generator), sigma_px=3.0)
    field = functional.interpolate(
        field / field.std(dim=(1, 2, 3), keepdim=True), size=(_CANVAS_PX, _CANVAS_PX), mode="bilinear"
    )
    grid = grid + field.permute(0, 2, 3, 1) * uniform(0, 0.1).view(-1, 1, 1, 1)
    return functional.grid_sample(ink, grid, align_corners=False)


def _on_paper(ink: torch.Tensor, side_px: int, generator: torch.Generator) -> torch.Tensor:
    """Ink of random sharpness, three in four at the digits' own 8×8, with noise: (N, 1, side, side), 1 paper, 0 ink."""
    count = len(ink)

    def uniform(low: float, high: float) -> torch.Tensor:
        return (torch.rand(count, generator=generator) * (high - low) + low).view(-1, 1, 1, 1)

    ink = ((ink - 0.5) * uniform(4, 12) + 0.5).clamp(0, 1)
    ink = functional.interpolate(ink, size=(_INK_PX, _INK_PX), mode="area")
    counts = torch.round((functional.avg_pool2d(ink, 4) * uniform(0.8, 1.3)).clamp(0, 1) * 16) / 16
    coarse = functional.interpolate(counts, size=(side_px, side_px), mode="bilinear", align_corners=False)
    fine = functional.interpolate(ink, size=(side_px, side_px), mode="area")
    ink = torch.where(uniform(0, 1) < 0.75, coarse, fine)
    noise = torch.randn(ink.shape, generator=generator) * uniform(0, 0.08)
    return 1 - (ink + noise).clamp(0, 1)


def _blurred(images: torch.Tensor, sigma_px: float) -> torch.Tensor:
    """A Gaussian blur of each channel, cut at three sigma."""
    radius = int(3 * sigma_px)
    kernel = torch.exp(-(torch.arange(-radius, radius + 1).float() ** 2) / (2 * sigma_px**2))
    kernel = (kernel / kernel.sum()).repeat(images.shape[1], 1, 1, 1)
    images = functional.conv2d(images, kernel, padding=(0, radius), groups=images.shape[1])
    return functional.conv2d(images, kernel.transpose(2, 3), padding=(radius, 0), groups=images.shape[1])
