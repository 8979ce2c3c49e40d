"""The client: DeckClient, waiting or in the background, and its async twin.

Engines import it from `exporter.deck_metrics`; docs/client.md says how to wire one.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import hashlib
import logging
import os
import re
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from exporter.deck_answers import receipt, taken, the_status, the_weights
from exporter.deck_errors import DeckClosedError, DeckError, DeckInputError, SpoolError
from exporter.deck_http import LONGEST_TIMEOUT, Answer, DeckHttp, RetryPolicy, deck_url
from exporter.deck_payload import (
    encode,
    metrics_payload,
    one_trade,
    seconds,
    several_trades,
    shown,
    text,
    trade_payload,
)
from exporter.deck_reports import Counters
from exporter.deck_sender import CLOSED, Sender
from exporter.spool import Spool

__all__ = ["DEFAULT_URL", "AsyncDeckClient", "DeckClient", "token_from"]

DEFAULT_URL: Final = "http://localhost:8002"

log = logging.getLogger("deckrails.client")


class DeckClient:
    """An engine's line to its deck; safe to use from several threads, a context manager.

    Plain, each call waits for the deck's answer, tries again with jitter on a lost connection, 429 and 5xx,
    and raises a DeckError in the end.  With `background=True` a push returns at once and never raises for
    what the deck, the network or the disk does: a thread sends, trades wait on disk while the deck is away.
    Either way the readings, `get_weights` and `get_status`, wait for an answer.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        engine: str | None = None,
        background: bool = False,
        spool_dir: str | Path | None = None,
        interval_seconds: float = 0.1,
        timeout_seconds: tuple[float, float] = (1.0, 3.0),
        retry: RetryPolicy | None = None,
        verify: bool | str | None = None,
    ) -> None:
        """Read the settings and, in the background, open the spool; the deck need not be there yet.

        Args:
            url: The deck; DECK_URL by default.
            token: A token with the scope push, and read where the deck asks for it; DECK_TOKEN or the
                content of DECK_TOKEN_FILE by default.
            engine: Name of this engine, for several on one deck; DECK_ENGINE by default, else the deck's
                own default.
            background: Send in a thread.
            spool_dir: Where trades wait; DECK_SPOOL_DIR by default, else `deckrails/spool` in the user's
                state directory.  Each engine and deck has its own directory below it.
            interval_seconds: Shortest time between two background pushes; newer gauges replace older ones
                meanwhile.
            timeout_seconds: To connect, and for the whole answer; each try anew.
            retry: How often and patiently a waiting call is tried.
            verify: As in requests: False, or a CA bundle, for a deck behind TLS of one's own.

        Raises:
            DeckInputError: One of these cannot be used; names it.
            SpoolError: The spool cannot be opened, or another process has it.
        """
        environ = os.environ
        named = environ.get("DECK_ENGINE") or None if engine is None else engine
        self.engine = None if named is None else text(named, "engine")
        address = deck_url((environ.get("DECK_URL") or DEFAULT_URL) if url is None else url)
        interval = seconds(interval_seconds, "interval_seconds", longest=LONGEST_TIMEOUT)
        self._http = DeckHttp(
            address,
            token if token is not None else token_from(environ),
            timeout_seconds=timeout_seconds,
            retry=retry,
            verify=verify,
        )
        self._closed = False
        self._sender: Sender | None = None
        if background:
            if spool_dir is None:
                spool_dir = environ.get("DECK_SPOOL_DIR") or _state_directory(environ)
            place = _spool_place(spool_dir)
            name = _spool_name(self.engine)
            spool = Spool(place / f"{name}-{_digest(self.engine, address)}")
            _say_what_waits_elsewhere(place, name, spool.directory)
            self._sender = Sender(self._http, spool, engine=self.engine, interval_seconds=interval)
            try:
                self._sender.start()
            except RuntimeError as cause:  # the process may have no more threads
                spool.close()
                raise DeckError(f"cannot start the sending thread: {cause}") from cause
            _senders.add(self)
        _clients.add(self)

    def __repr__(self) -> str:
        kind = ", background=True" if self._sender else ""
        return f"DeckClient({self._http.url!r}, engine={self.engine!r}{kind})"

    # -- out -------------------------------------------------------------------------------------------

    def push_metrics(
        self,
        *,
        equity_usd: float | None = None,
        pnl_24h: float | None = None,
        drawdown_pct: float | None = None,
        tick_p50_ms: float | None = None,
        tick_p95_ms: float | None = None,
        error_rate_pct: float | None = None,
        breaker: Mapping[str, bool] | None = None,
        pnl_by_strategy: Mapping[str, float] | None = None,
        exposure_by_strategy: Mapping[str, float] | None = None,
        drawdown_pct_by_strategy: Mapping[str, float] | None = None,
        info: Mapping[str, str] | None = None,
        started_at: float | datetime | str | None = None,
        engine: str | None = None,
    ) -> Answer | None:
        """Push gauges; what is not given keeps its last value on the deck.

        Args:
            equity_usd: Account equity, in the quote currency.
            pnl_24h: Account PnL of the last 24 h, in the quote currency.
            drawdown_pct: Below the peak, percent: 5 is 5 %.
            tick_p50_ms: Median tick latency, milliseconds.
            tick_p95_ms: 95th percentile of the tick latency, milliseconds.
            error_rate_pct: Failed ticks or calls, percent.
            breaker: The engine's own breakers, True while tripped.
            pnl_by_strategy: Mark-to-market PnL since `started_at`, in the quote currency.
            exposure_by_strategy: Notional held, in the quote currency.
            drawdown_pct_by_strategy: As `drawdown_pct`, each strategy by itself.
            info: `version`, `mode` (live, paper, replay) and `quote`.
            started_at: When cumulative PnL began: epoch seconds or an aware datetime.
            engine: Another engine than the client's own.

        Returns:
            The deck's answer; None in the background.

        Raises:
            DeckInputError: A value no deck would take (waiting client only).
            DeckError: See deck_errors (waiting client only).
        """
        fields: dict[str, Any] = {}
        if equity_usd is not None:
            fields["equity_usd"] = equity_usd
        if pnl_24h is not None:
            fields["pnl_24h"] = pnl_24h
        if drawdown_pct is not None:
            fields["drawdown_pct"] = drawdown_pct
        if tick_p50_ms is not None:
            fields["tick_p50_ms"] = tick_p50_ms
        if tick_p95_ms is not None:
            fields["tick_p95_ms"] = tick_p95_ms
        if error_rate_pct is not None:
            fields["error_rate_pct"] = error_rate_pct
        if breaker is not None:
            fields["breaker"] = breaker
        if pnl_by_strategy is not None:
            fields["pnl_by_strategy"] = pnl_by_strategy
        if exposure_by_strategy is not None:
            fields["exposure_by_strategy"] = exposure_by_strategy
        if drawdown_pct_by_strategy is not None:
            fields["drawdown_pct_by_strategy"] = drawdown_pct_by_strategy
        if info is not None:
            fields["info"] = info
        if started_at is not None:
            fields["started_at"] = started_at
        if self._sender is not None:
            self._sender.offer_metrics(engine, fields)
            return None
        payload = metrics_payload({**fields, "engine": self.engine if engine is None else engine})
        return taken(self._ask("POST", "/metrics/push", encode(payload).encode()))

    def push_strategy_pnl(
        self, pnl_by_strategy: Mapping[str, float], *, engine: str | None = None
    ) -> Answer | None:
        """Push each strategy's cumulative mark-to-market PnL, which the allocator lives on."""
        return self.push_metrics(pnl_by_strategy=pnl_by_strategy, engine=engine)

    def push_trade(self, trade: Mapping[str, Any] | None = None, /, **fields: Any) -> Answer | None:
        """Push one trade, as a mapping or by keyword.

        Args:
            trade: The fields as a mapping.
            **fields: trade_id, ts, strategy, symbol, side ("buy" or "sell"), qty, price, fee_usd (negative
                for a rebate), pnl_usd (none if the trade opens), engine.

        Returns:
            `{"accepted": 1, "duplicates": 0}`, or the other way round if the deck has this trade_id already;
            None in the background.

        Raises:
            DeckRefusedError: Among others 409: the same trade_id with other content (waiting client only).
            DeckError: See deck_errors (waiting client only).
        """
        whole = one_trade(trade, fields)
        if self._sender is not None:
            self._sender.offer_trade(whole)
            return None
        return self.push_trades([whole])

    def push_trades(self, trades: Iterable[Mapping[str, Any]]) -> Answer | None:
        """Push several trades at once, all or nothing; in the background each for itself, in order."""
        if self._sender is not None:
            self._sender.offer_trades(trades)
            return None
        payload = [trade_payload(trade, self.engine) for trade in several_trades(trades)]
        self._check_open()
        if not payload:
            return {"accepted": 0, "duplicates": 0}
        answer = self._ask("POST", "/trades", encode({"trades": payload}).encode())
        receipt(answer, len(payload))
        return answer

    # -- in --------------------------------------------------------------------------------------------

    def get_weights(self) -> Answer:
        """The risk shares in force, as the deck gives them: `version`, `weights`, `updated_at`, `reason`."""
        return the_weights(self._ask("GET", "/allocator/weights"))

    def get_status(self, engine: str | None = None) -> Answer:
        """Everything the deck shows: metrics with their age, breakers, `halted`, risk shares."""
        chosen = self.engine if engine is None else text(engine, "engine")
        params = {"engine": chosen} if chosen else None
        return the_status(self._ask("GET", "/status", params=params))

    def _ask(
        self, method: str, path: str, body: bytes | None = None, params: Mapping[str, str] | None = None
    ) -> Answer:
        self._check_open()
        return self._http.call(method, path, body, params)

    def _check_open(self) -> None:
        if self._closed:
            raise DeckClosedError(CLOSED)

    # -- care ------------------------------------------------------------------------------------------

    @property
    def counters(self) -> Counters:
        """What became of what was handed over: sent, retried, spooled, dropped and more."""
        return self._sender.counters() if self._sender else Counters(retried=self._http.retried)

    @property
    def dead_letters(self) -> Path | None:
        """The file of trades the deck refused, one JSON object a line; None for a waiting client."""
        return self._sender.spool.dead_letters if self._sender else None

    def flush(self, timeout_seconds: float = 5.0) -> bool:
        """Wait until the deck has everything handed over before; False if it has not in the time."""
        longest = seconds(timeout_seconds, "timeout_seconds", endless=True)
        return self._sender.flush(longest) if self._sender else True

    def close(self, timeout_seconds: float = 5.0) -> bool:
        """Flush, end the thread, keep on disk what the deck did not take; whether it took everything.

        Closing twice is harmless; pushing or asking after it raises DeckClosedError.
        """
        longest = seconds(timeout_seconds, "timeout_seconds", endless=True)
        done = self._sender.close(longest) if self._sender is not None else True
        self._closed = True
        self._http.close()
        if self._sender is None or self._sender.closed:
            _senders.discard(self)  # last: a close that was interrupted is made up for at the exit
        return done

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _after_fork_in_child(self) -> None:
        if self._sender is not None:
            self._sender.after_fork_in_child()
        else:
            self._http.forget()


class AsyncDeckClient:
    """The background client for an event loop: pushes are the same plain calls, they do not wait.

    Only what waits is awaited: `flush`, `close`, `get_weights`, `get_status`.
    """

    def __init__(self, url: str | None = None, token: str | None = None, **settings: Any) -> None:
        """As DeckClient, which it holds; `background` is given."""
        self._client = DeckClient(url, token, background=True, **settings)
        self.push_metrics = self._client.push_metrics
        self.push_strategy_pnl = self._client.push_strategy_pnl
        self.push_trade = self._client.push_trade
        self.push_trades = self._client.push_trades

    @property
    def counters(self) -> Counters:
        """As DeckClient's."""
        return self._client.counters

    async def get_weights(self) -> Answer:
        """As DeckClient's."""
        return await asyncio.to_thread(self._client.get_weights)

    async def get_status(self, engine: str | None = None) -> Answer:
        """As DeckClient's."""
        return await asyncio.to_thread(self._client.get_status, engine)

    async def flush(self, timeout_seconds: float = 5.0) -> bool:
        """As DeckClient's."""
        return await asyncio.to_thread(self._client.flush, timeout_seconds)

    async def close(self, timeout_seconds: float = 5.0) -> bool:
        """As DeckClient's."""
        return await asyncio.to_thread(self._client.close, timeout_seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


# -- settings ------------------------------------------------------------------------------------------


def token_from(environ: Mapping[str, str]) -> str | None:
    """DECK_TOKEN, or the content of the file that DECK_TOKEN_FILE names; None if neither is set.

    Raises:
        DeckInputError: The file cannot be read.
    """
    if token := environ.get("DECK_TOKEN"):
        return token
    file = environ.get("DECK_TOKEN_FILE")
    if not file:
        return None
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as cause:  # ValueError: not UTF-8, or a name no file can have
        raise DeckInputError(
            error="bad_token",
            detail=f"DECK_TOKEN_FILE {file} cannot be read: {cause}",
            field="DECK_TOKEN_FILE",
        ) from cause


def _state_directory(environ: Mapping[str, str], home: Callable[[], Path] = Path.home) -> Path:
    base = environ.get("XDG_STATE_HOME")
    try:
        return (Path(base) if base else home() / ".local" / "state") / "deckrails" / "spool"
    except RuntimeError as cause:  # a container's user without a home
        raise SpoolError("no home directory to spool trades in: set DECK_SPOOL_DIR") from cause


def _spool_place(chosen: str | Path) -> Path:
    if isinstance(chosen, str | Path) and (name := str(chosen)):
        with contextlib.suppress(UnicodeEncodeError):
            if b"\0" not in os.fsencode(name):
                return Path(chosen)
    raise DeckInputError(
        error="wrong_type", detail=f"spool_dir is {shown(chosen)}: want a path", field="spool_dir"
    )


def _spool_name(engine: str | None) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "_", engine or "default")[:60]


def _digest(engine: str | None, address: str) -> str:
    """One directory for one engine and deck: a live deck never gets the trades meant for a paper one."""
    return hashlib.sha256(f"{engine}\n{address}".encode()).hexdigest()[:8]


def _say_what_waits_elsewhere(place: Path, name: str, own: Path) -> None:
    """Log spools of this engine for other addresses that still hold trades: DECK_URL may have changed."""
    for other in sorted(place.glob(f"{name}-????????")):
        if other != own and _holds_trades(other):
            log.warning(
                "trades of this engine wait for a deck at another address: directory=%s, this_one=%s",
                other,
                own,
            )


def _holds_trades(directory: Path) -> bool:
    try:
        return any(segment.stat().st_size for segment in directory.glob("*.log"))
    except OSError:  # its process removed the file just now, or it is another user's
        return False


# -- the end of the process, and its children ----------------------------------------------------------

_clients: weakref.WeakSet[DeckClient] = weakref.WeakSet()
_senders: set[DeckClient] = set()
"""Background clients, held: their threads outlive the engine's last hold on them, and so must the exit."""


EXIT_SECONDS: Final = 2.0
"""What all background clients together may take to send what waits when the process ends."""


def _close_at_exit() -> None:
    # A waiting client has nothing to bring in, and may serve others' exits.
    clients = list(_senders)
    senders = [client._sender for client in clients if client._sender]
    deadline = time.monotonic() + EXIT_SECONDS
    for sender in senders:  # all at once: one after another, twenty engines would take a minute
        sender.hurry()
    for sender in senders:
        with contextlib.suppress(DeckClosedError):  # a close was interrupted; it is finished below
            sender.flush(max(0.0, deadline - time.monotonic()))
    for sender in senders:
        sender.stop()
    for client in clients:
        client.close(timeout_seconds=max(0.0, deadline - time.monotonic()))


def _after_fork_in_child() -> None:
    for client in list(_clients):
        client._after_fork_in_child()


atexit.register(_close_at_exit)
os.register_at_fork(after_in_child=_after_fork_in_child)
