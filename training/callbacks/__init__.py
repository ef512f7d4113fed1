"""What happens at the moments of a training run; one concept a file. `base` says what the moments are."""

from training.callbacks.base import Callback, Logs, Monitor, Patience
from training.callbacks.csv_logger import CSVLogger
from training.callbacks.early_stopping import EarlyStopping
from training.callbacks.model_checkpoint import ModelCheckpoint
from training.callbacks.progress import Progress
from training.callbacks.prometheus_textfile import PrometheusTextfile
from training.callbacks.reduce_lr_on_plateau import ReduceLROnPlateau
from training.callbacks.tensorboard_logger import TensorBoardLogger
from training.callbacks.terminate_on_nan import TerminateOnNaN, TrainingDiverged
from training.callbacks.warmup_cosine import WarmupCosine

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "Logs",
    "ModelCheckpoint",
    "Monitor",
    "Patience",
    "Progress",
    "PrometheusTextfile",
    "ReduceLROnPlateau",
    "TensorBoardLogger",
    "TerminateOnNaN",
    "TrainingDiverged",
    "WarmupCosine",
]
