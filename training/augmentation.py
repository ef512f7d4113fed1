"""Random changes that leave the label as it is, for training images only. Batched, on whatever device the batch is on."""

from dataclasses import dataclass

import torch
from torch.nn import functional


@dataclass(frozen=True)
class Augmentation:
    """One random affine map an image; what falls outside repeats the nearest edge.

    Attributes:
        rotation_deg: up to this many degrees either way.
        shift: up to this share of the side, in both directions.
        zoom_in: up to this much larger, as a share.
        zoom_out: up to this much smaller, as a share.
        shear: up to this slope either way.
        flip: whether half of the images are mirrored.
    """

    rotation_deg: float = 0.0
    shift: float = 0.0
    zoom_in: float = 0.0
    zoom_out: float = 0.0
    shear: float = 0.0
    flip: bool = False

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) float32, any range → the same shape; draws from torch's global generator."""
        count, device = len(images), images.device

        def uniform(low: float, high: float) -> torch.Tensor:
            return torch.rand(count, device=device) * (high - low) + low

        angle = uniform(-self.rotation_deg, self.rotation_deg).deg2rad()
        # grid_sample maps output to input: a factor above 1 shows more of the input, so the object becomes smaller.
        width, height = (uniform(1 - self.zoom_in, 1 + self.zoom_out) for _ in range(2))
        mirror = 1 - 2 * (torch.rand(count, device=device) < 0.5).float() if self.flip else torch.ones(count, device=device)
        shear = uniform(-self.shear, self.shear)
        # One unit of the grid is half a side.
        move_x, move_y = uniform(-2 * self.shift, 2 * self.shift), uniform(-2 * self.shift, 2 * self.shift)
        cos, sin = torch.cos(angle), torch.sin(angle)
        rows = (
            torch.stack([cos * width * mirror, shear - sin * height, move_x], 1),
            torch.stack([sin * width * mirror, cos * height, move_y], 1),
        )
        grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
        return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


AUGMENTATIONS: dict[str, Augmentation | None] = {
    "none": None,
    # The defaults that Keras' ImageDataGenerator examples made common.
    "photos": Augmentation(rotation_deg=20, shift=0.2, zoom_in=0.15, zoom_out=0.15, flip=True),
    # Nothing mirrored: it would turn one character into another.
    "characters": Augmentation(rotation_deg=12, shift=0.08, zoom_in=0.12, zoom_out=0.25, shear=0.15),
}
