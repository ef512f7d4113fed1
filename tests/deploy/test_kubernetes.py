"""The manifests: what the API server and KubeRay would take, and that they say what the rest of deploy/ says."""

from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from service.app import APPLICATION, ImageClassifier
from service.ray.environment import ray_serve_environment
from service.settings import Settings

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
KUBERNETES = "1.31"


def manifest(name: str) -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "kubernetes" / f"{name}.yaml").read_text())


RAY_SERVICE = manifest("rayservice")
CLUSTER = RAY_SERVICE["spec"]["rayClusterConfig"]
SERVE = yaml.safe_load((DEPLOY / "serve.yaml").read_text())


def closed(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    """An object with these fields and no others, as the API server prunes or refuses them."""
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


# The fields of ray.io/v1, by hand from KubeRay 1.7's reference
# (https://docs.ray.io/en/master/kuberay/references/api.html); pods are held against Kubernetes's own schema below. The
# definition itself is not part of any package that could be installed here: that what it requires is required here, and
# that authOptions, autoscalerOptions and the worker groups are as there, was read in
# helm-chart/kuberay-operator/crds/ray.io_rayservices.yaml of ray-project/kuberay at 02a80a6.
ANY, TEXT, FLAG, COUNT = {}, {"type": "string"}, {"type": "boolean"}, {"type": "integer", "minimum": 0}
TEXTS = {"type": "object", "additionalProperties": TEXT}
POD = closed(("spec",), metadata=ANY, spec={"type": "object", "required": ["containers"]})
HEAD = closed(
    ("rayStartParams", "template"),
    **{
        "rayStartParams": TEXTS,
        "template": POD,
        "serviceType": TEXT,
        "headService": ANY,
        "enableIngress": FLAG,
        "labels": TEXTS,
    },
    resources=TEXTS,
)
WORKERS = closed(
    ("groupName", "rayStartParams", "template", "minReplicas", "maxReplicas"),
    **{
        "groupName": TEXT,
        "replicas": COUNT,
        "minReplicas": COUNT,
        "maxReplicas": COUNT,
        "numOfHosts": COUNT,
        "idleTimeoutSeconds": COUNT,
    },
    **{
        "rayStartParams": TEXTS,
        "template": POD,
        "scaleStrategy": ANY,
        "suspend": FLAG,
        "labels": TEXTS,
        "resources": TEXTS,
    },
)
AUTOSCALER = closed(
    **{
        "resources": ANY,
        "image": TEXT,
        "imagePullPolicy": TEXT,
        "env": ANY,
        "envFrom": ANY,
        "volumeMounts": ANY,
        "securityContext": ANY,
    },
    idleTimeoutSeconds=COUNT,
    upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
    version={"enum": ["v1", "v2"]},
)
CLUSTER_SPEC = closed(
    ("headGroupSpec",),
    headGroupSpec=HEAD,
    workerGroupSpecs={"type": "array", "items": WORKERS},
    autoscalerOptions=AUTOSCALER,
    authOptions=closed(mode={"enum": ["disabled", "token"]}, secretName=TEXT),
    rayVersion=TEXT,
    enableInTreeAutoscaling=FLAG,
    headServiceAnnotations=TEXTS,
    suspend=FLAG,
    gcsFaultToleranceOptions=ANY,
)
RAY_SERVICE_SCHEMA = closed(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayService"},
    metadata={"type": "object", "required": ["name"]},
    spec=closed(
        ("serveConfigV2", "rayClusterConfig"),
        serveConfigV2=TEXT,
        rayClusterConfig=CLUSTER_SPEC,
        serveService=ANY,
        upgradeStrategy=ANY,
    ),
)


def test_kuberay_knows_every_field() -> None:
    jsonschema.validate(RAY_SERVICE, RAY_SERVICE_SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**RAY_SERVICE, "spec": {**RAY_SERVICE["spec"], "serveConfig": ""}}, RAY_SERVICE_SCHEMA)


GROUPS = {"head": CLUSTER["headGroupSpec"], **{group["groupName"]: group for group in CLUSTER["workerGroupSpecs"]}}


@pytest.mark.parametrize("group", GROUPS)
def test_its_pods_are_pods(group: str) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": group}, "spec": GROUPS[group]["template"]["spec"]}
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**pod, "spec": {**pod["spec"], "container": []}}, KUBERNETES, strict=True)


@pytest.mark.parametrize("group", GROUPS)
def test_its_containers_are_locked_down(group: str) -> None:
    pod = GROUPS[group]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    for container in pod["containers"]:
        security = container["securityContext"]
        assert (security["readOnlyRootFilesystem"], security["allowPrivilegeEscalation"]) == (True, False)
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"] == container["resources"]["requests"]


def test_the_network_policy_is_one() -> None:
    kubernetes_validate.validate(manifest("networkpolicy"), KUBERNETES, strict=True)


def test_it_deploys_the_serve_configuration_beside_it() -> None:
    assert yaml.safe_load(RAY_SERVICE["spec"]["serveConfigV2"]) == SERVE
    found = ServeDeploySchema.model_validate(SERVE)
    assert [application.name for application in found.applications] == [APPLICATION]
    assert [deployment.name for deployment in found.applications[0].deployments] == [ImageClassifier.name]
    Settings(**found.applications[0].args)


def test_a_replica_fills_a_worker() -> None:
    wanted = SERVE["applications"][0]["deployments"][0]["ray_actor_options"]["num_cpus"]
    assert [
        container["resources"]["limits"]["cpu"] for container in GROUPS["replicas"]["template"]["spec"]["containers"]
    ] == [str(wanted)]
    assert GROUPS["replicas"]["maxReplicas"] == SERVE["applications"][0]["args"]["max_replicas"]
    assert GROUPS["head"]["rayStartParams"]["num-cpus"] == "0"


@pytest.mark.parametrize("group", GROUPS)
def test_ray_is_set_up_as_on_one_machine(group: str) -> None:
    for container in GROUPS[group]["template"]["spec"]["containers"]:
        assert {variable["name"]: variable["value"] for variable in container["env"]} == ray_serve_environment()


def test_the_pod_monitor_keeps_what_prometheus_keeps_under_the_same_names() -> None:
    scrape = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"][0]
    endpoint = manifest("podmonitor")["spec"]["podMetricsEndpoints"][0]
    names = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
    assert [
        {names.get(key, key): value for key, value in rule.items()} for rule in endpoint["metricRelabelings"]
    ] == scrape["metric_relabel_configs"]
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": scrape["job_name"]}]
    for group in GROUPS.values():
        ports = {
            port["name"]: port["containerPort"]
            for container in group["template"]["spec"]["containers"]
            for port in container["ports"]
        }
        assert str(ports[endpoint["port"]]) == group["rayStartParams"]["metrics-export-port"]
