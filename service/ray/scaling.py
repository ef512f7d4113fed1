"""How many replicas run, and which share of a GPU each reserves.

The number follows the images that each replica has, waiting or running. Ray's own policy counts the requests that Ray
hands on, and ours do not pass through Ray (docs/adr/0014).
"""

from typing import Any

from ray.serve.config import AutoscalingConfig, AutoscalingContext, AutoscalingPolicy

from service.settings import Settings

ONGOING_IMAGES = "ongoing_images"  # what each replica reports to Ray
_LOOK_BACK_S = 15.0
_POLICY = "service.ray.scaling:replicas_for_ongoing_images"


def autoscaling(settings: Settings) -> AutoscalingConfig | None:
    """From `num_replicas` to `max_replicas`; None if the number is fixed."""
    if settings.max_replicas <= settings.num_replicas:
        return None
    return AutoscalingConfig(
        min_replicas=settings.num_replicas,
        max_replicas=settings.max_replicas,
        target_ongoing_requests=settings.target_ongoing_images,
        upscale_delay_s=settings.upscale_delay_s,
        downscale_delay_s=settings.downscale_delay_s,
        look_back_period_s=_LOOK_BACK_S,
        policy=AutoscalingPolicy(policy_function=_POLICY),  # type: ignore[no-untyped-call]
    )


def replicas_for_ongoing_images(context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
    """Called by Ray, which applies the bounds and the delays itself.

    Returns:
        How many replicas there should be, and no state.
    """
    ongoing = (context.aggregated_metrics or {}).get(ONGOING_IMAGES)
    if not ongoing:  # no replica has reported yet
        return context.target_num_replicas, {}
    config: Any = context.config
    return sum(ongoing.values()) / config.get_target_ongoing_requests(), {}


def gpu_share(replicas: int, gpus: int) -> float:
    """The fraction of a GPU each replica reserves, so that replicas spread evenly; 0 without GPUs."""
    return 1 / -(-replicas // gpus) if gpus else 0.0
