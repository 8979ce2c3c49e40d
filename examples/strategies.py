"""Pure: four plain strategies, each a function of closed bars and of how long it has held.

They are here to move money through the stack, not to make it.  Each says which way it wants to be after the
newest closed bar: 1 long, −1 short, 0 flat; the engine acts on it at the next open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean, median
from types import MappingProxyType
from typing import Final

from examples.derived import deviation
from examples.market_data import Bar

__all__ = ["STRATEGIES", "Strategy", "event", "momentum", "scalp", "trend"]

Strategy = Callable[[Sequence[Bar], int, int], int]
"""(closed bars, side held, bars held) → side wanted."""


def scalp(bars: Sequence[Bar], side: int, held: int) -> int:
    """Against a stretched move: 1.5 deviations from the 12-hour mean, until the mean or 6 hours."""
    closes = [bar.close for bar in bars[-12:]]
    spread = deviation(closes)
    stretch = (closes[-1] - fmean(closes)) / spread if spread > 0.0 else 0.0
    if side and held < 6 and stretch * side < 0.0:
        return side
    return -1 if stretch > 1.5 else 1 if stretch < -1.5 else 0


def momentum(bars: Sequence[Bar], side: int, held: int) -> int:
    """With the last day, while it has gone further than an hour usually does in a day's worth of steps."""
    closes = [bar.close for bar in bars[-25:]]
    moves = [after / before - 1.0 for before, after in pairwise(closes)]
    reach = deviation(moves) * len(moves) ** 0.5
    day = closes[-1] / closes[0] - 1.0
    if side and held < 24 and day * side > 0.0:
        return side
    return 1 if day > reach else -1 if day < -reach else 0


def trend(bars: Sequence[Bar], side: int, held: int) -> int:  # noqa: ARG001 - one signature for all
    """With a close beyond the last 48 hours, until one beyond the opposite 24; after Donchian."""
    close = bars[-1].close
    entry, leave = bars[-49:-1], bars[-25:-1]
    if close > max(bar.high for bar in entry):
        return 1
    if close < min(bar.low for bar in entry):
        return -1
    if side > 0 and close < min(bar.low for bar in leave):
        return 0
    if side < 0 and close > max(bar.high for bar in leave):
        return 0
    return side


def event(bars: Sequence[Bar], side: int, held: int) -> int:
    """With an hour of three times the usual volume and twice the usual range, for 8 hours."""
    last, before = bars[-1], bars[-73:-1]
    loud = last.volume_btc > 3.0 * median(bar.volume_btc for bar in before)
    wide = last.range_ratio > 2.0 * median(bar.range_ratio for bar in before)
    if loud and wide:
        return 1 if last.close > last.open else -1
    return side if held < 8 else 0


STRATEGIES: Final[Mapping[str, Strategy]] = MappingProxyType(
    {"scalp": scalp, "momentum": momentum, "trend": trend, "event": event}
)
"""By name, which is also the strategy type that the rails know."""
