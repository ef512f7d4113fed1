"""The photos that requests carry: real ones where a folder is given, else rendered ones of the same sizes."""

import io
from pathlib import Path

from PIL import Image

from loadtests.rendering import render_all
from vision.errors import ImageError
from vision.image import DecodeLimits, decode


def photos(folder: Path | None) -> dict[str, bytes]:
    """Encoded images by name, in a fixed order.

    Args:
        folder: where real ones lie. Left out are those that cannot be decoded, and gray ones: on such a one TorchServe's own
            image classifier fails, with the whole batch. None renders.

    Raises:
        ValueError: the folder holds none.
    """
    if folder is None:
        return render_all()
    found = {}
    for file in sorted(folder.iterdir()):
        data = file.read_bytes()
        try:
            decode(data, DecodeLimits())
        except ImageError:
            continue
        if Image.open(io.BytesIO(data)).mode == "RGB":
            found[file.name] = data
    if not found:
        raise ValueError(f"{folder} holds no colour image that can be decoded.")
    return found
