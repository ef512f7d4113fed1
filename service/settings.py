"""Every setting of the service: type, bound, unit. Read once at start, from SIGHTLINE_* variables."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from vision.errors import SightlineError
from vision.hardware import available_cpus
from vision.image import DecodeLimits

PREFIX = "SIGHTLINE_"
# Set by the supervisor for the processes below it; not for people.
INTERNAL = frozenset({"SIGHTLINE_RUN"})
# Earlier names of settings. They are refused, with the name to use instead.
RENAMED: Mapping[str, str] = {
    "max_queued_requests": "max_ongoing_requests",
    "target_held_images": "target_ongoing_images",
    "scale_up_delay_s": "upscale_delay_s",
    "scale_down_delay_s": "downscale_delay_s",
    "replicas": "num_replicas",
    "engine_threads": "threads",
    "decode_threads": "threads",
}
_ORIGIN = r"https?://[A-Za-z0-9.\[\]:-]{1,300}"
_ORIGINS = rf"^(\*|{_ORIGIN}(,{_ORIGIN})*)?$"
_IMAGE = DecodeLimits()
LARGE_IMAGE_PIXELS = 16_000_000
"""More than phones take by default. Larger images are rare: they wait for room, and leave no memory behind."""


class SettingsError(SightlineError):
    """A setting is unknown or out of range. The message names it and says what is accepted."""

    code = "settings_error"


class Settings(BaseSettings):
    """The service's settings. Each is an environment variable: its name in upper case, after SIGHTLINE_."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, use_attribute_docstrings=True)

    models_dir: Path = Path("models")
    """The folder that holds the models, as NAME/VERSION."""
    model: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}(/[1-9][0-9]{0,8})?$")] | None = None
    """The model to serve: `NAME` for its highest version, or `NAME/VERSION`. Not needed if there is only one model."""

    host: str = "127.0.0.1"
    """Address to listen on. If this is not a loopback address, put a reverse proxy in front of the service."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    """Port to listen on."""
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 8002
    """Port of the Prometheus metrics. If the default is taken, a free port is used and printed; 0 always does so."""

    root_path: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]{1,100}){0,10}$")] = ""
    """Path below which a reverse proxy publishes the service and which it removes, e.g. `/vision`; for /docs only."""

    cors_origins: Annotated[str, Field(pattern=_ORIGINS, max_length=10_000)] = ""
    """Web pages of other origins that may use the service: `https://app.example.org`, several with commas, or `*`."""

    engine: Literal["auto", "openvino", "torch"] = "auto"
    """Engine of the network. `auto`: torch on a GPU, else OpenVINO if the bundle has its format, else torch."""
    threads: Annotated[int, Field(ge=0, le=256)] = 0
    """CPU threads for inference. 0 uses all CPUs that this process may use."""
    num_replicas: Annotated[int, Field(ge=1, le=64)] = 1
    """Replicas to run: processes that each hold the model and answer requests. Lower bound if autoscaling is on."""
    max_replicas: Annotated[int, Field(ge=0, le=64)] = 0
    """Upper bound for autoscaling. At or below `num_replicas`, autoscaling is off."""
    target_ongoing_images: Annotated[int, Field(ge=1, le=100_000)] = 16
    """Autoscaling: images per replica, waiting or running, above which replicas are added."""
    upscale_delay_s: Annotated[float, Field(ge=0, le=3600)] = 10.0
    """Seconds the load must stay above the target before a replica is added."""
    downscale_delay_s: Annotated[float, Field(ge=0, le=86_400)] = 300.0
    """Seconds the load must stay below the target before a replica is removed."""

    max_batch_size: Annotated[int, Field(ge=0, le=1024)] = 0
    """Largest batch in images, rounded down to a power of two. 0: the engine's best, 4 on a CPU, 64 on a GPU."""
    cache_images: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Answers that a replica caches, by the image's bytes. Each takes 600 bytes plus 8 per category. 0: no cache."""
    max_ongoing_requests: Annotated[int, Field(ge=1, le=100_000)] = 128
    """Requests that a replica answers at a time. More are refused with 503 and Retry-After."""
    max_held_bytes: Annotated[int, Field(ge=2**20, le=2**38)] = 512 * 2**20
    """Bytes of all bodies a replica holds, arriving or being answered. More are refused with 503 and Retry-After."""
    request_timeout_s: Annotated[float, Field(ge=0.05, le=300)] = 10.0
    """Seconds from a request's last byte to its answer. After that: 504, and images that still wait are never run."""
    body_timeout_s: Annotated[float, Field(ge=0.05, le=300)] = 30.0
    """Seconds that a client may take to send the body. After that the answer is 408."""

    explain: bool = True
    """Whether the service explains: /explain, /activations and /inspect. `off`: they answer 403."""
    explain_timeout_s: Annotated[float, Field(ge=0.5, le=300)] = 10.0
    """Seconds for one explanation, with the start of the process that explains. After that: 504."""

    max_body_bytes: Annotated[int, Field(ge=1024, le=2**30)] = _IMAGE.max_bytes
    """Bytes of one request body. A larger one is refused with 413."""
    max_images_per_request: Annotated[int, Field(ge=1, le=256)] = 16
    """Images in one request. More are refused with 413."""
    max_image_bytes: Annotated[int, Field(ge=1024, le=256 * 2**20)] = _IMAGE.max_bytes
    """Bytes of one encoded image. A larger one is refused with 413."""
    max_image_pixels: Annotated[int, Field(ge=1, le=89_478_485)] = _IMAGE.max_pixels
    """Width × height of one image. More is refused with 413."""
    max_image_side_px: Annotated[int, Field(ge=1, le=65_535)] = _IMAGE.max_side_px
    """Pixels of an image's longer side. More is refused with 413."""
    max_decoding_pixels: Annotated[int, Field(ge=0, le=10**10)] = 0
    """Pixels a replica decodes at a time, up to 16 bytes each; more wait. 0: 16 million a thread, or one image."""

    otlp_endpoint: Annotated[str, Field(pattern=r"^https?://[^\s]{1,2000}$")] | None = None
    """OTLP/HTTP address for traces, e.g. `http://collector:4318/v1/traces`. If not set, tracing is off."""
    trace_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of requests that are traced, 0 to 1, unless the request's `traceparent` header decides."""

    log_file: Path | None = None
    """File or named pipe for the request log, one JSON line per request. If not set: the service's output."""

    @model_validator(mode="before")
    @classmethod
    def _not_renamed(cls, given: Any) -> Any:
        """Refuses the earlier name of a setting, e.g. in deploy/serve.yaml."""
        for name in given if isinstance(given, dict) else ():
            if name in RENAMED:
                raise ValueError(f"the setting {name} is now called {RENAMED[name]}")
        return given

    @classmethod
    def from_environment(cls, **overrides: Any) -> Self:
        """The settings of this process, with overrides on top.

        Raises:
            SettingsError: a SIGHTLINE_ variable is unknown, has an earlier name, or a value is out of range.
        """
        known = {f"{PREFIX}{name.upper()}" for name in cls.model_fields}
        given = sorted(name for name in os.environ if name.upper().startswith(PREFIX))
        for name in given:
            if new := RENAMED.get(name.upper().removeprefix(PREFIX).lower()):
                raise SettingsError(f"{name} is now called {PREFIX}{new.upper()}; set that instead.")
        unknown = [name for name in given if name.upper() not in known | INTERNAL]
        if unknown:
            raise SettingsError(
                f"There is no setting {', '.join(unknown)}. The settings are: {', '.join(sorted(known))}."
            )
        try:
            return cls(**overrides)
        except ValidationError as error:
            problems = (
                f"{PREFIX}{str(item['loc'][0]).upper()} is {item['input']!r}: {item['msg']}" for item in error.errors()
            )
            raise SettingsError("; ".join(problems) + ".") from error

    @property
    def decode_limits(self) -> DecodeLimits:
        """The limits of one image."""
        return DecodeLimits(self.max_image_bytes, self.max_image_pixels, self.max_image_side_px)

    @property
    def decoding_pixels(self) -> int:
        """`max_decoding_pixels`, or if that is 0, room for a photo in each worker, and for the largest image."""
        return self.max_decoding_pixels or max(self.max_image_pixels, LARGE_IMAGE_PIXELS * (self.worker_threads + 1))

    @property
    def worker_threads(self) -> int:
        """`threads`, or the number of CPUs if that is 0."""
        return self.threads or available_cpus()
