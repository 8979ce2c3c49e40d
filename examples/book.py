"""Pure: one strategy's book: cash, a position, its stop, and every fill with its fee.

Cash starts at 0 and may go below: the book's PnL is cash plus the position at the mark, nothing else, so
money cannot appear or vanish between realised and unrealised.
"""

from __future__ import annotations

from dataclasses import dataclass

from examples.market_data import Bar

__all__ = ["Book", "Fill"]


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution.

    Attributes:
        strategy: Whose book.
        side: buy or sell.
        qty: Above 0.
        price: USD, spread included.
        fee_usd: Paid, at least 0.
        pnl_usd: Price PnL of what it closed, fees not taken off; None if it opened.
        why: entry, exit, stop, reduce or end.
    """

    strategy: str
    side: str
    qty: float
    price: float
    fee_usd: float
    pnl_usd: float | None
    why: str


class Book:
    """A position of one strategy in one symbol; long above 0, short below."""

    def __init__(self, strategy: str) -> None:
        self.strategy = strategy
        self.cash_usd = 0.0
        self.fees_usd = 0.0
        self.realised_usd = 0.0
        self.qty = 0.0
        self.entry_price = 0.0
        self.stop_price = 0.0
        self.bars_held = 0
        self.peak_pnl_usd = 0.0

    @property
    def side(self) -> int:
        """1 long, −1 short, 0 flat."""
        return (self.qty > 0.0) - (self.qty < 0.0)

    def pnl_usd(self, mark: float) -> float:
        """Everything the book has made, fees paid, at a price."""
        return self.cash_usd + self.qty * mark

    def exposure_usd(self, mark: float) -> float:
        """Notional held, without a sign."""
        return abs(self.qty) * mark

    def risk_usd(self, mark: float, fee_bps: float) -> float:
        """Loss from a price to the stop, the closing fee included."""
        if not self.side:
            return 0.0
        distance = (mark - self.stop_price) * self.side
        return abs(self.qty) * (max(0.0, distance) + self.stop_price * fee_bps / 1e4)

    def open(self, side: int, qty: float, price: float, stop_price: float, fee_bps: float) -> Fill:
        """Open a position; the book must be flat."""
        if self.side or qty <= 0.0 or side not in {1, -1}:
            raise ValueError(
                f"open {side} {qty} with {self.qty} held: want a flat book, a side and a quantity"
            )
        self.entry_price, self.stop_price, self.bars_held = price, stop_price, 0
        return self._fill(side, qty, price, fee_bps, "entry", None)

    def close(self, price: float, fee_bps: float, why: str, share: float = 1.0) -> Fill:
        """Close the position, or a share of it."""
        if not self.side or not 0.0 < share <= 1.0:
            raise ValueError(f"close {share:g} of {self.qty}: want a position and a share in (0, 1]")
        side, qty = self.side, abs(self.qty) * share
        pnl_usd = (price - self.entry_price) * qty * side
        self.realised_usd += pnl_usd
        fill = self._fill(-side, qty, price, fee_bps, why, pnl_usd)
        if share == 1.0:
            self.qty = 0.0  # exactly flat, whatever the floats say
        return fill

    def _fill(
        self, side: int, qty: float, price: float, fee_bps: float, why: str, pnl_usd: float | None
    ) -> Fill:
        fee_usd = qty * price * fee_bps / 1e4
        self.qty += side * qty
        self.cash_usd -= side * qty * price + fee_usd
        self.fees_usd += fee_usd
        return Fill(self.strategy, "buy" if side > 0 else "sell", qty, price, fee_usd, pnl_usd, why)

    def stop_fill_price(self, bar: Bar, half_spread: float, *, at_open: bool) -> float | None:
        """Where the stop would fill in this bar, or None if it is not reached.

        A bar that opens beyond the stop fills at the open: a stop is no promise of a price.

        Args:
            bar: The bar that trades.
            half_spread: Paid on top, ratio of the price.
            at_open: Look at the open alone, else at the whole bar.
        """
        if not self.side:
            return None
        if (bar.open - self.stop_price) * self.side <= 0.0:
            reached = bar.open
        elif at_open:
            return None
        elif (self.side > 0 and bar.low <= self.stop_price) or (
            self.side < 0 and bar.high >= self.stop_price
        ):
            reached = self.stop_price
        else:
            return None
        return reached * (1.0 - self.side * half_spread)
