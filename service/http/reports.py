"""GET /models and what lies below: what is served, how good it is, its golden images and its worst mistakes."""

from collections.abc import Callable
from typing import Annotated

from fastapi import FastAPI, Path, Request, Response

from service.errors import NotFound
from service.http.backends import ClassifierLike
from service.http.files import unchanged_or
from service.http.openapi import problem_responses
from service.http.report_schemas import ClientLimits, Explainable, GoldenImage, ModelInfo, ModelList, ModelReport
from service.settings import Settings
from vision.bundle.manifest import CARD_FILE
from vision.bundle.numbers import TestNumbers
from vision.bundle.store import Bundle
from vision.bundle.worst import read_worst
from vision.image import sniff_format
from vision.prediction import top_k

_MOST_IN_MATRIX = 100  # categories; the matrix of 1,000 would be 2 MB of zeros
_MAX_NUMBER = 99
Name = Annotated[str, Path(max_length=63)]
Version = Annotated[int, Path(ge=1, le=999_999_999)]
Number = Annotated[int, Path(ge=0, le=_MAX_NUMBER)]


def add_reports(api: FastAPI, classifier: ClassifierLike, settings: Settings) -> None:
    """The four routes."""
    kept: dict[str, tuple[ModelInfo, bytes]] = {}

    def served(name: str | None = None, version: int | None = None) -> tuple[Bundle, ModelInfo, bytes]:
        """The bundle that is served with what is said about it, computed once."""
        bundle = classifier.bundle
        if name is not None and (name, version) != (bundle.id.name, bundle.id.version):
            raise NotFound(f"There is no model {name}/{version} here; GET /models lists what is served.")
        if bundle.digest not in kept:
            numbers = TestNumbers.read(bundle.files, classifier.engine)
            report = _report(bundle, classifier.engine, numbers).model_dump_json().encode()
            kept.clear()
            kept[bundle.digest] = _model_info(classifier, settings, numbers), report
        return bundle, *kept[bundle.digest]

    @api.get("/models", summary="What is served", response_model=ModelList)
    async def models() -> ModelList:
        return ModelList(models=[served()[1]])

    @api.get(
        "/models/{name}/{version}/report",
        summary="How good a model is, and how it was made",
        response_model=ModelReport,
        responses=problem_responses(404, 422),
    )
    async def report(request: Request, name: Name, version: Version) -> Response:
        return unchanged_or(request, served(name, version)[2], "application/json")

    _add_pictures(api, lambda name, version: served(name, version)[0])


def _add_pictures(api: FastAPI, bundle_of: Callable[[str, int], Bundle]) -> None:
    binary = {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}
    shown = {200: binary, **problem_responses(404, 422)}

    @api.get(
        "/models/{name}/{version}/golden/{number}", summary="A golden image", response_class=Response, responses=shown
    )
    async def golden(request: Request, name: Name, version: Version, number: Number) -> Response:
        images = bundle_of(name, version).golden.images
        return _picture(request, images[number] if number < len(images) else None, len(images))

    @api.get(
        "/models/{name}/{version}/worst/{number}",
        summary="One of the worst mistakes",
        response_class=Response,
        responses=shown,
    )
    async def worst(request: Request, name: Name, version: Version, number: Number) -> Response:
        bundle = bundle_of(name, version)
        count = len(read_worst(bundle.files))
        return _picture(request, bundle.files[f"worst/{number}.png"] if number < count else None, count)


def _picture(request: Request, data: bytes | None, count: int) -> Response:
    if data is None:
        raise NotFound(f"This bundle has {count} of these images, counted from 0.")
    return unchanged_or(request, data, f"image/{(sniff_format(data) or 'png').lower()}")


def _model_info(classifier: ClassifierLike, settings: Settings, numbers: TestNumbers | None) -> ModelInfo:
    bundle = classifier.bundle
    manifest = bundle.manifest
    return ModelInfo(
        name=manifest.name,
        version=manifest.version,
        digest=bundle.digest,
        architecture=manifest.architecture.name,
        engine=classifier.engine,
        categories=list(manifest.categories),
        preprocessing=manifest.preprocessing.describe(),
        metrics=manifest.metrics,
        test_images=numbers.images if numbers else None,
        accuracy=numbers.accuracy if numbers else None,
        reliability=[entry for entry in numbers.reliability if entry.images] if numbers else [],
        golden=[
            GoldenImage(label=best.label, score=round(best.score, 6))
            for row in bundle.golden.probabilities
            for best in top_k(row, manifest.categories, 1)
        ],
        explain=Explainable(cam=classifier.has_linear_head, occlusion=True) if settings.explain else None,
        limits=ClientLimits(
            **{name: getattr(settings, name) for name in ClientLimits.model_fields},
        ),
    )


def _report(bundle: Bundle, engine: str, numbers: TestNumbers | None) -> ModelReport:
    manifest = bundle.manifest
    if numbers is not None and len(manifest.categories) > _MOST_IN_MATRIX:
        numbers = numbers.model_copy(update={"confusion": []})
    card = bundle.files.get(CARD_FILE, b"")
    return ModelReport(
        name=manifest.name,
        version=manifest.version,
        digest=bundle.digest,
        architecture=manifest.architecture.name,
        engine=engine,
        preprocessing=manifest.preprocessing.describe(),
        temperature=manifest.temperature,
        numbers=numbers,
        parity=manifest.parity,
        provenance=manifest.provenance,
        worst=read_worst(bundle.files),
        card=card.decode(errors="replace"),
    )
