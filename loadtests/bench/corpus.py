"""The photos of the benchmark: real ones from a folder, or rendered ones of the same sizes."""

import io
from pathlib import Path

from PIL import Image

from loadtests.rendering import render_all
from vision.errors import ImageError
from vision.image import DecodeLimits, decode


def photos(folder: Path | None) -> dict[str, bytes]:
    """Encoded images by name, in a fixed order.

    Args:
        folder: of real photos. Files that cannot be decoded are skipped, and so are gray ones: on them TorchServe's own
            image classifier fails with the whole batch. None renders photos.

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
