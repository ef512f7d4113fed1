"""A dashboard as a picture, from the queries of panels.py and what a Prometheus answers to them: for where there is no Grafana."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import matplotlib
import numpy as np

from deploy.grafana.panels import Dashboard, Panel

_STEP_S = 5
_RATE_INTERVAL = "1m"  # what Grafana puts for $__rate_interval: at least four scrapes
_FORMATS = {"percentunit": "{:.2%}", "percent": "{:.0f} %", "none": "{:g}"}


def draw(dashboard: Dashboard, prometheus: str, begun: float, ended: float, file: Path) -> None:
    """Writes a PNG.

    Args:
        dashboard: whose panels.
        prometheus: its address.
        begun: seconds since 1970.
        ended: seconds since 1970.
        file: what is written.
    """
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(17, 3.1 * len(dashboard.rows)), layout="constrained")
    figure.suptitle(dashboard.title)
    for row, (title, panels) in zip(figure.subfigures(len(dashboard.rows)), dashboard.rows.items(), strict=True):
        row.suptitle(title, x=0.01, ha="left", fontsize=9, color="gray")
        for axes, panel in zip(np.atleast_1d(row.subplots(1, len(panels))), panels, strict=True):
            axes.set_title(panel.title, fontsize=9)
            axes.tick_params(labelsize=7)
            _DRAWN[panel.kind](axes, panel, _Range(prometheus, begun, ended))
    figure.savefig(file, dpi=80)
    pyplot.close(figure)


class _Range:
    """What a Prometheus knows of a stretch of time."""

    def __init__(self, address: str, begun: float, ended: float) -> None:
        self._address = address
        self.begun, self.ended = begun, ended

    def series(self, query: str) -> list[tuple[dict[str, str], Any, Any]]:
        """Labels, times and values of each series."""
        found = self._ask("query_range", query, start=self.begun, end=self.ended, step=_STEP_S)
        return [
            (
                one["metric"],
                [datetime.fromtimestamp(at, UTC) for at, _ in one["values"]],
                np.array([float(value) for _, value in one["values"]]),
            )
            for one in found
        ]

    def now(self, query: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series at the end."""
        return [(one["metric"], float(one["value"][1])) for one in self._ask("query", query, time=self.ended)]

    def _ask(self, kind: str, query: str, **when: float) -> list[dict[str, Any]]:
        asked = {"query": query.replace("$__rate_interval", _RATE_INTERVAL), **when}
        answer = httpx.get(f"{self._address}/api/v1/{kind}", params=asked, timeout=60).raise_for_status().json()
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found


def _draw_lines(axes: Any, panel: Panel, data: _Range) -> None:
    lines = [
        (_legend(name, labels), at, values)
        for name, query in panel.queries.items()
        for labels, at, values in data.series(query)
    ]
    if panel.stacked and lines:
        times = sorted({moment for _, at, _ in lines for moment in at})
        rows = [[dict(zip(at, values, strict=True)).get(moment, 0.0) for moment in times] for _, at, values in lines]
        axes.stackplot(times, np.nan_to_num(rows), labels=[name for name, _, _ in lines], alpha=0.7)
    else:
        for name, at, values in lines:
            axes.plot(at, values, label=name, linewidth=1)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(panel.unit if panel.unit != "none" else "", fontsize=7)
    axes.xaxis.set_major_formatter(matplotlib.dates.DateFormatter("%H:%M"))
    if lines:
        axes.legend(fontsize=6, loc="upper left")


def _draw_number(axes: Any, panel: Panel, data: _Range) -> None:
    axes.axis("off")
    found = [value for query in panel.queries.values() for _, value in data.now(query)]
    text = _FORMATS.get(panel.unit, "{:.3g}").format(found[0]) if found else "no data"
    axes.text(0.5, 0.5, text, fontsize=26, ha="center", va="center", transform=axes.transAxes)


def _draw_table(axes: Any, panel: Panel, data: _Range) -> None:
    axes.axis("off")
    rows = [labels for query in panel.queries.values() for labels, _ in data.now(query)]
    if rows:
        names = sorted(rows[0])
        table = axes.table([[row.get(name, "") for name in names] for row in rows], colLabels=names, loc="center")
        table.auto_set_font_size(False)
        table.set_fontsize(6.5)


def _draw_bars(axes: Any, panel: Panel, data: _Range) -> None:
    bars = [
        (_legend(name, labels), value) for name, query in panel.queries.items() for labels, value in data.now(query)
    ]
    axes.barh([name for name, _ in bars], [value for _, value in bars])
    axes.invert_yaxis()


def _draw_heatmap(axes: Any, panel: Panel, data: _Range) -> None:
    """Grafana's buckets are cumulative; a cell has those of its own bucket."""
    found = sorted(
        ((float(labels["le"]), values) for query in panel.queries.values() for labels, _, values in data.series(query)),
        key=lambda one: one[0],
    )
    if not found:
        return
    longest = max(len(values) for _, values in found)
    cells = np.diff(np.array([_padded(values, longest) for _, values in found]), axis=0, prepend=0.0)
    axes.pcolormesh(np.where(cells > 0, cells, np.nan), cmap="viridis")
    axes.set_yticks(np.arange(len(found)) + 0.5, [f"≤ {edge:g}" for edge, _ in found])
    axes.set_xticks([])


def _padded(values: Sequence[float], length: int) -> Any:
    return np.concatenate([np.zeros(length - len(values)), np.nan_to_num(values)])


def _legend(text: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], "")[:40], text)


_DRAWN = {
    "timeseries": _draw_lines,
    "stat": _draw_number,
    "table": _draw_table,
    "bargauge": _draw_bars,
    "heatmap": _draw_heatmap,
}
