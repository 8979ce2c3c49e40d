"""Keeps a RiskState fresh from the exporter's GET /status; needs requests.

One thread asks, any number of threads read.  What is read carries its age as of the moment of reading, so a
dead network, a dead exporter and a dead thread look the same: the state grows old and orders stop (HALTED).
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Protocol, Self

import requests

from riskrails.breakers import BREAKERS
from riskrails.deck_token import deck_token
from riskrails.errors import DeckError, RiskInputError
from riskrails.features import MAX_USD, as_number
from riskrails.state import RiskState

__all__ = ["DeckState", "Transport", "parse_status"]

AGE_STEP_SECONDS = 0.2
"""Ages are rounded up to it, so that a reader gets the same object for that long."""
REVALIDATE_SECONDS = 5.0
"""How long unchanged answers (304) stand in for a whole one: an unchanged gauge's age travels only there."""
CHUNK_BYTES = 1024
LARGEST_ANSWER = 16 * 2**20
LONGEST_SECONDS = 86_400.0
"""Of an interval or a timeout: a thread cannot wait for any number."""
UNKNOWN = (0.0, math.inf)
"""The value and age of what nobody has pushed."""


class Transport(Protocol):
    """The one request DeckState makes."""

    def __call__(self, etag: str | None) -> tuple[int, str | None, Any]:
        """GET /status, with If-None-Match when `etag` is given.

        Returns:
            (HTTP status, ETag or None, parsed JSON or None).

        Raises:
            DeckError: No answer, or not JSON.
        """
        ...


def _object(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = parent.get(name)
    if not isinstance(value, Mapping):
        raise DeckError(f"status.{name}={value!r}: want an object")
    return value


def _age(parent: Mapping[str, Any], where: str) -> float:
    age = as_number(parent.get("age_seconds"))
    if math.isnan(age) or age < 0.0:
        raise DeckError(f"{where}.age_seconds={parent.get('age_seconds')!r}: want seconds of at least 0")
    return age


def _metric(
    metrics: Mapping[str, Any], name: str, low: float, high: float, wanted: str
) -> tuple[float, float] | None:
    """A pushed gauge's value and its age; None where nobody has pushed it."""
    metric, where = metrics.get(name), f"status.metrics.{name}"
    if metric is None:
        return None
    if not isinstance(metric, Mapping):
        raise DeckError(f"{where}={metric!r}: want an object")
    value = as_number(metric.get("value"))
    if not low <= value <= high:
        raise DeckError(f"{where}.value={metric.get('value')!r}: want {wanted}")
    return value, _age(metric, where)


def _daily_pnl(metrics: Mapping[str, Any]) -> tuple[float, float]:
    """PnL of the last 24 h as a fraction of the equity before them, and its age; infinity: it is unknown.

    The ratio is as old as the older of its two gauges.  More than all lost is all lost; a gain on an account
    that was empty, or a PnL without an equity beside it, is no ratio.
    """
    usd = (-MAX_USD, MAX_USD, f"USD, at most {MAX_USD:g} of either sign")
    pnl_24h = _metric(metrics, "pnl_24h", *usd)
    if pnl_24h is None:
        return UNKNOWN
    equity_now = _metric(metrics, "equity_usd", *usd)
    if equity_now is None:
        return UNKNOWN
    (pnl, pnl_age), (equity, equity_age) = pnl_24h, equity_now
    before, age = equity - pnl, max(pnl_age, equity_age)
    if before > 0.0:
        return max(-1.0, pnl / before), age
    return (-1.0, age) if pnl < 0.0 else UNKNOWN


def parse_status(body: object, *, allocator_period_seconds: float) -> RiskState:
    """A RiskState from the JSON of GET /status; ages as the exporter gives them.

    The exporter's `drawdown_pct` is percent, a person reads it; here it becomes a fraction.  Its `pnl_24h`,
    USD, becomes the day's PnL, a fraction of the equity 24 h ago.  A status that lacks one of BREAKERS, or
    has one that is neither open nor closed, is no status: guessing "closed" would fail open.

    Raises:
        DeckError: Not the shape of a status; the message names the field.
    """
    if not isinstance(body, Mapping):
        raise DeckError(f"status={body!r}: want an object")
    breakers: dict[str, bool] = {}
    for name, breaker in _object(body, "breakers").items():
        is_open = breaker.get("open") if isinstance(breaker, Mapping) else None
        if not isinstance(is_open, bool):
            raise DeckError(f"status.breakers.{name}={breaker!r}: want an object with open true or false")
        breakers[str(name)] = is_open
    for name in BREAKERS:
        if name not in breakers:
            raise DeckError(
                f"status.breakers={breakers!r}: want {', '.join(BREAKERS)}, and {name} is missing"
            )
    halted = body.get("halted")
    if not isinstance(halted, bool):
        raise DeckError(f"status.halted={halted!r}: want true or false")
    if halted and not any(breakers.values()):
        breakers["halted"] = True
    metrics = _object(body, "metrics")
    percent, drawdown_age = _metric(metrics, "drawdown_pct", 0.0, 100.0, "0 to 100 percent") or UNKNOWN
    daily_pnl, daily_pnl_age = _daily_pnl(metrics)
    shares = _object(body, "risk_share")
    share_age = 0.0
    if shares:
        share_age = _age(_object(body, "weights"), "status.weights")
    try:
        return RiskState(
            risk_shares=shares,
            share_age_seconds=share_age,
            allocator_period_seconds=allocator_period_seconds,
            drawdown_pct=percent / 100.0,
            drawdown_age_seconds=drawdown_age,
            daily_pnl_pct=daily_pnl,
            daily_pnl_age_seconds=daily_pnl_age,
            breakers=breakers,
            breaker_age_seconds=0.0,
        )
    except RiskInputError as error:
        raise DeckError(f"status: {error}") from error


def _born(asked_at: float, age: float | None) -> float:
    return asked_at - (math.inf if age is None else age)


class _HttpTransport:
    """GET /status over HTTP with one kept-alive connection; used by one thread at a time."""

    def __init__(self, url: str, token: str | None, engine: str | None, timeout_seconds: float) -> None:
        self._url = url.rstrip("/") + "/status"
        self._params = {"engine": engine} if engine else None
        self._timeout = timeout_seconds
        self._session = requests.Session()
        # A proxy from the environment must not stand between engine and deck; a private CA may.
        self._session.trust_env = False
        self._session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def __call__(self, etag: str | None) -> tuple[int, str | None, Any]:
        headers = {"If-None-Match": etag} if etag else None
        until = time.monotonic() + 2.0 * self._timeout  # to connect, and for the answer
        try:
            with self._session.get(
                self._url,
                params=self._params,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            ) as answer:
                content = self._content(answer, until)
            body = json.loads(content) if answer.status_code == requests.codes.ok else None
        # Of requests, of a CA bundle that is not there; of no JSON, of a page of brackets.
        except (OSError, ValueError, RecursionError) as error:
            raise DeckError(f"{self._url}: {error}") from error
        return answer.status_code, answer.headers.get("ETag"), body

    def _content(self, answer: requests.Response, until: float) -> bytes:
        """The whole body, in bounds: what is no deck may send without end."""
        parts: list[bytes] = []
        for part in answer.iter_content(CHUNK_BYTES):
            parts.append(part)
            if len(parts) * CHUNK_BYTES > LARGEST_ANSWER:
                raise DeckError(f"{self._url}: more than {LARGEST_ANSWER} bytes: is it a deck?")
            if time.monotonic() > until:
                raise DeckError(f"{self._url}: the answer was not whole in {self._timeout:g} s")
        return b"".join(parts)

    def close(self) -> None:
        """Close the kept-alive connection."""
        self._session.close()


class DeckState:
    """The exporter's risk shares, breakers, drawdown and PnL of the day, kept fresh in the background.

        with DeckState("http://localhost:8002") as deck:
            rails = RiskRails(state=deck)

    Until the first answer, and whenever the last one is older than the policy's limits, orders are refused.

    Args:
        url: The exporter; DECK_URL, else http://localhost:8002.
        token: With scope read, where the exporter asks for one; DECK_TOKEN, else the content of
            DECK_TOKEN_FILE, read here.
        engine: Which engine's view; DECK_ENGINE, else the exporter's default engine.
        interval_seconds: Between two questions.
        timeout_seconds: Of one question.
        allocator_period_seconds: How often the allocator decides (its REFRESH_SEC): shares older than
            share_max_periods of it are held to at most 1/N.
        transport: Instead of HTTP, for tests.
        now: A monotonic clock, seconds.

    Raises:
        RiskInputError: E_DECK; a number of seconds or the token cannot be used.

    Attributes:
        fetches_total: Answers understood.
        errors_total: Questions that failed.
        last_error: What the last failure said; None after a success.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        engine: str | None = None,
        interval_seconds: float = 1.0,
        timeout_seconds: float = 2.0,
        allocator_period_seconds: float = 600.0,
        transport: Transport | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        for name, value in (
            ("interval_seconds", interval_seconds),
            ("timeout_seconds", timeout_seconds),
            ("allocator_period_seconds", allocator_period_seconds),
        ):
            longest = math.inf if name == "allocator_period_seconds" else LONGEST_SECONDS
            if not 0.0 < as_number(value) <= longest or value == math.inf:
                bound = "" if longest == math.inf else f", at most {longest:g}"
                raise RiskInputError("E_DECK", name, f"{name}={value!r}: want seconds above 0{bound}")
        if url is not None and not isinstance(url, str):
            raise RiskInputError("E_DECK", "url", f"url={url!r}: want a text")
        self._http: _HttpTransport | None = None
        if transport is None:
            self._http = transport = _HttpTransport(
                url or os.environ.get("DECK_URL") or "http://localhost:8002",
                deck_token(token, os.environ),
                engine or os.environ.get("DECK_ENGINE"),
                timeout_seconds,
            )
        self._transport = transport
        self._interval = interval_seconds
        self._patience = 2.0 * timeout_seconds + 1.0
        self._period = allocator_period_seconds
        self._now = now
        self._fetching = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._etag: str | None = None
        self._whole_at = -math.inf
        # The state and the moments at which its breakers, shares, drawdown and day were known to be true.
        self._reading: tuple[RiskState, float, float, float, float] | None = None
        self._serving = threading.Lock()
        self._served: tuple[float, RiskState] = (
            math.inf,
            RiskState(
                breaker_age_seconds=math.inf, drawdown_age_seconds=math.inf, daily_pnl_age_seconds=math.inf
            ),
        )
        self.fetches_total = 0
        self.errors_total = 0
        self.last_error: str | None = None

    def refresh(self) -> None:
        """Ask once, now.

        Raises:
            DeckError: No usable answer; the state is kept and grows old.
        """
        with self._fetching:
            asked_at = self._now()
            etag = self._etag if asked_at - self._whole_at < REVALIDATE_SECONDS else None
            try:
                status, new_etag, body = self._transport(etag)
                self._take(status, new_etag, body, etag, asked_at)
            except DeckError as error:
                self.errors_total += 1
                self.last_error = str(error)
                raise
            self.fetches_total += 1
            self.last_error = None

    def _take(
        self, status: int, new_etag: str | None, body: object, etag: str | None, asked_at: float
    ) -> None:
        """Keep an answer, dated by the moment it was asked for: no answer is younger than its question."""
        if status == requests.codes.not_modified and etag is not None and self._reading is not None:
            state, _, shares_born, drawdown_born, day_born = self._reading
        elif status == requests.codes.ok:
            state = parse_status(body, allocator_period_seconds=self._period)
            shares_born = asked_at - state.share_age_seconds
            drawdown_born = _born(asked_at, state.drawdown_age_seconds)
            day_born = _born(asked_at, state.daily_pnl_age_seconds)
            self._etag, self._whole_at = new_etag, asked_at
        else:
            raise DeckError(f"GET /status answered {status}: want 200")
        with self._serving:
            self._reading = (state, asked_at, shares_born, drawdown_born, day_born)
            self._serve(asked_at)

    def _serve(self, at: float) -> RiskState:
        """The snapshot for the next AGE_STEP_SECONDS, its ages those at the end of them."""
        if self._reading is None:
            return self._served[1]
        state, confirmed, shares_born, drawdown_born, day_born = self._reading
        until = at + AGE_STEP_SECONDS
        aged = replace(
            state,
            share_age_seconds=max(0.0, until - shares_born),
            drawdown_age_seconds=max(0.0, until - drawdown_born),
            daily_pnl_age_seconds=max(0.0, until - day_born),
            breaker_age_seconds=max(0.0, until - confirmed),
        )
        self._served = (until, aged)
        return aged

    def snapshot(self) -> RiskState:
        """The state with its ages as of now, rounded up; never blocks on the network."""
        until, aged = self._served
        now = self._now()
        if now < until:
            return aged
        with self._serving:  # never held while the network is waited for
            return self._serve(now)

    def start(self) -> Self:
        """Ask once, then every interval in a daemon thread; should the first fail, that is only counted."""
        if self._thread is not None:
            raise RuntimeError("DeckState is started already")
        self._stopping.clear()
        self._try_refresh()
        self._thread = threading.Thread(target=self._loop, name="riskrails-deck", daemon=True)
        self._thread.start()
        return self

    def _try_refresh(self) -> bool:
        try:
            self.refresh()
        except DeckError:
            return False  # counted and kept in last_error; the state grows old by itself
        except Exception as error:  # noqa: BLE001 - the thread must not end while there is somebody to ask
            self.errors_total += 1
            self.last_error = f"{type(error).__name__}: {error}"
            return False
        return True

    def _loop(self) -> None:
        while not self._stopping.wait(self._interval):
            self._try_refresh()

    def close(self) -> None:
        """Stop asking; what was known stays readable and grows old."""
        self._stopping.set()
        if self._thread is not None:
            # A question on its way ends by itself, and its thread with it.
            self._thread.join(self._patience)
            self._thread = None
        if self._http is not None:
            self._http.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
