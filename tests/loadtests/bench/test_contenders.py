"""How each contender of the benchmark is asked, and where its answer holds the labels."""

import base64
import email
import json

import pytest

from loadtests.bench.contenders import BASE64_JSON, CONTENDERS, MULTIPART, OPEN_INFERENCE, PEERS, RAW

PHOTO = b"\xff\xd8 photo"
ANSWERS = {
    "Sightline": {"results": [{"predictions": [{"label": "cat", "score": 0.75}, {"label": "dog", "score": 0.25}]}]},
    "BentoML": [{"label": "cat", "score": 0.75}, {"label": "dog", "score": 0.25}],
    "TorchServe": {"cat": 0.75, "dog": 0.25},
    "MLServer": {
        "outputs": [{"name": "scores", "data": [0.75, 0.25]}, {"name": "labels", "data": ["cat", "dog"]}],
    },
}
PREDICTIONS = {"predictions": [{"label": "cat", "score": 0.75}, {"label": "dog", "score": 0.25}]}


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda one: one.name)
def test_the_labels_are_found_in_every_contenders_answer(contender) -> None:
    answer = json.loads(json.dumps(ANSWERS.get(contender.name, PREDICTIONS)))
    assert contender.labels(answer) == [("cat", 0.75), ("dog", 0.25)]


@pytest.mark.parametrize("contender", [one for one in CONTENDERS if one.peer], ids=lambda one: one.name)
def test_every_peer_has_its_folder_with_a_lock(contender) -> None:
    assert (PEERS / contender.peer / "requirements.lock").is_file()


def test_the_bodies_hold_the_photo() -> None:
    assert RAW.encode(PHOTO) == PHOTO
    assert base64.b64decode(json.loads(BASE64_JSON.encode(PHOTO))["image"]) == PHOTO
    (tensor,) = json.loads(OPEN_INFERENCE.encode(PHOTO))["inputs"]
    assert base64.b64decode(tensor["data"][0]) == PHOTO
    parsed = email.message_from_bytes(
        f"content-type: {MULTIPART.content_type}\r\n\r\n".encode() + MULTIPART.encode(PHOTO)
    )
    (part,) = parsed.get_payload()
    assert part.get_param("name", header="content-disposition") == "image"
    assert part.get_payload(decode=True) == PHOTO
