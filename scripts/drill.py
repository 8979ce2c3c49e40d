"""`make drill`: proves on the running stack that the pager works, before it is needed.

Trips a breaker, watches the halt, the alert in Prometheus and in Alertmanager, and the message through each
receiver of the pager; then releases, and prints how many seconds each step took.  It halts the engine while
it runs.  A breaker that is open already is refused.  Whatever happens, Ctrl-C included, the breaker is
released, and the trip carries an end of its own in case this process is killed.

    BREAKER=manual make drill
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import yaml

from deckrails.dotenv import DotenvError, read_environment
from scripts.receivers import NOTIFIERS, ReceiverError, secret
from scripts.render import Ports

ALERT = "TradingBreakerOpen"
STEP_SECONDS = 90.0
"""Longest wait for one step: a scrape, two rule evaluations and Alertmanager's group fit many times."""
POLL_SECONDS = 0.2
PAGED = ("exporter", "pager")
"""Receivers that hear a page."""
LABEL = re.compile(r'(\w+)="([^"]*)"')
COMPOSE_TOKEN = Path("secrets/deck_token_operator")
"""Where `make up` keeps a token that may switch breakers."""


class DrillError(RuntimeError):
    """The drill cannot start, or a step did not happen; the message says which and what to look at."""


class Web(Protocol):
    """Requests to the running stack."""

    def get(self, url: str) -> str:
        """Text of a GET; DrillError if there is no 2xx."""
        ...

    def post(self, url: str, body: Mapping[str, Any]) -> str:
        """Text of a POST of JSON; DrillError if there is no 2xx."""
        ...


class Http:
    """Web over urllib, with the deck's token where the deck is asked."""

    def __init__(self, deck: str, token: str | None, certificate: str | None = None) -> None:
        self._deck, self._token = deck, token
        self._tls = ssl.create_default_context(cafile=certificate)

    def get(self, url: str) -> str:
        """See Web."""
        return self._send(urllib.request.Request(url))

    def post(self, url: str, body: Mapping[str, Any]) -> str:
        """See Web."""
        data = json.dumps(body).encode()
        return self._send(urllib.request.Request(url, data, {"Content-Type": "application/json"}))

    def _send(self, request: urllib.request.Request) -> str:
        if self._token and request.full_url.startswith(self._deck):
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with urllib.request.urlopen(request, timeout=5, context=self._tls) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as err:
            text = err.read().decode(errors="replace").strip()
            raise DrillError(f"{request.full_url} answered {err.code}: {text}") from err
        except (urllib.error.URLError, OSError) as err:
            raise DrillError(f"{request.full_url} does not answer: {err}. Is the stack running?") from err


@dataclass(frozen=True)
class Stack:
    """Addresses of the running stack, without a slash at the end."""

    deck: str
    prometheus: str
    alertmanager: str


def pager_receivers(config: str, names: Collection[str] = PAGED) -> dict[str, int]:
    """Integration to how many receivers of it hear a page, the exporter's webhook included.

    Args:
        config: Alertmanager's configuration as its API shows it.
        names: Receivers to look at.
    """
    found: dict[str, int] = {}
    for receiver in yaml.safe_load(config)["receivers"]:
        if receiver["name"] in names:
            for key, entries in receiver.items():
                if key.endswith("_configs"):
                    name = key.removesuffix("_configs")
                    found[name] = found.get(name, 0) + len(entries)
    return found


def delivered(metrics: str) -> dict[str, float]:
    """Integration to messages that arrived: requests answered less those that failed.

    Not `alertmanager_notifications_total`, which counts a message before it is sent: one to a receiver that
    never answers would have arrived.  Where receivers are named, those that hear no page do not count.
    """
    totals: dict[str, float] = {}
    for line in metrics.splitlines():
        for name, sign in (
            ("alertmanager_notification_requests_total{", 1),
            ("alertmanager_notification_requests_failed_total{", -1),
        ):
            if line.startswith(name):
                text, _, value = line.removeprefix(name).rpartition("} ")
                labels = dict(LABEL.findall(text))
                if labels.get("receiver_name", "pager") in PAGED:
                    integration = labels["integration"]
                    totals[integration] = totals.get(integration, 0.0) + sign * float(value)
    return totals


class Drill:
    """One drill on a running stack; every wait is bounded."""

    def __init__(
        self,
        web: Web,
        stack: Stack,
        breaker: str,
        *,
        now: Callable[[], float],
        sleep: Callable[[float], None],
        say: Callable[[str], None],
        step_seconds: float = STEP_SECONDS,
    ) -> None:
        self._web, self._stack, self._breaker = web, stack, breaker
        self._now, self._sleep, self._say = now, sleep, say
        self._step_seconds = step_seconds
        self._url = f"{stack.deck}/breakers/{urllib.parse.quote(breaker, safe='')}"

    def run(self) -> bool:
        """Trip, watch, release; whether every step happened.

        Raises:
            DrillError: It could not start: the stack does not answer, or the breaker is open or unknown.
        """
        expected = self._prepare()
        before = delivered(self._web.get(f"{self._stack.alertmanager}/metrics"))
        passed = False
        started = self._now()
        try:
            self._trip(len(expected))
            passed = all(
                [
                    self._step("engine halted (GET /status)", started, self._halted),
                    self._step("alert fires in Prometheus", started, self._firing),
                    self._step("alert in Alertmanager", started, self._alerted),
                    *(
                        self._step(
                            f"message through {name}"
                            + (", the exporter's own among them" if name == "webhook" else ""),
                            started,
                            lambda name=name, count=count: self._arrived(name, count, before),  # type: ignore[misc]
                        )
                        for name, count in sorted(expected.items())
                    ),
                ]
            )
        finally:
            self._release()
        closed = self._step("breaker closed again", started, lambda: not self._state()["open"])
        return passed and closed

    def _prepare(self) -> dict[str, int]:
        breakers = json.loads(self._web.get(f"{self._stack.deck}/breakers"))["breakers"]
        if self._breaker not in breakers:
            raise DrillError(f"no breaker {self._breaker}: want one of {', '.join(sorted(breakers))}")
        if breakers[self._breaker]["open"]:
            raise DrillError(
                f"breaker {self._breaker} is open already ({breakers[self._breaker]['reason']}): "
                "a drill would hide who holds it; choose another"
            )
        query = f'trading_breaker_open{{breaker="{self._breaker}"}} == 1'
        if self._query(query):
            raise DrillError(
                f"Prometheus shows breaker {self._breaker} open, of another engine or from a moment ago: "
                "a drill would release it"
            )
        if self._alerted():
            raise DrillError(
                f"{ALERT} of {self._breaker} still fires from an earlier trip, and a second would send no "
                "message: wait until it has resolved, five minutes after the release"
            )
        config = json.loads(self._web.get(f"{self._stack.alertmanager}/api/v2/status"))["config"]["original"]
        expected = pager_receivers(config)
        names = sorted({key.removesuffix("_configs"): name for name, (key, *_) in NOTIFIERS.items()})
        if set(expected) <= {"webhook"} and expected.get("webhook", 0) < 2:
            self._say(
                f"drill: no receiver of the pager is set ({', '.join(names)}): only the exporter is called"
            )
        if expected.get("webhook", 0) > 1 and pager_receivers(config, ("deadman",)):
            self._say(
                "drill: Alertmanager counts the dead man's switch with the other webhooks: look at yours too"
            )
        return expected

    def _trip(self, receivers: int) -> None:
        # The end is past every wait of this drill; a killed drill must not halt the engine for ever.
        ttl = self._step_seconds * (4 + receivers) + 60
        self._web.post(
            self._url, {"tripped": True, "reason": "drill: proving that the pager works", "ttl_sec": ttl}
        )
        self._say(f"drill: tripped {self._breaker}; the engine is halted until it is released")

    def _release(self) -> None:
        # A second Ctrl-C waits: nothing is more urgent than this.
        held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            self._try_to_release()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)

    def _try_to_release(self) -> None:
        problem: DrillError | None = None
        for _ in range(5):
            try:
                self._web.post(self._url, {"tripped": False, "reason": "drill: over"})
            except DrillError as err:
                problem = err
                self._sleep(1.0)
            else:
                self._say(f"drill: released {self._breaker}")
                return
        self._say(f"drill: COULD NOT RELEASE {self._breaker}; do it by hand: POST {self._url}")
        raise DrillError(f"{self._breaker} is still tripped: {problem}") from problem

    def _step(self, what: str, started: float, happened: Callable[[], bool]) -> bool:
        deadline = self._now() + self._step_seconds
        while not happened():
            if self._now() >= deadline:
                self._say(f"  {what:<56} NOT within {self._step_seconds:.0f} s")
                return False
            self._sleep(POLL_SECONDS)
        self._say(f"  {what:<56} {self._now() - started:6.1f} s")
        return True

    def _state(self) -> dict[str, Any]:
        breakers = json.loads(self._web.get(f"{self._stack.deck}/breakers"))["breakers"]
        found: dict[str, Any] = breakers[self._breaker]
        return found

    def _halted(self) -> bool:
        return bool(json.loads(self._web.get(f"{self._stack.deck}/status"))["halted"])

    def _firing(self) -> bool:
        return self._query(f'ALERTS{{alertname="{ALERT}", alertstate="firing", breaker="{self._breaker}"}}')

    def _query(self, query: str) -> bool:
        url = f"{self._stack.prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        return bool(json.loads(self._web.get(url))["data"]["result"])

    def _alerted(self) -> bool:
        wanted = [("filter", f'alertname="{ALERT}"'), ("filter", f'breaker="{self._breaker}"')]
        url = f"{self._stack.alertmanager}/api/v2/alerts?{urllib.parse.urlencode(wanted)}"
        return bool(json.loads(self._web.get(url)))

    def _arrived(self, integration: str, count: int, before: Mapping[str, float]) -> bool:
        now = delivered(self._web.get(f"{self._stack.alertmanager}/metrics"))
        return now.get(integration, 0.0) - before.get(integration, 0.0) >= count


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def addresses(settings: Mapping[str, str]) -> Stack:
    """Where the stack of these settings listens on this machine.

    Raises:
        DrillError: A port is not a whole number.
    """
    ports = Ports()
    try:
        offset = int(settings.get("PORT_OFFSET", "0"))
        found = [
            int(settings.get(name, str(port))) + offset
            for name, port in (
                ("DECK_PORT", ports.exporter),
                ("PROMETHEUS_PORT", ports.prometheus),
                ("ALERTMANAGER_PORT", ports.alertmanager),
            )
        ]
    except ValueError as err:
        raise DrillError(f"a port or PORT_OFFSET is not a whole number: {err}") from err
    scheme = "https" if "DECK_TLS_CERT" in settings else "http"
    return Stack(
        settings.get("DECK_URL", f"{scheme}://127.0.0.1:{found[0]}").rstrip("/"),
        f"http://127.0.0.1:{found[1]}",
        f"http://127.0.0.1:{found[2]}",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; 0: every step happened, 1: one did not, 2: could not start or ask, 130: Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="drill", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--breaker", default="manual", help="which one to trip")
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _stop)
    try:
        settings = read_environment()
        stack = addresses(settings)
        token = secret(settings, "DECK_TOKEN")
        if token is None and COMPOSE_TOKEN.is_file():
            token = COMPOSE_TOKEN.read_text(encoding="utf-8").strip()
        drill = Drill(
            Http(stack.deck, token, settings.get("DECK_TLS_CERT")),
            stack,
            args.breaker,
            now=time.monotonic,
            sleep=time.sleep,
            say=print,
        )
        passed = drill.run()
    except (DrillError, DotenvError, ReceiverError) as err:
        print(f"drill: {err}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("drill: stopped", file=sys.stderr)
        return 130
    print(
        f"drill: {'passed' if passed else 'FAILED'}; {ALERT} itself resolves five minutes after the release"
    )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
