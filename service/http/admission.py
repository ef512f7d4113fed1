"""What comes in: how many requests at once, how many bytes, and which images are in them.

Everything here is decided before an image is decoded. A body is read whole but never past its limit; what it is, is decided
by its bytes where they are an image's, and by its Content-Type only otherwise.
"""

import base64
import binascii
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pydantic import ValidationError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from service.errors import BodyTooLarge, InvalidParameter, MalformedRequest, MissingImage, Overloaded, TooManyImages, UnsupportedEncoding
from service.http.schemas import DEFAULT_TOP_K, MAX_TOP_K, ClassifyRequest
from vision.image import sniff_format

_MAX_FILENAME = 255
_MAX_FIELDS = 8


@dataclass(frozen=True)
class Submission:
    """What a request asks for.

    Attributes:
        images: encoded, at least one; empty bytes stay in, so that each gets its own problem.
        filenames: one an image; None where the client gave none.
        top_k: how many labels an image gets.
        single: whether the form of the request holds exactly one image, so that its problem is the response.
    """

    images: list[bytes]
    filenames: list[str | None]
    top_k: int
    single: bool


class Gate:
    """Lets in as many requests, and as many bytes of them, as the replica may hold.

    A body that is still coming has bytes but no place: clients that send slowly keep nobody out. A request alone may have any
    number of bytes; what one may have is another limit.

    Args:
        places: requests that are answered at a time, at least 1.
        max_bytes: of all bodies together, those that are coming and those that are being answered.
    """

    def __init__(self, places: int, max_bytes: int) -> None:
        self._places = places
        self._max_bytes = max_bytes
        self.held = 0
        self.held_bytes = 0

    @contextmanager
    def receiving(self) -> Iterator[Callable[[int], None]]:
        """Holds a body's bytes for the time of its request, as many as what it gives is told of.

        Raises:
            Overloaded: no place is left, so that the body need not come; or, when more bytes are told of, too many are held.
        """
        self._refuse_without_a_place()
        own = 0

        def hold(count: int) -> None:
            nonlocal own
            if self.held_bytes > own and self.held_bytes + count > self._max_bytes:
                raise Overloaded(f"This replica holds requests of {self.held_bytes} bytes together; {self._max_bytes} are the most.")
            own += count
            self.held_bytes += count

        try:
            yield hold
        finally:
            self.held_bytes -= own

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Holds one place while a request is answered.

        Raises:
            Overloaded: there is none left.
        """
        self._refuse_without_a_place()
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1

    def _refuse_without_a_place(self) -> None:
        if self.held >= self._places:
            raise Overloaded(f"{self._places} requests are being answered already; that is as many as this replica holds.")


async def read_body(chunks: AsyncIterator[bytes], headers: Headers, max_bytes: int, hold: Callable[[int], None]) -> bytes:
    """Reads a body, counting while it streams.

    Args:
        chunks: as they arrive.
        headers: Content-Length, where it is given, refuses before a byte is read.
        max_bytes: the most that is accepted.
        hold: told of each chunk's bytes before they are kept; may refuse them.

    Raises:
        UnsupportedEncoding: a Content-Encoding other than identity.
        BodyTooLarge: over max_bytes; the rest is not read.
        Overloaded: of `hold`.
    """
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedEncoding(f"The body is sent with Content-Encoding {encoding[:40]!r}; only identity is accepted.")
    declared = headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > max_bytes:
        raise BodyTooLarge(f"The body has {declared[:20]} bytes; at most {max_bytes} are accepted.")
    body = bytearray()
    async for chunk in chunks:
        if len(body) + len(chunk) > max_bytes:
            raise BodyTooLarge(f"The body has more than {max_bytes} bytes; no more are accepted.")
        hold(len(chunk))
        body += chunk
    return bytes(body)


async def find_images(body: bytes, headers: Headers, top_k: str | None, max_images: int) -> Submission:
    """The images in a body and what is asked of them.

    Args:
        body: whole.
        headers: Content-Type decides between multipart, JSON and raw where the bytes are not an image's.
        top_k: of the query string; wins over the body's.
        max_images: the most that is accepted.

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
    """The body is in memory and within its limit already; nothing of it needs to touch a disk."""

    spool_max_size = 2**31
    ended = False

    def on_end(self) -> None:
        """Called at the last boundary only; a form without it was cut off."""
        self.ended = True


async def _from_multipart(body: bytes, content_type: str, top_k: str | None, max_images: int) -> Submission:
    async def whole() -> AsyncGenerator[bytes, None]:
        yield body
        if not parser.ended:  # raised in here so that Starlette closes the half-read file
            raise MultiPartException("the last boundary is missing")

    try:
        parser = _InMemoryParser(_without_charset(content_type), whole(), max_files=max_images + 1, max_fields=_MAX_FIELDS)
        form = await parser.parse()
    except (MultiPartException, KeyError, UnicodeError) as error:
        if "Too many files" in str(error):
            raise TooManyImages(f"The form holds more than {max_images} files; at most {max_images} are accepted.") from error
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
                raise MalformedRequest(f"The form field {name[:40]!r} is text; send images as files, e.g. curl -F image=@photo.jpg.")
    finally:
        await form.close()
    if not images:
        raise MissingImage("The form holds no file.")
    _check_count(len(images), max_images)
    return Submission(images, filenames, _top_k(top_k), single=len(images) == 1)


def _without_charset(content_type: str) -> Headers:
    """The header that Starlette's parser gets: the boundary alone, so that texts are UTF-8 (RFC 7578, section 5.1.2).

    Starlette decodes names and texts with the charset that the client names, on the event loop. Some of Python's codecs take
    time that grows with the square of the length: 7 MB with `charset=punycode` took 55 s.

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
        images, [None] * len(images), _top_k(top_k or (str(request.top_k) if request.top_k else None)), single=request.image is not None
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
    """The client's name for a file, only ever echoed: the last part of its path, printable, bounded."""
    if not filename:
        return None
    last = filename.replace("\\", "/").rpartition("/")[2]
    return "".join(character for character in last if character.isprintable())[:_MAX_FILENAME] or None
