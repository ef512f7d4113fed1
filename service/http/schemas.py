"""The JSON of requests, answers and problems."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

DEFAULT_TOP_K = 5
MAX_TOP_K = 1000
TopK = Annotated[int, Field(strict=True, ge=1, le=MAX_TOP_K)]


class ClassifyRequest(BaseModel):
    """The JSON form of a request: exactly one of `image` and `images`."""

    model_config = ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"image": "iVBORw0KGgo…", "top_k": 3}]},
    )

    image: str | None = None
    """One image, base64."""
    images: list[str] | None = None
    """Several images, base64 each."""
    top_k: TopK | None = None
    """Number of labels for each image; 5 if it is not given."""


class LabelScore(BaseModel):
    """One ranked label."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    label: str
    """The category."""
    score: Annotated[float, Field(ge=0, le=1)]
    """Its calibrated probability."""


class Problem(BaseModel):
    """A problem document (RFC 9457), with a stable code and what the client can do."""

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:sightline:problem:truncated",
                    "title": "The image is cut off",
                    "status": 422,
                    "detail": "The PNG file ends too early; send all of its bytes.",
                    "code": "truncated",
                    "remedy": "Send the whole file; check that the upload was complete.",
                    "request_id": "3f0c9a52d1f54c4a8a4e7d0f6a8f8f0e",
                }
            ]
        },
    )

    type: str
    """A URN that ends in the code."""
    title: str
    """The same for every problem of this code."""
    status: int
    """The HTTP status."""
    detail: str
    """What was found this time, and what is accepted."""
    code: str
    """Stable; programs may rely on it."""
    remedy: str
    """What the client can do."""
    request_id: str
    """The same as in the header x-request-id and in the server's log."""


class ImageResult(BaseModel):
    """The answer for one image: predictions, or the problem that this image alone has."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    filename: str | None = None
    """The client's name for the image, if it gave one."""
    width: int | None = None
    """Pixels of the upright image."""
    height: int | None = None
    """Pixels of the upright image."""
    predictions: list[LabelScore] | None = None
    """The best first."""
    warning: str | None = None
    """What the file says of its colours and was ignored, e.g. a damaged colour profile."""
    problem: Problem | None = None
    """Why this image has no predictions, if it has none."""


class ClassifyResponse(BaseModel):
    """The answer to POST /classify; results are in the order of the images."""

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [
                {
                    "model": "digits",
                    "version": 1,
                    "digest": "3b5d54ecfa3b",
                    "request_id": "3f0c9a52d1f54c4a8a4e7d0f6a8f8f0e",
                    "results": [
                        {
                            "width": 280,
                            "height": 280,
                            "predictions": [{"label": "7", "score": 0.998}, {"label": "1", "score": 0.001}],
                        }
                    ],
                    "timings_ms": {
                        "read": 0.2,
                        "queue": 0.1,
                        "decode": 1.2,
                        "preprocess": 0.7,
                        "inference": 0.6,
                        "postprocess": 0.1,
                        "total": 3.1,
                    },
                }
            ]
        },
    )

    model: str
    """The model's name."""
    version: int
    """The model's version."""
    digest: str
    """The first 12 digits of the manifest's sha256: exactly these weights, categories and preprocessing."""
    request_id: str
    """The same as in the header x-request-id."""
    results: list[ImageResult]
    """One for each image."""
    timings_ms: dict[str, float]
    """Milliseconds of read, queue, decode, preprocess, inference, postprocess, total; of several images the slowest."""


class Health(BaseModel):
    """The answer of the health checks where they pass."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ready"}]})

    status: str
