"""The load test against a real service: right answers pass, an objective that cannot be met does not."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from loadtests.bodies import good

ROOT = Path(__file__).resolve().parents[2]
PLANS = """
import json
from loadtests.shapes import SHAPES
print(json.dumps({name: [(step.until_s, step.clients) for step in plan(20, 60)] for name, plan in SHAPES.items()}))
"""


def test_the_plans_cover_the_time_and_end_where_they_should() -> None:
    # In a process of its own: importing locust replaces what sockets and threads are made of.
    plans = json.loads(
        subprocess.run([sys.executable, "-c", PLANS], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    )
    assert plans["steady"] == [[60, 20]]
    assert [clients for _, clients in plans["steps"]] == [1, 2, 4, 8, 16, 20]
    assert [clients for _, clients in plans["spike"]] == [2, 20, 2]
    for plan in plans.values():
        assert plan[-1][0] == 60
        assert [until for until, _ in plan] == sorted(until for until, _ in plan)


@pytest.mark.serve
@pytest.mark.slow
def test_locust_judges_a_real_service(models: Path, launch: Callable, tmp_path: Path) -> None:
    service = launch(models, tmp_path)
    try:
        service.wait_until_ready()
        good = run(service.url, tmp_path / "good", "--min-rate", "5")
        assert good["missed"] == []
        assert good["requests"] > 100
        assert "p99" in (tmp_path / "good.log").read_text()
        assert (tmp_path / "good_stats.csv").is_file()
        bad = run(service.url, tmp_path / "bad", "--max-p99-ms", "0.001", "--min-rate", "1000000", status=1)
        assert len(bad["missed"]) == 2
    finally:
        assert service.stop() == 0, service.printed


def run(url: str, prefix: Path, *options: str, status: int = 0) -> dict:
    command = [
        *(
            str(Path(sys.executable).with_name("locust")),
            "--locustfile",
            "loadtests/locustfile.py",
            "--headless",
            "--only-summary",
        ),
        *("--host", url, "--shape", "steps", "--clients", "16", "--seconds", "10", "--csv", str(prefix), *options),
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    with prefix.with_suffix(".log").open("w") as log:
        finished = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, timeout=120, check=False
        )
    said = prefix.with_suffix(".log").read_text()
    assert finished.returncode == status, said
    return next(json.loads(line) for line in reversed(said.splitlines()) if line.startswith("{"))


def test_its_photos_are_in_every_format(tmp_path: Path) -> None:
    rendered = good(None)
    assert {body.data[:3] for body in rendered} >= {b"\xff\xd8\xff", b"\x89PN", b"RIF"}
    (tmp_path / "one.jpg").write_bytes(rendered[0].data)
    assert [body.data for body in good(tmp_path)] == [rendered[0].data]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no file"):
        good(tmp_path / "empty")
