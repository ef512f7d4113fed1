"""POST /explain, /activations and /inspect: one image each, answered in the lane of explanations."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from service.errors import ExplanationsOff, InvalidParameter, RequestError
from service.http.activations_schemas import ActivationsResponse
from service.http.admission import Gate
from service.http.backends import ClassifierLike, LaneLike
from service.http.explain_schemas import ExplainResponse
from service.http.inspect_schemas import InspectResponse
from service.http.intake import receive
from service.http.openapi import IMAGE_BODY, problem_responses
from service.settings import Settings

MIN_CELLS, MAX_CELLS, DEFAULT_CELLS = 2, 14, 7
_BOX_NUMBERS = 4
_PNG = "image/png"
_STATUSES = (400, 403, 408, 413, 415, 422, 500, 503, 504)


Method = Annotated[
    Literal["cam", "occlusion", "cover"],
    Query(
        description="`cam`: what each cell of the last maps adds to the logit, exact for networks that end in global "
        "average pooling and one linear layer; `occlusion`: how much of the logit is lost while each cell is covered, "
        "for every network; `cover`: what covering one rectangle changes."
    ),
]
Label = Annotated[str | None, Query(description="The category to explain; the best one by default.")]
Against = Annotated[str | None, Query(description="Another category: why the label rather than this one.")]
Cells = Annotated[int, Query(ge=MIN_CELLS, le=MAX_CELLS, description="Occlusion: cells along a side.")]
Cover = Annotated[
    str | None, Query(description="Cover: left,top,width,height in pixels of the upright image.", max_length=40)
]
Layer = Annotated[
    Literal["first", "journey"],
    Query(
        description="`first`: the first convolution with its filters and maps; `journey`: the strongest maps of "
        "every size."
    ),
]
Filter = Annotated[int | None, Query(ge=0, le=99_999, description="First: the filter to compute again.")]
Place = Annotated[int | None, Query(ge=0, le=9_999, description="First: a row or column of the filter's map.")]
Spaces = Annotated[
    list[Literal["rgb", "gray", "hsv", "lab"]], Query(max_length=4, description="Colour spaces to give.")
]


def add_explanations(api: FastAPI, classifier: ClassifierLike, lane: LaneLike, gate: Gate, settings: Settings) -> None:
    """The three routes."""
    desk = _Desk(classifier, lane, gate, settings)

    async def explain(
        request: Request,
        method: Method = "cam",
        label: Label = None,
        against: Against = None,
        cells: Cells = DEFAULT_CELLS,
        cover: Cover = None,
    ) -> Response:
        desk.check_on()  # before the parameters, which do not matter then
        if label is not None and label == against:
            raise InvalidParameter(f"label and against are both {label[:80]!r}; name two categories.")
        parameters = {
            "method": method,
            "label": desk.index("label", label),
            "against": desk.index("against", against),
            "cells": cells,
            "cover": _box(cover) if method == "cover" else None,
        }
        return await desk.answer(request, "explain", parameters)

    async def activations(
        request: Request, layer: Layer = "first", filter: Filter = None, row: Place = None, column: Place = None
    ) -> Response:
        parameters = {"layer": layer, "filter": filter, "row": row, "column": column}
        return await desk.answer(request, "activations", parameters)

    async def inspect(request: Request, space: Spaces = []) -> Response:  # noqa: B006 - FastAPI copies it
        return await desk.answer(request, "inspect", {"space": sorted(set(space))})

    _add(api, explain, "Which parts of an image speak for a label", ExplainResponse)
    _add(api, activations, "What the network's layers make of an image", ActivationsResponse)
    _add(api, inspect, "What a file is, and what each preprocessing step makes of it", InspectResponse)


def _add(api: FastAPI, route: Callable[..., Awaitable[Response]], summary: str, model: type[BaseModel]) -> None:
    picture = {"content": {_PNG: {"schema": {"type": "string", "format": "binary"}}}}
    name = route.__name__
    api.add_api_route(
        f"/{name}",
        route,
        methods=["POST"],
        operation_id=name,
        summary=summary,
        response_model=model,
        responses={200: picture, **problem_responses(*_STATUSES)},
        openapi_extra={"requestBody": IMAGE_BODY},
    )


class _Desk:
    """Takes requests for the lane: reads the image, and hands the question on."""

    def __init__(self, classifier: ClassifierLike, lane: LaneLike, gate: Gate, settings: Settings) -> None:
        self._classifier = classifier
        self._lane = lane
        self._gate = gate
        self._settings = settings

    def check_on(self) -> None:
        """Raises ExplanationsOff if they are switched off."""
        if not self._settings.explain:
            raise ExplanationsOff("Explanations are switched off here.")

    def index(self, name: str, label: str | None) -> int | None:
        """The index of a category.

        Raises:
            InvalidParameter: there is no such category.
        """
        categories = self._classifier.bundle.manifest.categories
        if label is None:
            return None
        if label not in categories:
            first = ", ".join(categories[:20]) + (", …" if len(categories) > 20 else "")
            raise InvalidParameter(f"{name} is {label[:80]!r}; the categories are {first}.")
        return categories.index(label)

    async def answer(self, request: Request, kind: str, parameters: dict[str, Any]) -> Response:
        """The answer to one request.

        Args:
            request: holds one image.
            kind: explain, activations or inspect.
            parameters: checked.
        """
        self.check_on()
        with self._gate.receiving() as hold:
            self._classifier.check_ready()
            self._lane.check_free()
            submission = await receive(request, self._settings, hold, max_images=1)
            image = submission.images[0]
            if isinstance(image, RequestError):
                raise image
            request.state.images = 1
            question: dict[str, Any] = {
                "kind": kind,
                "parameters": parameters,
                "picture": _wants_picture(request),
                "about": self._about(request),
            }
            body = await self._lane.ask(question, image)
        return Response(body, media_type=_PNG if question["picture"] else "application/json")

    def _about(self, request: Request) -> dict[str, Any]:
        model = self._classifier.bundle.id
        return {
            "model": model.name,
            "version": model.version,
            "digest": model.digest,
            "request_id": request.state.request_id,
        }


def _wants_picture(request: Request) -> bool:
    accepted = request.headers.get("accept", "").lower()
    return _PNG in accepted and "application/json" not in accepted


def _box(text: str | None) -> tuple[int, ...]:
    """Four whole numbers: left, top, width, height."""
    parts = (text or "").split(",")
    numbers = [int(part) for part in parts if part.strip().isascii() and part.strip().isdigit()]
    if len(parts) != _BOX_NUMBERS or len(numbers) != _BOX_NUMBERS or 0 in numbers[2:]:
        raise InvalidParameter(
            f"cover is {(text or '')[:40]!r}; it must be left,top,width,height in whole pixels, e.g. cover=10,20,64,64."
        )
    return tuple(numbers)
