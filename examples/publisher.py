"""What the engine tells its deck after each bar, and the thread that pushes what the rails counted."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import deckrails
from examples.book import Fill
from examples.market_data import Bar
from examples.trader import SYMBOL, Trader

__all__ = ["Deck", "Publisher", "TelemetryLoop"]

log = logging.getLogger("replay_engine")

LATENCY_TICKS: Final = 512
"""Ticks whose latency the quantiles are taken of."""


class Deck(Protocol):
    """What the publisher needs of a DeckClient."""

    @property
    def push_metrics(self) -> Callable[..., object]:
        """As DeckClient.push_metrics."""
        ...

    @property
    def push_trade(self) -> Callable[..., object]:
        """As DeckClient.push_trade."""
        ...


class Publisher:
    """Gauges after every bar, trades as they happen.

    Trade ids are the engine's, the run's and a running number: unique over runs, and the same for the same
    run, so that a repeat counts once.
    """

    def __init__(
        self,
        deck: Deck,
        engine: str,
        run: str,
        started_at: float,
        calls: Callable[[], tuple[int, int]] = lambda: (0, 0),
    ) -> None:
        """Tell `deck` about one run of one engine.

        Args:
            deck: Where to.
            engine: Its name.
            run: What tells this run's trades from those of another.
            started_at: When cumulative PnL began, epoch seconds.
            calls: Gives how many outside calls failed and how many there were, since the start.
        """
        self._deck = deck
        self._calls = calls
        self._seen_calls: deque[tuple[int, int]] = deque([(0, 0)], maxlen=LATENCY_TICKS)
        self._prefix = f"{engine}-{run}"
        self._started_at = started_at
        self._latencies: deque[float] = deque(maxlen=LATENCY_TICKS)
        self.trades = 0
        self.fees_usd = 0.0

    def hello(self) -> None:
        """Who is there; a new `started_at` says that cumulative PnL begins anew."""
        self._deck.push_metrics(
            started_at=self._started_at,
            info={"version": deckrails.__version__, "mode": "replay", "quote": "USD"},
        )

    def tick_took(self, seconds: float) -> None:
        """Note how long a bar took, from its arrival to the last push."""
        self._latencies.append(seconds)

    def latency_ms(self) -> tuple[float, float]:
        """Median and 95th percentile of the recent bars, milliseconds."""
        ordered = sorted(self._latencies)
        if not ordered:
            return 0.0, 0.0
        return 1e3 * ordered[len(ordered) // 2], 1e3 * ordered[int(0.95 * (len(ordered) - 1))]

    def fills(self, bar: Bar, fills: Iterable[Fill]) -> None:
        """Trades as they happened, at the bar's own time."""
        for fill in fills:
            self.trades += 1
            self.fees_usd += fill.fee_usd
            trade: dict[str, Any] = {
                "trade_id": f"{self._prefix}-{self.trades:06d}",
                "ts": bar.time,
                "strategy": fill.strategy,
                "symbol": SYMBOL,
                "side": fill.side,
                "qty": fill.qty,
                "price": fill.price,
                "fee_usd": fill.fee_usd,
            }
            if fill.pnl_usd is not None:
                trade["pnl_usd"] = fill.pnl_usd
            self._deck.push_trade(trade)

    def gauges(self, trader: Trader) -> None:
        """Everything that changed with the bar."""
        account = trader.account
        p50, p95 = self.latency_ms()
        failed, asked = self._calls()
        failed_before, asked_before = self._seen_calls[0]
        self._seen_calls.append((failed, asked))
        self._deck.push_metrics(
            equity_usd=account.equity_usd,
            pnl_24h=account.pnl_24h_usd,
            drawdown_pct=100.0 * account.drawdown_ratio,
            tick_p50_ms=p50,
            tick_p95_ms=p95,
            error_rate_pct=100.0 * (failed - failed_before) / max(1, asked - asked_before),
            breaker=account.breakers.is_open(),
            pnl_by_strategy=trader.pnl_by_strategy(),
            exposure_by_strategy=trader.exposure_by_strategy(),
            drawdown_pct_by_strategy={
                name: 100.0 * ratio for name, ratio in trader.drawdown_by_strategy().items()
            },
        )


class TelemetryLoop:
    """Calls `push` every so often in a thread; a failure is logged once until the next success."""

    def __init__(self, push: Callable[[], None], interval_seconds: float = 2.0) -> None:
        self._push = push
        self._interval = interval_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="riskrails-telemetry", daemon=True)
        self._failing = False

    def start(self) -> None:
        """Start pushing."""
        self._thread.start()

    def push_once(self) -> bool:
        """Push now; whether it worked."""
        try:
            self._push()
        except OSError as fault:  # urllib's errors, of an unreachable deck and of a refusal alike
            if not self._failing:
                log.warning("the rails' counters are not pushed: %s", fault)
            self._failing = True
            return False
        self._failing = False
        return True

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            self.push_once()

    def close(self) -> None:
        """Push a last time and end."""
        self._stop.set()
        self._thread.join(10.0)
        self.push_once()


def market_time(bar: Bar) -> str:
    """The bar's time for a person."""
    return f"{datetime.fromtimestamp(bar.time, UTC):%Y-%m-%d %H:%M}"
