"""Every knob: type, bound, unit, and where it is read from."""

import math
import os
from pathlib import Path

import annotated_types
import pytest
from pydantic import ValidationError

from service.settings import PREFIX, RENAMED, Settings, SettingsError
from vision.hardware import available_cpus
from vision.image import DecodeLimits

FIELDS = Settings.model_fields
NUMERIC = {name: field for name, field in FIELDS.items() if field.annotation in (int, float)}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in list(os.environ):
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)


def bounds(name: str) -> tuple[float, float]:
    metadata = NUMERIC[name].metadata
    (low,) = [one.ge for one in metadata if isinstance(one, annotated_types.Ge)]
    (high,) = [one.le for one in metadata if isinstance(one, annotated_types.Le)]
    return low, high


def test_the_defaults_serve_the_only_model_on_loopback():
    settings = Settings.from_environment()
    assert (settings.models_dir, settings.model, settings.log_file) == (Path("models"), None, None)
    assert (settings.host, settings.port, settings.engine, settings.num_replicas) == ("127.0.0.1", 8000, "auto", 1)
    assert settings.decode_limits == DecodeLimits()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("PORT", "8123", 8123),
        ("HOST", "::1", "::1"),
        ("MODELS_DIR", "/somewhere/else", Path("/somewhere/else")),
        ("LOG_FILE", "requests.jsonl", Path("requests.jsonl")),
        ("ENGINE", "torch", "torch"),
        ("REQUEST_TIMEOUT_S", "0.05", 0.05),
        ("MAX_IMAGE_BYTES", "1024", 1024),
    ],
)
def test_the_environment_overrides_a_default_and_an_argument_the_environment(monkeypatch, name, text, value):
    monkeypatch.setenv(PREFIX + name, text)
    assert getattr(Settings.from_environment(), name.lower()) == value
    default = FIELDS[name.lower()].default
    assert default != value
    assert getattr(Settings.from_environment(**{name.lower(): default}), name.lower()) == default


@pytest.mark.parametrize("name", ["SIGHTLINE_X", "SIGHTLINE_PROT", "sightline_workers", "SIGHTLINE_", "SIGHTLINE_RUNS"])
def test_an_unknown_name_is_refused_by_name_and_the_known_ones_are_listed(monkeypatch, name):
    monkeypatch.setenv(name, "1")
    with pytest.raises(SettingsError, match=f"no setting {name}\\. .*SIGHTLINE_PORT"):
        Settings.from_environment()


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_earlier_name_is_refused_with_the_new_one(monkeypatch, old, new):
    monkeypatch.setenv(f"SIGHTLINE_{old.upper()}", "1")
    with pytest.raises(SettingsError, match=f"SIGHTLINE_{old.upper()} is now called SIGHTLINE_{new.upper()}; set that"):
        Settings.from_environment()
    monkeypatch.delenv(f"SIGHTLINE_{old.upper()}")
    with pytest.raises(ValidationError, match=f"the setting {old} is now called {new}"):
        Settings.model_validate({old: 1})  # as Ray does with the args of deploy/serve.yaml


def test_every_earlier_name_leads_to_a_setting_and_is_none_itself():
    assert set(RENAMED.values()) <= set(FIELDS)
    assert not set(RENAMED) & set(FIELDS)


def test_names_of_others_and_the_runs_own_mark_are_accepted(monkeypatch):
    monkeypatch.setenv("SIGHTLINE_RUN", "1:2:/x")
    monkeypatch.setenv("SIGHTLINER", "1")
    monkeypatch.setenv("PORT", "1")
    assert Settings.from_environment() == Settings()


@pytest.mark.parametrize("name", NUMERIC)
def test_a_number_may_be_its_bounds_and_nothing_beyond_them(monkeypatch, name):
    low, high = bounds(name)
    assert low < high < math.inf
    kind = NUMERIC[name].annotation
    for inside in (low, high):
        assert getattr(Settings(**{name: kind(inside)}), name) == inside
    for outside in (low - 1, high + 1, "nan", "inf", "", "x", "1e400"):
        monkeypatch.setenv(PREFIX + name.upper(), str(outside))
        with pytest.raises(SettingsError) as refusal:
            Settings.from_environment()
        assert f"{PREFIX}{name.upper()} is {str(outside)!r}: " in str(refusal.value)


def test_every_refused_setting_is_named_at_once(monkeypatch):
    monkeypatch.setenv("SIGHTLINE_PORT", "0")
    monkeypatch.setenv("SIGHTLINE_ENGINE", "tpu")
    with pytest.raises(SettingsError, match=r"SIGHTLINE_PORT is '0'.*; SIGHTLINE_ENGINE is 'tpu'.*openvino"):
        Settings.from_environment()


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_says_what_it_is(name):
    assert FIELDS[name].description
    assert FIELDS[name].description.endswith(".")
    unit = next(
        (unit for suffix, unit in (("_s", "Seconds"), ("_bytes", "Bytes"), ("_px", "Pixels")) if name.endswith(suffix)),
        "",
    )
    assert FIELDS[name].description.startswith(unit)


def test_every_number_has_both_bounds():
    assert len(NUMERIC) > 10
    for name in NUMERIC:
        bounds(name)


@pytest.mark.parametrize("model", ["digits", "digits/1", "a", "a-b_c9/123456789", "0"])
def test_a_model_is_a_name_with_or_without_a_version(monkeypatch, model):
    monkeypatch.setenv("SIGHTLINE_MODEL", model)
    assert Settings.from_environment().model == model


@pytest.mark.parametrize(
    "model",
    [
        "",
        "Digits",
        "-a",
        "a/0",
        "a/01",
        "a/x",
        "a/1/2",
        "../a",
        "a/../b",
        "a/1234567890",
        "a b",
        "a\n",
        "a/1\n",
        "é",
        "a" * 64,
    ],
)
def test_anything_else_is_no_model(monkeypatch, model):
    monkeypatch.setenv("SIGHTLINE_MODEL", model)
    with pytest.raises(SettingsError, match="SIGHTLINE_MODEL is"):
        Settings.from_environment()


def test_settings_cannot_be_changed_or_extended():
    settings = Settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1
    with pytest.raises(ValidationError, match="extra"):
        Settings(prot=1)


def test_settings_survive_the_way_to_the_cluster_process():
    settings = Settings(models_dir="/models", model="digits/1", log_file="requests/log", request_timeout_s=0.1)
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


def test_decode_limits_are_the_settings():
    settings = Settings(max_image_bytes=2048, max_image_pixels=7, max_image_side_px=5)
    assert settings.decode_limits == DecodeLimits(max_bytes=2048, max_pixels=7, max_side_px=5)


@pytest.mark.parametrize("name", ["max_image_bytes", "max_image_pixels", "max_image_side_px"])
def test_every_limit_that_a_setting_may_take_the_decoder_takes_too(name):
    for value in bounds(name):
        assert Settings(**{name: int(value)}).decode_limits


def test_zero_threads_means_the_cpus_that_this_process_may_use():
    assert Settings().worker_threads == available_cpus()
    assert Settings(threads=3).worker_threads == 3
