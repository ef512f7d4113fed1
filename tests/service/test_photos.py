"""Real photos, the whole way: trained, evaluated and served, the same answers. Needs ../shared; see conftest."""

import json
from pathlib import Path

import httpx
import pytest

from training.__main__ import main
from vision.bundle.store import load_bundle

pytestmark = [pytest.mark.serve, pytest.mark.slow]


@pytest.fixture(scope="module")
def flowers(shared: Path) -> Path:
    weights = shared / "weights" / "mobilenet_v2-64px.safetensors"
    if not weights.is_file():
        pytest.skip("needs ../shared/weights/mobilenet_v2-64px.safetensors, which is not part of the repository")
    return shared


def test_the_service_gives_the_evaluated_answer_to_every_validation_photo(
    flowers: Path, tmp_path: Path, launch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out, lines = flowers / "data" / "flowers", tmp_path / "models" / "flowers", tmp_path / "lines.jsonl"
    weights = str(flowers / "weights" / "mobilenet_v2-64px.safetensors")
    quick = ["--recipe", "flowers", "--weights", weights, "--cache-features", "--epochs-finetuned", "0"]
    assert main(["train", str(data), "--out", str(out), *quick]) == 0
    printed = capsys.readouterr().out
    assert "roses/15922772266_1167a06620.jpg = tulips/15922772266_1167a06620.jpg" in printed, (
        "one photo has two labels in this data"
    )
    assert main(["evaluate", str(out / "1"), str(data), "--part", "val", "--predictions", str(lines)]) == 0

    expected = [json.loads(line) for line in lines.read_text().splitlines()]
    bundle = load_bundle(out / "1")
    assert len(expected) == bundle.manifest.provenance.data["images"]["val"] > 400
    started = launch(out.parent, tmp_path, model="flowers")
    try:
        started.wait_until_ready()
        url, apart, differing = f"{started.url}/classify?top_k=5", 0.0, []
        engine = httpx.get(f"{started.url}/models").json()["models"][0]["engine"]
        with httpx.Client() as client:
            for line in expected:
                answer = client.post(url, content=(data / line["path"]).read_bytes()).json()["results"][0][
                    "predictions"
                ]
                served = {prediction["label"]: prediction["score"] for prediction in answer}
                apart = max(apart, *(abs(served[label] - score) for label, score in line["probabilities"].items()))
                if answer[0]["label"] != max(line["probabilities"], key=line["probabilities"].get):
                    differing.append(line["path"])
    finally:
        assert started.stop() == 0, started.printed
    print(
        f"{len(expected)} photos through {engine}: {len(differing)} with another label, largest difference {apart:.2e}"
    )
    assert differing == []
    # Through one engine only the batch can differ; the manifest states how far that engine is from torch.
    assert apart <= 1e-4
    assert bundle.manifest.parity[engine].passed
