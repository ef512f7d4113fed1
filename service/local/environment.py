"""Ray's environment on one machine: the variables of every node, and those that belong to one run."""

import secrets

from service.local.ports import free_ports
from service.local.processes import RUN_VARIABLE, RunMark
from service.ray.environment import ray_serve_environment


def run_environment(mark: RunMark) -> dict[str, str]:
    """The variables of the cluster process of one run."""
    stats, haproxy_metrics, fallback_http, fallback_grpc = free_ports(4)
    return ray_serve_environment() | {
        RUN_VARIABLE: str(mark),
        # Whoever reaches Ray's ports needs this token. Only the run's own processes know it.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        # HAProxy's files and ports belong to the run, so that two services can run side by side.
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{mark.folder}/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{mark.folder}/admin.sock",
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{mark.folder}/metrics.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(mark.folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{mark.folder}/server-state",
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(haproxy_metrics),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback_http),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(fallback_grpc),
        # One machine stops as a whole: a draining replica need not wait for other nodes to notice.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0.2",
        # The following halve the CPU time of Ray's processes, idle and under load (docs/adr/0014).
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",  # more threads would spin on the cores that the engine needs
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
        "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "2000",
        "RAY_task_events_report_interval_ms": "0",  # nobody lists Ray's tasks
        "RAY_event_stats": "0",
        "RAY_gcs_pull_resource_loads_period_milliseconds": "5000",
    }
