"""What a bundle's answers looked like when it was made, to notice drift: a part of its baseline.json."""

from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from vision.bundle.manifest import BASELINE_FILE
from vision.bundle.store import Bundle
from vision.errors import ManifestInvalid


class _Baseline(BaseModel):
    """What is needed of baseline.json."""

    predicted_shares: dict[str, Annotated[float, Field(ge=0, le=1)]]


def predicted_shares(bundle: Bundle) -> dict[str, float]:
    """Of the test images when the model was made, by label; none where the bundle does not say.

    Raises:
        ManifestInvalid: baseline.json is not one.
    """
    if BASELINE_FILE not in bundle.files:
        return {}
    try:
        return _Baseline.model_validate_json(bundle.files[BASELINE_FILE]).predicted_shares
    except ValidationError as error:
        first = error.errors()[0]
        raise ManifestInvalid(BASELINE_FILE, f"{'.'.join(map(str, first['loc']))}: {first['msg']}.") from error
