"""Every knob of the service: type, bound, unit. Read from SIGHTLINE_* once, at start; an unknown name is refused."""

import math
import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from vision.errors import SightlineError
from vision.image import DecodeLimits

PREFIX = "SIGHTLINE_"
# What `service run` tells the processes below it; no setting of a person's.
INTERNAL = frozenset({"SIGHTLINE_RUN"})


class SettingsError(SightlineError):
    """A setting is unknown or out of range. The message names it and what would be accepted."""

    code = "settings_error"


class Settings(BaseSettings):
    """The service's settings; each is an environment variable, upper-case, with the prefix SIGHTLINE_."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, use_attribute_docstrings=True)

    models_dir: Path = Path("models")
    """The folder that holds NAME/VERSION."""
    model: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}(/[1-9][0-9]{0,8})?$")] | None = None
    """`NAME` for its highest version, `NAME/VERSION` for one; not needed where there is one model only."""

    host: str = "127.0.0.1"
    """The address to listen on. Anything but loopback belongs behind an edge proxy."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    """The port to listen on."""
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """The port of the Prometheus metrics; 0 takes a free one, which is printed at start."""

    engine: Literal["auto", "openvino", "torch"] = "auto"
    """`auto`: torch on a GPU, else OpenVINO, else torch."""
    threads: Annotated[int, Field(ge=0, le=256)] = 0
    """CPU threads for inference, each with a batch of its own; 0 takes as many as there are CPUs for this process."""
    replicas: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that each hold the model and answer requests; the fewest, where `max_replicas` is more."""
    max_replicas: Annotated[int, Field(ge=0, le=64)] = 0
    """Up to so many are started while there is more to do than they should hold; no more than `replicas` keeps their number."""
    target_held_images: Annotated[int, Field(ge=1, le=100_000)] = 16
    """Images that a replica should hold, waiting or running; where there are more, there are to be more replicas."""
    scale_up_delay_s: Annotated[float, Field(ge=0, le=3600)] = 10.0
    """Seconds for which that must have been so."""
    scale_down_delay_s: Annotated[float, Field(ge=0, le=86_400)] = 300.0
    """Seconds for which fewer replicas must have been enough before one is stopped."""

    max_batch_size: Annotated[int, Field(ge=0, le=1024)] = 0
    """Images in one inference, at most; batches have a power of two. 0 takes what the engine works best with: 4 on a CPU, 64 on a GPU."""
    cache_images: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Answers that a replica keeps, by the bytes of the image, at 8 bytes a category and about 300 more; 0 keeps none."""
    max_queued_requests: Annotated[int, Field(ge=1, le=100_000)] = 128
    """Requests that a replica answers at a time, waiting or running; one more is answered with 503 and Retry-After."""
    max_held_bytes: Annotated[int, Field(ge=2**20, le=2**38)] = 512 * 2**20
    """Bytes of the bodies of all requests that a replica reads or answers; what would be more is answered with 503 and Retry-After."""
    request_timeout_s: Annotated[float, Field(ge=0.05, le=300)] = 10.0
    """Seconds from the last byte of the request to the answer; past them it is 504, and what still waits never runs."""
    body_timeout_s: Annotated[float, Field(ge=0.05, le=300)] = 30.0
    """Seconds that a client may take to send the body; past them it is 408."""

    max_body_bytes: Annotated[int, Field(ge=1024, le=2**30)] = 16 * 2**20
    """Bytes of a request's body."""
    max_images_per_request: Annotated[int, Field(ge=1, le=256)] = 16
    """Images in one request."""
    max_image_bytes: Annotated[int, Field(ge=1024, le=256 * 2**20)] = 16 * 2**20
    """Bytes of one encoded image."""
    max_image_pixels: Annotated[int, Field(ge=1, le=89_478_485)] = 25_000_000
    """Width × height of one image."""
    max_image_side_px: Annotated[int, Field(ge=1, le=65_535)] = 10_000
    """Pixels of one image's longer side."""

    otlp_endpoint: Annotated[str, Field(pattern=r"^https?://[^\s]{1,2000}$")] | None = None
    """Where traces go by OTLP over HTTP, e.g. `http://collector:4318/v1/traces`; none makes none."""
    trace_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Of the requests that bring no decision of their own in `traceparent`, the share that is traced, 0 to 1."""

    log_file: Path | None = None
    """The file, or named pipe, that gets one JSON line a request; none writes to standard error."""

    @classmethod
    def from_environment(cls, **overrides: Any) -> Self:
        """The settings of this process, with overrides on top.

        Raises:
            SettingsError: a SIGHTLINE_ variable that there is no setting for, or a value out of range.
        """
        known = {f"{PREFIX}{name.upper()}" for name in cls.model_fields}
        unknown = sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known | INTERNAL)
        if unknown:
            raise SettingsError(f"There is no setting {', '.join(unknown)}; there are: {', '.join(sorted(known))}.")
        try:
            return cls(**overrides)
        except ValidationError as error:
            problems = (f"{PREFIX}{str(item['loc'][0]).upper()} is {item['input']!r}: {item['msg']}" for item in error.errors())
            raise SettingsError("; ".join(problems) + ".") from error

    @property
    def decode_limits(self) -> DecodeLimits:
        """What one image may cost."""
        return DecodeLimits(self.max_image_bytes, self.max_image_pixels, self.max_image_side_px)

    @property
    def worker_threads(self) -> int:
        """`threads`, with 0 replaced."""
        return self.threads or available_cpus()


def available_cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """The CPUs that this process may use at a time: those it may run on, or its container's quota where that is less."""
    cpus = len(os.sched_getaffinity(0))
    try:  # https://docs.kernel.org/admin-guide/cgroup-v2.html: "$MAX $PERIOD" in microseconds, or "max $PERIOD"
        quota, period = (cgroup / "cpu.max").read_text().split()
        return min(cpus, max(1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):
        return cpus


def gpu_share(replicas: int, gpus: int) -> float:
    """Of one GPU for each replica, 0 to 1, such that all replicas have one and as few as can be share it."""
    return 1 / -(-replicas // gpus) if gpus else 0.0
