"""uvicorn's HTTP protocol with a short way for Pushgateway pushes.

An ASGI request costs a task, a cycle and a dozen awaits, more than reading the push does.  A push needs none
of it: its body is read by the parser's callbacks, goes to the writer's queue, and the answer is written when
its batch is committed.  Everything else, and every push that comes with something unusual (an Expect header,
HTTP/1.0, a second request before the first is answered), takes uvicorn's ordinary way to the same handler.
"""

from __future__ import annotations

import asyncio
import re
import sys
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from exporter.app import Exporter, allowed, refusal
from exporter.errors import TooLarge
from exporter.http import Call, Reply, plain_error
from exporter.routes import gateway
from exporter.routes.gateway import ACCEPTED
from exporter.unclean import BAD_ESCAPE, PUSH_PREFIXES, answer_unclean

__all__ = ["HotProtocol", "protocol_for"]

_REQUEST_LINE = re.compile(rb"([A-Za-z-]+) (/[^\s?\x7f]*)\??(\S*) HTTP/1\.[01]\r\n")
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_REASONS = {
    200: b"OK",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    413: b"Content Too Large",
    422: b"Unprocessable Content",
    429: b"Too Many Requests",
    503: b"Service Unavailable",
}


class _Pending:
    """Stands where uvicorn keeps its cycle, so that a request that comes meanwhile waits its turn."""

    def __init__(self) -> None:
        self.response_complete = True
        self.disconnected = False
        self.keep_alive = True
        self.message_event = asyncio.Event()


class HotProtocol(HttpToolsProtocol):
    """One connection."""

    exporter: Exporter

    def connection_made(self, transport: Any) -> None:
        """Prepare what a push needs."""
        super().connection_made(transport)
        self._pending = _Pending()
        self._body: list[bytes] | None = None
        self._size = 0
        self._limit = self.exporter.service.settings.max_body_bytes
        self._head: bytes | None = None
        self._again = b""
        self._reading = self._trailing = False
        self._between = True

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._last = data
        self._between = not self._reading
        super().data_received(data)
        while self._again:
            self._last, self._again, self._between = self._again, b"", True
            super().data_received(self._last)

    def _unsupported_upgrade_warning(self) -> None:
        """Read a request that asks for another protocol once more, without the question.

        Java's client and curl's --http2 ask with every first request.  A server may pass it over, as a
        Pushgateway does; the parser instead takes what follows the head for the other protocol.
        """
        upgrade = sys.exception()
        if self._head is not None and isinstance(upgrade, httptools.HttpParserUpgrade):
            self._again = self._head + self._last[upgrade.args[0] :]
            self._head = None
            self.parser = httptools.HttpRequestParser(self)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; a method nobody knows is a wrong method, not a broken request.

        A path in bare UTF-8, as curl sends it, is read once more with its bytes escaped.
        """
        line = _REQUEST_LINE.match(self._last)
        busy = self.cycle is not None and not self.cycle.response_complete
        # Where the data went on with a body, what looks like a request line is of whoever wrote that body.
        if line and not busy and self._between and _NOT_ASCII.search(line[0]):
            escaped = _NOT_ASCII.sub(lambda byte: b"%%%02X" % byte[0][0], line[0])
            self.parser = httptools.HttpRequestParser(self)
            self._reading = False
            self.data_received(escaped + self._last[line.end() :])
            return
        unknown = isinstance(sys.exception(), httptools.HttpParserInvalidMethodError)
        if busy or not line or not unknown or not self._between:
            super().send_400_response(msg)
            return
        method, path = line[1].decode(), unquote(line[2].decode())
        admin_api = self.exporter.service.settings.admin_api
        reply = answer_unclean(method, line[2], line[3], admin_api=admin_api)
        reply = reply or refusal(method, path, allowed(path))
        self._pending.keep_alive = False
        self._answer(reply)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._reading, self._trailing = True, False
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer says nothing of who sends a request, nor of what (RFC 9110, 6.5.1)."""
        if not self._trailing:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Choose the way."""
        self._trailing = True
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            line = (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
            kept = (b"%s: %s\r\n" % pair for pair in self.headers if pair[0] != b"upgrade")
            self._head = b"%s %s HTTP/%s\r\n" % line + b"".join(kept) + b"\r\n"
            return
        if (
            self.url.startswith(PUSH_PREFIXES)
            and self.parser.get_method() in (b"PUT", b"POST")
            and (self.cycle is None or self.cycle.response_complete)
            and not self.expect_100_continue
            and self.parser.get_http_version() == "1.1"
            and b"//" not in self.url
            and self.url != b"/metrics/job/"
            and b"/." not in self.url
            and self.url != b"/metrics/job@base64/"
            and not (b"%" in self.url and BAD_ESCAPE.search(self.url))
        ):
            self._body = []
            self._size = 0
        else:
            # uvicorn takes what follows a bare # for a fragment, and would answer for another group.
            self.url = self.url.replace(b"#", b"%23")
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Gather the body, no more of it than the limit."""
        if self._body is None:
            super().on_body(body)
            return
        self._size += len(body)
        if self._size <= self._limit:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Hand a whole push on."""
        self._reading = False
        if self._head is not None:
            return
        if self._body is None:
            super().on_message_complete()
            return
        body, self._body = b"".join(self._body), None
        pending = self._pending
        pending.response_complete = False
        pending.keep_alive = self.parser.should_keep_alive()
        self.cycle = pending  # type: ignore[assignment]  # it answers to what uvicorn asks of one
        service = self.exporter.service
        if self._size > self._limit:
            error = TooLarge(
                f"the body has more than {self._limit} bytes: DECK_MAX_BODY_BYTES is {self._limit}"
            )
            gateway.count_refusal(service, error)
            self._answer(plain_error(error))
            return
        path, _, query = self.url.partition(b"?")
        call = Call(self.parser.get_method().decode(), path, query, dict(self.headers), body)
        gateway.push(service, call, self._answer)

    def _answer(self, reply: Reply) -> None:
        pending = self._pending
        pending.response_complete = True
        if self.transport.is_closing():
            return
        if reply is ACCEPTED and pending.keep_alive:
            self.transport.write(self._accepted())
            self.on_response_complete()
            return
        head = [b"HTTP/1.1 %d %s\r\n" % (reply.status, _REASONS.get(reply.status, b""))]
        for name, value in (*self.server_state.default_headers, *reply.raw_headers()):
            head += (name, b": ", value, b"\r\n")
        if not pending.keep_alive:
            head.append(b"connection: close\r\n")
        head += (b"\r\n", reply.body)
        self.transport.write(b"".join(head))
        if not pending.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _accepted(self) -> bytes:
        # uvicorn makes a new list of default headers each second, for the date.
        defaults = self.server_state.default_headers
        cached = _accepted_bytes.get(id(defaults))
        if cached is None or cached[0] is not defaults:
            lines = b"".join(b"%s: %s\r\n" % pair for pair in defaults)
            cached = (defaults, b"HTTP/1.1 200 OK\r\n" + lines + b"content-length: 0\r\n\r\n")
            _accepted_bytes.clear()
            _accepted_bytes[id(defaults)] = cached
        return cached[1]


_accepted_bytes: dict[int, tuple[list[tuple[bytes, bytes]], bytes]] = {}


def protocol_for(exporter: Exporter) -> type[HotProtocol]:
    """The protocol class uvicorn is to use for this application."""
    return type("BoundHotProtocol", (HotProtocol,), {"exporter": exporter})
