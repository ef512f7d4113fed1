"""Random changes of training images that keep their label. Works on whole batches, on the batch's device.

An augmentation is named by parts that are joined with +, at most one of each kind, e.g.
`photos+trivialaugment+erasing+mixup`. All parts draw from torch's global generator, which the trainer seeds before each
step.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional
from torchvision.transforms import InterpolationMode, v2

NONE = "none"


@dataclass(frozen=True)
class Affine:
    """One random affine map for each image. Pixels from outside repeat the nearest edge.

    Attributes:
        rotation_deg: largest rotation in degrees, in both directions.
        shift: largest shift as a share of the side, in both directions.
        zoom_in: largest enlargement, as a share.
        zoom_out: largest reduction, as a share.
        shear: largest slope, in both directions.
        flip: whether to mirror half of the images.
    """

    rotation_deg: float = 0.0
    shift: float = 0.0
    zoom_in: float = 0.0
    zoom_out: float = 0.0
    shear: float = 0.0
    flip: bool = False

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) float32, any range → the same shape."""
        count, device = len(images), images.device

        def uniform(low: float, high: float) -> torch.Tensor:
            return torch.rand(count, device=device) * (high - low) + low

        angle = uniform(-self.rotation_deg, self.rotation_deg).deg2rad()
        # grid_sample maps output to input: a factor above 1 shows more of the input, so the object becomes smaller.
        width, height = (uniform(1 - self.zoom_in, 1 + self.zoom_out) for _ in range(2))
        mirror = (
            1 - 2 * (torch.rand(count, device=device) < 0.5).float() if self.flip else torch.ones(count, device=device)
        )
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


AFFINE = {
    # The usual settings of Keras' ImageDataGenerator examples.
    "photos": Affine(rotation_deg=20, shift=0.2, zoom_in=0.15, zoom_out=0.15, flip=True),
    # No mirroring, which would turn one character into another.
    "characters": Affine(rotation_deg=12, shift=0.08, zoom_in=0.12, zoom_out=0.25, shear=0.15),
    "flip": Affine(flip=True),
}
# Random changes of colour and geometry. Bilinear, because torchvision's default, nearest, makes edges ragged.
POLICIES = {
    "trivialaugment": v2.TrivialAugmentWide(
        interpolation=InterpolationMode.BILINEAR
    ),  # https://arxiv.org/abs/2103.10158
    "randaugment": v2.RandAugment(2, 9, interpolation=InterpolationMode.BILINEAR),  # https://arxiv.org/abs/1909.13719
}
ERASING = "erasing"
_ERASE = v2.RandomErasing(p=0.25)  # https://arxiv.org/abs/1708.04896; the share that timm's recipes use
# The strengths of torchvision's own recipes: https://github.com/pytorch/vision/issues/3995
MIXING = {
    "mixup": (v2.MixUp, 0.2),
    "cutmix": (v2.CutMix, 1.0),
}  # https://arxiv.org/abs/1710.09412, https://arxiv.org/abs/1905.04899
NAMES = (NONE, *AFFINE, *POLICIES, ERASING, *MIXING)


@dataclass(frozen=True)
class Augmentation:
    """The steps that a training batch goes through, in the order of the attributes. None and False skip a step.

    Attributes:
        policy: a name in POLICIES, on pixels.
        affine: on normalised values.
        erasing: whether to erase a rectangle in a quarter of the images.
        mixing: a name in MIXING: mixes pairs of images and their labels.
    """

    policy: str | None = None
    affine: Affine | None = None
    erasing: bool = False
    mixing: str | None = None

    def on_pixels(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 (N, H, W, C) → the same shape."""
        if self.policy is None:
            return images
        upright = images.permute(0, 3, 1, 2)  # each image gets a policy of its own
        return torch.stack([POLICIES[self.policy](image) for image in upright]).permute(0, 2, 3, 1)

    def on_values(
        self, images: torch.Tensor, labels: torch.Tensor, num_classes: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised (N, C, H, W) and labels (N,) → the same shape, and labels (N,); if mixed (N, num_classes)."""
        if self.affine is not None:
            images = self.affine(images)
        if self.erasing:
            images = torch.stack([_ERASE(image) for image in images])
        if self.mixing is not None and len(images) > 1:
            mix, strength = MIXING[self.mixing]
            images, labels = mix(alpha=strength, num_classes=num_classes)(images, labels)
        return images, labels


def augmentation(names: str) -> Augmentation | None:
    """The augmentation of these names: `none`, or names joined with +.

    Raises:
        ValueError: an unknown name, or two of one kind; the message lists the names.
    """
    chosen = names.split("+")
    for name in chosen:
        if name not in NAMES:
            raise ValueError(f"augmentation names {name!r}; choose from {', '.join(NAMES)}, joined with +.")
    if chosen == [NONE]:
        return None
    kinds = [[name for name in chosen if name in kind] for kind in ((NONE,), POLICIES, AFFINE, (ERASING,), MIXING)]
    if kinds[0] or any(len(kind) > 1 for kind in kinds):
        raise ValueError(f"augmentation is {names!r}; none stands alone, and there can be one of each kind at most.")
    _, policy, affine, erasing, mixing = (kind[0] if kind else None for kind in kinds)
    return Augmentation(policy, AFFINE[affine] if affine else None, erasing is not None, mixing)
