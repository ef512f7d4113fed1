"""The loop of the explaining process: reads questions from standard input until it ends."""

import os
import sys
import time
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from service.errors import InferenceFailed, RequestError
from service.explanation import frames
from service.explanation.activations import activations
from service.explanation.explain import explain
from service.explanation.inspection import inspection
from service.explanation.pictures import png
from service.explanation.subject import Subject
from vision.bundle.store import load_bundle
from vision.engines.selection import load_taps, load_twin
from vision.errors import ImageError, SightlineError
from vision.image import DecodeLimits, silence_pillow

_ANSWERS = {"explain": explain, "activations": activations, "inspect": inspection}


def serve() -> None:
    """Loads the bundle that the first message names, says so, and answers each message that follows."""
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get between the answers
    silence_pillow()
    start = frames.read(questions)[0]
    try:
        subject = _load(start)
    except SightlineError as error:
        detail = str(error).replace(start["bundle"], "the bundle's folder")  # no client should see a path
        frames.write(answers, {"code": error.code, "detail": detail})
        return
    frames.write(answers, {"code": None})
    while True:
        try:
            question, image = frames.read(questions)
        except EOFError:  # the replica has ended
            return
        try:
            body = _answer(subject, question, image)
        except (ImageError, RequestError) as error:
            frames.write(answers, {"code": error.code, "detail": str(error)})
        else:
            frames.write(answers, {"code": None}, body)


def _load(start: dict[str, Any]) -> Subject:
    bundle = load_bundle(Path(start["bundle"]))
    if bundle.digest != start["digest"]:
        raise InferenceFailed(f"{bundle.path} now holds {bundle.digest}; {start['digest']} is served.")
    limits = DecodeLimits(**start["limits"])
    engine, threads = start["engine"], start["threads"]
    taps, twin = load_taps(bundle, engine, threads), load_twin(bundle, engine, threads)
    return Subject(bundle, taps, twin, limits)


def _answer(subject: Subject, question: dict[str, Any], image: bytes) -> bytes:
    """The body of the answer: a PNG if a picture is wanted, else JSON."""
    begun = time.monotonic()
    look = subject.look_at(image)
    decoded = time.monotonic()
    try:
        answer, draw = _ANSWERS[question["kind"]](look, question["parameters"])
        if question["picture"]:
            return png(draw())
    except RuntimeError as error:  # torch and OpenVINO raise it
        raise InferenceFailed(f"The network failed on this image: {error}") from error
    ended = time.monotonic()
    timings = {"decode": decoded - begun, "compute": ended - decoded}
    answer["timings_ms"] = {name: round(1000 * seconds, 3) for name, seconds in timings.items()}
    return to_json({**question["about"], "engine": subject.taps.description, **answer})
