"""The rounds of the benchmark → medians, ratios with their spread, and a table."""

import statistics
from collections.abc import Iterable
from typing import Any

from rich.table import Table

from loadtests.bench.contenders import CONTENDERS

CLIENTS = (1, 16, 64)


def summarise(rounds: list[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """The median of each number, each contender's share of the ceiling, and Sightline's share divided by that.

    Args:
        rounds: for each round, each contender's numbers; an empty dict for one that failed.

    Returns:
        By contender; shares have `median`, `low` and `high`.
    """
    names = ["ceiling", *(one.name for one in CONTENDERS if one.name in rounds[0])]
    summary: dict[str, dict[str, Any]] = {}
    for name in names:
        got = [one[name] for one in rounds if one[name]]
        if not got:
            summary[name] = {}
            continue
        # Values that are no numbers, such as an engine's name, are equal in every round.
        summary[name] = {
            key: statistics.median(one[key] for one in got) if isinstance(value, int | float) else value
            for key, value in got[0].items()
        }
        if name != "ceiling":
            summary[name]["of_ceiling"] = _spread(map(_share, got))
        if name not in ("ceiling", "Sightline"):
            # A server without an answer at 64 clients has no ratio; its row says 0.
            both = [one for one in rounds if one[name].get("rate_64") and one.get("Sightline")]
            summary[name]["sightline_is"] = _spread(_share(one["Sightline"]) / _share(one[name]) for one in both)
    return summary


def _share(result: dict[str, Any]) -> float:
    """Its rate at 64 clients, divided by the rate of the loop right before and after."""
    return float(result["rate_64"] / result["ceiling_rate"])


def _spread(values: Iterable[float]) -> dict[str, float]:
    there = sorted(values)
    return {"median": statistics.median(there), "low": there[0], "high": there[-1]} if there else {}


def table(arch: str, summary: dict[str, dict[str, Any]]) -> Table:
    """The summary of one network as a table."""
    columns = (
        "requests/s at 1",
        "16",
        "64",
        "p50 ms at 1",
        "p50 at 64",
        "p99 at 64",
        "CPU ms",
        "peak MB",
        "start s",
        "÷ ceiling",
        "Sightline ÷",
    )
    table = Table(arch, *columns)
    for name, row in summary.items():
        if not row:
            table.add_row(name, "failed")
        elif name == "ceiling":
            table.add_row(
                name,
                f"{1000 / row['single_ms']:.0f}",
                "",
                f"{row['rate']:.0f}",
                f"{row['single_ms']:.2f}",
                "",
                "",
                f"{row['cpu_ms']:.2f}",
            )
        else:
            ratio = row.get("sightline_is")
            table.add_row(
                name,
                *(f"{row[f'rate_{clients}']:.0f}" for clients in CLIENTS),
                f"{row['p50_ms_1']:.2f}",
                f"{row['p50_ms_64']:.0f}",
                f"{row['p99_ms_64']:.0f}",
                f"{row['cpu_ms_64']:.2f}",
                f"{row['peak_bytes'] / 1e6:.0f}",
                f"{row['start_s']:.1f}",
                _ratio(row["of_ceiling"]),
                _ratio(ratio) if ratio else "",
            )
    return table


def _ratio(spread: dict[str, float]) -> str:
    return f"{spread['median']:.2f} ({spread['low']:.2f} to {spread['high']:.2f})" if spread else ""
