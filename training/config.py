"""The settings of a training run: type, bound, unit. From a recipe and the command line, not the environment."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from training.data.augmentation import NONE as NO_AUGMENTATION
from training.data.problems import ProblemFiles
from training.data.splitting import SplitRule
from training.loop.config import LoopConfig
from training.loop.finetuning import BatchNorm, Phase
from training.loop.pretrained import NONE, default_preprocessing
from vision.architectures.classifier import Classifier
from vision.architectures.registry import architecture
from vision.bundle.store import Bundle
from vision.errors import ManifestInvalid, SightlineError
from vision.preprocessing import Preprocessing

RECIPES = Path(__file__).parent / "recipes"


class ConfigError(SightlineError):
    """A setting is unknown, out of range, or conflicts with another one. The message names it."""

    code = "config_error"


class TrainConfig(LoopConfig):
    """One training run. The whole of it goes into the bundle's provenance."""

    arch: str = "mobilenet_v2"
    """Architecture: a name in the registry, or another classifier of torchvision. `architectures` lists them."""
    arch_arguments: Annotated[dict[str, Any], Field(default_factory=dict)]
    """Arguments of the architecture's function, besides the number of categories."""
    weights: str = "none"
    """Pretrained backbone: a .safetensors file, `imagenet` or other torchvision weights, or `none` (from scratch)."""
    preprocessing: Preprocessing | None = None
    """Resize, crop and normalisation. If not set: those of the weights, else the architecture's own."""
    image_px: Annotated[int | None, Field(ge=8, le=2048)] = None
    """Side of the network's input in pixels; the resize scales with it. If not set: the preprocessing's own."""

    problem_files: ProblemFiles = "quarantine"
    """Files that cannot be read or contradict each other: `quarantine` leaves them out, `refuse` stops."""
    split_seed: Annotated[int | None, Field(ge=0, le=2**32 - 1)] = None
    """Seed of the split alone. Set it to compare runs with several seeds on the same test images."""
    val_share: Annotated[float, Field(ge=0.01, le=0.5)] = 0.15
    """Share of each category's images used for validation. The actual share varies a little by chance."""
    test_share: Annotated[float, Field(ge=0.01, le=0.5)] = 0.15
    """Share of each category's images used for the final report only. The actual share varies a little by chance."""
    group_by: str | None = None
    """Regular expression on paths: files with the same match go into the same part."""

    epochs_frozen: Annotated[int, Field(ge=1, le=1000)] = 10
    """Largest number of epochs with a frozen backbone (phase 1)."""
    epochs_finetuned: Annotated[int, Field(ge=0, le=1000)] = 10
    """Largest number of epochs with an unfrozen backbone (phase 2). 0 skips the phase."""
    cache_features: bool | None = None
    """Fit the head on features computed once (phase 0), not in phase 1. If not set: only if augmentation is `none`."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Learning rate of the head in phase 1, and of the whole network if weights is `none`."""
    finetune_ratio: Annotated[float, Field(ge=10, le=100)] = 10
    """In phase 2 the learning rate is divided by this."""
    block_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """In phase 2 the learning rate falls by this factor from each block to the next one further from the head."""
    unfreeze_blocks: Annotated[int | None, Field(ge=1, le=1000)] = None
    """Blocks that learn in phase 2, counted from the head. If not set: all, unless unfreeze_layers is set."""
    unfreeze_layers: Annotated[int | None, Field(ge=1, le=10_000)] = None
    """Layers that learn in phase 2, counted from the head, instead of blocks."""
    batch_norm: BatchNorm = "frozen"
    """BatchNorm in unfrozen parts of phase 2: `frozen`, `affine` trains its parameters, `full` also its statistics."""

    monitor: Literal["val_loss", "val_acc@1"] = "val_loss"
    """The value by which the best epoch is chosen."""
    schedule: Literal["plateau", "cosine"] = "plateau"
    """`plateau` lowers the learning rate when a phase stops improving; `cosine` follows a fixed curve in each phase."""
    stop_patience: Annotated[int, Field(ge=1, le=1000)] = 6
    """Epochs without improvement after which a phase ends."""
    plateau_patience: Annotated[int, Field(ge=1, le=1000)] = 2
    """Epochs without improvement after which `plateau` lowers the learning rate."""
    plateau_factor: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Factor by which `plateau` lowers the learning rate."""
    checkpoint_steps: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Also write a checkpoint every this many steps within an epoch. 0 writes one after each epoch only."""

    @field_validator("preprocessing", mode="before")
    @classmethod
    def _colours_of_today(cls, value: Any) -> Any:
        """`stored`, the field's own default, is for bundles from before the field."""
        return {"colours": "srgb"} | value if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        architecture(self.arch)
        if self.val_share + self.test_share > 0.8:
            raise ValueError(
                f"val_share + test_share is {self.val_share + self.test_share:.2f}; leave at least 0.2 for training."
            )
        if self.schedule == "plateau" and self.plateau_patience >= self.stop_patience:
            raise ValueError(
                f"plateau_patience is {self.plateau_patience} and stop_patience {self.stop_patience}; "
                "the phase would end before a lower learning rate could help. Set stop_patience higher."
            )
        if self.unfreeze_blocks is not None and self.unfreeze_layers is not None:
            raise ValueError("unfreeze_blocks and unfreeze_layers are both given; give one of them.")
        if self.cache_features and self.weights == NONE:
            raise ValueError(
                "cache_features is on and weights is 'none', but an untrained backbone gives no useful features. "
                "Set weights, or turn cache_features off."
            )
        return self

    @property
    def resolved_preprocessing(self) -> Preprocessing:
        """The preprocessing in use: the configuration's, else the weights', else the architecture's; at `image_px`."""
        chosen = self.preprocessing or default_preprocessing(self.arch, self.weights)
        if self.image_px is None:
            return chosen
        resize_px = round(chosen.resize_px * self.image_px / chosen.crop_px)
        return Preprocessing.model_validate(chosen.model_dump() | {"resize_px": resize_px, "crop_px": self.image_px})

    @property
    def split_rule(self) -> SplitRule:
        """The rule that decides which image is in which part."""
        return SplitRule(
            self.seed if self.split_seed is None else self.split_seed, self.val_share, self.test_share, self.group_by
        )

    def phases(self, model: Classifier) -> list[Phase]:
        """The phases of this network: one from scratch, else two."""
        everything = len(model.blocks)
        if self.weights == NONE:
            epochs = self.epochs_frozen + self.epochs_finetuned
            return [Phase("scratch", epochs, self.learning_rate, self.learning_rate, everything, "full")]
        cached = self.augmentation == NO_AUGMENTATION if self.cache_features is None else self.cache_features
        if cached:
            first = Phase("features", 1, self.learning_rate, 0.0, 0, "frozen", cached_features=True)
        else:
            first = Phase("frozen", self.epochs_frozen, self.learning_rate, 0.0, 0, "frozen")
        slow = self.learning_rate / self.finetune_ratio
        blocks = min(self.unfreeze_blocks or everything, everything)
        finetuned = Phase(
            "fine-tuned",
            self.epochs_finetuned,
            slow,
            slow,
            blocks,
            self.batch_norm,
            self.unfreeze_layers or 0,
            self.block_decay,
        )
        return [first, finetuned] if self.epochs_finetuned else [first]


def load_config(recipe: str | None, overrides: dict[str, Any]) -> TrainConfig:
    """A recipe's `[config]` with overrides on top.

    Args:
        recipe: a .toml file, or the name of one in training/recipes; None starts from the defaults.
        overrides: fields that take precedence.

    Raises:
        ConfigError: no such recipe, or a setting that is unknown or out of range, by name.
    """
    fields: dict[str, Any] = {}
    if recipe is not None:
        file = Path(recipe) if recipe.endswith(".toml") else RECIPES / f"{recipe}.toml"
        if not file.is_file():
            there = ", ".join(sorted(found.stem for found in RECIPES.glob("*.toml")))
            raise ConfigError(f"There is no recipe {recipe!r}; give a .toml file, or one of: {there}.")
        try:
            fields = tomllib.loads(file.read_text())["config"]
        except (tomllib.TOMLDecodeError, KeyError) as error:
            raise ConfigError(f"{file} is not a recipe: it must be TOML with a table [config] ({error}).") from error
    try:
        return TrainConfig.model_validate(fields | overrides)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'config'}: {item['msg']}" for item in error.errors())
        raise ConfigError(f"The training configuration cannot be used: {problems}") from error


def read_config(bundle: Bundle) -> TrainConfig:
    """The configuration that a bundle was trained with.

    Raises:
        ManifestInvalid: this version does not understand it.
    """
    try:
        return TrainConfig.model_validate(bundle.manifest.provenance.config)
    except ValueError as error:
        raise ManifestInvalid(
            "manifest.json", f"provenance.config is not a training configuration of this version: {error}"
        ) from error
