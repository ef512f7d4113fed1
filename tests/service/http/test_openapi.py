"""The API's own description: every status has an example, and every example is what it says."""

from http import HTTPStatus

import pytest

from service.errors import PROBLEMS
from service.http.report_schemas import ModelList
from service.http.schemas import MAX_TOP_K, ClassifyRequest, ClassifyResponse, Health, Problem

MODELS = {model.__name__: model for model in (ClassifyResponse, Problem, Health, ModelList)}
ROUTES = [
    ("/classify", "post"),
    ("/classify", "put"),
    ("/health/live", "get"),
    ("/health/ready", "get"),
    ("/models", "get"),
]


@pytest.fixture(scope="module")
def document(served) -> dict:
    response = served.request("GET", "/openapi.json")
    assert response.status_code == 200
    return response.json()


def resolved(document: dict, schema: dict) -> dict:
    """The schema itself, or what its $ref names."""
    for part in schema.get("$ref", "#").split("/")[1:]:
        schema = document[part] if "$ref" in schema else schema[part]
    return schema


def references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [found for value in node.values() for found in references(value)]
    return [found for value in node for found in references(value)] if isinstance(node, list) else []


def examples(document: dict, content: dict) -> list[object]:
    """Of one media type, given there or in its schema."""
    return [one["value"] for one in content.get("examples", {}).values()] or resolved(document, content["schema"]).get(
        "examples", []
    )


def test_it_lists_exactly_these_routes(document):
    assert [(path, method) for path, item in document["paths"].items() for method in item] == ROUTES
    ids = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(set(ids)) == len(ids)


def test_every_reference_leads_somewhere(document):
    found = references(document)
    assert found
    for reference in found:
        assert resolved(document, {"$ref": reference})["type"] == "object"


@pytest.mark.parametrize(("path", "method"), ROUTES)
def test_every_documented_status_has_examples_that_are_what_they_say(document, path, method):
    for status, response in document["paths"][path][method]["responses"].items():
        assert response["description"], status
        for media_type, content in response["content"].items():
            found = examples(document, content)
            assert found, f"{status} {media_type} has no example"
            model = MODELS[content["schema"]["$ref"].rpartition("/")[2]]
            for example in found:
                model.model_validate(example, extra="forbid")


@pytest.mark.parametrize(("path", "method"), ROUTES)
def test_problems_are_documented_with_the_media_type_that_they_are_sent_with(document, path, method):
    for status, response in document["paths"][path][method]["responses"].items():
        wanted = "application/json" if status == "200" else "application/problem+json"
        assert list(response["content"]) == [wanted], status


@pytest.mark.parametrize("method", ["post", "put"])
def test_classify_documents_every_problem_under_its_status(document, method):
    responses = document["paths"]["/classify"][method]["responses"]
    assert {int(status) for status in responses} == {200} | {kind.status for kind in PROBLEMS.values()}
    documented = {
        code: int(status)
        for status, response in responses.items()
        if status != "200"
        for code in response["content"]["application/problem+json"]["examples"]
    }
    assert documented == {code: kind.status for code, kind in PROBLEMS.items()}
    assert all(HTTPStatus(status) for status in documented.values())


@pytest.mark.parametrize("method", ["post", "put"])
def test_classify_documents_every_form_of_its_body_and_top_k(document, method):
    operation = document["paths"]["/classify"][method]
    body = operation["requestBody"]
    assert body["required"]
    assert {"image/jpeg", "image/png", "application/octet-stream", "multipart/form-data", "application/json"} <= set(
        body["content"]
    )
    (top_k,) = [parameter for parameter in operation["parameters"] if parameter["name"] == "top_k"]
    assert (top_k["in"], top_k["schema"]["minimum"], top_k["schema"]["maximum"]) == ("query", 1, MAX_TOP_K)
    for example in body["content"]["application/json"]["schema"]["examples"]:
        ClassifyRequest.model_validate(example)


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/models"])
def test_what_a_route_answers_is_what_it_documents(document, served, path):
    answer = served.request("GET", path)
    schema = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    MODELS[schema["$ref"].rpartition("/")[2]].model_validate_json(answer.content, extra="forbid")
