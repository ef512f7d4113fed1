"""Every knob of a training run: type, bound, unit. A recipe in TOML plus what the command line overrides; never the environment."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from training.augmentation import AUGMENTATIONS
from training.finetuning import BatchNorm, Phase
from vision.architectures import ARCHITECTURES
from vision.architectures.classifier import Classifier
from vision.errors import SightlineError
from vision.preprocessing import Preprocessing

RECIPES = Path(__file__).parent / "recipes"


class ConfigError(SightlineError):
    """A setting is unknown, out of range, or cannot work with another. The message names it."""

    code = "config_error"


class TrainConfig(BaseModel):
    """One training run. The whole of it goes into the bundle's provenance."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    arch: str = "mobilenet_v2"
    """A name in the registry of architectures."""
    arch_arguments: dict[str, Any] = {}
    """What the architecture's function takes beside the number of categories."""
    weights: str = "none"
    """A safetensors file with a pretrained backbone, or `none` to train everything from scratch in one phase."""
    preprocessing: Preprocessing | None = None
    """None takes the architecture's own."""
    augmentation: str = "photos"
    """A name in `training.augmentation`; applied to training images only."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    """Of the split, the order, the augmentation and the initial weights."""
    val_share: Annotated[float, Field(ge=0.01, le=0.5)] = 0.15
    """Share of each category's images that training chooses by."""
    test_share: Annotated[float, Field(ge=0.01, le=0.5)] = 0.15
    """Share of each category's images that only the final report sees."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 32
    """Images a step."""
    epochs_frozen: Annotated[int, Field(ge=1, le=1000)] = 10
    """Phase 1, at most."""
    epochs_finetuned: Annotated[int, Field(ge=0, le=1000)] = 10
    """Phase 2, at most; 0 leaves the backbone as it is."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """AdamW's, of the head on the frozen backbone, and of everything where there are no weights."""
    finetune_ratio: Annotated[float, Field(ge=10, le=100)] = 10
    """Phase 2 learns this many times slower."""
    unfreeze_blocks: Annotated[int, Field(ge=1, le=1000)] = 1000
    """How many blocks next to the head learn in phase 2; more than there are means all."""
    batch_norm: BatchNorm = "frozen"
    """Of the unfrozen blocks in phase 2: keep it, train its affine parameters, or train it fully."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    """AdamW's, on weights only."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the target that is spread over all categories."""
    monitor: Literal["val_loss", "val_acc@1"] = "val_loss"
    """What the callbacks choose by."""
    schedule: Literal["plateau", "cosine"] = "plateau"
    """`plateau`: the rate is lowered when a phase stands still; `cosine`: it rises and falls by a fixed curve in each phase."""
    stop_patience: Annotated[int, Field(ge=1, le=1000)] = 6
    """Epochs without improvement after which a phase ends."""
    plateau_patience: Annotated[int, Field(ge=1, le=1000)] = 2
    """Epochs without improvement after which the learning rate is lowered, with `plateau`."""
    plateau_factor: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """What it is then multiplied by."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.arch not in ARCHITECTURES:
            raise ValueError(f"arch is {self.arch!r}; choose one of {', '.join(sorted(ARCHITECTURES))}.")
        if self.augmentation not in AUGMENTATIONS:
            raise ValueError(f"augmentation is {self.augmentation!r}; choose one of {', '.join(sorted(AUGMENTATIONS))}.")
        if self.val_share + self.test_share > 0.8:
            raise ValueError(f"val_share + test_share is {self.val_share + self.test_share:.2f}; leave at least 0.2 to learn from.")
        if self.schedule == "plateau" and self.plateau_patience >= self.stop_patience:
            raise ValueError(
                f"plateau_patience is {self.plateau_patience} and stop_patience {self.stop_patience}; "
                "the phase would end before a lower learning rate could help. Make stop_patience the larger."
            )
        return self

    @property
    def resolved_preprocessing(self) -> Preprocessing:
        """The preprocessing that is used: the config's own, or the architecture's."""
        return self.preprocessing or ARCHITECTURES[self.arch].preprocessing

    def phases(self, model: Classifier) -> list[Phase]:
        """What the two phases, or the one from scratch, are for this network."""
        everything = len(model.backbone)
        if self.weights == "none":
            epochs = self.epochs_frozen + self.epochs_finetuned
            return [Phase("scratch", epochs, self.learning_rate, self.learning_rate, everything, "full")]
        slow = self.learning_rate / self.finetune_ratio
        frozen = Phase("frozen", self.epochs_frozen, self.learning_rate, 0.0, 0, "frozen")
        finetuned = Phase("fine-tuned", self.epochs_finetuned, slow, slow, min(self.unfreeze_blocks, everything), self.batch_norm)
        return [frozen, finetuned] if self.epochs_finetuned else [frozen]


def load_config(recipe: str | None, overrides: dict[str, Any]) -> TrainConfig:
    """A recipe's `[config]` with overrides on top.

    Args:
        recipe: a file, or the name of one in training/recipes; None starts from the defaults.
        overrides: fields that win.

    Raises:
        ConfigError: no such recipe, or a setting that is unknown or out of range, by name.
    """
    fields: dict[str, Any] = {}
    if recipe is not None:
        file = Path(recipe) if recipe.endswith(".toml") else RECIPES / f"{recipe}.toml"
        if not file.is_file():
            there = ", ".join(sorted(found.stem for found in RECIPES.glob("*.toml")))
            raise ConfigError(f"There is no recipe {recipe!r}; give a .toml file, or one of: {there}.")
        fields = tomllib.loads(file.read_text())["config"]
    try:
        return TrainConfig.model_validate(fields | overrides)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'config'}: {item['msg']}" for item in error.errors())
        raise ConfigError(f"The training configuration cannot be used: {problems}") from error
