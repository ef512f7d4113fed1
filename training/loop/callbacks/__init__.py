"""Callbacks, one in each file; `base` describes the moments at which they are called."""

from training.loop.callbacks.base import Callback, Logs, Monitor, Patience
from training.loop.callbacks.csv_logger import CSVLogger
from training.loop.callbacks.early_stopping import EarlyStopping
from training.loop.callbacks.model_checkpoint import ModelCheckpoint
from training.loop.callbacks.progress import Progress
from training.loop.callbacks.prometheus_textfile import PrometheusTextfile
from training.loop.callbacks.reduce_lr_on_plateau import ReduceLROnPlateau
from training.loop.callbacks.tensorboard_logger import TensorBoardLogger
from training.loop.callbacks.terminate_on_nan import TerminateOnNaN, TrainingDiverged
from training.loop.callbacks.warmup_cosine import WarmupCosine

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
