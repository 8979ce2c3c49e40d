"""Pure: the engine's day, one closed bar at a time: fill what was decided, mark, decide anew.

Nothing looks ahead: a decision reads closed bars and is filled at the next open, half a spread worse; a stop
fills within the bar, at the open where the bar opens beyond it.  The order of a bar is fixed:

    open    stops that the open jumped over, then exits and cuts, then entries
    within  stops that the high or low reached
    close   books and account are marked, breakers judged, every strategy asked, entries sized by the rails
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from examples.account import Account
from examples.book import Book, Fill
from examples.derived import WINDOW, derived_features, derived_regime, derived_spread_bps
from examples.market_data import Bar
from examples.strategies import STRATEGIES, Strategy
from riskrails import LiveFeatures, Order
from riskrails.breakers import BreakerEvent

__all__ = ["QTY_STEP", "SYMBOL", "Hour", "Rails", "Trader"]

SYMBOL: Final = "BTC-USD"
BASE_TF: Final = "1h"
STEPS_PER_BTC: Final = 1_000_000
QTY_STEP: Final = "0.000001"
"""BTC; a multiple of the venue's own step."""


class Rails(Protocol):
    """What the trader needs of riskrails: a size."""

    @property
    def compute_order(self) -> Callable[..., Order]:
        """As RiskRails.compute_order."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """An order the rails allowed, to be filled at the next open."""

    side: int
    order: Order


@dataclass(frozen=True, slots=True)
class Hour:
    """What happened in one bar."""

    bar: Bar
    fills: tuple[Fill, ...]
    events: tuple[BreakerEvent, ...]


@dataclass
class Trader:
    """Four books, one account, one symbol.

    Attributes:
        rails: Sizes every entry; exits need no permission.
        account: Equity and breakers.
        fee_taker_bps, fee_maker_bps: Paid on every fill, entry and exit alike.
    """

    rails: Rails
    account: Account
    strategies: Mapping[str, Strategy] = field(default_factory=lambda: STRATEGIES)
    fee_taker_bps: float = 5.0
    fee_maker_bps: float = 2.0

    def __post_init__(self) -> None:
        self.books = {name: Book(name) for name in self.strategies}
        self.window: list[Bar] = []
        self.modes: Counter[str] = Counter()
        self._entries: dict[str, Entry] = {}
        self._exits: set[str] = set()
        self._cut = 0.0

    def warm_up(self, bars: Sequence[Bar]) -> None:
        """Forget the past and look at these closed bars instead, without trading."""
        self.window = list(bars[-WINDOW:])

    # -- reading ---------------------------------------------------------------------------------------

    @property
    def mark(self) -> float:
        """The last close, USD."""
        return self.window[-1].close

    def pnl_by_strategy(self) -> dict[str, float]:
        """Marked to market, fees paid, since the beginning."""
        return {
            name: book.pnl_usd(self.mark) if book.side else book.cash_usd for name, book in self.books.items()
        }

    def exposure_by_strategy(self) -> dict[str, float]:
        """Notional held."""
        return {name: book.exposure_usd(self.mark) if book.side else 0.0 for name, book in self.books.items()}

    def drawdown_by_strategy(self) -> dict[str, float]:
        """Below each book's own peak, ratio of the account's start: a book has no capital of its own."""
        return {
            name: min(1.0, max(0.0, book.peak_pnl_usd - pnl) / self.account.start_usd)
            for (name, book), pnl in zip(self.books.items(), self.pnl_by_strategy().values(), strict=True)
        }

    # -- one bar ---------------------------------------------------------------------------------------

    def step(self, bar: Bar) -> Hour:
        """Live through one bar."""
        fills: list[Fill] = []
        if len(self.window) >= WINDOW:
            half_spread = derived_spread_bps(self.window) / 2e4  # of the hour before: this one's is not known
            fills += self._at_the_open(bar, half_spread)
            fills += self._stops(bar, half_spread, at_open=False)
        self.window = [*self.window[1 - WINDOW :], bar]
        for book in self.books.values():
            book.bars_held += 1
            book.peak_pnl_usd = max(book.peak_pnl_usd, book.pnl_usd(bar.close))
        events = self.account.mark(bar.time, self._pnl_usd())
        return Hour(bar, tuple(fills), events)

    def decide(self) -> list[Order]:
        """Ask every strategy after the newest closed bar; the rails size what wants to open.

        Apart from `step`, so that the engine can tell the rails about the account in between.
        """
        if len(self.window) < WINDOW:
            return []
        orders = []
        live = derived_features(self.window, SYMBOL)
        regime = derived_regime(self.window)
        for name, strategy in self.strategies.items():
            book = self.books[name]
            want = strategy(self.window, book.side, book.bars_held)
            if want == book.side:
                continue
            if book.side:
                self._exits.add(name)
            if want:
                order = self._size(name, live, regime)
                orders.append(order)
                self.modes[order.mode] += 1
                if order.mode == "reduce" and order.reduce_usd > 0.0:
                    gross = sum(self.exposure_by_strategy().values())
                    self._cut = max(self._cut, min(1.0, order.reduce_usd / gross) if gross > 0.0 else 0.0)
                elif order.size_usd > 0.0:
                    self._entries[name] = Entry(want, order)
        return orders

    def finish(self) -> list[Fill]:
        """Close every position at the last close, half a spread worse: nothing is left open."""
        self._entries.clear()
        self._exits.clear()
        if not self.window:
            return []
        half_spread = derived_spread_bps(self.window) / 2e4
        fills = [
            book.close(self.mark * (1.0 - book.side * half_spread), self.fee_taker_bps, "end")
            for book in self.books.values()
            if book.side
        ]
        self.account.mark(self.window[-1].time, self._pnl_usd())
        return fills

    # -- the parts of a bar ----------------------------------------------------------------------------

    def _pnl_usd(self) -> float:
        return math.fsum(self.pnl_by_strategy().values())

    def _at_the_open(self, bar: Bar, half_spread: float) -> list[Fill]:
        fills = self._stops(bar, half_spread, at_open=True)
        for name, book in self.books.items():
            price = bar.open * (1.0 - book.side * half_spread)
            if name in self._exits and book.side:
                fills.append(book.close(price, self.fee_taker_bps, "exit"))
            elif self._cut > 0.0 and book.side:
                fills.append(book.close(price, self.fee_taker_bps, "reduce", self._cut))
        for name, entry in self._entries.items():
            fill = self._enter(self.books[name], entry, bar, half_spread)
            if fill is not None:
                fills.append(fill)
        self._entries.clear()
        self._exits.clear()
        self._cut = 0.0
        return fills

    def _enter(self, book: Book, entry: Entry, bar: Bar, half_spread: float) -> Fill | None:
        """Open at the bar's open; a resting order rests at it and needs the bar to trade through it."""
        order, side = entry.order, entry.side
        if book.side or bar.volume_btc <= 0.0:
            return None
        if order.mode == "maker":
            if not (bar.low < bar.open if side > 0 else bar.high > bar.open):
                return None
            price, fee_bps = bar.open * (1.0 - side * half_spread), self.fee_maker_bps
            price = max(price, bar.low) if side > 0 else min(price, bar.high)
        else:
            price, fee_bps = bar.open * (1.0 + side * half_spread), self.fee_taker_bps
        # A gap up must not buy more dollars than the rails allowed at the close.
        qty = math.floor(min(order.qty, order.size_usd / price) * STEPS_PER_BTC) / STEPS_PER_BTC
        if qty <= 0.0:
            return None
        return book.open(side, qty, price, price * (1.0 - side * order.stop_pct), fee_bps)

    def _stops(self, bar: Bar, half_spread: float, *, at_open: bool) -> list[Fill]:
        fills = []
        for book in self.books.values():
            price = book.stop_fill_price(bar, half_spread, at_open=at_open)
            if price is not None:
                fills.append(book.close(price, self.fee_taker_bps, "stop"))
        return fills

    def _size(self, name: str, live: LiveFeatures, regime: float) -> Order:
        """Ask the rails; what waits to be filled counts as held, so that two entries share the room."""
        equity = self.account.equity_usd
        waiting = [entry.order for entry in self._entries.values()]
        held = [book for book in self.books.values() if book.side]
        exposure = sum(book.exposure_usd(self.mark) for book in held) + sum(o.size_usd for o in waiting)
        risk = sum(book.risk_usd(self.mark, self.fee_taker_bps) for book in held)
        risk += sum(order.risk_usd for order in waiting)
        return self.rails.compute_order(
            strat_name=name,
            strat_type=name,
            base_tf=BASE_TF,
            leverage_allowed=True,
            live=live,
            equity_usd=equity,
            open_risk_sum_pct=min(1.0, risk / equity) if equity > 0.0 else 1.0,
            open_positions=len(held) + len(waiting),
            exposure_total_usd=exposure,
            exposure_by_symbol={SYMBOL: exposure},
            regime_signal=regime,
        )
