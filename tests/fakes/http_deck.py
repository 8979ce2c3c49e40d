"""A stand-in deck: a real HTTP server on loopback that keeps what it is sent and can be told to misbehave."""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass
class Seen:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Scripted:
    """An answer to give instead of the deck's own; status 0 hangs up without one."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


class StandInDeck:
    """Not the exporter: only as much of its wire contract as a client can tell apart.

    Trades count once by id, the same id with other content is 409, a quantity of 0 or less is 400 for the
    whole batch, a metric that is not a number is 400 with its field.
    `script` is answered first, one a request.
    """

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.seen: list[Seen] = []
        self.trades: dict[str, dict[str, Any]] = {}
        self.script: deque[Scripted] = deque()
        self.token: str | None = None
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pushes(self) -> list[Any]:
        """Bodies of the metric pushes, in order."""
        return [seen.body for seen in self.seen if seen.path == "/metrics/push"]

    def start(self) -> Self:
        deck = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _handle(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                raw = self.rfile.read(length)
                seen = Seen(
                    self.command, self.path, dict(self.headers.items()), json.loads(raw) if raw else None
                )
                deck.seen.append(seen)
                answer = deck.script.popleft() if deck.script else deck.answer(seen)
                if answer.status == 0:
                    self.close_connection = True
                    return
                text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = _handle

            def log_message(self, text: str, *args: Any) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def stop(self) -> None:
        """Go away: connections are refused from now on."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None

    def answer(self, seen: Seen) -> Scripted:
        if self.token and seen.headers.get("Authorization") != f"Bearer {self.token}":
            return _refusal(401, "unauthorized", "no valid token", None)
        path = seen.path.partition("?")[0]
        if (seen.method, path) == ("POST", "/trades"):
            return self._take_trades(seen.body["trades"])
        if (seen.method, path) == ("POST", "/metrics/push"):
            for name, value in _leaves(seen.body):
                if name.split(".")[0] not in {"engine", "info"} and isinstance(value, str):
                    return _refusal(400, "wrong_type", f"{name} is {value!r}: want a number", name)
            return Scripted(200, {"accepted": len(seen.body)})
        if (seen.method, path) == ("GET", "/allocator/weights"):
            return Scripted(
                200, {"version": 3, "weights": {"scalp": 0.25}, "updated_at": 1.0, "reason": "test"}
            )
        if (seen.method, path) == ("GET", "/status"):
            return Scripted(200, {"version": "test", "halted": False, "metrics": {}, "breakers": {}})
        return _refusal(404, "not_found", f"no route {path}", None)

    def _take_trades(self, trades: list[dict[str, Any]]) -> Scripted:
        for position, trade in enumerate(trades):
            if trade["qty"] <= 0:
                where = f"trades[{position}].qty"
                return _refusal(400, "out_of_range", f"qty is {trade['qty']}: want more than 0", where)
            if self.trades.get(trade["trade_id"], trade) != trade:
                where = f"trades[{position}].trade_id"
                return _refusal(409, "conflict", f"{trade['trade_id']} is known with other content", where)
        fresh = {t["trade_id"]: t for t in trades if t["trade_id"] not in self.trades}
        self.trades.update(fresh)
        return Scripted(200, {"accepted": len(fresh), "duplicates": len(trades) - len(fresh)})

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _refusal(status: int, error: str, detail: str, where: str | None) -> Scripted:
    return Scripted(status, {"error": error, "detail": detail, "field": where})


def _leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [leaf for name, entry in value.items() for leaf in _leaves(entry, f"{path}.{name}".strip("."))]
    return [(path, value)]
