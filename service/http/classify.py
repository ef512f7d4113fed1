"""POST /classify: reads the images, has them classified within the deadline, and writes the answer."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from pydantic_core import to_json
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from service.errors import DeadlineExceeded, RequestError
from service.http.admission import Gate
from service.http.backends import ClassifierLike, LaneLike
from service.http.forms import Submission
from service.http.intake import receive
from service.http.problems import problem
from service.observability.metrics import REQUEST_SECONDS, STAGE_SECONDS, Metrics
from service.observability.tracing import current_request, record_stages
from service.settings import Settings
from vision.classification import STAGES, Classification, ModelId
from vision.errors import ImageError, SightlineError

Outcome = Classification | SightlineError


def classify_route(
    classifier: ClassifierLike, lane: LaneLike, gate: Gate, settings: Settings, metrics: Metrics
) -> Callable[[Request], Awaitable[Response]]:
    """The handler of POST and PUT /classify."""

    async def classify(request: Request) -> Response:
        started = time.monotonic()
        with gate.receiving() as hold:
            classifier.check_ready()
            submission = await receive(request, settings, hold, settings.max_images_per_request)
            read_s = time.monotonic() - started
            metrics.observe(STAGE_SECONDS, read_s, stage="read")
            record_stages(current_request(), {"read": (started, started + read_s)})
            request.state.images = len(submission.images)
            with gate.admit(), lane.halted():
                outcomes = await _classify_all(
                    classifier, submission.images, request.receive, settings.request_timeout_s
                )
        if submission.single and isinstance(outcomes[0], SightlineError):
            raise outcomes[0]
        answer = _answer(classifier.bundle.id, request.state.request_id, submission, outcomes)
        total_s = time.monotonic() - started
        answer["timings_ms"] = _timings_ms(read_s, outcomes, total_s)
        metrics.observe(REQUEST_SECONDS, total_s - read_s)
        return Response(to_json(answer), media_type="application/json")

    return classify


async def _classify_all(
    classifier: ClassifierLike, images: list[bytes | RequestError], receive: Receive, timeout_s: float
) -> list[Outcome]:
    """The answer or the error of each image, in order. An image that fails does not affect the others.

    Raises:
        DeadlineExceeded: there was no answer within timeout_s.
        ClientDisconnect: the client has left; the images that still wait are cancelled.
    """
    deadline = time.monotonic() + timeout_s

    async def one(image: bytes | RequestError) -> Outcome:
        if isinstance(image, RequestError):
            return image
        try:
            return await classifier.classify(image, deadline)
        except (ImageError, RequestError) as error:
            return error

    async def everything() -> list[Outcome]:
        return await asyncio.gather(*(one(image) for image in images))

    # A task, because asyncio logs a traceback for a cancelled gather that nobody awaits: one for each client that
    # leaves.
    answers = asyncio.ensure_future(everything())
    departure = asyncio.ensure_future(_departure(receive))
    try:
        await asyncio.wait((answers, departure), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if answers.done():
            return answers.result()
        if departure.done():
            raise ClientDisconnect
        raise DeadlineExceeded(f"There was no answer within {timeout_s:g} s.")
    finally:
        answers.cancel()
        departure.cancel()


async def _departure(receive: Receive) -> None:
    """Returns when the client has left; the body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _answer(served: ModelId, request_id: str, submission: Submission, outcomes: list[Outcome]) -> dict[str, Any]:
    """What `ClassifyResponse` describes, as plain data: to validate our own answer would cost more than to write it.

    The model is the one that classified the images; if none could be classified, the one that is served now.
    """
    results = []
    model = next((outcome.model for outcome in outcomes if isinstance(outcome, Classification)), served)
    for filename, outcome in zip(submission.filenames, outcomes, strict=True):
        result: dict[str, Any] = {} if filename is None else {"filename": filename}
        if isinstance(outcome, Classification):
            predictions = [{"label": label, "score": round(score, 6)} for label, score in outcome.top(submission.top_k)]
            result |= {"width": outcome.width, "height": outcome.height, "predictions": predictions}
            if outcome.warning:
                result["warning"] = outcome.warning
        else:
            result["problem"] = problem(outcome.code, str(outcome), request_id).model_dump()
        results.append(result)
    return {
        "model": model.name,
        "version": model.version,
        "digest": model.digest,
        "request_id": request_id,
        "results": results,
    }


def _timings_ms(read_s: float, outcomes: list[Outcome], total_s: float) -> dict[str, float]:
    """Milliseconds by stage; of several images the slowest one's."""
    done = [outcome.timings for outcome in outcomes if isinstance(outcome, Classification)]
    slowest = {stage: max((getattr(timings, stage) for timings in done), default=0.0) for stage in STAGES}
    return {stage: round(1000 * seconds, 3) for stage, seconds in {"read": read_s, **slowest, "total": total_s}.items()}
