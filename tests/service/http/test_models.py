"""Nothing fixes the model when the API is built: an answer names the model that gave it, /models what is served now."""

import dataclasses

import httpx
import pytest

from vision.classification import ModelId


class Changed:
    """The real classifier, whose bundle and answers can become those of another version."""

    def __init__(self, classifier) -> None:
        self._classifier = classifier
        self.bundle = classifier.bundle
        self.engine = classifier.engine
        self.has_linear_head = classifier.has_linear_head
        self.answers_as: ModelId | None = None

    async def classify(self, data: bytes, deadline: float):
        given = await self._classifier.classify(data, deadline)
        return dataclasses.replace(given, model=self.answers_as) if self.answers_as else given

    def check_ready(self) -> None:
        self._classifier.check_ready()


@pytest.fixture
def changed(served) -> Changed:
    return Changed(served.classifier)


def test_a_classification_carries_the_model_that_made_it(served, changed, digit, encoded) -> None:
    """Also while the served bundle is another one already, as in the middle of a swap."""
    image = encoded(digit(7), "PNG")

    async def scenario(client: httpx.AsyncClient) -> list[tuple]:
        answers = [(await client.post("/classify", content=image)).json()]
        changed.answers_as = ModelId("digits", 2, "0123456789ab")
        answers.append((await client.post("/classify", content=image)).json())
        return [(answer["model"], answer["version"], answer["digest"]) for answer in answers]

    first, second = served.run(scenario, changed)
    assert first == ("digits", 1, served.classifier.bundle.digest)
    assert second == ("digits", 2, "0123456789ab")


def test_models_follows_the_classifiers_bundle(served, changed) -> None:
    async def scenario(client: httpx.AsyncClient) -> list[dict]:
        answers = [(await client.get("/models")).json()["models"][0]]
        manifest = changed.bundle.manifest.model_copy(update={"version": 2, "categories": tuple("abcdefghij")})
        changed.bundle = dataclasses.replace(changed.bundle, manifest=manifest, digest="0123456789ab")
        answers.append((await client.get("/models")).json()["models"][0])
        return answers

    first, second = served.run(scenario, changed)
    assert (first["version"], first["categories"]) == (1, list("0123456789"))
    assert (second["version"], second["categories"], second["digest"]) == (2, list("abcdefghij"), "0123456789ab")
    renamed = str.maketrans("0123456789", "abcdefghij")
    assert [one["label"] for one in second["golden"]] == [one["label"].translate(renamed) for one in first["golden"]]
