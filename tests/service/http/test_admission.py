"""What comes in: the gate, the body within its limit, and the images in it, decided without decoding any."""

import asyncio
import base64
import json

import pytest
from starlette.datastructures import Headers

from service.errors import (
    BodyTooLarge,
    InvalidParameter,
    MalformedRequest,
    MissingImage,
    Overloaded,
    TooManyImages,
    UnsupportedEncoding,
)
from service.http.admission import Gate, read_body
from service.http.forms import Submission, find_images

PNG = b"\x89PNG\r\n\x1a\n and so on"
FORM = "multipart/form-data; boundary=frontier"
MAX_IMAGES = 4
BAD_TOP_K = ["0", "1001", "-1", "1.5", "x", "", " 5", "１", "9" * 5000]


class Chunks:
    """A body that arrives in pieces, and remembers how many of them were taken."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks
        self.taken = 0

    async def __aiter__(self):
        for chunk in self._chunks:
            self.taken += 1
            yield chunk


def read(chunks: Chunks, max_bytes: int = 10, **headers: str) -> bytes:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return asyncio.run(read_body(aiter(chunks), Headers(named), max_bytes, lambda count: None))


def find(body: bytes, content_type: str | None, top_k: str | None = None) -> Submission:
    headers = Headers({} if content_type is None else {"content-type": content_type})
    return asyncio.run(find_images(body, headers, top_k, MAX_IMAGES))


def as_json(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_the_gate_refuses_one_more_than_its_places_and_lets_in_again_after_an_exit():
    gate = Gate(2, max_held_bytes=10)
    with gate.admit():
        with gate.admit():
            with pytest.raises(Overloaded, match="2 requests"), gate.admit():
                pass
            with pytest.raises(Overloaded, match="2 requests"), gate.receiving():
                pass
            assert gate.ongoing == 2
        with gate.admit():
            assert gate.ongoing == 2
    assert gate.ongoing == 0


def test_the_gate_gives_a_place_and_bytes_back_when_the_request_fails():
    gate = Gate(1, max_held_bytes=10)

    def fail() -> None:
        with gate.receiving() as hold:
            hold(7)
            with gate.admit():
                assert (gate.ongoing, gate.held_bytes) == (1, 7)
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (gate.ongoing, gate.held_bytes) == (0, 0)


def test_bodies_that_come_hold_bytes_but_no_place():
    gate = Gate(1, max_held_bytes=10)
    with gate.receiving() as first, gate.receiving() as second:
        first(6)
        second(4)
        with pytest.raises(Overloaded, match="10 bytes"):
            second(1)
        with gate.admit():
            assert (gate.ongoing, gate.held_bytes) == (1, 10)
    assert gate.held_bytes == 0


def test_a_body_that_is_alone_may_be_larger_than_what_all_may_hold_together():
    gate = Gate(1, max_held_bytes=10)
    with gate.receiving() as hold:
        hold(8)
        hold(8)
        with gate.receiving() as another, pytest.raises(Overloaded, match="16 bytes"):
            another(1)
    assert gate.held_bytes == 0


def test_a_body_is_held_chunk_by_chunk_before_it_is_kept():
    held: list[int] = []

    def hold(count: int) -> None:
        held.append(count)
        if sum(held) > 5:
            raise Overloaded("no more")

    chunks = Chunks(b"123", b"45", b"6", b"7")
    with pytest.raises(Overloaded):
        asyncio.run(read_body(aiter(chunks), Headers({}), 10, hold))
    assert (held, chunks.taken) == ([3, 2, 1], 3)


@pytest.mark.parametrize("chunks", [[b"0123456789"], [b"01234", b"", b"56789"], [b"%d" % digit for digit in range(10)]])
@pytest.mark.parametrize(
    "headers", [{}, {"content_length": "10"}, {"content_encoding": "identity"}, {"content_encoding": " Identity "}]
)
def test_a_body_of_exactly_the_limit_passes(chunks, headers):
    assert read(Chunks(*chunks), **headers) == b"0123456789"


@pytest.mark.parametrize("headers", [{}, {"content_length": "1"}, {"content_length": "-5"}, {"content_length": "many"}])
def test_one_byte_over_the_limit_is_refused_whatever_content_length_claims(headers):
    with pytest.raises(BodyTooLarge, match="more than 10 bytes"):
        read(Chunks(b"0123456789", b"x"), **headers)


@pytest.mark.parametrize("declared", ["11", "9" * 30, "9" * 6000])
def test_content_length_over_the_limit_refuses_before_a_byte_is_read(declared):
    chunks = Chunks(b"0123456789x")
    with pytest.raises(BodyTooLarge, match="at most 10 are accepted"):
        read(chunks, content_length=declared)
    assert chunks.taken == 0


def test_reading_stops_with_the_first_chunk_over_the_limit():
    chunks = Chunks(*[b"0123"] * 100)
    with pytest.raises(BodyTooLarge):
        read(chunks)
    assert chunks.taken == 3


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "identity, gzip"])
def test_a_compressed_body_is_refused_unread(encoding):
    chunks = Chunks(b"0")
    with pytest.raises(UnsupportedEncoding, match="only identity"):
        read(chunks, content_encoding=encoding)
    assert chunks.taken == 0


TYPES = [None, "image/png", "text/plain", "application/x-www-form-urlencoded", "application/json", FORM, "nonsense", ""]


@pytest.mark.parametrize("content_type", TYPES)
def test_an_images_own_bytes_are_an_image_whatever_the_content_type_says(content_type):
    assert find(PNG, content_type) == Submission([PNG], [None], 5, single=True)


@pytest.mark.parametrize(
    "content_type", [None, "image/png", "application/octet-stream", "application/x-www-form-urlencoded"]
)
def test_unknown_bytes_are_left_to_the_decoder(content_type):
    assert find(b"hello", content_type) == Submission([b"hello"], [None], 5, single=True)


@pytest.mark.parametrize("content_type", TYPES)
def test_an_empty_body_holds_no_image(content_type):
    with pytest.raises(MissingImage, match="empty"):
        find(b"", content_type)


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=utf-8", "text/json", "text/plain", None]
)
def test_json_is_known_by_its_type_or_by_its_brace(content_type):
    assert find(b" \n" + as_json(image=b64(PNG), top_k=2), content_type) == Submission([PNG], [None], 2, single=True)


@pytest.mark.parametrize("images", [[PNG], [PNG, b"", b"x"], [b"x"] * MAX_IMAGES])
def test_json_images_are_several_even_where_there_is_one(images):
    assert find(as_json(images=[b64(image) for image in images]), "application/json") == Submission(
        images, [None] * len(images), 5, single=False
    )


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        (as_json(image="aGk=", images=["aGk="]), MalformedRequest, "exactly one"),
        (as_json(top_k=3), MalformedRequest, "exactly one"),
        (as_json(image=None), MalformedRequest, "exactly one"),
        (as_json(images=[]), MissingImage, "empty"),
        (as_json(images=["aGk="] * 5), TooManyImages, "5 images; at most 4"),
        (as_json(image="aGk=", colour="red"), MalformedRequest, "colour"),
        (as_json(image=7), MalformedRequest, "image"),
        (as_json(images=["aGk=", None]), MalformedRequest, r"images\.1"),
        (as_json(image="é"), MalformedRequest, "'image' is not base64"),
        (as_json(image="aGk=aGk="), MalformedRequest, "not base64"),
        (as_json(image="aGkaa"), MalformedRequest, "not base64"),
        (as_json(image="data:image/svg+xml,%3Csvg%3E"), MalformedRequest, "without ';base64'"),
        (as_json(image="https://example.com/a.png"), MalformedRequest, "is an address"),
        (as_json(image="file:///etc/passwd"), MalformedRequest, "is an address"),
        (b'{"image": "aGk="', MalformedRequest, "Invalid JSON"),
        (b'{"image": "\\ud800"}', MalformedRequest, "Invalid JSON"),
        (b"\xff\xfe{}", MalformedRequest, "Invalid JSON"),
        (b"[]", MalformedRequest, "object"),
        (b"null", MalformedRequest, "object"),
        (b'{"image":' + b"[" * 200_000, MalformedRequest, "recursion limit"),
        (b'{"x":' * 200_000, MalformedRequest, "recursion limit"),
    ],
)
def test_json_that_is_no_request_is_refused(body, error, words):
    with pytest.raises(error, match=words):
        find(body, "application/json")


@pytest.mark.parametrize(
    "text",
    [
        "aGk=",
        "aGk",
        "aGk=\n",
        "aG\r\nk=",
        " a G k = ",
        "data:image/png;base64,aGk=",
        "data:;base64,aGk",
        "DATA:image/jpeg;charset=x;BASE64,a\nGk=",
    ],
)
def test_base64_is_read_in_the_ways_that_clients_write_it(text):
    assert find(as_json(image=text), "application/json") == Submission([b"hi"], [None], 5, single=True)


def test_the_alphabet_for_urls_is_read_too():
    assert find(as_json(image="-_-_"), "application/json").images == find(as_json(image="+/+/"), None).images


def test_of_several_texts_the_one_that_is_not_base64_fails_alone():
    found = find(as_json(images=["aGk=", "?", "aGk"]), "application/json")
    assert [found.images[0], found.images[2]] == [b"hi", b"hi"]
    assert isinstance(found.images[1], MalformedRequest)
    assert "'images' at 1 is not base64" in str(found.images[1])


RAW = b"\xff\xd8\xff\xe0\x10JFIF" + bytes(range(14, 256)) * 9


@pytest.mark.parametrize(
    ("body", "content_type", "words"),
    [
        (RAW, "application/x-www-form-urlencoded", "--data-binary"),
        (b"\x89PNG\x1a" + RAW, "application/x-www-form-urlencoded", "--data-binary"),
        (b"image=photo.jpg&top_k=3", "application/x-www-form-urlencoded", "curl -F"),
        (b"image=%89PNG", "application/x-www-form-urlencoded; charset=utf-8", "curl -F"),
        (b64(b"\x89PNG\r\n\x1a\n" + RAW).encode(), "image/png", "body is base64"),
        (b"\n" + b64(b"\xff\xd8\xff\xe0" + RAW).encode(), None, "body is base64"),
        (b64(b"GIF89a" + RAW).encode(), "text/plain", "body is base64"),
        (b"data:image/png;base64,iVBORw0KGgo=", None, "body is base64"),
    ],
)
def test_what_clients_send_by_mistake_is_named(body, content_type, words):
    with pytest.raises(MalformedRequest, match=words):
        find(body, content_type)


def test_a_whole_file_by_curl_with_data_binary_is_an_image():
    body = b"\x89PNG\r\n\x1a\n" + bytes(99)
    assert find(body, "application/x-www-form-urlencoded") == Submission([body], [None], 5, single=True)


@pytest.mark.parametrize("wanted", ["1", "7", "1000"])
@pytest.mark.parametrize("body", [PNG, as_json(image=b64(PNG), top_k=3)])
def test_top_k_of_the_query_wins(body, wanted):
    assert find(body, None, wanted).top_k == int(wanted)


@pytest.mark.parametrize("bad", BAD_TOP_K)
def test_a_top_k_out_of_range_is_refused_in_the_query(bad):
    with pytest.raises(InvalidParameter, match="from 1 to 1000"):
        find(PNG, None, bad)


@pytest.mark.parametrize("bad", [0, 1001, -1, 1.5, "x", [3], True, False, "3"])
def test_a_top_k_out_of_range_is_refused_in_json(bad):
    with pytest.raises(InvalidParameter, match="top_k"):
        find(as_json(image=b64(PNG), top_k=bad), "application/json")
