"""What happens at the moments of a training run; one concept a file. `base` says what the moments are."""

from training.callbacks.base import Callback, Logs, Monitor, Patience
from training.callbacks.early_stopping import EarlyStopping
from training.callbacks.model_checkpoint import ModelCheckpoint
from training.callbacks.progress import Progress
from training.callbacks.reduce_lr_on_plateau import ReduceLROnPlateau
from training.callbacks.warmup_cosine import WarmupCosine

__all__ = ["Callback", "EarlyStopping", "Logs", "ModelCheckpoint", "Monitor", "Patience", "Progress", "ReduceLROnPlateau", "WarmupCosine"]
