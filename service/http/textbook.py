"""GET /filters and POST /convolve: `vision.convolution` over HTTP, number by number, for the page's visualiser."""

from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from fastapi import FastAPI, Request, Response
from pydantic import ValidationError
from pydantic_core import to_json

from service.errors import InvalidParameter, MalformedRequest
from service.http.admission import Gate
from service.http.files import unchanged_or
from service.http.intake import read
from service.http.openapi import problem_responses
from service.http.textbook_schemas import ConvolveRequest, ConvolveResponse, FilterList
from service.settings import Settings
from vision.convolution import FILTERS, average_pool, conv2d, convolution_steps, max_pool, output_size, padding_px
from vision.patterns import PATTERNS

Array = npt.NDArray[np.float64]
MAX_BODY_BYTES = 256 * 1024
MAX_PRODUCTS = 8_192  # in all steps of one answer, which is up to 350 kB of JSON and 10 ms
POOL_PX = 2
_DIGITS = 9


def add_textbook(api: FastAPI, gate: Gate, settings: Settings) -> None:
    """The two routes."""
    listed = to_json(
        {
            "filters": [
                {"name": name, "kernel": entry.kernel.tolist(), "does": entry.does} for name, entry in FILTERS.items()
            ],
            "patterns": [
                {"name": name, "pixels": entry.pixels.tolist(), "shows": entry.shows}
                for name, entry in PATTERNS.items()
            ],
        }
    )

    @api.get("/filters", summary="Named 3×3 filters and 8×8 images to try them on", response_model=FilterList)
    async def filters(request: Request) -> Response:
        return unchanged_or(request, listed, "application/json")

    api.add_api_route(
        "/convolve",
        _convolve_route(gate, settings),
        methods=["POST"],
        operation_id="convolve",
        summary="One convolution with every product, then ReLU and pooling",
        response_model=ConvolveResponse,
        responses=problem_responses(400, 408, 413, 415, 422, 503),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": ConvolveRequest.model_json_schema()}},
            }
        },
    )


def _convolve_route(gate: Gate, settings: Settings) -> Callable[[Request], Awaitable[Response]]:
    async def convolve(request: Request) -> Response:
        with gate.receiving() as hold:
            body = await read(request, settings, hold, MAX_BODY_BYTES)
        return Response(to_json(_answer(_parse(body))), media_type="application/json")

    return convolve


def _parse(body: bytes) -> ConvolveRequest:
    try:
        return ConvolveRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        # Behind the field pydantic names the alternative that it tried, e.g. list[constrained-float].
        place = [str(part) for index, part in enumerate(first["loc"]) if index == 0 or isinstance(part, int)]
        where = ".".join(place)
        if first["type"] == "json_invalid":
            raise MalformedRequest(f"The body is not JSON: {first['msg'][:200]}.") from error
        raise InvalidParameter(f"{where[:80] or 'The body'}: {first['msg'][:200]}.") from error


def _answer(asked: ConvolveRequest) -> dict[str, Any]:
    image, kernel = _planes("input", asked.input), _planes("kernel", asked.kernel)
    if len(image) != len(kernel):
        raise InvalidParameter(f"input has {len(image)} channels and kernel {len(kernel)}; they must be equal.")
    try:
        rows, columns = (
            output_size(side, px, asked.stride, asked.padding)
            for side, px in zip(image.shape[1:], kernel.shape[1:], strict=True)
        )
    except ValueError as error:
        raise InvalidParameter(str(error)) from error
    if asked.steps and rows * columns * kernel.size > MAX_PRODUCTS:
        raise InvalidParameter(
            f"steps would be {rows * columns * kernel.size} products; at most {MAX_PRODUCTS} are given. "
            "Send steps=false, or a smaller input."
        )
    output = conv2d(image, kernel[None], np.array([asked.bias]), asked.stride, asked.padding)[0]
    activated = np.maximum(output, 0) if asked.relu else output
    pooled = _pooled(activated, asked.pool)
    before = [
        padding_px(side, px, asked.stride, asked.padding)
        for side, px in zip(image.shape[1:], kernel.shape[1:], strict=True)
    ]
    answer: dict[str, Any] = {
        "output": _listed(output),
        "activated": _listed(activated) if asked.relu else None,
        "pooled": None if pooled is None else _listed(pooled),
        "padded": list(before),
        "formula": [
            _formula(side, px, asked.stride, added, count)
            for side, px, added, count in zip(image.shape[1:], kernel.shape[1:], before, (rows, columns), strict=True)
        ],
        "pool_formula": [f"⌊{side} / {POOL_PX}⌋ = {side // POOL_PX}" for side in output.shape]
        if pooled is not None
        else None,
    }
    if asked.steps:
        answer["steps"] = [
            {
                "row": step.row,
                "column": step.column,
                "top": step.row * asked.stride - before[0][0],
                "left": step.column * asked.stride - before[1][0],
                "region": step.region.tolist(),
                "products": step.products.round(_DIGITS).tolist(),
                "total": round(step.total, _DIGITS),
            }
            for step in convolution_steps(image, kernel, asked.stride, asked.padding)
        ]
    return answer


def _planes(name: str, values: list[Any]) -> Array:
    """(H, W) or (C, H, W) nested lists → (C, H, W)."""
    planes = values if isinstance(values[0][0], list) else [values]
    shapes = {(len(plane), len(row)) for plane in planes for row in plane}
    if len(shapes) != 1:
        raise InvalidParameter(f"{name} has rows or channels of different sizes; it must be a rectangle.")
    return np.array(planes, dtype=np.float64)


def _pooled(maps: Array, kind: str | None) -> Array | None:
    if kind is None:
        return None
    if min(maps.shape) < POOL_PX:
        raise InvalidParameter(f"pool: the output is {maps.shape[0]}×{maps.shape[1]}; it must be at least 2×2.")
    pool = max_pool if kind == "max" else average_pool
    pooled: Array = pool(maps[None], POOL_PX)[0]
    return pooled


def _formula(side: int, kernel_px: int, stride: int, added: tuple[int, int], count: int) -> str:
    inner = f"({side} − {kernel_px} + {sum(added)}) / {stride}"
    whole = (side - kernel_px + sum(added)) % stride == 0
    return f"{inner if whole else f'⌊{inner}⌋'} + 1 = {count}"


def _listed(values: Array) -> list[list[float]]:
    rows: list[list[float]] = values.round(_DIGITS).tolist()
    return rows
