"""multipart/form-data: the images in it, in order; texts beside them are ignored."""

import asyncio
import base64
import encodings.aliases
import gc
import json
import random
import time
import warnings
from contextlib import suppress

import pytest
from starlette.datastructures import Headers

from service.errors import InvalidParameter, MalformedRequest, MissingImage, RequestError, TooManyImages
from service.http.forms import Submission, find_images
from tests.service.conftest import problem

PNG = b"\x89PNG\r\n\x1a\n and so on"
FORM = "multipart/form-data; boundary=frontier"
MAX_IMAGES = 4


def find(body: bytes, content_type: str = FORM, top_k: str | None = None) -> Submission:
    return asyncio.run(find_images(body, Headers({"content-type": content_type}), top_k, MAX_IMAGES))


def file_part(data: bytes, filename: bytes = b"a.png", name: bytes = b"image") -> bytes:
    return b'--frontier\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n\r\n%s\r\n' % (
        name,
        filename,
        data,
    )


def text_part(name: bytes, value: bytes) -> bytes:
    return b'--frontier\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name, value)


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--frontier--\r\n"


def test_a_form_gives_its_files_in_order_whatever_their_fields_are_called():
    body = form(
        file_part(b"one", b"1.png"), file_part(b"", b"2.png", b"other"), file_part(b"three" * 500_000, b"3.png")
    )
    assert find(body) == Submission([b"one", b"", b"three" * 500_000], ["1.png", "2.png", "3.png"], 5, single=False)


def test_a_form_with_one_file_is_single_and_may_say_top_k():
    assert find(form(file_part(PNG), text_part(b"top_k", b"3"))) == Submission([PNG], ["a.png"], 3, single=True)


# Every codec of Python that could decode a text, the quadratic ones (punycode, idna) included, and names of none.
CHARSETS = sorted(
    {
        *encodings.aliases.aliases.values(),
        "punycode",
        "idna",
        "undefined",
        "raw_unicode_escape",
        "nonsense",
        "",
        '"utf-7"',
    }
)


@pytest.mark.parametrize("charset", CHARSETS)
def test_the_charset_of_a_form_is_never_the_clients_to_choose(charset):
    found = find(form(file_part(PNG, "Füße.png".encode()), text_part(b"top_k", b"3")), f"{FORM}; charset={charset}")
    assert found == Submission([PNG], ["Füße.png"], 3, single=True)


@pytest.mark.parametrize("charset", ["utf-8", "punycode", "idna", "utf-7", "unicode_escape"])
def test_a_forms_texts_cost_the_same_whatever_charset_it_names(charset):
    # "top_k-" is "top_k" in punycode, in which this took 55 s.
    body = form(*[text_part(b"top_k-", b"a" * 1_000_000)] * 7, file_part(PNG))
    started = time.monotonic()
    assert find(body, f"{FORM}; charset={charset}") == Submission([PNG], ["a.png"], 5, single=True)
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("boundary", ["frontier", '"frontier"', r'"front\\ier"', r'"front\"ier"', '"a b"', "front'ier"])
def test_a_boundary_reaches_the_parser_as_the_client_wrote_it(boundary):
    plain = boundary.strip('"').replace("\\\\", "\\").replace('\\"', '"')
    body = form(file_part(PNG)).replace(b"frontier", plain.encode())
    assert find(body, f"multipart/form-data; boundary={boundary}").images == [PNG]


def test_a_form_may_hold_exactly_the_limit_of_files():
    assert len(find(form(*[file_part(PNG)] * MAX_IMAGES)).images) == MAX_IMAGES


@pytest.mark.parametrize("count", [5, 6, 300])
def test_a_form_with_more_files_than_the_limit_is_refused(count):
    with pytest.raises(TooManyImages, match="at most 4"):
        find(form(*[file_part(PNG)] * count))


@pytest.mark.parametrize(
    ("body", "content_type", "error", "words"),
    [
        (form(text_part(b"image", b"photo.jpg")), FORM, MissingImage, "send images as files"),
        (form(text_part(b"csrf", b"1")), FORM, MissingImage, "no file"),
        (form(file_part(b"", b"")), FORM, MissingImage, "no file"),
        (form(*[text_part(b"id", b"3")] * 10_000, file_part(PNG)), FORM, MalformedRequest, "more than 64 texts"),
        (form(*[text_part(b"id", b"3")] * 65, file_part(PNG)), FORM, MalformedRequest, "65 texts; at most 64"),
        (form(text_part(b"top_k", b"3")), FORM, MissingImage, "no file"),
        (form(file_part(PNG)), "multipart/form-data", MalformedRequest, "no boundary"),
        (form(file_part(PNG)), "multipart/form-data; charset=utf-8", MalformedRequest, "no boundary"),
        (form(file_part(PNG)), "multipart/form-data; boundary=", MalformedRequest, "no boundary"),
        (form(file_part(PNG)), "multipart/form-data; boundary=other", MalformedRequest, "multipart"),
        (form(file_part(PNG)), "multipart/form-data; boundary=fronti\u00e9r", MalformedRequest, "multipart"),
        (form(text_part(b"top_k", b"3")), f"{FORM}; charset=undefined", MissingImage, "no file"),
        (b"hello", FORM, MalformedRequest, "multipart"),
        (b"--frontier\r\n\r\nno headers\r\n--frontier--\r\n", FORM, MalformedRequest, "multipart"),
        (
            form(file_part(PNG)).replace(b"frontier", b"b" * 3000),
            f"multipart/form-data; boundary={'b' * 3000}",
            MalformedRequest,
            "multipart",
        ),
    ],
)
def test_a_form_that_is_not_what_its_type_says_is_refused(body, content_type, error, words):
    with pytest.raises(error, match=words):
        find(body, content_type)


GIF = b"GIF89a plain ASCII"
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(range(256)) * 8000


@pytest.mark.parametrize("count", [1, 64])
def test_texts_beside_the_file_are_ignored(count):
    texts = [text_part(b"csrf_token", "é".encode() * 999)] * (count - 1) + [text_part(b"id", b"7" * 2_000_000)]
    assert find(form(*texts[:3], file_part(PNG), *texts[3:])) == Submission([PNG], ["a.png"], 5, single=True)


@pytest.mark.parametrize("places", [0, 1])
def test_the_empty_file_input_of_a_browser_is_skipped(places):
    parts = [file_part(PNG), file_part(PNG)]
    parts.insert(places, file_part(b"", b"", b"second"))
    assert find(form(*parts)) == Submission([PNG, PNG], ["a.png", "a.png"], 5, single=False)


def test_the_empty_file_input_does_not_count_against_the_limit():
    assert len(find(form(*[file_part(PNG)] * MAX_IMAGES, file_part(b"", b""))).images) == MAX_IMAGES


@pytest.mark.parametrize("image", [PNG, GIF, JPEG])
@pytest.mark.parametrize(
    "headers",
    [
        b'Content-Disposition: form-data; name="photo"',
        b'Content-Disposition: form-data; name="photo"\r\nContent-Type: image/png',
        b'content-type: IMAGE/JPEG\r\ncontent-disposition: form-data; name="photo"',
        b'Content-Disposition: form-data; name="top_k"',
    ],
)
def test_a_part_with_an_images_type_or_bytes_is_an_image_without_a_filename_too(image, headers):
    part = b"--frontier\r\n" + headers + b"\r\n\r\n" + image + b"\r\n"
    assert find(form(part)) == Submission([image], [None], 5, single=True)


def test_what_looks_like_text_is_an_image_by_its_first_bytes_alone():
    """These bytes are UTF-8; to decode and to encode them again in another charset would change them."""
    image = b"GIF89a" + "é€".encode() * 9
    assert find(form(text_part(b"image", image))).images == [image]


def test_a_file_of_an_unknown_kind_is_kept_so_that_it_gets_its_own_problem():
    assert find(form(file_part(b"ftypheic", b"a.heic"))).images == [b"ftypheic"]


@pytest.mark.parametrize(
    ("parameter", "shown"),
    [
        (b"filename*=UTF-8''%e2%82%ac.png", "€.png"),
        (b"filename*=ISO-8859-1'en'%e9.png", "é.png"),
        (b"filename*=nonsense''a%22b.png", 'a"b.png'),
        (b"filename*=UTF-8''..%2f..%5ccat.png", "cat.png"),
    ],
)
def test_an_extended_filename_is_shown_like_any_other(parameter, shown):
    headers = b'Content-Disposition: form-data; name="photo"; ' + parameter
    part = b"--frontier\r\n" + headers + b"\r\n\r\nno image\r\n"
    found = find(form(part))
    assert found == Submission([b"no image"], [shown], 5, single=True)


@pytest.mark.parametrize("cut", [6, 18, 30, 70])
def test_a_form_that_was_cut_off_is_refused_as_a_whole(cut):
    with pytest.raises(MalformedRequest):
        find(form(file_part(PNG), file_part(PNG * 10))[:-cut])


@pytest.mark.parametrize(
    "body",
    [
        form(file_part(PNG), file_part(PNG)),
        form(file_part(PNG), text_part(b"colour", b"red")),
        form(*[file_part(PNG)] * 9),
        form(file_part(PNG))[:-16],
    ],
)
def test_a_form_leaves_no_file_open(body):
    gc.collect()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with suppress(RequestError):
            find(body)
        gc.collect()
    assert not seen


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (b"cat.png", "cat.png"),
        ("Füße 猫.png".encode(), "Füße 猫.png"),
        (b"../../etc/passwd", "passwd"),
        (b"/etc/passwd", "passwd"),
        (rb"C:\Users\me\cat.png", "cat.png"),
        (rb"..\..\cat.png", "cat.png"),
        (b"c\x00a\x07t\x1b[31m\x7f.png", "cat[31m.png"),
        ("\u202egnp.exe".encode(), "gnp.exe"),
        ("c\u2028a\u200bt".encode(), "cat"),
        (b"x" * 3000, "x" * 255),
        (b"folder/", None),
        (b"\x01", None),
        (b"", None),
    ],
)
def test_a_filename_is_echoed_bare_printable_and_bounded_and_decides_nothing(given, shown):
    assert find(form(file_part(PNG, given))) == Submission([PNG], [shown], 5, single=True)


def test_a_filename_of_10_kilobytes_refuses_the_form():
    with pytest.raises(MalformedRequest):
        find(form(file_part(PNG, b"x" * 10_240)))


@pytest.mark.parametrize("wanted", ["1", "7", "1000"])
def test_top_k_of_the_query_wins_over_the_forms(wanted):
    assert find(form(file_part(PNG), text_part(b"top_k", b"3")), top_k=wanted).top_k == int(wanted)


@pytest.mark.parametrize("bad", ["0", "1001", "-1", "1.5", "x", "", " 5", "１", "9" * 5000])
def test_a_top_k_out_of_range_is_refused_in_a_form(bad):
    with pytest.raises(InvalidParameter, match="from 1 to 1000"):
        find(form(file_part(PNG), text_part(b"top_k", bad.encode())))


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"images": [' + b'"",' * 20_000 + b'""]}', "holds over 20000 values"),
        (b"{" + b",".join(b'"%d":1' % key for key in range(20_000)) + b"}", "holds over 19999 values"),
        (b'{"image": "' + b"\\u0041" * 20_000 + b'"}', "escapes more characters"),
    ],
    ids=["values", "keys", "escapes"],
)
def test_json_that_takes_long_to_read_is_refused_unread(body, found):
    with pytest.raises(MalformedRequest, match=found):
        find(body, "application/json")


@pytest.mark.parametrize("wrap", [base64.b64encode, base64.encodebytes, base64.urlsafe_b64encode])
def test_long_base64_is_decoded_step_by_step(wrap):
    data = PNG + random.Random(0).randbytes(1_000_001)
    text = wrap(data).decode()
    assert find(json.dumps({"image": text}).encode(), "application/json").images == [data]
    assert find(json.dumps({"image": text.rstrip("=\n")}).encode(), "application/json").images == [data]
    for wrong in (text[:400_000] + "=" + text[400_000:], text[:400_000] + "é" + text[400_000:], text + "=A"):
        with pytest.raises(MalformedRequest, match="is not base64"):
            find(json.dumps({"image": wrong}, ensure_ascii=False).encode(), "application/json")


@pytest.mark.parametrize("more", [0, 2**20])
def test_a_long_body_is_read_in_a_thread_and_answered_alike(served, encoded, digit, more):
    data = encoded(digit(7, 64), "PNG").ljust(more, b"\0")
    body = json.dumps({"images": [base64.b64encode(data).decode()] * 2}).encode()
    assert served.post(body, headers={"content-type": "application/json"}).status_code == 200
    refused = served.post(b"[" + body, headers={"content-type": "application/json"})
    problem(refused, 400, "malformed_request")
