"""The API's own description: every status has an example, and every example is what it says."""

from http import HTTPStatus

import jsonschema
import pytest

from service.errors import PROBLEMS
from service.http.activations_schemas import ActivationsResponse
from service.http.explain_schemas import ExplainResponse
from service.http.inspect_schemas import InspectResponse
from service.http.report_schemas import ModelList, ModelReport
from service.http.schemas import MAX_TOP_K, ClassifyRequest, ClassifyResponse, Health, Problem
from service.http.textbook_schemas import ConvolveRequest, ConvolveResponse, FilterList

ANSWERS = {
    ("/classify", "post"): ClassifyResponse,
    ("/classify", "put"): ClassifyResponse,
    ("/health/live", "get"): Health,
    ("/health/ready", "get"): Health,
    ("/models", "get"): ModelList,
    ("/models/{name}/{version}/report", "get"): ModelReport,
    ("/models/{name}/{version}/golden/{number}", "get"): None,
    ("/models/{name}/{version}/worst/{number}", "get"): None,
    ("/filters", "get"): FilterList,
    ("/convolve", "post"): ConvolveResponse,
    ("/explain", "post"): ExplainResponse,
    ("/activations", "post"): ActivationsResponse,
    ("/inspect", "post"): InspectResponse,
}
ROUTES = list(ANSWERS)
MODELS = {model.__name__: model for model in (Problem, *ANSWERS.values()) if model is not None}
EXPLANATIONS = ["/explain", "/activations", "/inspect"]
# The media types of an answer with status 200; where it is not listed, JSON alone.
PICTURES = {path: ["application/json", "image/png"] for path in EXPLANATIONS} | {
    f"/models/{{name}}/{{version}}/{kind}/{{number}}": ["image/*"] for kind in ("golden", "worst")
}
BINARY = {"type": "string", "format": "binary"}
# Answers of every kind, each by its path in the document and that of a request.
ASKED = [
    ("/health/live", "get", "/health/live"),
    ("/health/ready", "get", "/health/ready"),
    ("/models", "get", "/models"),
    ("/models/{name}/{version}/report", "get", "/models/digits/1/report"),
    ("/filters", "get", "/filters"),
    ("/classify", "post", "/classify"),
    ("/explain", "post", "/explain"),
    ("/explain", "post", "/explain?label=3&against=7"),
    ("/explain", "post", "/explain?method=occlusion"),
    ("/explain", "post", "/explain?method=cover&cover=60,40,100,120"),
    ("/activations", "post", "/activations"),
    ("/activations", "post", "/activations?layer=journey"),
    ("/inspect", "post", "/inspect?space=rgb&space=gray&space=hsv&space=lab"),
]
ONLY_OF_EXPLANATIONS = {"explanations_off", "method_unavailable", "explanation_failed", "explanation_busy"}


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
            if media_type.startswith("image/"):
                assert content == {"schema": BINARY}, status
                continue
            found = examples(document, content)
            assert found, f"{status} {media_type} has no example"
            model = MODELS[content["schema"]["$ref"].rpartition("/")[2]]
            for example in found:
                model.model_validate(example, extra="forbid")


@pytest.mark.parametrize(("path", "method"), ROUTES)
def test_answers_are_documented_with_the_media_types_that_they_are_sent_with(document, path, method):
    for status, response in document["paths"][path][method]["responses"].items():
        wanted = PICTURES.get(path, ["application/json"]) if status == "200" else ["application/problem+json"]
        assert list(response["content"]) == wanted, status


@pytest.mark.parametrize(("path", "method"), [route for route, model in ANSWERS.items() if model])
def test_the_documented_answer_is_the_model_that_it_is_tested_with(document, path, method):
    schema = document["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": f"#/components/schemas/{ANSWERS[path, method].__name__}"}


@pytest.mark.parametrize("method", ["post", "put"])
def test_classify_documents_every_problem_under_its_status(document, method):
    responses = document["paths"]["/classify"][method]["responses"]
    possible = {code: kind.status for code, kind in PROBLEMS.items() if code not in ONLY_OF_EXPLANATIONS}
    assert {int(status) for status in responses} == {200, *possible.values()}
    documented = {
        code: int(status)
        for status, response in responses.items()
        if status != "200"
        for code in response["content"]["application/problem+json"]["examples"]
    }
    assert documented == possible
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


@pytest.mark.parametrize("path", EXPLANATIONS)
def test_explanations_document_the_same_bodies_as_classify_with_one_image(document, path):
    body = document["paths"][path]["post"]["requestBody"]
    classify = document["paths"]["/classify"]["post"]["requestBody"]
    assert body["required"]
    assert list(body["content"]) == list(classify["content"])
    assert body["content"]["multipart/form-data"]["schema"]["properties"] == {"image": BINARY}
    for media_type in ("image/jpeg", "application/octet-stream"):
        assert body["content"][media_type] == classify["content"][media_type] == {"schema": BINARY}
    assert body["content"]["application/json"] == classify["content"]["application/json"]


@pytest.mark.parametrize("path", EXPLANATIONS)
def test_explanations_document_every_problem_that_they_can_have(document, path):
    responses = document["paths"][path]["post"]["responses"]
    problems = [responses[status]["content"]["application/problem+json"] for status in responses if status != "200"]
    documented = {code for content in problems for code in content["examples"]}
    assert documented >= set(PROBLEMS) - {"too_many_connections"}  # which the edge answers


def test_explanations_document_their_parameters(document):
    documented = {
        path: [parameter["name"] for parameter in document["paths"][path]["post"]["parameters"]]
        for path in EXPLANATIONS
    }
    assert documented == {
        "/explain": ["method", "label", "against", "cells", "cover"],
        "/activations": ["layer", "filter", "row", "column"],
        "/inspect": ["space"],
    }
    for path in EXPLANATIONS:
        for parameter in document["paths"][path]["post"]["parameters"]:
            assert (parameter["in"], parameter["required"]) == ("query", False)
            assert parameter["description"].endswith("."), parameter["name"]


def test_convolve_documents_its_body_with_examples(document):
    body = document["paths"]["/convolve"]["post"]["requestBody"]
    assert body["required"]
    schema = body["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == set(ConvolveRequest.model_fields)
    assert schema["additionalProperties"] is False
    assert schema["examples"]
    for example in schema["examples"]:
        ConvolveRequest.model_validate(example)
        jsonschema.validate(example, schema)


@pytest.mark.parametrize(("path", "method", "asked"), ASKED)
def test_what_a_route_answers_is_what_it_documents(document, served, digit, encoded, path, method, asked):
    image = {"content": encoded(digit(7), "PNG")} if method == "post" else {}
    answer = served.request(method.upper(), asked, **image)
    assert answer.status_code == 200, answer.text
    ANSWERS[path, method].model_validate_json(answer.content, extra="forbid", by_name=True)
    schema = document["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(answer.json(), schema | {"components": document["components"]})


@pytest.mark.parametrize("change", [{}, {"relu": True, "pool": "max", "padding": "same"}, {"steps": False}])
def test_what_convolve_answers_is_what_it_documents(document, served, change):
    answer = served.request("POST", "/convolve", json={"input": [[1, 2, 3]] * 3, "kernel": [[1, 1]] * 2} | change)
    schema = document["paths"]["/convolve"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(answer.json(), schema | {"components": document["components"]})
