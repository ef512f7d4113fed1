"""What the three dashboards show: every panel with its queries, unit and one sentence. `dashboards.py` makes Grafana's JSON of it."""

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
        description: what it says, and when to worry.
        queries: PromQL by legend; a legend may name labels as {{label}}.
        stacked: whether the series add up to something.
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
        uid: of its address and its file.
        title: for people.
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
                "Error budget burnt, times its rate",
                "timeseries",
                "none",
                "1 uses the budget up in exactly 30 days; 14.4 over an hour wakes somebody.",
                {
                    "over 5 minutes": "sightline:errors:ratio_rate5m / 0.001",
                    "over an hour": "sightline:errors:ratio_rate1h / 0.001",
                },
            ),
            Panel(
                "Latency budget burnt, times its rate",
                "timeseries",
                "none",
                "As for errors: the budget is 1 % of the answers beyond 250 ms.",
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
                "Refused images are the client's, failed ones ours.",
                {"{{outcome}}": f"sum by (outcome) (rate(sightline_images_total{_RATE}))"},
                stacked=True,
            ),
            Panel(
                "Requests refused as a whole",
                "timeseries",
                "reqps",
                "By reason; `overloaded` means that all places or bytes were taken.",
                {"{{reason}}": f"sum by (reason) (rate(sightline_rejections_total{_RATE}))"},
                stacked=True,
            ),
        ),
        "Latency": (
            Panel(
                "Seconds to an answer",
                "timeseries",
                "s",
                "From the last byte of a request to its answer, where that was 200.",
                _quantiles("sightline_request_seconds"),
            ),
            Panel(
                "Seconds to an answer, spread",
                "heatmap",
                "s",
                "How many answers took how long.",
                {"{{le}}": f"sum by (le) (increase(sightline_request_seconds_bucket{_RATE}))"},
            ),
        ),
        "Service": (
            Panel("Replicas ready", "stat", "none", "Replicas that can answer now.", {"ready": "sum(sightline_ready)"}),
            Panel(
                "What is served",
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
                "Resident memory, and a GPU's where there is one. It must not grow with the requests.",
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
                "Exact means, added up: what one answered image costs in each stage, whole batches divided among their images.",
                {
                    "{{stage}}": f"sum by (stage) (rate(sightline_stage_seconds_sum{_RATE})) / on () group_left {_SERVED}"
                },
                stacked=True,
            ),
            Panel(
                "p95 by stage",
                "timeseries",
                "s",
                "Read once a request, decode, preprocess and queue once an image, inference and postprocess once a batch.",
                {
                    "{{stage}}": f"histogram_quantile(0.95, sum by (stage, le) (rate(sightline_stage_seconds_bucket{_RATE})))"
                },
            ),
            Panel(
                "Share of time spent waiting",
                "timeseries",
                "percentunit",
                "Of all stages' seconds those in queue. Over a half means more load than the machine does.",
                {
                    "queue": f'sum(rate(sightline_stage_seconds_sum{{stage="queue"}}{_RATE}))'
                    f" / sum(rate(sightline_stage_seconds_sum{_RATE}))"
                },
            ),
        ),
        "Batches": (
            Panel(
                "Images a batch",
                "timeseries",
                "none",
                "Exact mean. It grows with the load, on a CPU up to 4.",
                {"mean": f"sum(rate(sightline_batch_size_sum{_RATE})) / sum(rate(sightline_batch_size_count{_RATE}))"},
            ),
            Panel(
                "Batches by size",
                "heatmap",
                "none",
                "How many batches had how many images.",
                {"{{le}}": f"sum by (le) (increase(sightline_batch_size_bucket{_RATE}))"},
            ),
            Panel(
                "Images that wait",
                "timeseries",
                "none",
                "For a worker, by replica.",
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
                "Over 90 % the kernel may end a replica.",
                {"used": "max(ray_node_mem_used / ray_node_mem_total)"},
            ),
            Panel(
                "Refused because all places or bytes were taken",
                "timeseries",
                "reqps",
                "503 with Retry-After.",
                {"refused": f'sum(rate(sightline_rejections_total{{reason="overloaded"}}{_RATE})) or vector(0)'},
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
                "Over 92 % batches may have to run in halves.",
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
                "By reason: a client has changed, or a limit is too small.",
                {"{{reason}}": f"sum by (reason) (rate(sightline_decode_failures_total{_RATE}))"},
                stacked=True,
            ),
            Panel(
                "Share that cannot be decoded",
                "timeseries",
                "percentunit",
                "Over 5 % opens a ticket.",
                {
                    "share": f"sum(rate(sightline_decode_failures_total{_RATE})) / sum(rate(sightline_images_total{_RATE}))"
                },
            ),
            Panel(
                "Formats",
                "timeseries",
                "cps",
                "Of the images that were decoded.",
                {"{{format}}": f"sum by (format) (rate(sightline_decoded_images_total{_RATE}))"},
                stacked=True,
            ),
            Panel(
                "Cache",
                "timeseries",
                "cps",
                "Lookups by outcome, where SIGHTLINE_CACHE_IMAGES is set.",
                {"{{outcome}}": f"sum by (outcome) (rate(sightline_cache_lookups_total{_RATE}))"},
                stacked=True,
            ),
        ),
        "Model": (
            Panel(
                "Confidence",
                "timeseries",
                "percentunit",
                "Of the best label, calibrated: half of the answers are below p50.",
                _quantiles("sightline_confidence"),
            ),
            Panel(
                "Confidence, spread",
                "heatmap",
                "percentunit",
                "How many answers were how sure.",
                {"{{le}}": f"sum by (le) (increase(sightline_confidence_bucket{_RATE}))"},
            ),
            Panel(
                "Unsure answers of an hour",
                "timeseries",
                "percentunit",
                "Share with a best label of less than 0.5.",
                {"share": "sightline:low_confidence:ratio1h"},
            ),
        ),
        "Classes": (
            Panel(
                "Class mix of an hour",
                "bargauge",
                "percentunit",
                "The 15 most frequent best labels.",
                {"{{label}}": "topk(15, sightline:label_share:1h)"},
            ),
            Panel(
                "Class mix against the baseline",
                "bargauge",
                "percentunit",
                "The 10 labels that have moved most since the model was made; below 0 is rarer.",
                {
                    "{{label}}": "topk(10, abs(sightline:label_share:1h - on (label) max by (label) (sightline_reference_share)))"
                },
            ),
            Panel(
                "Drift",
                "timeseries",
                "none",
                "Population stability index of the best labels: over 0.2 something has changed.",
                {"PSI": "sightline:label_psi:1h"},
            ),
        ),
    },
)

DASHBOARDS = (OVERVIEW, INFERENCE, DATA)
