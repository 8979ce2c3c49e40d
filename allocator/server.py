"""The daemon's own port: /metrics, /-/healthy, /-/ready, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

__all__ = ["HealthServer"]

_TEXT = "text/plain; charset=utf-8"
Check = Callable[[], tuple[bool, str]]


class HealthServer:
    """Serves until it is closed.

    Args:
        host: Address to listen on.
        port: TCP port; 0 takes a free one.
        registry: What /metrics shows.
        healthy: Whether the process works, and words.
        ready: Whether it has done its work at least once, and words.

    Raises:
        OSError: The address cannot be had.
    """

    def __init__(
        self, host: str, port: int, registry: CollectorRegistry, healthy: Check, ready: Check
    ) -> None:
        class Handler(_Handler):
            pages = {"/-/healthy": healthy, "/-/ready": ready}  # noqa: RUF012 - never changed
            metrics = registry

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Handler(BaseHTTPRequestHandler):
    """One request; a client that says nothing is let go after ten seconds."""

    pages: dict[str, Check]
    metrics: CollectorRegistry
    timeout = 10
    server_version = "deckrails-allocator"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            self._answer(200, content_type, encode(self.metrics))
        elif path in self.pages:
            good, words = self.pages[path]()
            self._answer(200 if good else 503, _TEXT, f"{words}\n".encode())
        else:
            self._answer(404, _TEXT, b"want /metrics, /-/healthy or /-/ready\n")

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """A scrape a few times a minute is no news."""
