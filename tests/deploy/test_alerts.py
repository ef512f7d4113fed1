"""Each alert, in Prometheus's own evaluator: fired by what it is for, and silent where that is not so."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "rules"
RUNBOOKS = DEPLOY.parent / "docs" / "runbooks"
ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load((RULES / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}


class Case(NamedTuple):
    """Series in promtool's notation, one sample a minute, that fire the alert and that do not; and when to ask."""

    fires: dict[str, str]
    silent: dict[str, str]
    at: str = "70m"


def requests(ok: float, failed: float) -> dict[str, str]:
    """So many a minute."""
    return {
        'sightline_requests_total{status="200"}': f"0+{ok}x5000",
        'sightline_requests_total{status="503"}': f"0+{failed}x5000",
    }


def answers(fast: float, slow: float) -> dict[str, str]:
    """So many a minute within 250 ms and beyond."""
    return {
        'sightline_request_seconds_bucket{le="0.25"}': f"0+{fast}x5000",
        "sightline_request_seconds_count": f"0+{fast + slow}x5000",
    }


def waits(fast: float, slow: float) -> dict[str, str]:
    """So many images a minute that wait for 50 ms at most, and for 250 ms at most."""
    name = 'sightline_stage_seconds_bucket{stage="queue",le="%s"}'
    return {
        name % edge: f"0+{count}x5000" for edge, count in (("0.05", fast), ("0.25", fast + slow), ("+Inf", fast + slow))
    }


def outcomes(ok: float, failed: float) -> dict[str, str]:
    return {
        'sightline_images_total{outcome="ok"}': f"0+{ok}x5000",
        'sightline_images_total{outcome="failed"}': f"0+{failed}x5000",
    }


def mix(now: tuple[float, float]) -> dict[str, str]:
    """Predictions a minute of two labels that were equally frequent."""
    shares = {f'sightline_reference_share{{label="{label}"}}': "0.5x5000" for label in "ab"}
    return shares | {
        f'sightline_predictions_total{{label="{label}"}}': f"0+{count}x5000"
        for label, count in zip("ab", now, strict=True)
    }


def confidence(before: float, now: float, count: float = 20) -> dict[str, str]:
    """So many of the answers a minute are unsure: for 25 hours, and then for two."""
    unsure = f"0+{before}x1500 {1500 * before}+{now}x200"
    return {
        'sightline_confidence_bucket{le="0.5"}': unsure,
        "sightline_confidence_count": f"0+{count}x1700",
        'sightline_predictions_total{label="a"}': f"0+{count}x1700",
    }


def explanations(answered: float, busy: float) -> dict[str, str]:
    """Requests a minute for an explanation."""
    name = 'sightline_explanation_requests_total{kind="explain",status="%s"}'
    return {name % 200: f"0+{answered}x100", name % 503: f"0+{busy}x100"}


def replicas(count: int, lives: int) -> dict[str, str]:
    """One after another, each for a number of minutes; and one from minute 60 on."""
    name = 'sightline_model_info{replica="%s"}'
    return {name % number: f"_x{lives * number} 1x{lives - 1} stale" for number in range(count)} | {
        name % "last": "_x60 1x20"
    }


GPU = "ray_node_gpus_utilization"
CASES = {
    "SightlineErrorBudgetFastBurn": Case(requests(98, 2), requests(99, 1)),
    "SightlineErrorBudgetSlowBurn": Case(requests(99.3, 0.7), requests(99.5, 0.5), "7h"),
    "SightlineErrorBudgetTicket": Case(requests(99.8, 0.2), requests(99.95, 0.05), "73h"),
    "SightlineLatencyBudgetFastBurn": Case(answers(85, 15), answers(86, 14)),
    "SightlineLatencyBudgetSlowBurn": Case(answers(93, 7), answers(95, 5), "7h"),
    "SightlineDown": Case({'up{job="sightline"}': "0x100"}, {'sightline_model_info{replica="a"}': "1x100"}),
    "SightlineNotReady": Case(
        {'sightline_ready{replica="a"}': "0x100", 'sightline_ready{replica="b"}': "0x100"},
        {'sightline_ready{replica="a"}': "0x100", 'sightline_ready{replica="b"}': "1x100"},
    ),
    "SightlineOverloaded": Case(
        requests(98, 2) | {'sightline_rejections_total{reason="overloaded"}': "0+2x100"},
        requests(98, 2) | {'sightline_rejections_total{reason="body_too_large"}': "0+2x100"},
    ),
    "SightlineReplicaFlapping": Case(replicas(17, lives=4), replicas(2, lives=30)),
    "SightlineQueueSaturated": Case(waits(90, 10), waits(96, 4)),
    "SightlineGpuIdleUnderQueue": Case(waits(90, 10) | {GPU: "20x100"}, waits(90, 10) | {GPU: "80x100"}),
    "SightlineGpuMemoryHigh": Case(
        {"ray_node_gram_used": "95x100", "ray_node_gram_available": "5x100"},
        {"ray_node_gram_used": "90x100", "ray_node_gram_available": "10x100"},
    ),
    "SightlineHostMemoryHigh": Case(
        {"ray_node_mem_used": "95x100", "ray_node_mem_total": "100x100"},
        {"ray_node_mem_used": "85x100", "ray_node_mem_total": "100x100"},
    ),
    "SightlineInferenceFailures": Case(outcomes(998, 2), outcomes(999.5, 0.5)),
    "SightlineExplanationsFailing": Case(explanations(8, 2), explanations(9.5, 0.5)),
    "SightlineDecodeFailuresHigh": Case(
        outcomes(90, 0) | {'sightline_decode_failures_total{reason="truncated"}': "0+6x100"},
        outcomes(90, 0) | {'sightline_decode_failures_total{reason="truncated"}': "0+4x100"},
    ),
    "SightlineClassMixDrift": Case(mix((18, 2)), mix((12, 8)), "130m"),
    "SightlineConfidenceDrop": Case(confidence(2, 8), confidence(7, 8), "1640m"),
    "SightlineMetricOverflow": Case(
        {'sightline_predictions_total{otel_metric_overflow="true"}': "1x100"}, mix((10, 10))
    ),
}
# The same, but with so few requests that one failure would wake somebody.
LOW_TRAFFIC = {
    "SightlineErrorBudgetFastBurn": requests(1, 0.5),
    "SightlineLatencyBudgetFastBurn": answers(1, 0.5),
    "SightlineExplanationsFailing": explanations(0.5, 0.5),
    "SightlineClassMixDrift": mix((1.8, 0.2)),
    "SightlineConfidenceDrop": confidence(0.2, 0.8, count=2),
}


def evaluate(promtool: Any, folder: Path, alert: str, series: dict[str, str], case: Case, fires: bool) -> None:
    rule = ALERTS[alert]
    expected = [{"exp_labels": rule["labels"], "exp_annotations": rule["annotations"]}] if fires else []
    test = {
        "rule_files": [str(RULES / name) for name in ("recording.yml", "alerts.yml")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "alert_rule_test": [{"eval_time": case.at, "alertname": alert, "exp_alerts": expected}],
            }
        ],
    }
    file = folder / "test.yml"
    file.write_text(yaml.safe_dump(test))
    promtool("test", "rules", file)


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_fires_for_what_it_is_for(promtool: Any, tmp_path: Path, alert: str) -> None:
    evaluate(promtool, tmp_path, alert, CASES[alert].fires, CASES[alert], fires=True)


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_is_silent_below_its_threshold(promtool: Any, tmp_path: Path, alert: str) -> None:
    evaluate(promtool, tmp_path, alert, CASES[alert].silent, CASES[alert], fires=False)


@pytest.mark.parametrize("alert", LOW_TRAFFIC)
def test_a_few_requests_wake_nobody(promtool: Any, tmp_path: Path, alert: str) -> None:
    evaluate(promtool, tmp_path, alert, LOW_TRAFFIC[alert], CASES[alert], fires=False)


def test_every_alert_has_its_cases() -> None:
    assert CASES.keys() == ALERTS.keys()


def test_the_drift_of_90_to_10_against_half_and_half_is_what_the_formula_gives(promtool: Any, tmp_path: Path) -> None:
    series = [{"series": name, "values": values} for name, values in mix((18, 2)).items()]
    expected = [
        {"labels": "sightline:label_psi:1h", "value": 0.8788898309344878}
    ]  # 0.4 ln(0.9/0.5) - 0.4 ln(0.1/0.5), by hand
    asked = [{"expr": "sightline:label_psi:1h", "eval_time": "70m", "exp_samples": expected}]
    test = {
        "rule_files": [str(RULES / "recording.yml")],
        "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": asked}],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    promtool("test", "rules", tmp_path / "test.yml")


def test_every_alert_has_a_page_that_says_what_to_look_at_and_what_to_do() -> None:
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"
        page = (RUNBOOKS / f"{name}.md").read_text()
        assert page.startswith(f"# {name}\n")
        assert re.findall(r"^## (.+)$", page, re.MULTILINE) == ["What it means", "Look at", "Do"]
    assert {file.stem for file in RUNBOOKS.glob("*.md")} - {"README"} == ALERTS.keys()
