"""The cluster process: a Ray cluster of one node, with Serve on it.

The supervisor starts it, with Ray's settings in its environment. It runs until its standard input ends: that happens
when the supervisor closes it and also when the supervisor is killed, and needs no signal, which Ray would catch.
"""

import logging
import os
import sys
from pathlib import Path

import ray
from ray import serve
from ray.serve.config import HTTPOptions

from service.app import APPLICATION, build_app
from service.local.processes import RUN_VARIABLE, RunMark
from service.settings import Settings

_OBJECT_STORE_BYTES = 80 * 2**20  # requests never pass through it; Ray refuses less than 75 MiB


def main(settings: Settings, folder: Path) -> int:
    """Serves until standard input ends; status 1 if the application does not start."""
    ray.init(
        address="local",
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=_OBJECT_STORE_BYTES,
        _node_ip_address="127.0.0.1",
        _metrics_export_port=settings.metrics_port,
        _temp_dir=str(folder / "ray"),
    )
    try:
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        serve.start(http_options=HTTPOptions(host=settings.host, port=settings.port))
        serve.run(build_app(settings), name=APPLICATION)
        sys.stdin.read()
        _silence()
    except RuntimeError as error:
        print(_reason(error), file=sys.stderr)
        return 1
    finally:
        serve.shutdown()  # type: ignore[no-untyped-call]
        ray.shutdown()
    return 0


def _silence() -> None:
    """Discards all further output: Ray would report the processes that it ends now as failures."""
    for stream in (sys.stdout, sys.stderr):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _reason(error: RuntimeError) -> str:
    """The replica's own message, without Serve's advice and the traceback of the replica's process."""
    status = serve.status().applications.get(APPLICATION)
    messages = [deployment.message for deployment in status.deployments.values()] if status else []
    lines = [
        line
        for message in messages
        for line in message.splitlines()
        if line.startswith(("vision.errors.", "service.errors."))
    ]
    return "\n".join(dict.fromkeys(lines)) or "\n".join(messages) or str(error)


if __name__ == "__main__":
    mark = RunMark.parse(os.environ[RUN_VARIABLE])
    assert mark is not None, f"{RUN_VARIABLE} must be set; start this through `sightline serve`"  # noqa: S101
    sys.exit(main(Settings.model_validate_json(sys.argv[1]), mark.folder))
