"""The edge: its real configuration in a real HAProxy, in front of a server that says what it was asked."""

import contextlib
import datetime
import http.client
import ipaddress
import json
import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from loadtests.edge import CONFIG, haproxy
from service.errors import PROBLEMS
from service.http.schemas import Problem
from service.local.ports import free_ports

MAX_BODY_BYTES = 4096


class Echo(BaseHTTPRequestHandler):
    """Answers with the headers that arrived; /plain and /problem fail as Ray's ingress and as the service would."""

    protocol_version = "HTTP/1.1"

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path == "/plain":
            self._answer(500, "text/plain", b"Internal Server Error")
        elif self.path == "/problem":
            self._answer(500, "application/problem+json", b'{"code": "internal_error"}')
        elif self.path == "/dies":
            self.close_connection = True
        else:
            self._answer(
                200,
                "application/json",
                json.dumps({name.lower(): value for name, value in self.headers.items()}).encode(),
            )

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> Problem:
        assert self.headers["content-type"] == "application/problem+json"
        found = Problem.model_validate_json(self.body)
        kind = PROBLEMS[found.code]
        assert (found.title, found.status, found.remedy) == (kind.title, kind.status, kind.remedy)
        assert found.status == self.status
        assert self.headers.get("retry-after") == (str(kind.retry_after_s) if kind.retry_after_s else None)
        assert self.headers["x-request-id"] == found.request_id
        return found


class Edge:
    """A running one."""

    def __init__(self, port: int, context: ssl.SSLContext | None) -> None:
        self.port = port
        self._context = context

    def connection(self) -> http.client.HTTPConnection:
        if self._context is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=self._context)

    def ask(
        self, path: str = "/", method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        with contextlib.closing(self.connection()) as connection:
            connection.request(method, path, body, headers or {})
            return read(connection)

    def say(self, text: bytes) -> bytes:
        """What comes back until the connection is closed."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as raw:
            raw.sendall(text)
            return b"".join(iter(lambda: raw.recv(65536), b""))


def read(connection: http.client.HTTPConnection) -> Answer:
    answer = connection.getresponse()
    return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Edge]]:
    """Starts an edge; what is replaced in its configuration is where it listens and whom it asks."""
    backend = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    with contextlib.ExitStack() as running:

        def run(
            *,
            certificate: Path | None = None,
            replace: tuple[tuple[str, str], ...] = (),
            per_address: int = 100,
            behind: bool = True,
        ) -> Edge:
            server = f"127.0.0.1:{backend.server_address[1] if behind else free_ports(1)[0]}"
            places = (("service-gpu:8000", "127.0.0.1:1"), ("service:8000", server), *replace)
            variables = {
                "EDGE_TLS": str(certificate or ""),
                "EDGE_CONNECTIONS": 256,
                "EDGE_CONNECTIONS_PER_ADDRESS": per_address,
                "SIGHTLINE_MAX_BODY_BYTES": MAX_BODY_BYTES,
            }
            port = running.enter_context(haproxy(tmp_path, places, variables, up=behind))
            return Edge(port, ssl.create_default_context(cafile=str(certificate)) if certificate else None)

        yield run
    backend.shutdown()
    backend.server_close()


def test_each_of_its_problems_is_a_row_of_the_services_table() -> None:
    found = re.findall(r"http-error status (\d+) (.*)lf-string '(.*)'$", CONFIG.read_text(), re.MULTILINE)
    assert [status for status, _, _ in found] == ["400", "404", "413", "429", "502", "503", "504"]
    for status, headers, text in found:
        problem = Problem.model_validate_json(text)
        kind = PROBLEMS[problem.code]
        assert (problem.title, problem.status, problem.remedy) == (kind.title, kind.status, kind.remedy)
        assert problem.status == {"502": 503}.get(status, int(status))  # set-status makes one of the other
        assert ("retry-after" in headers) == (kind.retry_after_s is not None)


def test_the_service_hears_what_a_client_may_say_and_no_more(start: Callable[..., Edge]) -> None:
    forbidden = {
        "x-request-timeout-seconds": "0",
        "X-Request-Disconnect-Disabled": "?1",
        "serve_multiplexed_model_id": "other",
        "serve-multiplexed-model-id": "other",
        "proxy-authorization": "basic x",
        "te": "trailers",
        "upgrade": "h2c",
        "forwarded": "for=1.2.3.4",
        "x-forwarded-for": "1.2.3.4",
        "x-forwarded-host": "elsewhere",
    }
    heard = json.loads(
        start()
        .ask("/classify", "POST", b"photo", {**forbidden, "traceparent": "00-a-b-01", "content-type": "image/png"})
        .body
    )
    assert heard.keys() == {
        *(
            "host",
            "accept-encoding",
            "content-length",
            "content-type",
            "traceparent",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-request-id",
        )
    }
    assert (heard["x-forwarded-for"], heard["x-forwarded-proto"]) == ("127.0.0.1", "http")


def test_a_safe_request_id_stays_and_any_other_is_replaced(start: Callable[..., Edge]) -> None:
    edge = start()
    assert json.loads(edge.ask(headers={"x-request-id": "mine-1.2_3"}).body)["x-request-id"] == "mine-1.2_3"
    made = json.loads(edge.ask(headers={"x-request-id": 'a" onload="'}).body)["x-request-id"]
    assert len(made) == 36


def test_a_body_over_the_limit_is_refused_before_it_is_sent(start: Callable[..., Edge]) -> None:
    edge = start()
    assert edge.ask("/classify", "POST", bytes(MAX_BODY_BYTES)).status == 200
    with contextlib.closing(edge.connection()) as connection:
        connection.putrequest("POST", "/classify")
        connection.putheader("content-length", str(MAX_BODY_BYTES + 1))
        connection.endheaders()  # and not a byte of it
        assert read(connection).problem.code == "body_too_large"


def test_rays_own_paths_are_not_there(start: Callable[..., Edge]) -> None:
    edge = start()
    for path in ("/-/routes", "/-/healthz"):
        assert edge.ask(path).problem.code == "not_found"


def test_it_logs_what_never_reached_the_service(start: Callable[..., Edge], tmp_path: Path) -> None:
    edge = start()
    assert edge.ask("/classify").status == 200
    assert edge.ask("/-/routes").status == 404
    deadline = time.monotonic() + 5
    while "/-/routes" not in (logged := (tmp_path / "haproxy.log").read_text()):  # a line is written after its answer
        assert time.monotonic() < deadline, logged
        time.sleep(0.01)
    assert "/classify" not in logged  # the service's log has it
    assert "Connect from" not in logged


def test_headers_have_a_deadline(start: Callable[..., Edge]) -> None:
    edge = start(replace=(("timeout http-request 10s", "timeout http-request 300ms"),))
    started = time.monotonic()
    assert edge.say(b"GET / HTTP/1.1\r\nhost: x\r\n").startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - started < 3


def test_a_body_that_stops_coming_has_one_too(start: Callable[..., Edge]) -> None:
    edge = start(replace=(("timeout client 15s", "timeout client 300ms"),))
    started = time.monotonic()
    said = edge.say(b"POST /classify HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc")
    assert time.monotonic() - started < 3
    assert said.startswith(b"HTTP/1.1 400 ")  # HAProxy's choice
    assert Problem.model_validate_json(said.partition(b"\r\n\r\n")[2]).code == "malformed_request"


@pytest.mark.parametrize("said", [b"\x16\x03\x01 no HTTP\r\n\r\n", b"GET / HTTP/1.1\r\nhost x\r\n\r\n"])
def test_what_is_no_http_is_refused(start: Callable[..., Edge], said: bytes) -> None:
    assert start().say(said).startswith(b"HTTP/1.1 400 ")


def test_an_address_has_so_many_connections(start: Callable[..., Edge]) -> None:
    edge = start(per_address=3)
    with contextlib.ExitStack() as stack:
        four = [stack.enter_context(contextlib.closing(edge.connection())) for _ in range(4)]
        answers = [
            _asked(connection) for connection in four
        ]  # one after the other: each has been counted when the next one comes
        assert [answer.status for answer in answers] == [200, 200, 200, 429]
        assert answers[3].problem.code == "too_many_connections"
        assert four[3].sock is None  # the edge has said that it closes
        assert [_asked(connection).status for connection in four[:3]] == [200, 200, 200]
        four[0].close()
        deadline = time.monotonic() + 5
        while edge.ask().status != 200:  # until it has seen that two have ended
            assert time.monotonic() < deadline


def test_an_address_with_twice_as_many_is_not_heard(start: Callable[..., Edge]) -> None:
    request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    # One thread: two would count two that come at a time, and then find both to be too many.
    edge = start(
        per_address=3, replace=(('maxconn "$EDGE_CONNECTIONS"', 'maxconn "$EDGE_CONNECTIONS"\n    nbthread 1'),)
    )
    with contextlib.ExitStack() as stack:
        seven = [stack.enter_context(socket.create_connection(("127.0.0.1", edge.port), timeout=10)) for _ in range(7)]
        with contextlib.suppress(ConnectionResetError):
            assert edge.say(request) == b""
        assert select.select(seven, [], [], 0)[0] == []  # nobody has asked anything: what could be read would be an end
        seven[0].close()
        deadline = time.monotonic() + 5
        while not _is_refused(edge, request):
            assert time.monotonic() < deadline


def _is_refused(edge: Edge, request: bytes) -> bool:
    """Whether the edge has at least heard it."""
    with contextlib.suppress(ConnectionResetError):
        return edge.say(request).startswith(b"HTTP/1.1 429 ")
    return False


def _asked(connection: http.client.HTTPConnection) -> Answer:
    connection.request("GET", "/")
    return read(connection)


def test_failures_of_rays_ingress_become_problems_and_the_services_own_stay(start: Callable[..., Edge]) -> None:
    edge = start()
    assert edge.ask("/plain").problem.code == "not_ready"
    assert edge.ask("/dies").problem.code == "not_ready"
    own = edge.ask("/problem")
    assert (own.status, json.loads(own.body)) == (500, {"code": "internal_error"})


def test_without_a_service_it_says_when_to_try_again(start: Callable[..., Edge]) -> None:
    assert start(behind=False).ask().problem.code == "not_ready"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_with_a_certificate_it_speaks_tls_and_nothing_else(start: Callable[..., Edge], tmp_path: Path) -> None:
    certificate = tmp_path / "certificate.pem"
    certificate.write_bytes(_certificate())
    edge = start(certificate=certificate)
    assert json.loads(edge.ask().body)["x-forwarded-proto"] == "https"
    assert not edge.say(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").startswith(b"HTTP/1.1 200")
    old = ssl.create_default_context(cafile=str(certificate))
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", edge.port), timeout=10) as raw,
        pytest.raises((ssl.SSLError, ConnectionError)),
        old.wrap_socket(raw, server_hostname="127.0.0.1"),
    ):
        pass


def _certificate() -> bytes:
    """For 127.0.0.1, self-signed: chain and key in one PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(days=1)
        )
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM) + secret


def test_idle_connections_live_longer_than_those_that_balancers_keep() -> None:
    """A balancer that reuses a connection while the edge closes it answers 502. Most keep them for 60 s."""
    (seconds,) = re.findall(r"timeout http-keep-alive (\d+)s", CONFIG.read_text())
    assert int(seconds) > 60
