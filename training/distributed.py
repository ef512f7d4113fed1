"""`--workers N`: the same loop in several processes, started by Ray Train; each has a GPU of its own if there are GPUs.

The processes share each step's images and add up their gradients (`training.loop.workers`). The first process writes
checkpoints into the run's folder, and the caller continues from the last one. Ray is started for the run, on this
machine alone; `--cluster ADDRESS` uses a running Ray cluster.
"""

import contextlib
import os
import secrets
import socket
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from training.config import TrainConfig
from training.data.preparation import prepare_data
from training.fitting import check_precision, choosing_callbacks, default_device, fit, recording_callbacks
from training.loop.checkpoint import load_checkpoint
from training.loop.pretrained import weights_file
from training.loop.run_folder import LAST
from training.loop.workers import Workers
from vision.errors import SightlineError

# Ray reads these when it is imported: no usage statistics, no second copy of each line, no wait of 2 s at the end of
# the loop.
_RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_DISABLE_WORKER_LOG_PREFIX": "1",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "Failed to query Ray Train Controller",
}
_OBJECT_STORE_BYTES = 80 * 2**20
_CONNECT_TIMEOUT_S = 5.0


class WorkersFailed(SightlineError):
    """The processes could not be started, or one of them ended unexpectedly. The message says what is known."""

    code = "workers_failed"


def fit_with_workers(
    data: Path, run: Path, config: TrainConfig, size: int, cluster: str | None, resume: bool
) -> dict[str, Any]:
    """Trains in `size` processes, and returns the last checkpoint, which is the end of the run.

    Args:
        data: the data folder, which each process reads. Every machine of a cluster needs it under the same path.
        run: the run's folder, opened. Every machine of a cluster needs it under the same path.
        config: every setting of the run.
        size: 2 to 64.
        cluster: HOST:PORT of a running Ray cluster; None starts Ray on this machine alone.
        resume: whether to start from the last checkpoint in `run`.

    Raises:
        ConfigError: this machine, which finishes the run, cannot compute in that precision.
        SightlineError: what a process raised.
        WorkersFailed: there is no such cluster, it is too small, or a process died.
    """
    check_precision(config, default_device())
    _set_environment(alone=cluster is None)
    from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer

    if config.weights.endswith(".safetensors"):  # the processes may run in another folder
        config = config.model_copy(update={"weights": str(weights_file(config.weights).resolve())})
    paths = {"data": str(data.resolve()), "run": str(run.resolve())}
    settings = {**paths, "config": config.model_dump_json(), "resume": resume}
    # Ray puts a file into `results`, and looks for it from each process.
    with (
        tempfile.TemporaryDirectory(prefix="ray-", dir=run, ignore_cleanup_errors=True) as results,
        _ray(cluster, size),
    ):
        try:
            TorchTrainer(
                _loop,
                train_loop_config=settings,
                scaling_config=ScalingConfig(num_workers=size, use_gpu=_uses_gpus(size)),
                run_config=RunConfig(  # type: ignore[call-arg]  # the arguments of Ray Train's second version
                    name="run",
                    storage_path=results,
                    failure_config=FailureConfig(max_failures=0, controller_failure_limit=0),  # type: ignore[call-arg]
                    logging_config=LoggingConfig(log_level="CRITICAL"),
                ),
            ).fit()
        except TrainingFailedError as error:
            failures = getattr(error, "worker_failures", {}).values()
            refusals = [failure for failure in failures if isinstance(failure, SightlineError)]
            shared = f" Every machine of the cluster must see {' and '.join(paths.values())}." if cluster else ""
            raise refusals[0] if refusals else WorkersFailed(f"{error}{shared}") from error
    return load_checkpoint(run / LAST)


def _set_environment(*, alone: bool) -> None:
    """Sets what Ray reads when it is imported."""
    # Alone, nothing leaves this machine; and with a token of its own Ray writes none into the home folder.
    own = {"GLOO_SOCKET_IFNAME": "lo", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    for name, value in (_RAY | own if alone else _RAY).items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def _ray(cluster: str | None, size: int) -> Iterator[None]:
    """Ray while the block runs: a running cluster, or one of this machine alone with `size` CPUs."""
    import ray

    with (
        tempfile.TemporaryDirectory(prefix="sightline-train-", ignore_cleanup_errors=True) as folder,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # Ray warns of its own internals
        if cluster is None:
            ray.init(
                address="local",
                num_cpus=size,
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                _node_ip_address="127.0.0.2",  # 127.0.0.1 would be replaced by an outside address
                _temp_dir=folder,
            )
        else:
            _join(cluster)
        try:
            yield
        finally:
            ray.shutdown()


def _join(cluster: str) -> None:
    """Connects to a running cluster and sends it this machine's code, so it needs none of its own."""
    import ray

    import training
    import vision

    try:
        host, port = cluster.rsplit(":", 1)
        socket.create_connection(
            (host, int(port)), timeout=_CONNECT_TIMEOUT_S
        ).close()  # Ray itself would try for many minutes
        ray.init(address=cluster, log_to_driver=False, runtime_env={"py_modules": [training, vision]})
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise WorkersFailed(
            f"--cluster is {cluster}, but this machine could not connect to a Ray cluster there ({reason}). "
            "Start one with `ray start --head`, give HOST:PORT as it prints them, "
            "and set the same RAY_AUTH_TOKEN here if it uses one."
        ) from error


def _uses_gpus(size: int) -> bool:
    """Whether each process gets a GPU.

    Raises:
        WorkersFailed: there are fewer GPUs, or without any fewer CPUs, than processes. Ray would wait for them forever.
    """
    import ray

    there = ray.cluster_resources()  # type: ignore[no-untyped-call]
    kind = "GPU" if there.get("GPU") else "CPU"
    if there.get(kind, 0) < size:
        raise WorkersFailed(
            f"--workers is {size}, but there are only {there.get(kind, 0):.0f} {kind}s; each process needs one."
        )
    return kind == "GPU"


def _loop(settings: dict[str, Any]) -> None:
    """Runs in each process. Ray has set up torch's process group."""
    from ray import train
    from ray.train.torch import get_device

    context = train.get_context()
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // context.get_local_world_size()))
    if default_device() == "cuda":
        torch.cuda.set_device(get_device())
    workers = Workers(context.get_world_rank(), context.get_world_size())
    config, run = TrainConfig.model_validate_json(settings["config"]), Path(settings["run"])
    prepared = prepare_data(
        Path(settings["data"]), config.split_rule, config.problem_files, config.resolved_preprocessing
    )
    callbacks = choosing_callbacks(config)
    if workers.rank == 0:
        callbacks += recording_callbacks(
            config, run, Console(soft_wrap=True, markup=False, highlight=False, force_terminal=False)
        )
    state = load_checkpoint(run / LAST) if settings["resume"] else None
    fit(
        config,
        len(prepared.categories),
        prepared.train,
        prepared.val,
        callbacks,
        default_device(),
        resume=state,
        workers=workers,
    )
