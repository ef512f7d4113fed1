"""What a newcomer's first start does without being told: the demo, the port of the metrics, the estimate."""

import io
import socket
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from service.local.estimate import last_start_s, remember_start_s
from service.local.ports import PortTaken, free_ports
from service.local.supervisor import DEMO, _metrics_port, _resolved
from service.settings import Settings
from vision.bundle.store import find_bundle, load_bundle
from vision.errors import BundleNotFound

METRICS_PORT = Settings.model_fields["metrics_port"].default


class Said(Console):
    """A console whose text can be read."""

    def __init__(self) -> None:
        super().__init__(file=io.StringIO(), width=300, markup=False, highlight=False)

    @property
    def text(self) -> str:
        return self.file.getvalue()


@pytest.mark.serve
def test_without_a_model_the_demo_is_served_and_this_is_said(tmp_path: Path, launch) -> None:
    (tmp_path / "models").mkdir()
    service = launch(tmp_path / "models", tmp_path).wait_until_ready()
    try:
        sample = Path(__file__).parents[3] / "service" / "http" / "page" / "sample.png"
        answer = httpx.post(f"{service.url}/classify", content=sample.read_bytes()).json()
    finally:
        assert service.stop() == 0
    assert (answer["model"], answer["results"][0]["predictions"][0]["label"]) == ("digits", "7")
    assert f"There is no model in {tmp_path / 'models'}: serving the demo" in service.printed
    assert "This is the first start here." in service.printed
    assert 0 < float((tmp_path / "cache" / "sightline" / "start_s").read_text()) < 120


def test_the_demo_is_served_only_if_no_model_is_there_and_none_is_named(models: Path, tmp_path: Path) -> None:
    for settings, expected in (
        (Settings(models_dir=tmp_path, metrics_port=0), DEMO),
        (Settings(models_dir=tmp_path, metrics_port=0, model="digits"), tmp_path),
        (Settings(models_dir=models, metrics_port=0), models),
    ):
        console = Said()
        assert _resolved(settings, console).models_dir == expected.absolute()
        assert ("serving the demo" in console.text) == (expected == DEMO)


def test_a_wrong_models_folder_is_refused_instead_of_replaced_by_the_demo(tmp_path: Path) -> None:
    """Otherwise a mistake in a mount would answer every photo with a digit."""
    (tmp_path / "versions" / "1").mkdir(parents=True)
    for folder in (tmp_path / "missing", tmp_path / "versions"):
        settings = _resolved(Settings(models_dir=folder, metrics_port=0), Said())
        with pytest.raises(BundleNotFound):
            find_bundle(settings.models_dir, settings.model)


def test_a_missing_folder_that_nobody_named_is_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert _resolved(Settings(metrics_port=0), Said()).models_dir == DEMO.absolute()


@pytest.mark.parametrize("torch", [True, False])
def test_a_gpu_that_cannot_be_used_is_mentioned(models: Path, monkeypatch: pytest.MonkeyPatch, torch: bool) -> None:
    monkeypatch.setattr("service.local.supervisor.gpu_devices", lambda: 2)
    monkeypatch.setattr("service.local.supervisor.has_torch", lambda: torch)
    for engine, said in (("auto", not torch), ("openvino", False)):
        console = Said()
        _resolved(Settings(models_dir=models, metrics_port=0, engine=engine), console)
        assert ("This machine has a GPU, but torch is not installed" in console.text) == said


def test_the_shipped_demo_is_a_sound_bundle() -> None:
    bundle = load_bundle(find_bundle(DEMO))
    assert (bundle.manifest.name, len(bundle.manifest.categories)) == ("digits", 10)
    assert sum(len(data) for data in bundle.files.values()) < 1_000_000


def test_the_default_metrics_port_gives_way_to_whoever_has_it_and_says_so() -> None:
    with socket.socket() as other:
        try:
            other.bind(("127.0.0.1", METRICS_PORT))
            other.listen()
        except OSError:
            pass  # somebody has it, which is the case at hand
        console = Said()
        port = _metrics_port(Settings(), console)
    assert port != METRICS_PORT
    assert f"Port {METRICS_PORT} is taken; the metrics are on port {port}." in console.text


def test_a_metrics_port_that_was_chosen_and_is_taken_is_refused() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port {taken} of 0.0.0.0 .*SIGHTLINE_METRICS_PORT"):
            _metrics_port(Settings(metrics_port=taken), Said())
    (free,) = free_ports(1)
    assert _metrics_port(Settings(metrics_port=free), Said()) == free


def test_0_takes_a_free_metrics_port_without_a_word() -> None:
    console = Said()
    assert _metrics_port(Settings(metrics_port=0), console) > 0
    assert console.text == ""


def test_the_estimate_is_the_last_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert last_start_s() is None
    remember_start_s(9.84)
    assert last_start_s() == 9.8
    (tmp_path / "cache" / "sightline" / "start_s").write_text("soon")
    assert last_start_s() is None


def test_a_cache_folder_that_cannot_be_written_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    remember_start_s(1.0)
    assert last_start_s() is None
