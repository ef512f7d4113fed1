"""The dashboards show what the service exports: every panel has data from a real Prometheus and a real service."""

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import yaml

from deploy.grafana.dashboards import FOLDER, text
from deploy.grafana.panels import DASHBOARDS, Panel
from loadtests.prometheus import prometheus
from service.local.ports import free_ports
from service.observability.metrics import METRICS

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PANELS = [(dashboard.uid, panel) for dashboard in DASHBOARDS for row in dashboard.rows.values() for panel in row]
GROUPS = [
    group
    for file in sorted(DEPLOY.glob("prometheus/rules/*.yml"))
    for group in yaml.safe_load(file.read_text())["groups"]
]
RULES = [rule for group in GROUPS for rule in group["rules"]]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
EXPRESSIONS = [query for _, panel in PANELS for query in panel.queries.values()] + [rule["expr"] for rule in RULES]
NEEDS_A_GPU = {"GPU utilisation", "GPU memory"}


def named(expression: str) -> set[str]:
    """The metrics of this service that an expression names."""
    return set(re.findall(r"(?<![\w:])sightline_\w+", expression))


def of_table(name: str) -> str:
    """The row of the table that a series belongs to."""
    for suffix in ("_bucket", "_sum", "_count"):
        whole = name.removesuffix(suffix)
        if whole != name and any(metric.name == whole and metric.kind == "histogram" for metric in METRICS):
            return whole
    return name


def test_the_files_are_what_the_panels_say() -> None:
    assert {file.name for file in FOLDER.glob("*.json")} == {f"{dashboard.uid}.json" for dashboard in DASHBOARDS}
    for dashboard in DASHBOARDS:
        assert (FOLDER / f"{dashboard.uid}.json").read_text() == text(dashboard), (
            "run python -m deploy.grafana.dashboards"
        )


def test_panels_and_rules_name_what_the_table_has_and_the_other_way_round() -> None:
    used = {of_table(name) for expression in EXPRESSIONS for name in named(expression)}
    assert used == {metric.name for metric in METRICS}


def test_recorded_series_that_are_named_are_recorded() -> None:
    used = {name for expression in EXPRESSIONS for name in re.findall(r"sightline:\w+:\w+", expression)}
    assert used <= RECORDED


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.uid)
def test_panels_have_what_grafana_needs_and_do_not_overlap(dashboard) -> None:
    panels = [panel for panel in json.loads(text(dashboard))["panels"] if panel["type"] != "row"]
    assert len({panel["title"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    cells = [
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    for panel in panels:
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


class Scraped:
    """A service that was asked good, bad and too many things, and the Prometheus that read it all the while."""

    def __init__(self, address: str) -> None:
        self._address = address

    def value(self, expression: str) -> list[dict]:
        """The series of an instant query."""
        answer = httpx.get(
            f"{self._address}/api/v1/query", params={"query": expression.replace("$__rate_interval", "1m")}, timeout=30
        )
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]["result"]


@pytest.fixture(scope="module")
def scraped(
    models: Path, launch: Callable, tmp_path_factory: pytest.TempPathFactory, digit: Callable, encoded: Callable
) -> Iterator[Scraped]:
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is missing; install Debian's package prometheus")
    folder = tmp_path_factory.mktemp("monitored")
    metrics_port = free_ports(1)[0]
    service = launch(models, folder, metrics_port=str(metrics_port), max_ongoing_requests="4", cache_images="4")
    try:
        service.wait_until_ready()
        with prometheus(metrics_port, folder) as address:
            yield _under_load(Scraped(address), service.url, digit, encoded)
    finally:
        assert service.stop() == 0, service.printed


def _under_load(found: Scraped, url: str, digit: Callable, encoded: Callable) -> Scraped:
    """Asks until every panel has data, or for so long that it ought to."""
    good = [encoded(digit(value), kind) for value in range(10) for kind in ("PNG", "JPEG")]
    bodies = good + [good[0][:300], b"no image", b"\xff\xd8\xff broken"] * 3
    deadline = time.monotonic() + 150
    with ThreadPoolExecutor(16) as clients:
        while not all(_has_data(found, panel) for _, panel in PANELS if panel.title not in NEEDS_A_GPU):
            if time.monotonic() > deadline:
                break  # the tests say which panel it was
            list(clients.map(lambda body: httpx.post(f"{url}/classify", content=body, timeout=30).status_code, bodies))
            for kind in ("explain", "activations", "inspect"):
                httpx.post(f"{url}/{kind}", content=good[0], timeout=30)
            time.sleep(0.5)
    return found


def _has_data(scraped: Scraped, panel: Panel) -> bool:
    return all(any(series["value"][1] != "NaN" for series in scraped.value(query)) for query in panel.queries.values())


@pytest.mark.serve
@pytest.mark.slow
@pytest.mark.parametrize(("dashboard", "panel"), PANELS, ids=[f"{uid}-{panel.title}" for uid, panel in PANELS])
def test_every_panel_has_data(scraped: Scraped, dashboard: str, panel: Panel) -> None:
    if panel.title in NEEDS_A_GPU:
        pytest.skip("it needs a GPU")
    for legend, query in panel.queries.items():
        assert [series for series in scraped.value(query) if series["value"][1] != "NaN"], f"{legend}: {query}"


@pytest.mark.serve
@pytest.mark.slow
def test_a_scraped_histogram_is_exact_and_its_replica_is_known(scraped: Scraped) -> None:
    asked = scraped.value("sum by (replica) (sightline_requests_total{status='200'})")
    timed = scraped.value("sum by (replica) (sightline_request_seconds_count)")
    assert [series["metric"] for series in asked] == [series["metric"] for series in timed]
    assert asked[0]["metric"]["replica"]
    assert float(asked[0]["value"][1]) == float(timed[0]["value"][1]) > 0
    mean = scraped.value("sightline_request_seconds_sum / sightline_request_seconds_count")
    assert 0 < float(mean[0]["value"][1]) < 5
