"""What the heaviest requests cost: a replica's memory, and the time of other clients."""

import base64
import io
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image, ImageDraw

from service.settings import Settings
from tests.vision.pngs import SIGNATURE, chunk, header

pytestmark = [pytest.mark.serve, pytest.mark.slow]
DEMO = Path(__file__).resolve().parents[3] / "service" / "demo"
MB = 1_000_000
HEAVY_BYTES = 16 * 2**20
PHOTO = (8160, 6120)  # 50 million pixels
BYTES_PER_PIXEL = 16  # the most that decoding takes, see vision.image.declared_pixels


@pytest.fixture(scope="module")
def service(tmp_path_factory, launch):
    started = launch(DEMO, tmp_path_factory.mktemp("heavy"), explain="off").wait_until_ready()
    yield started
    assert started.stop() == 0, started.printed


def replica(service):
    (found,) = [
        process
        for process in psutil.Process(service.process.pid).children(recursive=True)
        if "ServeReplica" in " ".join(process.cmdline())
    ]
    return found.pid


def peak_bytes(pid):
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return 1024 * int(line.split()[1])


def photo(file_format, **options):
    """A picture of many edges, of the size that phones take."""
    small = Image.effect_mandelbrot((510, 382), (-2, -1.2, 1, 1.2), 100).convert("RGB")
    buffer = io.BytesIO()
    small.resize(PHOTO, Image.Resampling.BICUBIC).save(buffer, file_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("file_format", "options"),
    [("JPEG", {"quality": 90}), ("JPEG", {"quality": 80, "progressive": True}), ("WEBP", {"quality": 40, "method": 0})],
    ids=["jpeg", "progressive", "webp"],
)
def test_16_photos_of_50_million_pixels_at_once_stay_within_the_memory_that_the_setting_gives(
    service, file_format, options
):
    data, pid = photo(file_format, **options), replica(service)
    httpx.post(f"{service.url}/classify", content=data, timeout=60).raise_for_status()
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # forgets the peak until now
    before = psutil.Process(pid).memory_info().rss
    with ThreadPoolExecutor(16) as clients:
        answers = list(
            clients.map(lambda _: httpx.post(f"{service.url}/classify", content=data, timeout=120), range(16))
        )
    statuses = sorted({answer.status_code for answer in answers})
    grown = peak_bytes(pid) - before
    allowed = BYTES_PER_PIXEL * Settings().decoding_pixels + 16 * len(data)
    print(f"\n16 × {len(data) / MB:.1f} MB {file_format}: +{grown / MB:.0f} MB, at most {allowed / MB:.0f}; {statuses}")
    assert set(statuses) <= {200, 503, 504}  # on a slow machine the last ones miss their deadline
    assert any(answer.status_code == 200 for answer in answers)
    assert grown <= allowed


def filled(head, tail=b""):
    return head + bytes(HEAVY_BYTES - len(head) - len(tail)) + tail


def form(*parts, boundary=b"x"):
    body = b"".join(b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary, headers, content) for headers, content in parts)
    return body + b"--%b--\r\n" % boundary


def png_of_chunks(*chunks):
    pixels = zlib.compress(bytes(65 * 64))
    return SIGNATURE + header(64, 64, 8, 0) + b"".join(chunks) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def jpeg(*segments, trailing=b""):
    buffer = io.BytesIO()
    Image.new("L", (64, 64), 77).save(buffer, "JPEG")
    data = buffer.getvalue()
    parts = (b"\xff" + name + struct.pack(">H", len(body) + 2) + body for name, body in segments)
    return data[:2] + b"".join(parts) + data[2:] + trailing


def palette_of_many_pixels():
    buffer = io.BytesIO()
    Image.new("P", PHOTO, 3).save(buffer, "PNG", compress_level=9)
    return buffer.getvalue()


def holed_jpeg():
    data = bytearray(photo("JPEG", quality=85))
    data[len(data) // 2 : len(data) // 2 + 4096] = bytes(4096)
    return bytes(data)


_MULTIPART = {"content-type": "multipart/form-data; boundary=x"}
_JSON = {"content-type": "application/json"}
_FILE = b'content-disposition: form-data; name="image"; filename="a.png"'
_TEXT = b'content-disposition: form-data; name="note"'
# The name of a kind: the headers and the body of a request that is as heavy as we can think of.
HEAVY = {
    "form: one text of 16 MB": lambda: (_MULTIPART, form((_TEXT, bytes(HEAVY_BYTES - 200)))),
    "form: 10,000 parts": lambda: (_MULTIPART, form(*[(_FILE, bytes(1500))] * 10_000)),
    "form: 200,000 empty parts": lambda: (_MULTIPART, form(*[(_TEXT, b"")] * 200_000)),
    "form: a header of 16 MB": lambda: (_MULTIPART, form((_TEXT + b"; x=" + b"a" * (HEAVY_BYTES - 300), b""))),
    "form: only newlines": lambda: (_MULTIPART, b"--x\r\n" * (HEAVY_BYTES // 5)),
    "form: a boundary nearly everywhere": lambda: (_MULTIPART, form((_FILE, b"\r\n--" * (HEAVY_BYTES // 4 - 100)))),
    "json: an image of 16 MB": lambda: (
        _JSON, b'{"image": "' + base64.b64encode(filled(SIGNATURE)[: HEAVY_BYTES * 3 // 4 - 60]) + b'"}',
    ),
    "json: no base64": lambda: (_JSON, b'{"image": "' + b"\\u00e9" * (HEAVY_BYTES // 6 - 10) + b'"}'),
    "json: line breaks": lambda: (_JSON, b'{"image": "' + b"A\\n" * (HEAVY_BYTES // 3 - 10) + b'"}'),
    "json: a list of 5 million": lambda: (_JSON, b'{"images": [' + b'"",' * (HEAVY_BYTES // 3 - 10) + b'""]}'),
    "json: deep": lambda: (_JSON, b"[" * HEAVY_BYTES),
    "json: many keys": lambda: (
        _JSON, b"{" + b",".join(b'"%d":1' % key for key in range(HEAVY_BYTES // 12)) + b"}",
    ),
    "text: base64 as a body": lambda: ({}, base64.b64encode(filled(SIGNATURE)[: HEAVY_BYTES * 3 // 4])),
    "urlencoded": lambda: (
        {"content-type": "application/x-www-form-urlencoded"}, b"a=%41&" * (HEAVY_BYTES // 6),
    ),
    "png: a text of 16 MB": lambda: ({}, png_of_chunks(chunk(b"tEXt", b"k\0" + bytes(HEAVY_BYTES - 300)))),
    "png: 49,000 chunks": lambda: ({}, png_of_chunks(*[chunk(b"tEXt", b"k\0" + bytes(300))] * 49_000)),
    "png: a million chunks": lambda: ({}, png_of_chunks(*[chunk(b"tEXt", b"")] * 1_000_000)),
    "png: a profile that unpacks to gigabytes": lambda: (
        {}, png_of_chunks(chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(2**30), 9))),
    ),
    "png: 50 million pixels of a palette": lambda: ({}, palette_of_many_pixels()),
    "jpeg: a profile of 255 parts": lambda: (
        {}, jpeg(*[(b"\xe2", b"ICC_PROFILE\0" + bytes((number, 255)) + bytes(65_000)) for number in range(1, 256)]),
    ),
    "jpeg: a million comments": lambda: ({}, jpeg(*[(b"\xfe", b"")] * (HEAVY_BYTES // 4 - 1000))),
    "jpeg: 16 MB after its end": lambda: ({}, jpeg(trailing=bytes(HEAVY_BYTES - 1000))),
    "jpeg: 50 million pixels with a hole": lambda: ({}, holed_jpeg()),
    "gif: a comment of 16 MB": lambda: ({}, filled(b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff!\xfe")),
    "gif: 16 MB of nothing": lambda: ({}, filled(b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff")),
    "gif: 99,000 comments": lambda: (
        {}, filled(b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" + (b"!\xfe\x96" + bytes(150) + b"\0") * 99_000),
    ),
    "gif: a million extensions": lambda: (
        {}, b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" + b"!\xfe\1x\0" * (HEAVY_BYTES // 5 - 100),
    ),
    "webp: a million chunks": lambda: (
        {}, b"RIFF" + struct.pack("<I", HEAVY_BYTES - 8) + b"WEBPVP8X\x0a\0\0\0\2\0\0\0\0\0\0\0\0\0"
        + b"abcd\0\0\0\0" * (HEAVY_BYTES // 8 - 10),
    ),
}  # fmt: skip
MOST_DELAY_MS = 50
REQUESTS = 100


def digit():
    picture = Image.new("L", (64, 64), 255)
    ImageDraw.Draw(picture).line([(16, 12), (48, 12), (28, 54)], fill=0, width=7)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def times_ms(url, image):
    """The times of one client that asks again as soon as it has its answer."""
    taken = []
    with httpx.Client(timeout=30) as client:
        for _ in range(REQUESTS):
            begun = time.perf_counter()
            client.post(f"{url}/classify", content=image).raise_for_status()
            taken.append(1000 * (time.perf_counter() - begun))
            time.sleep(0.005)
    return taken


def p99(taken):
    return float(np.quantile(taken, 0.99))


def busy_ms(service, image, headers, body, statuses):
    """The times of others while one client sends the body again and again."""
    stop = threading.Event()

    def send():
        with httpx.Client(timeout=60) as client:
            while not stop.is_set():
                statuses.append(client.post(f"{service.url}/classify", content=body, headers=headers).status_code)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        return times_ms(service.url, image)
    finally:
        stop.set()
        sender.join(120)


@pytest.mark.parametrize("kind", HEAVY)
def test_a_heavy_body_delays_others_by_at_most_50_ms(service, kind):
    """The 99th percentile of 100 requests; once again if another program on the machine may have been the cause."""
    headers, body = HEAVY[kind]()
    assert len(body) <= 32 * 2**20
    image, statuses = digit(), []
    for _ in range(2):
        idle, busy = p99(times_ms(service.url, image)), p99(busy_ms(service, image, headers, body, statuses))
        print(
            f"\n{kind}: {len(body) / MB:.1f} MB, {len(statuses)} × {sorted(set(statuses))}, p99 of others "
            f"{idle:.1f} → {busy:.1f} ms, {busy - idle:+.1f} ms"
        )
        if busy - idle <= MOST_DELAY_MS:
            break
    assert statuses
    assert all(200 <= status < 500 for status in statuses)
    assert busy - idle <= MOST_DELAY_MS
