"""The composition root: settings → a Ray Serve application with the ingress and the model in one deployment.

Postponed annotations stay off in this file: Ray validates the builder's argument by its annotation, and passes a plain dict
where that is a string.
"""

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from ray import serve

from service.http.api import create_api
from service.model.classifier import Classifier
from service.observability.metrics import Metrics, RayBridge
from service.observability.request_log import start_request_log
from service.observability.tracing import start_tracing, stop_tracing
from service.ray.ingress import serve_directly
from service.ray.scaling import HELD_IMAGES, autoscaling
from service.settings import Settings, gpu_share
from vision.bundle.store import find_bundle, load_bundle
from vision.engines import count_gpus
from vision.image import silence_pillow

APPLICATION = "sightline"


def build_app(settings: Settings) -> serve.Application:
    """The application that these settings describe; `serve.run` starts it.

    Each replica loads and proves the bundle itself; one that cannot never gets a request.
    """
    scaling = autoscaling(settings)
    gpus = 0 if settings.engine == "openvino" else count_gpus()
    deployment: serve.Deployment = ImageClassifier.options(  # type: ignore[attr-defined]  # the decorator makes it a Deployment
        num_replicas=None if scaling else settings.replicas,
        autoscaling_config=scaling,
        # Our own gate refuses first, with a problem document; Ray's refusal would be plain text.
        max_ongoing_requests=2 * settings.max_queued_requests + 16,
        graceful_shutdown_timeout_s=settings.request_timeout_s + 5,
        # Ray only counts CPUs, the engine's threads decide; of GPUs it shows a replica those that it has a share of.
        ray_actor_options={"num_cpus": 0, "num_gpus": gpu_share(max(settings.replicas, settings.max_replicas), gpus)},
    )
    application: serve.Application = deployment.bind(settings)
    return application


@serve.deployment(
    max_constructor_retry_count=1,  # a bundle that was refused once is refused again
    health_check_period_s=5,
    health_check_timeout_s=15,
    graceful_shutdown_wait_loop_s=0.5,
)
@serve.ingress()
class ImageClassifier:
    """One replica: a classifier and the API in front of it, on one event loop."""

    async def __init__(self, settings: Settings) -> None:  # type: ignore[misc]  # Ray awaits it
        silence_pillow()
        self._settings = settings
        self._log = start_request_log(settings.log_file)
        start_tracing(settings)
        self._metrics = Metrics(CollectorRegistry())
        RayBridge(self._metrics.registry)
        self._classifier = Classifier(load_bundle(find_bundle(settings.models_dir, settings.model)), settings, self._metrics)
        await self._classifier.start()

    def __del__(self) -> None:
        """Ray calls this when the replica stops: what still waits of the log and the traces is written."""
        if hasattr(self, "_log"):
            self._log.stop()
        stop_tracing()

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Ray calls this after the constructor."""
        api = create_api(self._classifier, self._settings, self._metrics)
        serve_directly(api)
        return api

    async def check_health(self) -> None:
        """Ray replaces the replica when this raises."""
        self._classifier.check_ready()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Ray asks for what `service.ray.scaling` decides by."""
        return {HELD_IMAGES: self._classifier.held}
