"""Every knob of a training run: type, bound, unit. A recipe in TOML plus what the command line overrides; never the environment."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from training.data.augmentation import NONE, augmentation
from training.data.problems import ProblemFiles
from training.data.splitting import SplitRule
from training.loop.finetuning import BatchNorm, OptimizerName, Phase
from training.loop.pretrained import default_preprocessing
from training.loop.sampling import Balance
from training.loop.trainer import Precision
from vision.architectures import architecture
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
    """A name in the registry of architectures, or another classifier of torchvision."""
    arch_arguments: dict[str, Any] = {}
    """What the architecture's function takes beside the number of categories."""
    weights: str = "none"
    """A .safetensors file with a pretrained backbone, `imagenet` or another of torchvision's weights, or `none`: from scratch."""
    preprocessing: Preprocessing | None = None
    """None takes that of the weights, else the architecture's own."""
    image_px: Annotated[int | None, Field(ge=8, le=2048)] = None
    """Side of the square that the network sees; the resizing scales with it. None leaves it as it is."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    """Of the order, the augmentation and the initial weights; and of the split, where split_seed is not given."""

    problem_files: ProblemFiles = "quarantine"
    """Files that cannot be read or contradict each other: `quarantine` leaves them out and names them, `refuse` stops."""
    split_seed: Annotated[int | None, Field(ge=0, le=2**32 - 1)] = None
    """Of the split alone, so that runs with several seeds can be compared on the same test images."""
    val_share: Annotated[float, Field(ge=0.01, le=0.5)] = 0.15
    """Share of each category's images that training chooses by, up to chance."""
    test_share: Annotated[float, Field(ge=0.01, le=0.5)] = 0.15
    """Share of each category's images that only the final report sees, up to chance."""
    group_by: str | None = None
    """A regular expression on paths: files with the same match stay in one part."""
    augmentation: str = "photos"
    """Names of `training.data.augmentation`, joined with +; applied to training images only."""
    balance: Balance = "none"
    """Of categories: `loss` weighs each the same, `sampler` draws each as often."""

    batch_size: Annotated[int, Field(ge=1, le=4096)] = 32
    """Images a step."""
    accumulate: Annotated[int, Field(ge=1, le=256)] = 1
    """Pieces in which a step goes through the network: more need less memory."""
    epochs_frozen: Annotated[int, Field(ge=1, le=1000)] = 10
    """Phase 1, at most."""
    epochs_finetuned: Annotated[int, Field(ge=0, le=1000)] = 10
    """Phase 2, at most; 0 leaves the backbone as it is."""
    cache_features: bool | None = None
    """Phase 0 instead of phase 1: the head on features computed once. None does so where augmentation is off."""
    optimizer: OptimizerName = "adamw"
    """See `training.loop.finetuning.make_optimizer`."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Of the head on the frozen backbone, and of everything where there are no weights."""
    finetune_ratio: Annotated[float, Field(ge=10, le=100)] = 10
    """Phase 2 learns this many times slower."""
    block_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Phase 2: the rate of a block divided by that of the next one towards the head."""
    unfreeze_blocks: Annotated[int | None, Field(ge=1, le=1000)] = None
    """How many blocks next to the head learn in phase 2; None means all, unless unfreeze_layers is given."""
    unfreeze_layers: Annotated[int | None, Field(ge=1, le=10_000)] = None
    """How many layers next to the head learn in phase 2, instead of blocks."""
    batch_norm: BatchNorm = "frozen"
    """Of the unfrozen parts in phase 2: keep it, train its affine parameters, or train it fully."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    """On weights only."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the target that is spread over all categories."""
    clip_norm: Annotated[float | None, Field(gt=0, le=1000)] = None
    """The largest norm of all gradients together; None does not clip."""
    ema_decay: Annotated[float | None, Field(ge=0, lt=1)] = None
    """Of the moving average of the weights that is evaluated and kept; None keeps the weights themselves."""
    precision: Precision = "float32"
    """Of the forward pass; float16 needs a GPU."""

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
    checkpoint_steps: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Also writes a checkpoint after each so many steps of an epoch; 0 only after epochs."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        architecture(self.arch)
        augmentation(self.augmentation)
        if self.val_share + self.test_share > 0.8:
            raise ValueError(f"val_share + test_share is {self.val_share + self.test_share:.2f}; leave at least 0.2 to learn from.")
        if self.schedule == "plateau" and self.plateau_patience >= self.stop_patience:
            raise ValueError(
                f"plateau_patience is {self.plateau_patience} and stop_patience {self.stop_patience}; "
                "the phase would end before a lower learning rate could help. Make stop_patience the larger."
            )
        if self.unfreeze_blocks is not None and self.unfreeze_layers is not None:
            raise ValueError("unfreeze_blocks and unfreeze_layers are both given; give one of them.")
        if self.cache_features and self.weights == NONE:
            raise ValueError("cache_features is on and weights is 'none'; features of an untrained backbone are worth nothing.")
        if self.accumulate > self.batch_size:
            raise ValueError(f"accumulate is {self.accumulate}, but a step has only batch_size={self.batch_size} images.")
        return self

    @property
    def resolved_preprocessing(self) -> Preprocessing:
        """The preprocessing that is used: the config's own, that of the weights, or the architecture's; at the size asked for."""
        chosen = self.preprocessing or default_preprocessing(self.arch, self.weights)
        if self.image_px is None:
            return chosen
        resize_px = round(chosen.resize_px * self.image_px / chosen.crop_px)
        return Preprocessing.model_validate(chosen.model_dump() | {"resize_px": resize_px, "crop_px": self.image_px})

    @property
    def split_rule(self) -> SplitRule:
        """What decides which image is in which part."""
        return SplitRule(self.seed if self.split_seed is None else self.split_seed, self.val_share, self.test_share, self.group_by)

    def phases(self, model: Classifier) -> list[Phase]:
        """What the two phases, or the one from scratch, are for this network."""
        everything = len(model.blocks)
        if self.weights == NONE:
            epochs = self.epochs_frozen + self.epochs_finetuned
            return [Phase("scratch", epochs, self.learning_rate, self.learning_rate, everything, "full")]
        cached = self.augmentation == NONE if self.cache_features is None else self.cache_features
        if cached:
            first = Phase("features", 1, self.learning_rate, 0.0, 0, "frozen", cached_features=True)
        else:
            first = Phase("frozen", self.epochs_frozen, self.learning_rate, 0.0, 0, "frozen")
        slow = self.learning_rate / self.finetune_ratio
        blocks = min(self.unfreeze_blocks or everything, everything)
        finetuned = Phase(
            "fine-tuned", self.epochs_finetuned, slow, slow, blocks, self.batch_norm, self.unfreeze_layers or 0, self.block_decay
        )
        return [first, finetuned] if self.epochs_finetuned else [first]


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
        try:
            fields = tomllib.loads(file.read_text())["config"]
        except (tomllib.TOMLDecodeError, KeyError) as error:
            raise ConfigError(f"{file} is no recipe: it must be TOML with a table [config] ({error}).") from error
    try:
        return TrainConfig.model_validate(fields | overrides)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'config'}: {item['msg']}" for item in error.errors())
        raise ConfigError(f"The training configuration cannot be used: {problems}") from error
