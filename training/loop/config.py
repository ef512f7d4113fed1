"""The settings of the training loop itself: type, bound, unit."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from training.data.augmentation import augmentation
from training.loop.finetuning import OptimizerName
from training.loop.sampling import Balance

Precision = Literal["float32", "bfloat16", "float16"]


class LoopConfig(BaseModel):
    """What `training.loop.trainer.Trainer` needs to know; `training.config.TrainConfig` adds the rest of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    """Seed of the image order, the augmentation and the initial weights; also of the split if split_seed is not set."""
    augmentation: str = "photos"
    """Names from `training.data.augmentation`, joined with +. Applied to training images only."""
    balance: Balance = "none"
    """How categories of unequal size are balanced: `loss` weighs them equally, `sampler` draws them equally often."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 32
    """Images in one optimizer step, over all workers."""
    accumulate: Annotated[int, Field(ge=1, le=256)] = 1
    """Number of pieces in which a step's images go through the network. More pieces need less memory."""
    optimizer: OptimizerName = "adamw"
    """The optimizer: `adamw` decays weights directly, `adam` and `sgd` through the gradient."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Weight decay, for weights only: biases and norms are not decayed."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the target that is spread over all categories."""
    clip_norm: Annotated[float | None, Field(gt=0, le=1000)] = None
    """Largest norm of all gradients together. If not set, gradients are not clipped."""
    ema_decay: Annotated[float | None, Field(ge=0, lt=1)] = None
    """Decay of a moving average of the weights, which is then evaluated and kept. If not set: no average."""
    precision: Precision = "float32"
    """Precision of the forward pass. float16 needs a GPU."""

    @model_validator(mode="after")
    def _consistent_loop(self) -> Self:
        augmentation(self.augmentation)
        if self.accumulate > self.batch_size:
            raise ValueError(
                f"accumulate is {self.accumulate}, but a step has only batch_size={self.batch_size} images."
            )
        return self
