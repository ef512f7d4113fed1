"""What the OpenAPI document says beyond what FastAPI derives from the code."""

from collections.abc import Container
from typing import Any

from service.errors import PROBLEMS
from service.http.problems import problem
from service.http.schemas import DEFAULT_TOP_K, MAX_TOP_K, ClassifyRequest

_REQUEST_ID = "3f0c9a52d1f54c4a8a4e7d0f6a8f8f0e"
_BINARY = {"schema": {"type": "string", "format": "binary"}}

REQUEST_BODY: dict[str, Any] = {
    "required": True,
    "description": "The bytes decide: a body that begins like an image is an image, whatever its Content-Type says.",
    "content": {
        **{f"image/{kind}": _BINARY for kind in ("jpeg", "png", "webp", "gif", "bmp")},
        "application/octet-stream": _BINARY,
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {
                    "image": {"type": "array", "items": {"type": "string", "format": "binary"}},
                    "top_k": {"type": "integer", "minimum": 1, "maximum": MAX_TOP_K},
                },
                "required": ["image"],
            }
        },
        "application/json": {"schema": ClassifyRequest.model_json_schema()},
    },
}
IMAGE_BODY: dict[str, Any] = {
    "required": True,
    "description": "One image: its bytes, a form with one file, or JSON with `image` in base64.",
    "content": {
        name: entry
        if name != "multipart/form-data"
        else {
            "schema": {
                "type": "object",
                "properties": {"image": {"type": "string", "format": "binary"}},
                "required": ["image"],
            }
        }
        for name, entry in REQUEST_BODY["content"].items()
    },
}
TOP_K_PARAMETER: dict[str, Any] = {
    "name": "top_k",
    "in": "query",
    "description": "Number of labels for each image.",
    "schema": {"type": "integer", "minimum": 1, "maximum": MAX_TOP_K, "default": DEFAULT_TOP_K},
}


EXPLANATIONS = frozenset({"explanations_off", "method_unavailable", "explanation_failed", "explanation_busy"})
"""Codes that only a request for an explanation can get."""


def problem_responses(*statuses: int, without: Container[str] = ()) -> dict[int | str, dict[str, Any]]:
    """For each status, the problems that it can mean, each with an example; `without` some codes."""
    return {status: _problem_response(status, without) for status in statuses}


def _problem_response(status: int, without: Container[str]) -> dict[str, Any]:
    examples = {
        code: {"value": problem(code, kind.title + ".", _REQUEST_ID).model_dump()}
        for code, kind in PROBLEMS.items()
        if kind.status == status and code not in without
    }
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        "description": " · ".join(PROBLEMS[code].title for code in examples),
        "content": {"application/problem+json": {"schema": schema, "examples": examples}},
    }
