"""Finds the images in a request's body: an image's own bytes, a form, or base64 in JSON.

The bytes decide if they begin like an image; only otherwise does the Content-Type. No image is decoded here.
"""

import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from email.message import Message

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers
from starlette.formparsers import MultiPartException, MultiPartParser

from service.errors import InvalidParameter, MalformedRequest, MissingImage, RequestError, TooManyImages
from service.http.json_images import from_base64, is_base64_of_an_image, read_json
from service.http.schemas import DEFAULT_TOP_K, MAX_TOP_K
from vision.image import sniff_format

_MAX_FILENAME = 255
_STEP_BYTES = 2**18
_MAX_TOP_K_BYTES = 64
MAX_FIELDS = 64
_FIELD = re.compile(rb"[\w.\[\]-]{1,64}=")


@dataclass(frozen=True)
class Submission:
    """What a request asks for.

    Attributes:
        images: encoded, at least one, or why one of several cannot be read. Empty ones are kept, so that each gets its
            own problem.
        filenames: one for each image; None if the client gave none.
        top_k: number of labels for each image.
        single: whether the request can only hold one image, so that its problem becomes the response.
    """

    images: list[bytes | RequestError]
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
    if sniff_format(body) is not None and kind != "application/x-www-form-urlencoded":
        return Submission([body], [None], _top_k(top_k), single=True)
    if kind == "multipart/form-data":
        return await _from_multipart(body, content_type, top_k, max_images)
    if kind in ("application/json", "text/json") or body.lstrip()[:1] == b"{":
        return _from_json(body, top_k, max_images)
    return _raw(body, kind, top_k)


class _InMemoryParser(MultiPartParser):
    """Keeps every part in memory as a file: the body is there already, and what a part is shows in its bytes."""

    spool_max_size = 2**31
    ended = False
    named = 0

    def on_headers_finished(self) -> None:
        """Called before a part's content: gives it a filename, empty if the client gave none."""
        part = self._current_part
        disposition = Message()
        disposition["content-disposition"] = (part.content_disposition or b"").decode("latin-1")
        filename = disposition.get_filename("")  # of filename* too (RFC 2231), which Starlette does not read
        if filename:
            self.named += 1
        if b"filename=" not in (part.content_disposition or b""):
            quoted = filename.replace("\\", "\\\\").replace('"', '\\"').encode()
            part.content_disposition = (part.content_disposition or b"") + b'; filename="' + quoted + b'"'
        super().on_headers_finished()

    def on_end(self) -> None:
        """Called at the last boundary. A form without it was cut off."""
        self.ended = True


async def _from_multipart(body: bytes, content_type: str, top_k: str | None, max_images: int) -> Submission:
    form = await _parse(body, content_type, max_images)
    images: list[bytes | RequestError] = []
    filenames: list[str | None] = []
    texts = 0
    try:
        for name, part in form.multi_items():
            assert not isinstance(part, str)  # noqa: S101 - our parser makes each part a file
            data = await part.read()
            typed = (part.content_type or "").lower().startswith("image/") and data
            if part.filename or typed or sniff_format(data) is not None:
                images.append(data)
                filenames.append(_display_name(part.filename))
            else:  # a text, or the empty file input of a browser
                texts += 1
                if name == "top_k" and top_k is None:
                    top_k = data[:_MAX_TOP_K_BYTES].decode("latin-1")
    finally:
        await form.close()
    if texts > MAX_FIELDS:
        raise MalformedRequest(f"The form holds {texts} texts; at most {MAX_FIELDS} are accepted.")
    if not images:
        raise MissingImage("The form holds no file; send images as files, e.g. curl -F image=@photo.jpg.")
    _check_count(len(images), max_images)
    return Submission(images, filenames, _top_k(top_k), single=len(images) == 1)


async def _parse(body: bytes, content_type: str, max_images: int) -> FormData:
    """The parts of a form, all of them as files.

    Raises:
        MalformedRequest: it has no boundary, does not end, or has more texts than are accepted.
        TooManyImages: it has more files than are accepted.
    """

    async def whole() -> AsyncGenerator[bytes, None]:
        for at in range(0, len(body), _STEP_BYTES):  # between two steps other requests go on
            yield body[at : at + _STEP_BYTES]
        if not parser.ended:  # raised in here so that Starlette closes the half-read file
            raise MultiPartException("the last boundary is missing")

    headers = _without_charset(content_type)
    parser = _InMemoryParser(headers, whole(), max_files=max_images + MAX_FIELDS)
    try:
        return await parser.parse()
    except (MultiPartException, KeyError, UnicodeError) as error:
        if "Too many files" not in str(error):
            raise MalformedRequest(
                "The body is not the multipart/form-data that its Content-Type announces."
            ) from error
        if parser.named > max_images:
            raise TooManyImages(
                f"The form holds more than {max_images} files; at most {max_images} are accepted."
            ) from error
        raise MalformedRequest(f"The form holds more than {MAX_FIELDS} texts beside its files.") from error


def _without_charset(content_type: str) -> Headers:
    """A Content-Type with the boundary alone, so that Starlette decodes texts as UTF-8 (RFC 7578, section 5.1.2).

    Starlette would decode names and texts with the charset that the client names, on the event loop. Python's punycode
    codec takes time that grows with the square of the length: 7 MB took 50 s.

    Raises:
        MalformedRequest: the header has no boundary.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"").decode("latin-1")
    if not boundary:
        raise MalformedRequest(
            "The Content-Type multipart/form-data has no boundary. Do not set this header yourself: the library that "
            "writes the form sets it."
        )
    quoted = boundary.replace("\\", "\\\\").replace('"', '\\"')
    return Headers({"content-type": f'multipart/form-data; boundary="{quoted}"'})


def _from_json(body: bytes, top_k: str | None, max_images: int) -> Submission:
    """A string of several that is not base64 fails alone; one that is alone refuses the request."""
    request = read_json(body)
    wanted = _top_k(top_k or (str(request.top_k) if request.top_k else None))
    if request.image is not None:
        return Submission([from_base64(request.image, "'image'")], [None], wanted, single=True)
    texts = request.images or []
    _check_count(len(texts), max_images)
    images: list[bytes | RequestError] = []
    for index, text in enumerate(texts):
        try:
            images.append(from_base64(text, f"'images' at {index}"))
        except MalformedRequest as error:
            images.append(error)
    return Submission(images, [None] * len(images), wanted, single=False)


def _raw(body: bytes, kind: str, top_k: str | None) -> Submission:
    """The body itself, unless it is one of the things that clients send by mistake.

    Raises:
        MalformedRequest: it is, and the message says what to send instead.
    """
    if kind == "application/x-www-form-urlencoded":
        if not body.isascii() and not any(stripped in body for stripped in b"\r\n\0"):
            raise MalformedRequest(
                "The body has no line break and no zero byte: curl -d removes them. Send the file with --data-binary."
            )
        if _FIELD.match(body):
            raise MalformedRequest("The body is a form of texts; send images as files, e.g. curl -F image=@photo.jpg.")
    if is_base64_of_an_image(body):
        raise MalformedRequest(
            'The body is base64; send the bytes themselves, or {"image": "…"} with Content-Type: application/json.'
        )
    return Submission([body], [None], _top_k(top_k), single=True)


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
