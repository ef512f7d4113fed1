"""What the answers to POST /explain, /activations and /inspect have in common. The explaining process writes them."""

from pydantic import BaseModel, ConfigDict

Matrix = list[list[float]]


_ABOUT = {
    "model": "digits",
    "version": 1,
    "digest": "3b5d54ecfa3b",
    "request_id": "3f0c9a52d1f54c4a8a4e7d0f6a8f8f0e",
    "engine": "openvino-f32",
    "timings_ms": {"decode": 0.4, "compute": 0.8},
}
PNG_ADDRESS = "data:image/png;base64,iVBORw0KGgo…"


def example(**answer: object) -> ConfigDict:
    """The configuration of an answer whose example has these fields beside the common ones."""
    return ConfigDict(use_attribute_docstrings=True, json_schema_extra={"examples": [{**_ABOUT, **answer}]})  # type: ignore[dict-item]


class Part(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Answer(Part):
    """The fields that every answer has."""

    model: str
    """The model's name."""
    version: int
    """The model's version."""
    digest: str
    """The first 12 digits of the manifest's sha256."""
    request_id: str
    """The same as in the header x-request-id."""
    engine: str
    """What computed the explanation: a copy of the network in float32."""
    timings_ms: dict[str, float]
    """Milliseconds of decode and compute."""
