"""The report of `make capacity`: one measurement's facts, a table in Markdown, and a picture."""

from pathlib import Path
from typing import Any

import matplotlib

from loadtests.bench.openloop import Measured

CLIENTS = 64
"""Clients of the closed loop."""
_COLUMNS = ("offered", "answered", "p50_ms", "p99_ms", "failed", "mean_batch_size")


def facts(found: Measured) -> dict[str, Any]:
    """One measurement: rates in requests per second, latencies in milliseconds."""
    return {
        "offered": round(found.offered, 1),
        "answered": round(found.answered, 1),
        "requests": len(found.milliseconds) + found.failed,
        "failed": found.failed,
        "p50_ms": round(found.percentile(50), 1),
        "p99_ms": round(found.percentile(99), 1),
        "client_late_ms": round(found.late_ms, 1),
    }


def table(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    sure = report["confirmations"]
    lines = [
        f"{report['machine']}; commit {report['commit']}; {report['model']}; seed {report['seed']}; "
        f"`{report['command']}`.",
        "",
        f"- open-loop capacity, p99 within {report['p99_bound_ms']:g} ms: "
        f"**{report['open_loop_capacity']} requests/s**, "
        f"confirmed {len(sure)} times with {sure[0]['requests']} requests: "
        f"p99 {', '.join(str(one['p99_ms']) for one in sure)} ms",
        f"- closed-loop throughput, {CLIENTS} clients: **{report['closed_loop_throughput']} requests/s**",
        "",
        "| offered/s | answered/s | p50 ms | p99 ms | failed | images per batch |",
        "|---|---|---|---|---|---|",
        *("| " + " | ".join(str(one[name]) for name in _COLUMNS) + " |" for one in report["sweep"]),
    ]
    return "\n".join(lines) + "\n"


def plot(report: dict[str, Any], file: Path) -> None:
    """Throughput, latency and batch size against the offered load, as PNG."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    offered = [one["offered"] for one in report["sweep"]]
    figure, (rates, latency, batches) = pyplot.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    rates.plot(offered, [one["answered"] for one in report["sweep"]], marker="o")
    rates.plot(offered, offered, linestyle=":", color="gray", label="all that is offered")
    rates.set_title("answered, requests/s")
    rates.legend()
    for percentile in ("p50_ms", "p99_ms"):
        latency.plot(
            offered, [one[percentile] for one in report["sweep"]], marker="o", label=percentile.removesuffix("_ms")
        )
    latency.axhline(report["p99_bound_ms"], linestyle=":", color="gray", label="bound of p99")
    latency.set_yscale("log")
    latency.set_title("from due to answered, ms")
    latency.legend()
    batches.plot(offered, [one["mean_batch_size"] or float("nan") for one in report["sweep"]], marker="o")
    batches.set_ylim(bottom=0)
    batches.set_title("images per batch, mean")
    for axes in (rates, latency, batches):
        axes.axvline(report["open_loop_capacity"], color="tab:green", alpha=0.4)
        axes.set_xlabel("offered, requests/s")
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
