"""The study of two nodes passes settings that the service accepts."""

from pathlib import Path

from loadtests.studies.twonodes import serve_config
from service.settings import Settings


def test_the_serve_configuration_is_accepted(tmp_path: Path) -> None:
    (application,) = serve_config(tmp_path)["applications"]
    settings = Settings.model_validate(application["args"])
    assert (settings.num_replicas, settings.max_replicas, settings.models_dir) == (2, 0, tmp_path)
