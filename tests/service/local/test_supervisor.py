"""The service as a user starts it: a real Ray Serve behind HAProxy, on free ports of loopback."""

import asyncio
import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from PIL import Image

from service.local.processes import RUN_VARIABLE

pytestmark = pytest.mark.serve
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def service(models: Path, tmp_path_factory: pytest.TempPathFactory, launch) -> Iterator:
    started = launch(models, tmp_path_factory.mktemp("service"))
    try:
        yield started.wait_until_ready()
    finally:
        assert started.stop() == 0, started.printed


def test_it_is_ready_within_20_s_and_each_printed_line_works_as_pasted(service) -> None:
    seconds = float(re.search(r"Ready after ([\d.]+) s", service.printed)[1])
    assert seconds <= 20
    page, metrics = (re.search(rf"{name} +(http\S+)", service.printed)[1] for name in ("page", "metrics"))
    curl = re.search(r"try +(curl .+)", service.printed)[1]
    answer = json.loads(subprocess.run(shlex.split(curl), cwd=ROOT, check=True, capture_output=True).stdout)
    assert answer["results"][0]["predictions"][0]["label"] == "7"
    assert "<title>Sightline</title>" in httpx.get(page).text
    deadline = time.monotonic() + 40  # workers report to Ray's agent every 10 s
    while "ray_sightline_images_total{" not in (text := httpx.get(metrics).text):
        assert time.monotonic() < deadline, text[:2000]
        time.sleep(1)


def test_curl_gets_an_answer_however_it_sends_the_image(
    service, tmp_path: Path, digit: Callable, encoded: Callable
) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(encoded(digit(3), "PNG"))
    for options in (["--data-binary", f"@{photo}"], ["-T", str(photo)], ["-F", f"image=@{photo}"]):
        answer = json.loads(
            subprocess.run(["curl", "-sS", *options, f"{service.url}/classify"], check=True, capture_output=True).stdout
        )
        assert answer["results"][0]["predictions"][0]["label"] == "3", options


@pytest.mark.parametrize("number", range(10))
def test_a_digit_gets_the_same_label_as_png_jpeg_rotated_and_rgba(
    service, number: int, digit: Callable, encoded: Callable
) -> None:
    picture: Image.Image = digit(number)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored a quarter turn to the left, as a phone held upright stores it
    see_through = Image.new("RGBA", picture.size, (0, 0, 0, 0))
    see_through.putalpha(Image.eval(picture.convert("L"), lambda value: 255 - value))
    variants = {
        "PNG": encoded(picture, "PNG"),
        "JPEG": encoded(picture, "JPEG", quality=90),
        "phone": encoded(picture.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=90, exif=exif),
        "RGBA": encoded(see_through, "PNG"),
    }
    answers = {
        name: httpx.post(f"{service.url}/classify", content=data).json()["results"][0]
        for name, data in variants.items()
    }
    assert {answer["predictions"][0]["label"] for answer in answers.values()} == {str(number)}
    assert {(answer["width"], answer["height"]) for answer in answers.values()} == {picture.size}


@pytest.mark.slow
def test_64_clients_for_30_s_get_no_error_and_each_the_answer_to_its_own_image(
    service, digit: Callable, encoded: Callable
) -> None:
    """Different digits; every answer is compared with the one that the image got alone."""
    turns = (-8, -4, 0, 4, 8)
    images = [encoded(digit(number, turn_deg=turn), "PNG") for number in range(10) for turn in turns]
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)

    async def run() -> tuple[int, list[str]]:
        async with httpx.AsyncClient(base_url=service.url, limits=limits, timeout=30) as client:

            async def scores(image: bytes) -> dict[str, float]:
                answer = await client.post("/classify", content=image, params={"top_k": 10})
                assert answer.status_code == 200, answer.text
                (result,) = answer.json()["results"]
                return {prediction["label"]: prediction["score"] for prediction in result["predictions"]}

            alone = [await scores(image) for image in images]
            assert [max(one, key=one.get) for one in alone] == [str(number) for number in range(10) for _ in turns]
            wrong: list[str] = []
            answered, end = 0, time.monotonic() + 30

            async def client_loop(first: int) -> None:
                nonlocal answered
                index = first
                while time.monotonic() < end:
                    index = (index + 7) % len(images)
                    got = await scores(images[index])
                    apart = max(abs(got[label] - alone[index][label]) for label in got)
                    if apart > 0.02 or max(got, key=got.get) != max(alone[index], key=alone[index].get):
                        wrong.append(f"image {index}: {apart:.4f}")
                    answered += 1

            await asyncio.gather(*(client_loop(first) for first in range(64)))
            return answered, wrong

    answered, wrong = asyncio.run(run())
    print(f"{answered} answers in 30 s")
    assert not wrong
    assert answered > 1000


def test_ready_live_models_and_a_problem_come_through_haproxy(service) -> None:
    assert httpx.get(f"{service.url}/health/live").json() == {"status": "live"}
    assert httpx.get(f"{service.url}/health/ready").json() == {"status": "ready"}
    assert httpx.get(f"{service.url}/models").json()["models"][0]["name"] == "digits"
    refused = httpx.post(f"{service.url}/classify", content=b"no image")
    assert (refused.status_code, refused.headers["content-type"]) == (415, "application/problem+json")
    assert refused.json()["request_id"] == refused.headers["x-request-id"]


def test_what_a_client_may_not_tell_ray_is_ignored_and_its_id_is_made_safe(
    service, digit: Callable, encoded: Callable
) -> None:
    image = encoded(digit(5), "PNG")
    for headers in (
        {"x-request-id": b"\xff\xfe"},
        {"x-request-id": "a" * 500},
        {"x-request-timeout-seconds": "0.000001"},
        {"X_Request_Timeout_Seconds": "0.000001"},
        {"serve_multiplexed_model_id": "other"},
    ):
        answer = httpx.post(f"{service.url}/classify", content=image, headers=headers)
        assert answer.status_code == 200, (headers, answer.text)
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", answer.headers["x-request-id"])
        assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_a_body_over_the_limit_is_refused_before_it_is_read_whole(service) -> None:
    """The client says 200 MB, sends 1 MB, and waits: the answer must come without the rest."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as client:
        client.sendall(
            b"POST /classify HTTP/1.1\r\nHost: test\r\nContent-Length: 200000000\r\n\r\n"
            + b"\xff\xd8\xff"
            + bytes(2**20)
        )
        assert client.recv(4096).startswith(b"HTTP/1.1 413")


def test_every_request_leaves_one_json_line_with_its_id(service) -> None:
    httpx.post(f"{service.url}/classify", content=b"no image", headers={"x-request-id": "look-for-me"})
    deadline = time.monotonic() + 10
    while not (lines := [line for line in service.printed.splitlines() if "look-for-me" in line]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (line,) = lines
    logged = json.loads(line)
    assert (logged["request_id"], logged["path"], logged["status"], logged["code"]) == (
        "look-for-me",
        "/classify",
        415,
        "not_an_image",
    )


def test_a_taken_port_is_an_error_that_names_it_and_the_remedy(service, models: Path, tmp_path: Path, launch) -> None:
    second = launch(models, tmp_path, port=str(service.port))
    assert second.process.wait(timeout=30) == 2
    assert f"cannot listen on port {service.port} of 127.0.0.1" in second.printed
    assert "PORT=8001 make serve" in second.printed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_status_0_and_leaves_nothing(
    number: int, models: Path, tmp_path: Path, launch, left_of
) -> None:
    service = launch(models, tmp_path).wait_until_ready()
    folders = [process.environ()[RUN_VARIABLE] for process in psutil.Process(service.process.pid).children()]
    run_folder = Path(folders[0].split(":", 2)[2])
    assert run_folder.is_dir()
    assert service.stop(number) == 0, service.printed
    assert left_of(service.process.pid) == []
    assert not run_folder.exists()
    assert "Traceback" not in service.printed
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", service.port))


def test_a_killed_run_does_not_break_the_next_one(models: Path, tmp_path: Path, launch, left_of) -> None:
    first = launch(models, tmp_path).wait_until_ready()
    first.process.kill()
    first.process.wait()
    second = launch(models, tmp_path, port=str(first.port)).wait_until_ready()
    try:
        assert left_of(first.process.pid) == []
        assert httpx.get(f"{second.url}/health/ready").status_code == 200
    finally:
        assert second.stop() == 0


def test_a_signal_during_the_start_ends_it_with_status_0(models: Path, tmp_path: Path, launch, left_of) -> None:
    service = launch(models, tmp_path)
    time.sleep(4)
    assert service.stop() == 0, service.printed
    assert left_of(service.process.pid) == []


def test_a_signal_at_any_moment_of_the_wait_is_not_lost_and_hangs_nothing() -> None:
    """With a threading.Event this hung at once: its handler waited for a lock that its own thread held."""
    program = """
import signal
from service.local.supervisor import Stopping

for count in range(20_000):
    stopping = Stopping()
    signal.signal(signal.SIGALRM, lambda *_: stopping.set())
    signal.setitimer(signal.ITIMER_REAL, 10e-6 + count % 50 * 2e-6)
    while not stopping.wait(10e-6):
        pass
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)
