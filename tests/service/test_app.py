"""How a deployment is described to Ray."""

import pytest

from service.ray.scaling import gpu_share
from service.settings import Settings


@pytest.mark.parametrize(
    ("replicas", "gpus", "share"),
    [(1, 0, 0.0), (4, 0, 0.0), (1, 1, 1.0), (2, 1, 0.5), (3, 2, 0.5), (4, 2, 0.5), (2, 4, 1.0), (5, 2, 1 / 3)],
)
def test_every_replica_has_a_gpu_and_as_few_as_can_be_share_it(replicas, gpus, share):
    assert gpu_share(replicas, gpus) == share
    assert not share or gpus * round(1 / share) >= replicas, "all of them can be placed"


@pytest.mark.parametrize(("engine", "expected"), [("auto", 0.5), ("torch", 0.5), ("openvino", 0)])
def test_a_deployment_asks_for_gpus_unless_openvino_serves(monkeypatch, engine, expected):
    from service import app

    monkeypatch.setattr(app, "count_gpus", lambda: 1)
    deployment = app.build_app(Settings(engine=engine, num_replicas=2))._bound_deployment
    options = deployment.ray_actor_options
    assert (options["num_gpus"], options["num_cpus"]) == (expected, 0)
