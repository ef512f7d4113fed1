"""`--workers N`: the same loop in several processes, started by Ray Train; with GPUs, one for each.

The processes share each step's images and add up their gradients (`training.workers`). The first one writes checkpoints into
the run's folder, and the caller goes on from the last of them, as from any other.
"""

import os
import secrets
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from training.callbacks.model_checkpoint import LAST
from training.checkpoint import load_checkpoint
from training.config import TrainConfig
from training.fitting import choosing_callbacks, default_device, fit, recording_callbacks
from training.preparation import prepare_data
from training.workers import Workers
from vision.errors import SightlineError

# Read by Ray when it is imported: no usage statistics, no second copy of each line, no wait of 2 s for the end of the loop.
_RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_DISABLE_WORKER_LOG_PREFIX": "1",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "Failed to query Ray Train Controller",
    "GLOO_SOCKET_IFNAME": "lo",
}
_OBJECT_STORE_BYTES = 80 * 2**20


class WorkersFailed(SightlineError):
    """A training process ended by something else than a refusal. The message is what Ray knows of it."""

    code = "workers_failed"


def fit_with_workers(data: Path, run: Path, config: TrainConfig, size: int, resume: bool) -> None:
    """Trains in `size` processes of this machine; the last checkpoint in `run` is then the end of the run.

    Args:
        data: the data folder; each process reads it.
        run: the run's folder, opened.
        config: every setting of the run.
        size: 2 to 64.
        resume: whether the last checkpoint in `run` is where to start.

    Raises:
        SightlineError: what a process raised.
        WorkersFailed: a process died.
    """
    # With a token of its own Ray writes none into the home folder.
    for name, value in (_RAY | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}).items():
        os.environ.setdefault(name, value)
    import ray
    from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig, TrainingFailedError  # V2's own arguments below
    from ray.train.torch import TorchTrainer

    settings = {
        "data": str(data.resolve()),
        "run": str(run.resolve()),
        "config": config.model_dump_json(),
        "resume": resume,
        "threads": max(1, torch.get_num_threads() // size),
    }
    with tempfile.TemporaryDirectory(prefix="sightline-train-", ignore_cleanup_errors=True) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray warns of its own internals
        # 127.0.0.1 would be taken for "this machine" and turned into an outside address.
        ray.init(
            address="local",
            num_cpus=size,
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            _node_ip_address="127.0.0.2",
            _temp_dir=folder,
        )
        try:
            TorchTrainer(
                _loop,
                train_loop_config=settings,
                scaling_config=ScalingConfig(num_workers=size, use_gpu=torch.cuda.is_available()),
                run_config=RunConfig(  # type: ignore[call-arg]
                    name="run",
                    storage_path=f"{folder}/results",
                    failure_config=FailureConfig(max_failures=0, controller_failure_limit=0),  # type: ignore[call-arg]
                    logging_config=LoggingConfig(log_level="CRITICAL"),
                ),
            ).fit()
        except TrainingFailedError as error:
            failures = getattr(error, "worker_failures", {}).values()
            refusals = [failure for failure in failures if isinstance(failure, SightlineError)]
            raise refusals[0] if refusals else WorkersFailed(str(error)) from error
        finally:
            ray.shutdown()


def _loop(settings: dict[str, Any]) -> None:
    """One process. Ray has set up torch's process group."""
    from ray import train
    from ray.train.torch import get_device

    torch.set_num_threads(settings["threads"])
    if default_device() == "cuda":
        torch.cuda.set_device(get_device())
    context = train.get_context()
    workers = Workers(context.get_world_rank(), context.get_world_size())
    config, run = TrainConfig.model_validate_json(settings["config"]), Path(settings["run"])
    prepared = prepare_data(Path(settings["data"]), config.split_rule, config.problem_files, config.resolved_preprocessing)
    callbacks = choosing_callbacks(config)
    if workers.rank == 0:
        callbacks += recording_callbacks(config, run, Console(soft_wrap=True, markup=False, highlight=False, force_terminal=False))
    state = load_checkpoint(run / LAST) if settings["resume"] else None
    fit(
        config,
        len(prepared.categories),
        prepared.part("train"),
        prepared.part("val"),
        callbacks,
        default_device(),
        resume=state,
        workers=workers,
    )
