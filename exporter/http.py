"""A request and an answer, without a framework: what handlers take and give.

Pure.  Handlers written against these run from plain ASGI as fast as it gets, and FastAPI describes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from exporter.errors import CallerError, ExporterError, Invalid, ReadFailed, Unauthorized, WrongMethod

__all__ = [
    "JSON",
    "PLAIN",
    "Call",
    "Reply",
    "error_reply",
    "etag_matches",
    "group_ttl",
    "json_reply",
    "number",
    "plain_error",
]

JSON = "application/json"
PLAIN = "text/plain; charset=utf-8"
BLOCK = 256 * 1024


@dataclass(slots=True)
class Call:
    """One request, its body read.

    Attributes:
        path: Raw, percent-encoding kept, without the query.
        headers: By lower-case name; of a repeated header the last.
        params: Parts of the path that the route names.
    """

    method: str
    path: bytes
    query: bytes
    headers: Mapping[bytes, bytes]
    body: bytes = b""
    params: Mapping[str, str] = field(default_factory=dict)
    who: str = ""

    def arguments(self, *names: str) -> dict[str, str]:
        """The query's arguments, all of them known.

        Raises:
            Invalid: One is not among `names`, or is there twice.
        """
        found: dict[str, str] = {}
        for name, value in parse_qsl(self.query.decode("latin-1"), keep_blank_values=True):
            if name not in names:
                raise Invalid(
                    f"nobody reads the query argument {name!r}: want {', '.join(names) or 'none'}", name
                )
            if name in found:
                raise Invalid(f"the query argument {name} is there twice", name)
            found[name] = value
        return found


def etag_matches(header: bytes, etag: bytes) -> bool:
    """Whether an If-None-Match header names this tag: a list of tags, weak ones too, or a star."""
    return header.strip() == b"*" or etag in [part.strip().removeprefix(b"W/") for part in header.split(b",")]


@dataclass(slots=True)
class Reply:
    """One answer.

    Attributes:
        parts: The body where it is too large to be joined; it is sent block by block.
    """

    status: int = 200
    body: bytes = b""
    content_type: str | None = None
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    parts: list[bytes] | None = None

    def blocks(self) -> Iterator[bytes]:
        """The body in blocks that are worth a system call each."""
        if self.parts is None:
            yield self.body
            return
        gathered: list[bytes] = []
        size = 0
        for part in self.parts:
            gathered.append(part)
            size += len(part)
            if size >= BLOCK:
                yield b"".join(gathered)
                gathered, size = [], 0
        yield b"".join(gathered)

    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """Headers as ASGI wants them, the length included."""
        size = len(self.body) if self.parts is None else sum(map(len, self.parts))
        headers = [(b"content-length", str(size).encode()), *self.headers]
        if self.content_type is not None:
            headers.append((b"content-type", self.content_type.encode()))
        return headers


def json_reply(value: Any, status: int = 200, headers: list[tuple[bytes, bytes]] | None = None) -> Reply:
    """An answer in JSON."""
    return Reply(status, msgspec.json.encode(value), JSON, headers or [])


def error_headers(error: ExporterError) -> list[tuple[bytes, bytes]]:
    """Headers that go with an error."""
    if isinstance(error, Unauthorized):
        return [(b"www-authenticate", b'Bearer, Basic realm="deck"')]
    if isinstance(error, WrongMethod):
        return [(b"allow", error.allow.encode())]
    if not isinstance(error, CallerError):
        return [(b"retry-after", b"1")]
    return []


def error_reply(error: ExporterError) -> Reply:
    """The deck API's form of an error."""
    if isinstance(error, CallerError):
        value = {"error": error.code, "detail": error.detail, "field": error.field}
        return json_reply(value, error.status, error_headers(error))
    detail = unavailable(error)
    return json_reply({"error": "unavailable", "detail": detail, "field": None}, 503, error_headers(error))


def unavailable(error: ExporterError) -> str:
    """What a 503 says."""
    if isinstance(error, ReadFailed):
        return f"the database does not answer: {error}"
    return f"not durable, nothing was applied: {error}"


def plain_error(error: ExporterError) -> Reply:
    """Pushgateway's form of an error: one line of text."""
    if isinstance(error, CallerError):
        status, line = error.status, error.detail
    else:
        status, line = 503, unavailable(error)
    return Reply(
        status, line.encode() + b"\n", PLAIN, [*error_headers(error), (b"x-content-type-options", b"nosniff")]
    )


_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z")


def number(text: str) -> float | None:
    """A number in a header or a query as other languages write one too; None for any other text."""
    return float(text) if _NUMBER.match(text) else None


def group_ttl(header: bytes | None) -> float | None:
    """The X-Group-TTL of a push, seconds; None without one.

    Raises:
        Invalid: It is no number of seconds.
    """
    if header is None:
        return None
    text = header.decode("latin-1")
    seconds = number(text)
    if seconds is None or not 0 <= seconds < 1e9:
        raise Invalid(f"X-Group-TTL is {text!r}: want seconds, 0 for never", "X-Group-TTL")
    return seconds
