"""The summary of the benchmark: medians, shares of the loop, and ratios with their spread."""

import pytest

from loadtests.bench.results import summarise, table


def server(rate: float, ceiling: float, **others: object) -> dict[str, object]:
    per_load = {f"{key}_{clients}": 1.0 for key in ("rate", "p50_ms", "p99_ms", "cpu_ms") for clients in (1, 16, 64)}
    return per_load | {"rate_64": rate, "ceiling_rate": ceiling, "peak_bytes": 1e6, "start_s": 1.0} | others


LOOP = {"rate": 100.0, "single_ms": 5.0, "cpu_ms": 6.0}


def test_servers_are_compared_by_their_share_of_the_loop_beside_them() -> None:
    """In the second round the machine was half as fast, which changes no ratio."""
    rounds = [
        {"ceiling": LOOP, "Sightline": server(80, 100, engine="int8"), "LitServe": server(40, 100)},
        {"ceiling": LOOP, "Sightline": server(40, 50, engine="int8"), "LitServe": server(10, 50)},
        {"ceiling": LOOP, "Sightline": server(90, 100, engine="int8"), "LitServe": server(30, 100)},
    ]
    summary = summarise(rounds)
    assert summary["Sightline"]["rate_64"] == 80
    assert summary["Sightline"]["engine"] == "int8"
    assert summary["Sightline"]["of_ceiling"] == {"median": 0.8, "low": 0.8, "high": 0.9}
    assert summary["LitServe"]["sightline_is"] == pytest.approx({"median": 3.0, "low": 2.0, "high": 4.0})
    assert "sightline_is" not in summary["Sightline"]
    assert table("mobilenet_v2", summary).row_count == 3


def test_a_round_that_failed_is_left_out_and_a_contender_that_always_failed_says_so() -> None:
    rounds = [
        {"ceiling": LOOP, "Sightline": server(80, 100), "LitServe": {}, "BentoML": {}},
        {"ceiling": LOOP, "Sightline": server(60, 100), "LitServe": server(20, 100), "BentoML": {}},
    ]
    summary = summarise(rounds)
    assert summary["LitServe"]["sightline_is"]["median"] == pytest.approx(3.0)
    assert summary["BentoML"] == {}
    assert list(table("mobilenet_v2", summary).columns[1].cells)[-1] == "failed"


def test_a_server_without_an_answer_has_no_ratio() -> None:
    summary = summarise([{"ceiling": LOOP, "Sightline": server(80, 100), "LitServe": server(0, 100)}])
    assert summary["LitServe"]["sightline_is"] == {}
    assert summary["LitServe"]["of_ceiling"]["median"] == 0
