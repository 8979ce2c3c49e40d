"""A running stack for the tests here: the four real servers, an engine that pushes, receivers that listen.

Intervals are half a second and all waiting is shortened twentyfold: what takes minutes is seen in seconds.
"""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import yaml

from scripts import native
from scripts.render import Ports, Rendered, render_stack

SCALE = 0.05
INTERVAL = 0.5
PATIENCE = 90.0
"""Longest wait for something to happen; a hang is what it guards against, not slowness."""
HEALTHY: dict[str, Any] = {
    "equity_usd": 100000.0,
    "pnl_24h": 0.0,
    "drawdown_pct": 0.0,
    "tick_p50_ms": 2.0,
    "tick_p95_ms": 5.0,
    "error_rate_pct": 0.0,
    "pnl_by_strategy": {"scalp": 1.0, "trend": 2.0},
}
SHARES = {"scalp": 0.5, "trend": 0.5}


def until(what: str, happened: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """Ask again and again until the answer is true; the answer."""
    deadline = time.monotonic() + patience
    while True:
        answer = happened()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not seen in {patience:.0f} s: {what}"
        time.sleep(0.1)


class Receivers:
    """What Slack, Telegram, Discord, a webhook, the dead man's switch and a mailbox got; `deaf` ones wait."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str]] = []
        self.deaf: set[str] = set()
        keep, deaf = self.got.append, self.deaf

        class Hook(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                way = self.path.strip("/").split("/")[0]
                while way in deaf:
                    time.sleep(0.1)
                keep((way, body))
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(b'{"ok": true, "result": {"message_id": 1, "chat": {"id": 1}}}')

            def log_message(self, *args: object) -> None:
                """Nothing: the test's output is not a log."""

        class Mailbox(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(b"220 mailbox\r\n")
                for line in self.rfile:
                    word = line.strip().upper()[:4]
                    if word == b"DATA":
                        self.wfile.write(b"354 go on\r\n")
                        text = b""
                        for part in self.rfile:
                            if part == b".\r\n":
                                break
                            text += part
                        keep(("email", text.decode()))
                    self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
                    if word == b"QUIT":
                        return

        self.web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
        self.mail = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mailbox)
        for server in (self.web, self.mail):
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    @property
    def settings(self) -> dict[str, str]:
        """The receivers as `.env` would set them."""
        base = f"http://127.0.0.1:{self.web.server_address[1]}"
        return {
            "ALERT_SLACK_WEBHOOK_URL": f"{base}/slack",
            "ALERT_DISCORD_WEBHOOK_URL": f"{base}/discord",
            "ALERT_TELEGRAM_TOKEN": "1:x",
            "ALERT_TELEGRAM_CHAT_ID": "-5",
            "ALERT_WEBHOOK_URL": f"{base}/webhook",
            "ALERT_DEADMAN_URL": f"{base}/deadman",
            "ALERT_EMAIL_TO": "ops@example.org",
            "ALERT_EMAIL_FROM": "deck@example.org",
            "ALERT_SMTP_HOST": f"127.0.0.1:{self.mail.server_address[1]}",
            "ALERT_SMTP_TLS": "0",
        }

    def heard(self, way: str, *words: str) -> bool:
        """Whether a message with all the words came by that way."""
        return any(one == way and all(word in body for word in words) for one, body in self.got)

    def close(self) -> None:
        for server in (self.web, self.mail):
            server.shutdown()
            server.server_close()


class Engine:
    """Pushes its state every quarter of a second until paused."""

    def __init__(self, url: str) -> None:
        self.state: dict[str, Any] = dict(HEALTHY)
        self._url = url
        self._running, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stopping.wait(0.25):
            if self._running.is_set():
                try:
                    send(f"{self._url}/metrics/push", self.state)
                except OSError:
                    continue  # the exporter is away in the tests that take it away; a real engine goes on too

    def start(self) -> None:
        self._running.set()
        if not self._thread.is_alive():
            self._thread.start()

    def pause(self) -> None:
        self._running.clear()

    def heal(self) -> None:
        self.state = dict(HEALTHY)
        self.start()

    def close(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(10)


def send(url: str, body: Any, method: str = "POST") -> Any:
    """A request with JSON, or text as it is; the answer's JSON, if it has any."""
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def refused(url: str, body: Any, method: str = "POST") -> tuple[int, str]:
    """Status and text of a request that must be refused."""
    try:
        send(url, body, method)
    except urllib.error.HTTPError as err:
        return err.code, err.read().decode()
    raise AssertionError(f"{url} took {body!r}")


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


class LiveStack:
    """The four servers with an engine and receivers; a context manager."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ports = Ports(*(native.free_port() for _ in range(5)))
        self.deck = f"http://127.0.0.1:{self.ports.exporter}"
        self.prometheus = f"http://127.0.0.1:{self.ports.prometheus}"
        self.alertmanager = f"http://127.0.0.1:{self.ports.alertmanager}"
        self.receivers = Receivers()
        self.engine = Engine(self.deck)
        self.rendered: Rendered = self._render()
        self.exporter = native.exporter(
            self.ports.exporter,
            f"sqlite:///{root / 'deck.db'}",
            root / "exporter.log",
            {"DECK_ALERT_BREAKERS": "TradingDailyLoss=daily_loss", "DECK_DURABILITY": "process"},
        )
        self._stack = ExitStack()

    def _render(self) -> Rendered:
        done = render_stack(
            self.root,
            self.ports,
            interval_seconds=INTERVAL,
            time_scale=SCALE,
            settings=self.receivers.settings,
        )
        # Telegram's address is no setting of ours; here it is the listener.
        config = yaml.safe_load(done.alertmanager.read_text())
        for receiver in config["receivers"]:
            for one in receiver.get("telegram_configs", []):
                one["api_url"] = f"http://127.0.0.1:{self.receivers.web.server_address[1]}/telegram"
        done.alertmanager.write_text(yaml.safe_dump(config))
        return done

    def __enter__(self) -> Self:
        self._stack.callback(self.receivers.close)
        self._stack.callback(self.engine.close)
        self._stack.callback(self.exporter.stop)
        self.exporter.start()
        send(f"{self.deck}/allocator/weights", {"weights": SHARES})
        self.engine.start()
        self._stack.enter_context(
            native.alertmanager(
                self.rendered.alertmanager, self.root / "am", self.ports.alertmanager, self.root / "am.log"
            )
        )
        self._stack.enter_context(
            native.prometheus(
                self.rendered.prometheus, self.root / "tsdb", self.ports.prometheus, self.root / "prom.log"
            )
        )
        # So many readings are never there: it runs, asks, and leaves the shares to the tests.
        self._stack.enter_context(
            native.allocator(
                self.ports.allocator,
                self.deck,
                self.prometheus,
                self.root / "allocator.log",
                {"REFRESH_SEC": "1", "MIN_READINGS": "4000"},
            )
        )
        until("every target is up", lambda: len(self.query("up == 1")) == 4)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def ask(self, expr: str) -> dict[str, Any]:
        """Prometheus's whole answer."""
        url = f"{self.prometheus}/api/v1/query?{urllib.parse.urlencode({'query': expr})}"
        answer: dict[str, Any] = json.loads(get(url))
        return answer

    def query(self, expr: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask(expr)["data"]["result"]
        return found

    def value(self, expr: str) -> float | None:
        """The one value of an expression; None where there is none."""
        found = self.query(expr)
        return float(found[0]["value"][1]) if found else None

    def firing(self, alert: str, **labels: str) -> bool:
        wanted = "".join(f', {name}="{value}"' for name, value in labels.items())
        return bool(self.query(f'ALERTS{{alertname="{alert}", alertstate="firing"{wanted}}}'))

    def alerts(self, **labels: str) -> list[dict[str, Any]]:
        """Alertmanager's alerts with these labels."""
        asked = urllib.parse.urlencode([("filter", f'{name}="{value}"') for name, value in labels.items()])
        found: list[dict[str, Any]] = json.loads(get(f"{self.alertmanager}/api/v2/alerts?{asked}"))
        return found

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(get(f"{self.deck}/status"))
        return found

    def quiet(self) -> None:
        """Heal everything and wait until nothing of the engine fires; what breakers leave may linger."""
        self.engine.heal()
        send(f"{self.deck}/allocator/weights", {"weights": SHARES})
        ill = 'ALERTS{alertname=~"Trading.+|ExporterDown", alertname!~"TradingBreaker.+|TradingEquityJump"}'
        until("quiet", lambda: not self.query(ill))
        until("released", lambda: not self.status()["halted"])


def breaker(stack: LiveStack, name: str, *, tripped: bool) -> None:
    """An operator's hand on a breaker."""
    send(f"{stack.deck}/breakers/{name}", {"tripped": tripped, "reason": "test"})


def labels_of(found: Mapping[str, Any]) -> dict[str, str]:
    """A sample's or an alert's labels."""
    return dict(found.get("metric") or found["labels"])
