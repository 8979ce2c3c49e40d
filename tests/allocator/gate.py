"""A reverse proxy for tests: asks for headers, fails, stalls or drips on demand."""

from __future__ import annotations

import ssl
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


@dataclass
class Gate:
    """Stands before `upstream` on a loopback port.

    Attributes:
        upstream: Where requests are passed on to.
        needs: Headers without which the answer is 401.
        replies: (status, body) given instead of the upstream's answer, first come first served.
        drip: Bytes at a time, a fiftieth of a second between; 0 is all at once.
        stall: Headers are not sent before `released` is set.
        certificate: PEM with certificate and key; HTTPS with it.
    """

    upstream: str
    needs: dict[str, str] = field(default_factory=dict)
    replies: list[tuple[int, bytes]] = field(default_factory=list)
    drip: int = 0
    stall: bool = False
    certificate: str | None = None
    seen: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        gate = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                gate.paths.append(self.path)
                gate.seen.append(dict(self.headers.items()))
                status, body = gate._answer(self.path, dict(self.headers.items()))
                if gate.stall:
                    gate.released.wait(20)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                size = gate.drip or len(body) or 1
                for start in range(0, len(body), size):
                    try:
                        self.wfile.write(body[start : start + size])
                        self.wfile.flush()
                    except OSError:
                        return  # the client has given up, which is what a slow answer is for
                    if gate.drip and gate.released.wait(0.02):
                        return

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Tests look at `seen`."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    @property
    def url(self) -> str:
        """Where it listens."""
        scheme = "https" if self.certificate else "http"
        return f"{scheme}://127.0.0.1:{self._server.server_address[1]}"

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
        if self.replies:
            return self.replies.pop(0)
        missing = {name: value for name, value in self.needs.items() if headers.get(name) != value}
        if missing:
            return 401, b"who are you?"
        try:
            with urllib.request.urlopen(self.upstream + path, timeout=20) as answer:
                return int(answer.status), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
