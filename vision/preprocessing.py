"""One definition of how an image becomes a model's input, as data that travels in the bundle.

There are two steps. The geometry turns decoded RGB of any size into uint8 (crop_px, crop_px, channels); training and
service both run it here, in Pillow and NumPy. The normalisation turns uint8 into float32; every engine holds it in its
own graph, and `normalise` is the reference for that. Imports no torch.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from vision.geometry import place
from vision.image import Colours, Pixels

# The statistics of ImageNet's training photos that torchvision's weights were trained with:
# https://docs.pytorch.org/vision/stable/models.html
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
Side = Annotated[int, Field(ge=1, le=4096)]


class GeometryStep(NamedTuple):
    """What one step of the geometry gives.

    Attributes:
        name: channels, resized or squared.
        pixels: uint8 (H, W, C).
    """

    name: Literal["channels", "resized", "squared"]
    pixels: Pixels


class Preprocessing(BaseModel):
    """How to resize, crop and scale. Immutable, validated, and written to the bundle as it stands.

    `crop` scales the short side to `resize_px` and cuts the middle; `pad` scales the long side to `resize_px` and fills
    up to the square; `squash` scales both sides to `resize_px`, whatever the aspect, and cuts the middle.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    policy: Literal["crop", "pad", "squash"]
    """What happens to an image that is not square."""
    resize_px: Side
    """Pixels: the side to which the policy scales."""
    crop_px: Side
    """Pixels: the side of the square that the model sees."""
    interpolation: Literal["nearest", "bilinear", "bicubic"] = "bilinear"
    """How pixels are resampled."""
    antialias: bool = True
    """Whether shrinking averages over every source pixel, as Pillow does. If not, bilinear reads only four."""
    colours: Colours = "stored"
    """What the decoder does with colour profiles: converts to sRGB, or not, as before there was this field."""
    channels: Literal[1, 3] = 3
    """1: luma (ITU-R 601-2, Pillow's `L`); 3: RGB."""
    fill: Annotated[int, Field(ge=0, le=255)] = 0
    """0 to 255: the value with which `pad` fills."""
    scale: Annotated[float, Field(gt=0, le=1)] = 1 / 255
    """Factor for the values 0 to 255, applied before mean and std."""
    mean: tuple[float, ...]
    """One for each channel, in scaled units, -1 to 1."""
    std: tuple[float, ...]
    """One for each channel, in scaled units, 0.001 to 10."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, values, low, high in (("mean", self.mean, -1.0, 1.0), ("std", self.std, 0.001, 10.0)):
            if len(values) != self.channels:
                raise ValueError(
                    f"{name} has {len(values)} values; with channels={self.channels} it must have {self.channels}."
                )
            if not all(low <= value <= high for value in values):
                raise ValueError(f"{name} is {values}; every value must lie between {low} and {high}.")
        if self.policy == "pad" and self.resize_px > self.crop_px:
            raise ValueError(
                f"resize_px is {self.resize_px}; with policy='pad' it may be at most crop_px={self.crop_px}."
            )
        if self.policy != "pad" and self.resize_px < self.crop_px:
            raise ValueError(
                f"resize_px is {self.resize_px}; with policy={self.policy!r} it must be at least "
                f"crop_px={self.crop_px}."
            )
        if self.interpolation == "bicubic" and not self.antialias:
            raise ValueError(
                "antialias=False is defined for 'nearest' and 'bilinear'; use one of them, or antialias=True."
            )
        return self

    @classmethod
    def imagenet(cls, resize_px: int = 256, crop_px: int = 224, **overrides: Any) -> Self:
        """As torchvision's ImageNet weights need it: the middle of the image, RGB, ImageNet's mean and std."""
        fields = {
            "policy": "crop",
            "colours": "srgb",
            "resize_px": resize_px,
            "crop_px": crop_px,
            "mean": IMAGENET_MEAN,
            "std": IMAGENET_STD,
        }
        return cls.model_validate(fields | overrides)

    @classmethod
    def zero_one(cls, side_px: int, **overrides: Any) -> Self:
        """Squashed to a square, values in [0, 1]."""
        channels = overrides.get("channels", 3)
        fields = {
            "policy": "squash",
            "colours": "srgb",
            "resize_px": side_px,
            "crop_px": side_px,
            "mean": (0.0,) * channels,
            "std": (1.0,) * channels,
        }
        return cls.model_validate(fields | overrides)

    @classmethod
    def minus_one_one(cls, side_px: int, **overrides: Any) -> Self:
        """Squashed to a square, values in [-1, 1]."""
        channels = overrides.get("channels", 3)
        fields = {
            "policy": "squash",
            "colours": "srgb",
            "resize_px": side_px,
            "crop_px": side_px,
            "mean": (0.5,) * channels,
            "std": (0.5,) * channels,
        }
        return cls.model_validate(fields | overrides)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of what `apply` returns."""
        return (self.crop_px, self.crop_px, self.channels)

    def apply(self, image: Pixels) -> Pixels:
        """The geometry: scales, cuts or pads, and reduces the channels.

        Args:
            image: uint8 (H, W, 3), RGB, upright, as `vision.image.decode` returns it.

        Returns:
            uint8 (crop_px, crop_px, channels).
        """
        for _, picture in self._steps(image):
            last = picture
        return self._pixels(last)

    def steps(self, image: Pixels) -> Iterator[GeometryStep]:
        """The same geometry step by step; the last step is what `apply` returns."""
        for name, picture in self._steps(image):
            yield GeometryStep(name, self._pixels(picture))

    def normalise(self, images: Pixels) -> npt.NDArray[np.float32]:
        """The normalisation, by reference: (N, H, W, C) uint8 → (N, C, H, W) float32."""
        values = (images.astype(np.float32) * np.float32(self.scale) - np.array(self.mean, np.float32)) / np.array(
            self.std, np.float32
        )
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2))

    def describe(self) -> str:
        """The preprocessing as an English sentence."""
        does = self.describe_steps()
        return (
            f"It {does['colours']}, {does['channels']}, {does['resized']} and {does['squared']}, {does['normalised']}."
        )

    def describe_steps(self) -> dict[str, str]:
        """What each step does, as a part of a sentence: colours, channels, resized, squared, normalised."""
        how = f"{self.interpolation} interpolation {'with' if self.antialias else 'without'} antialiasing"
        square = f"{self.crop_px}×{self.crop_px} px"
        numbers = [", ".join(f"{value:g}" for value in values) for values in (self.mean, self.std)]
        return {
            "colours": "converts colours to sRGB by what the file says of them"
            if self.colours == "srgb"
            else "takes colours as they are stored, whatever profile the file has",
            "channels": "reduces the image to one gray channel"
            if self.channels == 1
            else "keeps the three RGB channels",
            "resized": {
                "crop": f"scales the short side to {self.resize_px} px ({how})",
                "pad": f"scales the long side to {self.resize_px} px ({how})",
                "squash": f"scales both sides to {self.resize_px} px whatever the aspect ({how})",
            }[self.policy],
            "squared": f"fills up to {square} with {self.fill}"
            if self.policy == "pad"
            else f"cuts out the central {square}",
            "normalised": f"multiplies the values by {self.scale:.6g}, subtracts {numbers[0]} "
            f"and divides by {numbers[1]}",
        }

    def _steps(self, image: Pixels) -> Iterator[tuple[Literal["channels", "resized", "squared"], Image.Image]]:
        picture = Image.fromarray(image)
        if self.channels == 1:
            picture = picture.convert("L")
        yield "channels", picture
        placement = place(self, picture.width, picture.height)
        if placement.box != (0, 0, *picture.size):
            picture = picture.crop(placement.box)
        picture = self._resize(picture, placement.size)
        yield "resized", picture
        yield "squared", self._squared(picture, placement.corner)

    def _pixels(self, picture: Image.Image) -> Pixels:
        pixels = np.asarray(picture)
        return np.ascontiguousarray(pixels[:, :, None] if self.channels == 1 else pixels)

    def _resize(self, picture: Image.Image, size: tuple[int, int]) -> Image.Image:
        if picture.size == size:
            return picture
        if self.antialias or self.interpolation == "nearest":
            return picture.resize(size, _RESAMPLING[self.interpolation])
        return Image.fromarray(_bilinear(np.asarray(picture), size))

    def _squared(self, picture: Image.Image, corner: tuple[int, int]) -> Image.Image:
        left, top = corner
        if self.policy == "pad":
            square = Image.new(
                picture.mode,
                (self.crop_px, self.crop_px),
                (self.fill,) * self.channels if self.channels == 3 else self.fill,
            )
            square.paste(picture, (-left, -top))
            return square
        return picture.crop((left, top, left + self.crop_px, top + self.crop_px))


def _bilinear(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Bilinear without antialiasing, as torch's interpolate(antialias=False, align_corners=False)."""
    values = pixels.astype(np.float32)
    for axis, length in ((0, size[1]), (1, size[0])):
        source = pixels.shape[axis]
        at = ((np.arange(length, dtype=np.float32) + 0.5) * np.float32(source / length) - 0.5).clip(0, source - 1)
        low = at.astype(np.int64)
        weight = (at - low).reshape([-1 if i == axis else 1 for i in range(values.ndim)])
        high = np.minimum(low + 1, source - 1)
        values = values.take(low, axis) * (1 - weight) + values.take(high, axis) * weight
    return np.rint(values).clip(0, 255).astype(np.uint8)
