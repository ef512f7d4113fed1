"""The contenders of the benchmark: how each is started, its requests, and where its answers hold the labels."""

import base64
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtests.bench.networks import Network

PEERS = Path(__file__).parent / "peers"
Labels = list[tuple[str, float]]
_BOUNDARY = "sightline-benchmark"


@dataclass(frozen=True)
class Body:
    """How a photo becomes a request's body."""

    content_type: str
    encode: Callable[[bytes], bytes]


def _multipart(photo: bytes) -> bytes:
    disposition = 'content-disposition: form-data; name="image"; filename="photo.jpg"'
    head = f"--{_BOUNDARY}\r\n{disposition}\r\ncontent-type: image/jpeg\r\n\r\n"
    return head.encode() + photo + f"\r\n--{_BOUNDARY}--\r\n".encode()


def _base64_json(photo: bytes) -> bytes:
    return json.dumps({"image": base64.b64encode(photo).decode()}).encode()


def _open_inference(photo: bytes) -> bytes:
    given = {"name": "images", "shape": [1], "datatype": "BYTES", "parameters": {"content_type": "base64"}}
    return json.dumps({"inputs": [{**given, "data": [base64.b64encode(photo).decode()]}]}).encode()


RAW = Body("image/jpeg", lambda photo: photo)
MULTIPART = Body(f"multipart/form-data; boundary={_BOUNDARY}", _multipart)
BASE64_JSON = Body("application/json", _base64_json)
OPEN_INFERENCE = Body("application/json", _open_inference)


@dataclass(frozen=True)
class Contender:
    """One server.

    Attributes:
        name: in the table.
        peer: its folder below peers/, whose .venv runs it; None for Sightline itself.
        command: (port, network) → arguments after the interpreter.
        path: path of its classification.
        body: how a photo is sent.
        labels: its answer as parsed JSON → labels with their scores, the best first.
        environment: (port, network) → additional variables.
    """

    name: str
    peer: str | None
    command: Callable[[int, Network], list[str]]
    path: str
    body: Body
    labels: Callable[[Any], Labels]
    environment: Callable[[int, Network], dict[str, str]] = field(default=lambda port, network: {})

    @property
    def python(self) -> str:
        """The interpreter of its environment."""
        return sys.executable if self.peer is None else str(PEERS / self.peer / ".venv" / "bin" / "python")


def _pairs(answer: list[dict[str, Any]]) -> Labels:
    return [(found["label"], found["score"]) for found in answer]


def _predictions(answer: Any) -> Labels:
    return _pairs(answer["predictions"])


def _tensors(answer: Any) -> Labels:
    data = {output["name"]: output["data"] for output in answer["outputs"]}
    return list(zip(data["labels"], data["scores"], strict=True))


def _script(*path: str) -> str:
    return str(PEERS.joinpath(*path))


def _uvicorn(module: str) -> Callable[[int, Network], list[str]]:
    return lambda port, network: [
        "-m",
        "uvicorn",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--no-access-log",
        module,
    ]


def _sightline_environment(port: int, network: Network) -> dict[str, str]:
    return {"SIGHTLINE_PORT": str(port), "SIGHTLINE_MODELS_DIR": str(network.bundle.parent.parent)}


SIGHTLINE = Contender(
    "Sightline",
    None,
    lambda port, network: ["-m", "service", "serve"],
    "/classify",
    RAW,
    lambda answer: _pairs(answer["results"][0]["predictions"]),
    _sightline_environment,
)
CONTENDERS = (
    SIGHTLINE,
    Contender(
        "LitServe",
        "litserve",
        lambda port, network: [_script("litserve", "server.py"), str(port)],
        "/predict",
        BASE64_JSON,
        _predictions,
    ),
    Contender(
        "LitServe with our engine",
        "litserve",
        lambda port, network: [_script("litserve", "server_with_engine.py"), str(port)],
        "/predict",
        BASE64_JSON,
        _predictions,
    ),
    Contender(
        "BentoML",
        "bentoml",
        lambda port, network: [
            "-m",
            "bentoml",
            "serve",
            "service:Classifier",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ],
        "/classify",
        MULTIPART,
        _pairs,
    ),
    Contender(
        "TorchServe",
        "torchserve",
        lambda port, network: [_script("torchserve", "serve.py"), str(port)],
        "/predictions/network",
        RAW,
        lambda answer: list(answer.items()),
    ),
    Contender(
        "MLServer",
        "mlserver",
        lambda port, network: ["-c", "from mlserver.cli import main; main()", "start", "."],
        "/v2/models/network/infer",
        OPEN_INFERENCE,
        _tensors,
        lambda port, network: {
            "MLSERVER_HOST": "127.0.0.1",
            "MLSERVER_HTTP_PORT": str(port),
            "MLSERVER_GRPC_PORT": str(port + 1),
            "MLSERVER_METRICS_PORT": str(port + 2),
        },
    ),
    Contender("FastAPI + torch", "fastapi", _uvicorn("server:app"), "/classify", MULTIPART, _predictions),
    Contender(
        "FastAPI with our engine", "fastapi", _uvicorn("server_with_engine:app"), "/classify", MULTIPART, _predictions
    ),
    Contender(
        "textbook Ray Serve",
        "rayserve",
        lambda port, network: [_script("rayserve", "app.py"), str(port)],
        "/classify",
        RAW,
        _predictions,
    ),
)
