"""The three dashboards: every panel with its queries, unit and one sentence. `dashboards.py` writes Grafana's JSON."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["stat", "timeseries", "heatmap", "bargauge", "table"]


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: unique on its dashboard.
        kind: Grafana's panel type.
        unit: Grafana's name for it, e.g. `s`, `reqps`, `percentunit`.
        description: what it shows, and which values need attention.
        queries: PromQL by legend; a legend may name labels as {{label}}.
        stacked: whether to stack the series.
    """

    title: str
    kind: Kind
    unit: str
    description: str
    queries: dict[str, str]
    stacked: bool = False


@dataclass(frozen=True)
class Dashboard:
    """One page.

    Attributes:
        uid: in its address and the name of its file.
        title: as it is shown.
        rows: panels by the title of their row.
    """

    uid: str
    title: str
    rows: dict[str, tuple[Panel, ...]]


_RATE = "[$__rate_interval]"
_SERVED = 'sum(rate(sightline_images_total{outcome="ok"}' + _RATE + "))"


def _quantiles(name: str, labels: str = "", by: str = "") -> dict[str, str]:
    return {
        f"p{share}": f"histogram_quantile(0.{share}, sum by (le{by}) (rate({name}_bucket{labels}{_RATE})))"
        for share in (50, 95, 99)
    }


OVERVIEW = Dashboard(
    "sightline-overview",
    "Sightline · overview",
    {
        "Objectives": (
            Panel(
                "Availability, 30 days",
                "stat",
                "percentunit",
                "Share of requests that were not answered with 5xx. The objective is 99.9 %.",
                {
                    "availability": '1 - (sum(increase(sightline_requests_total{status=~"5.."}[30d])) or vector(0))'
                    " / sum(increase(sightline_requests_total[30d]))"
                },
            ),
            Panel(
                "Within 250 ms, 30 days",
                "stat",
                "percentunit",
                "Share of answers that took at most 250 ms after the last byte of the request. The objective is 99 %.",
                {
                    "within": 'sum(increase(sightline_request_seconds_bucket{le="0.25"}[30d]))'
                    " / sum(increase(sightline_request_seconds_count[30d]))"
                },
            ),
            Panel(
                "Error budget burn rate",
                "timeseries",
                "none",
                "At 1 the budget lasts exactly 30 days. Above 14.4 over an hour an alert is sent.",
                {
                    "over 5 minutes": "sightline:errors:ratio_rate5m / 0.001",
                    "over an hour": "sightline:errors:ratio_rate1h / 0.001",
                },
            ),
            Panel(
                "Latency budget burn rate",
                "timeseries",
                "none",
                "As for errors. The budget is 1 % of the answers above 250 ms.",
                {
                    "over 5 minutes": "sightline:slow:ratio_rate5m / 0.01",
                    "over an hour": "sightline:slow:ratio_rate1h / 0.01",
                },
            ),
        ),
        "Traffic": (
            Panel(
                "Requests by status",
                "timeseries",
                "reqps",
                "Answers to /classify; 499 is a client that left.",
                {"{{status}}": f"sum by (status) (rate(sightline_requests_total{_RATE}))"},
                stacked=True,
            ),
            Panel(
                "Images by outcome",
                "timeseries",
                "cps",
                "Refused images are the client's fault, failed images the service's.",
                {"{{outcome}}": f"sum by (outcome) (rate(sightline_images_total{_RATE}))"},
                stacked=True,
            ),
            Panel(
                "Requests refused as a whole",
                "timeseries",
                "reqps",
                "By reason. `overloaded`: a replica was at its limit of requests or bytes.",
                {"{{reason}}": f"sum by (reason) (rate(sightline_rejections_total{_RATE}))"},
                stacked=True,
            ),
        ),
        "Latency": (
            Panel(
                "Seconds to an answer",
                "timeseries",
                "s",
                "From the last byte of a request to its answer, for answers with status 200.",
                _quantiles("sightline_request_seconds"),
            ),
            Panel(
                "Seconds to an answer, spread",
                "heatmap",
                "s",
                "Number of answers by duration.",
                {"{{le}}": f"sum by (le) (increase(sightline_request_seconds_bucket{_RATE}))"},
            ),
        ),
        "Service": (
            Panel("Replicas ready", "stat", "none", "Replicas that can answer now.", {"ready": "sum(sightline_ready)"}),
            Panel(
                "Model in service",
                "table",
                "none",
                "Model, version, digest and engine of each replica.",
                {"": "max by (model, version, digest, engine) (sightline_model_info)"},
            ),
            Panel(
                "CPU of the machine",
                "timeseries",
                "percent",
                "All of its cores together, 0 to 100.",
                {"CPU": "avg(ray_node_cpu_utilization)"},
            ),
            Panel(
                "Memory of the replicas",
                "timeseries",
                "bytes",
                "Resident memory, and GPU memory if there is a GPU. It must not grow with the requests.",
                {"{{kind}} {{replica}}": "sum by (kind, replica) (sightline_memory_bytes)"},
            ),
        ),
    },
)

INFERENCE = Dashboard(
    "sightline-inference",
    "Sightline · inference",
    {
        "Stages": (
            Panel(
                "Time an image takes, by stage",
                "timeseries",
                "s",
                "Exact mean time of each stage per answered image; a batch's time is divided by its images.",
                {
                    "{{stage}}": f"sum by (stage) (rate(sightline_stage_seconds_sum{_RATE}))"
                    f" / on () group_left {_SERVED}"
                },
                stacked=True,
            ),
            Panel(
                "p95 by stage",
                "timeseries",
                "s",
                "Read per request; queue, decode and preprocess per image; inference and postprocess per batch.",
                {
                    "{{stage}}": "histogram_quantile(0.95, sum by (stage, le) "
                    f"(rate(sightline_stage_seconds_bucket{_RATE})))"
                },
            ),
            Panel(
                "Share of time spent waiting",
                "timeseries",
                "percentunit",
                "Share of all stages' time spent in queue. Above a half the load exceeds what the machine can do.",
                {
                    "queue": f'sum(rate(sightline_stage_seconds_sum{{stage="queue"}}{_RATE}))'
                    f" / sum(rate(sightline_stage_seconds_sum{_RATE}))"
                },
            ),
        ),
        "Batches": (
            Panel(
                "Images per batch",
                "timeseries",
                "none",
                "Exact mean. It grows with the load, up to 4 on a CPU.",
                {"mean": f"sum(rate(sightline_batch_size_sum{_RATE})) / sum(rate(sightline_batch_size_count{_RATE}))"},
            ),
            Panel(
                "Batches by size",
                "heatmap",
                "none",
                "Number of batches by number of images.",
                {"{{le}}": f"sum by (le) (increase(sightline_batch_size_bucket{_RATE}))"},
            ),
            Panel(
                "Waiting images",
                "timeseries",
                "none",
                "Images that wait for a worker, by replica.",
                {"{{replica}}": "sum by (replica) (sightline_pending_images)"},
            ),
        ),
        "Saturation": (
            Panel(
                "CPU",
                "timeseries",
                "percent",
                "All cores together, 0 to 100.",
                {"CPU": "avg(ray_node_cpu_utilization)"},
            ),
            Panel(
                "Memory of the machine",
                "timeseries",
                "percentunit",
                "Above 90 % the kernel may kill a replica.",
                {"used": "max(ray_node_mem_used / ray_node_mem_total)"},
            ),
            Panel(
                "Refused because of overload",
                "timeseries",
                "reqps",
                "503 with Retry-After.",
                {"refused": f'sum(rate(sightline_rejections_total{{reason="overloaded"}}{_RATE})) or vector(0)'},
            ),
        ),
        "Explanations": (
            Panel(
                "Explanations",
                "timeseries",
                "reqps",
                "Requests to /explain, /activations, /inspect and /convolve. 503 means that the lane was busy.",
                {"{{kind}} {{status}}": f"sum by (kind, status) (rate(sightline_explanation_requests_total{_RATE}))"},
                stacked=True,
            ),
            Panel(
                "Latency of explanations",
                "timeseries",
                "s",
                "In the process that explains, by kind.",
                {
                    "p95 {{kind}}": "histogram_quantile(0.95, sum by (le, kind)"
                    f" (rate(sightline_explanation_seconds_bucket{_RATE})))"
                },
            ),
            Panel(
                "Explaining",
                "timeseries",
                "percentunit",
                "Share of time in which the lane of a replica is in use. At 100 % it refuses.",
                {"{{replica}}": "avg by (replica) (avg_over_time(sightline_explaining[5m]))"},
            ),
            Panel(
                "Memory and starts",
                "timeseries",
                "bytes",
                "Memory of the processes that explain. A process that keeps being started dies.",
                {
                    "memory {{replica}}": 'sum by (replica) (sightline_memory_bytes{kind="explanation"})',
                    "starts, last hour": "sum(increase(sightline_explanation_starts_total[1h]))",
                },
            ),
        ),
        "GPU": (
            Panel(
                "GPU utilisation",
                "timeseries",
                "percent",
                "0 to 100.",
                {"GPU {{GpuIndex}}": "avg by (GpuIndex) (ray_node_gpus_utilization)"},
            ),
            Panel(
                "GPU memory",
                "timeseries",
                "percentunit",
                "Above 92 % batches may have to run in halves.",
                {
                    "GPU {{GpuIndex}}": "sum by (GpuIndex) (ray_node_gram_used)"
                    " / (sum by (GpuIndex) (ray_node_gram_used) + sum by (GpuIndex) (ray_node_gram_available))"
                },
            ),
        ),
    },
)

DATA = Dashboard(
    "sightline-data",
    "Sightline · data and model",
    {
        "Input": (
            Panel(
                "Images that cannot be decoded",
                "timeseries",
                "cps",
                "By reason. A rise means that a client has changed or a limit is too small.",
                {"{{reason}}": f"sum by (reason) (rate(sightline_decode_failures_total{_RATE}))"},
                stacked=True,
            ),
            Panel(
                "Share that cannot be decoded",
                "timeseries",
                "percentunit",
                "Above 5 % an alert opens a ticket.",
                {
                    "share": f"sum(rate(sightline_decode_failures_total{_RATE}))"
                    f" / sum(rate(sightline_images_total{_RATE}))"
                },
            ),
            Panel(
                "Formats",
                "timeseries",
                "cps",
                "File formats of the decoded images.",
                {"{{format}}": f"sum by (format) (rate(sightline_decoded_images_total{_RATE}))"},
                stacked=True,
            ),
            Panel(
                "Cache",
                "timeseries",
                "cps",
                "Lookups by outcome, if SIGHTLINE_CACHE_IMAGES is set.",
                {"{{outcome}}": f"sum by (outcome) (rate(sightline_cache_lookups_total{_RATE}))"},
                stacked=True,
            ),
        ),
        "Model": (
            Panel(
                "Confidence",
                "timeseries",
                "percentunit",
                "Calibrated probability of the best label. Half of the answers are below p50.",
                _quantiles("sightline_confidence"),
            ),
            Panel(
                "Confidence, spread",
                "heatmap",
                "percentunit",
                "Number of answers by confidence.",
                {"{{le}}": f"sum by (le) (increase(sightline_confidence_bucket{_RATE}))"},
            ),
            Panel(
                "Answers with low confidence, last hour",
                "timeseries",
                "percentunit",
                "Share of answers with confidence below 0.5.",
                {"share": "sightline:low_confidence:ratio1h"},
            ),
        ),
        "Classes": (
            Panel(
                "Class mix, last hour",
                "bargauge",
                "percentunit",
                "The 15 most frequent best labels.",
                {"{{label}}": "topk(15, sightline:label_share:1h)"},
            ),
            Panel(
                "Class mix against the baseline",
                "bargauge",
                "percentunit",
                "The 10 labels whose share has changed most since the model was made; below 0 is less frequent.",
                {
                    "{{label}}": "topk(10, abs(sightline:label_share:1h"
                    " - on (label) max by (label) (sightline_reference_share)))"
                },
            ),
            Panel(
                "Drift",
                "timeseries",
                "none",
                "Population stability index of the best labels. Above 0.2 the input has changed.",
                {"PSI": "sightline:label_psi:1h"},
            ),
        ),
    },
)

DASHBOARDS = (OVERVIEW, INFERENCE, DATA)
