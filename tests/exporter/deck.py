"""An exporter in this process, driven through ASGI: real store, real writer, an injected clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from exporter.app import Exporter, create_app
from exporter.settings import read_settings
from exporter.sql_store import SqlStore

T = TypeVar("T")
START = 1_700_000_000.0
TRADE: dict[str, Any] = {
    "trade_id": "a",
    "ts": 1.0,
    "strategy": "s",
    "symbol": "x",
    "side": "buy",
    "qty": 1.0,
    "price": 1.0,
    "fee_usd": 0.0,
    "pnl_usd": 1.0,
}
"""A trade that says all it may, the engine apart."""


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Deck:
    """A started application and the hand on its clock."""

    app: Exporter
    loop: asyncio.AbstractEventLoop
    time: list[float] = field(default_factory=lambda: [START])

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(call)

    def tick(self, seconds: float) -> None:
        self.time[0] += seconds

    async def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        target, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(target),
            "raw_path": target.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(k.lower().encode(), v.encode()) for k, v in (headers or {}).items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8002),
        }
        inbox = [{"type": "http.request", "body": raw, "more_body": False}]
        sent: list[dict[str, Any]] = []

        async def receive() -> Any:
            return inbox.pop() if inbox else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        answer_headers = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
        return Answer(sent[0]["status"], answer_headers, b"".join(m.get("body", b"") for m in sent[1:]))

    def send(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        return self.run(self.request(method, path, body, headers))

    def metrics(self) -> dict[str, float]:
        """The exposition, `name{labels}` to value."""
        return {
            line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
            for line in self.send("GET", "/metrics").text.splitlines()
            if not line.startswith("#")
        }


def start(path: Path, loop: asyncio.AbstractEventLoop, **environment: str) -> Deck:
    """A deck on the store in `path`, with these DECK_* settings."""
    return start_on(f"sqlite:///{path}/deck.db", loop, **environment)


def start_on(url: str, loop: asyncio.AbstractEventLoop, **environment: str) -> Deck:
    """A deck on the store at this URL, with these DECK_* settings."""
    time = [START]
    settings = read_settings({"DECK_STORE_URL": url, **environment})
    app = create_app(
        settings, SqlStore(url, power_safe=False), now=lambda: time[0], clock=lambda: 0.0, version="test"
    )
    loop.run_until_complete(app.start())
    return Deck(app, loop, time)
