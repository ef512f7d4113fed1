"""Finds the images in a request's body: an image's own bytes, a form, or base64 in JSON.

The bytes decide if they begin like an image; only otherwise does the Content-Type. No image is decoded here.
"""

import base64
import binascii
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from pydantic import ValidationError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from service.errors import InvalidParameter, MalformedRequest, MissingImage, TooManyImages
from service.http.schemas import DEFAULT_TOP_K, MAX_TOP_K, ClassifyRequest
from vision.image import sniff_format

_MAX_FILENAME = 255
MAX_FIELDS = 8


@dataclass(frozen=True)
class Submission:
    """What a request asks for.

    Attributes:
        images: encoded, at least one. Empty ones are kept, so that each gets its own problem.
        filenames: one for each image; None if the client gave none.
        top_k: number of labels for each image.
        single: whether the request can only hold one image, so that its problem becomes the response.
    """

    images: list[bytes]
    filenames: list[str | None]
    top_k: int
    single: bool


async def find_images(body: bytes, headers: Headers, top_k: str | None, max_images: int) -> Submission:
    """The images in a body, and how many labels each should get.

    Args:
        body: the whole body.
        headers: if the bytes are not an image's, Content-Type decides between multipart, JSON and raw.
        top_k: from the query string; it takes precedence over the body's.
        max_images: largest accepted number of images.

    Raises:
        RequestError: the body is malformed, holds no image or too many, or top_k is out of range.
    """
    content_type = headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    if not body:
        raise MissingImage("The body is empty.")
    if sniff_format(body) is not None:
        return Submission([body], [None], _top_k(top_k), single=True)
    if kind == "multipart/form-data":
        return await _from_multipart(body, content_type, top_k, max_images)
    if kind in ("application/json", "text/json") or body.lstrip()[:1] == b"{":
        return _from_json(body, top_k, max_images)
    return Submission([body], [None], _top_k(top_k), single=True)


class _InMemoryParser(MultiPartParser):
    """Keeps files in memory: the body is there already, and within its limit."""

    spool_max_size = 2**31
    ended = False

    def on_end(self) -> None:
        """Called at the last boundary. A form without it was cut off."""
        self.ended = True


async def _from_multipart(body: bytes, content_type: str, top_k: str | None, max_images: int) -> Submission:
    async def whole() -> AsyncGenerator[bytes, None]:
        yield body
        if not parser.ended:  # raised in here so that Starlette closes the half-read file
            raise MultiPartException("the last boundary is missing")

    try:
        parser = _InMemoryParser(
            _without_charset(content_type), whole(), max_files=max_images + 1, max_fields=MAX_FIELDS
        )
        form = await parser.parse()
    except (MultiPartException, KeyError, UnicodeError) as error:
        if "Too many files" in str(error):
            raise TooManyImages(
                f"The form holds more than {max_images} files; at most {max_images} are accepted."
            ) from error
        raise MalformedRequest("The body is not the multipart/form-data that its Content-Type announces.") from error
    images: list[bytes] = []
    filenames: list[str | None] = []
    try:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                images.append(await value.read())
                filenames.append(_display_name(value.filename))
            elif name == "top_k":
                top_k = top_k or value
            else:
                raise MalformedRequest(
                    f"The form field {name[:40]!r} is text; send images as files, e.g. curl -F image=@photo.jpg."
                )
    finally:
        await form.close()
    if not images:
        raise MissingImage("The form holds no file.")
    _check_count(len(images), max_images)
    return Submission(images, filenames, _top_k(top_k), single=len(images) == 1)


def _without_charset(content_type: str) -> Headers:
    """A Content-Type with the boundary alone, so that Starlette decodes texts as UTF-8 (RFC 7578, section 5.1.2).

    Starlette would decode names and texts with the charset that the client names, on the event loop. Python's punycode
    codec takes time that grows with the square of the length: 7 MB took 50 s.

    Raises:
        KeyError: the header has no boundary.
    """
    boundary = parse_options_header(content_type)[1][b"boundary"].decode("latin-1")
    quoted = boundary.replace("\\", "\\\\").replace('"', '\\"')
    return Headers({"content-type": f'multipart/form-data; boundary="{quoted}"'})


def _from_json(body: bytes, top_k: str | None, max_images: int) -> Submission:
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
    encoded = [request.image] if request.image is not None else request.images or []
    if not encoded:
        raise MissingImage("'images' is empty.")
    _check_count(len(encoded), max_images)
    images = [_from_base64(index, text) for index, text in enumerate(encoded)]
    return Submission(
        images,
        [None] * len(images),
        _top_k(top_k or (str(request.top_k) if request.top_k else None)),
        single=request.image is not None,
    )


def _from_base64(index: int, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedRequest(f"Image {index} of the JSON body is not base64: {error}.") from error


def _check_count(count: int, max_images: int) -> None:
    if count > max_images:
        raise TooManyImages(f"The request holds {count} images; at most {max_images} are accepted.")


def _top_k(text: str | None) -> int:
    if text is None:
        return DEFAULT_TOP_K
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= MAX_TOP_K):
        raise InvalidParameter(f"top_k is {text[:40]!r}; it must be a whole number from 1 to {MAX_TOP_K}.")
    return int(text)


def _display_name(filename: str | None) -> str | None:
    """The client's name for a file, as it is sent back: the last part of its path, printable, at most 255 long."""
    if not filename:
        return None
    last = filename.replace("\\", "/").rpartition("/")[2]
    return "".join(character for character in last if character.isprintable())[:_MAX_FILENAME] or None
