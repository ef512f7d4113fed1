"""A reverse proxy: publishes the service below /vision, and can be away for a while."""

import contextlib
import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from service.local.ports import free_ports

PREFIX = "/vision"
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class Proxy:
    """Listens on a free port of its own until `stop`; after `start` it is back on the same one."""

    def __init__(self, port: int) -> None:
        self.port = free_ports(1)[0]
        self._behind = port
        self.start()

    @property
    def url(self) -> str:
        """Where a browser finds the service."""
        return f"http://127.0.0.1:{self.port}{PREFIX}"

    def start(self) -> None:
        behind = self._behind

        class Handler(BaseHTTPRequestHandler):
            def _forward(self) -> None:
                if not self.path.startswith(f"{PREFIX}/"):
                    self.send_error(404)
                    return
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                upstream = http.client.HTTPConnection("127.0.0.1", behind, timeout=30)
                try:
                    headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
                    upstream.request(self.command, self.path.removeprefix(PREFIX), body, headers)
                    answer = upstream.getresponse()
                    content = answer.read()
                finally:
                    upstream.close()
                self.send_response_only(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in _HOP:
                        self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # the page has gone on without the answer
                    self.wfile.write(content)

            do_GET = do_POST = _forward

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
