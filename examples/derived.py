"""Pure: what hourly bars do not hold, derived from their range and volume.

None of these is a measurement.  Spread, depth, heat, velocity and liquidity score are stand-ins with the
right units and a plausible size, so that the rails have something to read; a real engine reads its venue.
Every name starts with `derived_`, and the constants are judgement calls with their reason beside them.

Each function reads closed bars only, newest last, so that it cannot look ahead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median
from typing import Final

from examples.market_data import Bar
from riskrails import LiveFeatures

__all__ = [
    "WINDOW",
    "atr_ratio",
    "derived_depth10bps_usd",
    "derived_event_heat",
    "derived_features",
    "derived_liq_score",
    "derived_regime",
    "derived_spread_bps",
    "derived_velocity",
    "derived_vol1m_usd",
    "deviation",
]

WINDOW: Final = 168
"""Bars that are looked back on: a week of hours."""
ATR_BARS: Final = 14
SPREAD_PER_RANGE: Final = 0.01
"""A hundredth of the hour's range: 1 bp in the median hour of 1 %, the order of this venue's book then."""
SPREAD_MIN_BPS: Final = 0.5
DEPTH_MINUTES: Final = 5.0
"""Minutes of trading that stand within 10 bps of mid in a calm hour."""
HEAT_FULL: Final = 7.0
"""Times the week's median range that count as heat 1; about one hour in three hundred."""
REGIME_BARS: Final = 48
STRESS_ATR: Final = 2.5
"""Times the week's median range from which on the regime is stress."""


def deviation(values: Sequence[float]) -> float:
    """Standard deviation of a population; statistics.pstdev is exact, and a hundred times slower."""
    mean = fmean(values)
    return math.sqrt(fmean([(value - mean) ** 2 for value in values]))


def atr_ratio(bars: Sequence[Bar], periods: int = ATR_BARS) -> float:
    """Average true range of the newest bars, ratio of the last close; Wilder's true range, plain mean."""
    recent = bars[-(periods + 1) :]
    ranges = [max(bar.high, before.close) - min(bar.low, before.close) for before, bar in pairwise(recent)]
    return fmean(ranges) / bars[-1].close if ranges else 0.0


def derived_spread_bps(bars: Sequence[Bar]) -> float:
    """A part of the hour's range, wider in thin hours; basis points."""
    last = bars[-1]
    usual = median(bar.volume_btc for bar in bars)
    thinness = math.sqrt(usual / last.volume_btc) if last.volume_btc > 0.0 else 10.0
    return max(SPREAD_MIN_BPS, SPREAD_PER_RANGE * last.range_ratio * 1e4 * min(10.0, max(0.5, thinness)))


def derived_vol1m_usd(bars: Sequence[Bar]) -> float:
    """The hour's traded value as if it came evenly, USD per minute; the volume itself is real."""
    return bars[-1].volume_usd / 60.0


def derived_depth10bps_usd(bars: Sequence[Bar]) -> float:
    """Some minutes of trading, fewer in a wild hour; USD."""
    usual = median(bar.range_ratio for bar in bars)
    last = bars[-1].range_ratio
    calm = min(1.0, usual / last) if last > 0.0 else 1.0
    return DEPTH_MINUTES * derived_vol1m_usd(bars) * calm


def derived_event_heat(bars: Sequence[Bar]) -> float:
    """How far the hour's range stands above the week's median, in [0, 1]."""
    usual = median(bar.range_ratio for bar in bars)
    if usual <= 0.0:
        return 0.0
    return min(1.0, max(0.0, (bars[-1].range_ratio / usual - 1.0) / (HEAT_FULL - 1.0)))


def derived_velocity(bars: Sequence[Bar]) -> float:
    """The hour's return in standard deviations per minute, as if it came evenly; signed."""
    returns = [math.log(bar.close / before.close) for before, bar in pairwise(bars)]
    if len(returns) < 2:
        return 0.0
    hourly = deviation(returns)
    return returns[-1] / hourly / math.sqrt(60.0) if hourly > 0.0 else 0.0


def derived_liq_score(bars: Sequence[Bar]) -> float:
    """Share of the week's hours that traded less per unit of range than this one; after Amihud (2002)."""

    def volume_per_range(bar: Bar) -> float:
        return bar.volume_usd / max(bar.range_ratio, 1e-6)

    last = volume_per_range(bars[-1])
    return sum(volume_per_range(bar) <= last for bar in bars) / len(bars) if last > 0.0 else 0.0


def derived_regime(bars: Sequence[Bar]) -> float:
    """From −1, stress, over 0 to 1, trend: Kaufman's efficiency ratio, or how far the range runs away."""
    recent = bars[-REGIME_BARS:]
    usual = median(bar.range_ratio for bar in bars)
    wild = fmean(bar.range_ratio for bar in recent[-6:]) / usual if usual > 0.0 else 1.0
    if wild > STRESS_ATR:
        return -min(1.0, wild / STRESS_ATR - 1.0)
    path = sum(abs(bar.close - before.close) for before, bar in pairwise(recent))
    return min(1.0, 2.0 * abs(recent[-1].close - recent[0].close) / path) if path > 0.0 else 0.0


def derived_features(bars: Sequence[Bar], symbol: str = "BTC-USD") -> LiveFeatures:
    """What the rails read, from closed bars; funding is 0, this is a spot market."""
    return LiveFeatures(
        symbol=symbol,
        price=bars[-1].close,
        atr_pct=atr_ratio(bars),
        spread_bps=derived_spread_bps(bars),
        depth10bps_usd=derived_depth10bps_usd(bars),
        vol1m_usd=derived_vol1m_usd(bars),
        funding=0.0,
        event_heat=derived_event_heat(bars),
        velocity=derived_velocity(bars),
        liq_score=derived_liq_score(bars),
    )
