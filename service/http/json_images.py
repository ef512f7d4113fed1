"""Images as base64: in JSON, in the ways in which clients write it, or by mistake as the body itself."""

import base64
import binascii
import contextlib
import re

from pydantic import ValidationError

from service.errors import InvalidParameter, MalformedRequest, MissingImage
from service.http.schemas import ClassifyRequest
from vision.image import sniff_format

# RFC 2397. What stands before the comma is short, and nothing of it is believed.
_DATA_URL = re.compile(r"\s*data:([^,]{0,200}),", re.IGNORECASE)
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_STEP = 2**18  # characters, a multiple of 4: between two steps other requests go on
_MOST_COMMAS = 10_000  # a request holds a few values; pydantic tells of each wrong one, of a million in minutes
_SPACES = b" \t\r\n\v\f"


def read_json(body: bytes) -> ClassifyRequest:
    """The request that a JSON body describes.

    Raises:
        InvalidParameter: top_k is not a whole number in its range.
        MalformedRequest: it is no such JSON; or it has both or neither of `image` and `images`.
        MissingImage: `images` is empty.
    """
    if (commas := body.count(b",")) > _MOST_COMMAS:
        raise MalformedRequest(f"The JSON body holds over {commas} values, at most {_MOST_COMMAS} are read.")
    if body.count(b"\\") > len(body) // 16 + 1000:  # "\/" and "\r\n" in base64 stay far below
        raise MalformedRequest("The JSON body escapes more characters than base64 needs; send it without escapes.")
    try:
        request = ClassifyRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        if where == "top_k":
            raise InvalidParameter(f"top_k in the JSON body: {first['msg']}.") from error
        raise MalformedRequest(f"The JSON body{' at ' + where[:80] if where else ''}: {first['msg'][:200]}.") from error
    if (request.image is None) == (request.images is None):
        raise MalformedRequest("The JSON body must have exactly one of 'image' and 'images'.")
    if request.images == []:
        raise MissingImage("'images' is empty.")
    return request


def from_base64(text: str, name: str) -> bytes:
    """The bytes that a text stands for.

    A data URL, line breaks and spaces, the alphabet for URLs and missing padding are accepted.

    Args:
        text: from a client.
        name: of the image in the message of an error.

    Raises:
        MalformedRequest: it is not base64.
    """
    if len(text) <= _STEP:
        with contextlib.suppress(binascii.Error, ValueError):
            return base64.b64decode(text, validate=True)
    if address := _DATA_URL.match(text):
        if not address[1].lower().rstrip().endswith(";base64"):
            raise MalformedRequest(f"{name} is a data URL without ';base64'; send base64.")
        text = text[address.end() :]
    elif text.lstrip()[:8].lower().startswith(("http:", "https:", "file:", "blob:")):
        raise MalformedRequest(f"{name} is an address; nothing is fetched here. Send the image as base64.")
    try:
        parts = (text[at : at + _STEP].encode("ascii") for at in range(0, len(text), _STEP))
        digits = b"".join(part.translate(_URL_SAFE, _SPACES) for part in parts).rstrip(b"=")
        if b"=" in digits:
            raise binascii.Error("padding within the digits")
        digits += b"=" * (-len(digits) % 4)
        steps = range(0, len(digits), _STEP)
        return b"".join(base64.b64decode(digits[at : at + _STEP], validate=True) for at in steps)
    except (binascii.Error, ValueError) as error:
        raise MalformedRequest(f"{name} is not base64; send the image's bytes in base64 (RFC 4648).") from error


def is_base64_of_an_image(body: bytes) -> bool:
    """Whether a body begins like a data URL, or like the base64 of an image. Looks at its first 64 bytes."""
    head = body[:64].strip()
    if head[:5].lower() == b"data:":
        return True
    digits = head.translate(None, _SPACES)
    try:
        return sniff_format(base64.b64decode(digits[: len(digits) // 4 * 4], validate=True)) is not None
    except binascii.Error:
        return False
