"""How many replicas there are: so many that each holds about as many images, waiting or running, as it should.

Ray's own policy counts the requests that Ray hands on, and these do not pass through Ray (docs/adr/0014).
"""

from typing import Any

from ray.serve.config import AutoscalingConfig, AutoscalingContext, AutoscalingPolicy

from service.settings import Settings

HELD_IMAGES = "held_images"  # what a replica reports
_LOOK_BACK_S = 15.0


def autoscaling(settings: Settings) -> AutoscalingConfig | None:
    """From `replicas` to `max_replicas`; None where their number is fixed."""
    if settings.max_replicas <= settings.replicas:
        return None
    return AutoscalingConfig(
        min_replicas=settings.replicas,
        max_replicas=settings.max_replicas,
        target_ongoing_requests=settings.target_held_images,
        upscale_delay_s=settings.scale_up_delay_s,
        downscale_delay_s=settings.scale_down_delay_s,
        look_back_period_s=_LOOK_BACK_S,
        policy=AutoscalingPolicy(policy_function="service.ray.scaling:replicas_for_held_images"),  # type: ignore[no-untyped-call]
    )


def replicas_for_held_images(context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
    """Ray asks this; it keeps the answer within its bounds and delays itself.

    Returns:
        How many replicas there should be, and nothing to remember.
    """
    held = (context.aggregated_metrics or {}).get(HELD_IMAGES)
    if not held:  # nobody has reported yet
        return context.target_num_replicas, {}
    config: Any = context.config
    return sum(held.values()) / config.get_target_ongoing_requests(), {}
