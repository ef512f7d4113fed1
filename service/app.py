"""Settings → a Ray Serve application: the classifier and its API in one deployment.

This file must not postpone annotations: Ray validates the builder's argument by its annotation, and passes a plain dict
if that is a string.
"""

import sys

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from ray import serve

from service.explanation.lane import Lane
from service.http.api import create_api
from service.model.classifier import Classifier
from service.observability.metrics import Metrics
from service.observability.request_log import start_request_log
from service.observability.tracing import start_tracing, stop_tracing
from service.ray.bridge import RayBridge
from service.ray.ingress import serve_directly
from service.ray.scaling import ONGOING_IMAGES, autoscaling, gpu_share
from service.settings import Settings
from vision.bundle.store import find_bundle, load_bundle
from vision.hardware import count_gpus
from vision.image import silence_pillow

APPLICATION = "sightline"
# Python's default is 5 ms: so long the event loop would wait, several times in each request, while a worker reads the
# structure of a large file in Python.
_SWITCH_S = 0.0005


def build_app(settings: Settings) -> serve.Application:
    """The application that these settings describe; `serve.run` starts it.

    Each replica loads and proves the bundle itself; a replica that cannot never gets a request.
    """
    scaling = autoscaling(settings)
    gpus = 0 if settings.engine == "openvino" else count_gpus()
    deployment: serve.Deployment = ImageClassifier.options(  # type: ignore[attr-defined]  # it is a Deployment
        num_replicas=None if scaling else settings.num_replicas,
        autoscaling_config=scaling,
        # Above our own limit, which refuses first and with a problem document. Ray would refuse in plain text.
        max_ongoing_requests=2 * settings.max_ongoing_requests + 16,
        graceful_shutdown_timeout_s=settings.request_timeout_s + 5,
        # Ray only counts CPUs; the engine's threads decide. A replica sees the GPUs of which it has a share.
        ray_actor_options={
            "num_cpus": 0,
            "num_gpus": gpu_share(max(settings.num_replicas, settings.max_replicas), gpus),
        },
    )
    application: serve.Application = deployment.bind(settings)
    return application


@serve.deployment(
    max_constructor_retry_count=1,  # a bundle that was refused once would be refused again
    health_check_period_s=5,
    health_check_timeout_s=15,
    graceful_shutdown_wait_loop_s=0.5,
)
@serve.ingress()
class ImageClassifier:
    """One replica: a classifier and the API in front of it, on one event loop."""

    async def __init__(self, settings: Settings) -> None:  # type: ignore[misc]  # Ray awaits it
        silence_pillow()
        sys.setswitchinterval(_SWITCH_S)
        self._settings = settings
        self._log = start_request_log(settings.log_file)
        start_tracing(settings)
        self._metrics = Metrics(CollectorRegistry())
        RayBridge(self._metrics.registry)
        self._classifier = Classifier(
            load_bundle(find_bundle(settings.models_dir, settings.model)), settings, self._metrics
        )
        await self._classifier.start()
        bundle, engine = self._classifier.bundle, self._classifier.engine
        self._lane = Lane(bundle, engine, settings, self._metrics)

    def __del__(self) -> None:
        """Called by Ray when the replica stops: ends what explains, writes the log lines and traces that still wait."""
        if hasattr(self, "_lane"):
            self._lane.stop()
        if hasattr(self, "_log"):
            self._log.stop()
        stop_tracing()

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Called by Ray after the constructor."""
        api = create_api(self._classifier, self._lane, self._settings, self._metrics)
        serve_directly(api)
        return api

    async def check_health(self) -> None:
        """Called by Ray, which replaces the replica if this raises."""
        self._classifier.check_ready()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Called by Ray: the number that `service.ray.scaling` decides by."""
        return {ONGOING_IMAGES: self._classifier.ongoing}
