"""How Ray Serve is set up on every node, as environment variables that Ray reads when it is imported."""


def ray_serve_environment() -> dict[str, str]:
    """The variables that every process of a cluster needs; deploy/kubernetes/rayservice.yaml lists the same."""
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "service.ray.ingress:ray_middlewares",
        "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "2",
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",  # HAProxy would send one datagram per request, parsed in Python
        "RAY_USAGE_STATS_ENABLED": "0",
    }
