"""Where the stop goes, and what a dollar of position loses when it is hit.

Pure.  `loss_per_usd` is plain arithmetic and serves one number and an array of them alike.
"""

# ruff: noqa: PLR1730, FURB136 -- min() and max() are calls, each slower than all the comparisons of a cap

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["COSTS", "gap_fraction", "loss_per_usd", "stop_pct"]

Number = TypeVar("Number", float, NDArray[np.float64])

COSTS = ("fee", "spread", "impact", "funding", "gap")
"""The parts of the loss per dollar beyond the stop distance, in the order `loss_per_usd` gives them."""


def stop_pct(k: float, atr_pct: float, floor: float, spread: float, spreads: float) -> float:
    """Stop distance, fraction of price: k ATRs, but never inside the noise.

    Args:
        k: ATRs, of the strategy type.
        atr_pct: ATR / price, fraction.
        floor: The larger of 20 bp and half the timeframe's reference ATR, fraction.
        spread: Fraction of mid.
        spreads: Spreads the stop keeps at least, a factor.

    Source: k after the Turtles' 2N and the chandelier exit's 3 × ATR.

    >>> stop_pct(2.0, 0.009, 0.0045, 0.0001, 3.0)
    0.018
    """
    stop = k * atr_pct
    if stop < floor:
        stop = floor
    wide = spreads * spread
    return stop if stop > wide else wide


def gap_fraction(event_heat: Number, liq_score: Number, base: float, event: float, illiquid: float) -> Number:
    """How far beyond the stop the fill is expected, fraction of the stop distance.

    >>> round(gap_fraction(0.1, 0.9, 0.05, 0.20, 0.10), 12)
    0.08
    """
    return base + event * event_heat + illiquid * (1.0 - liq_score)


def loss_per_usd(
    stop: Number,
    gap: Number,
    fee_taker_bps: Number,
    spread: Number,
    sigma_1m: Number,
    impact_per_sigma: Number,
    funding_abs: Number,
    funding_periods: Number,
) -> tuple[Number, Number, Number, Number, Number, Number]:
    """Loss of one dollar of position when the stop is hit, with every cost of getting in and out.

    Fees are added to the stop distance.  Multiplying the budget by a fee factor instead, as some sizers do,
    overshoots the budget by a third at a tight stop.

    Args:
        stop: Stop distance, fraction of price.
        gap: Gap beyond the stop, fraction of the stop distance.
        fee_taker_bps: Basis points a side.
        spread: Fraction of mid.
        sigma_1m: One-minute standard deviation of returns.
        impact_per_sigma: 2·Y·√participation: impact in and out, per unit of sigma_1m.
        funding_abs: |funding|, fraction per 8 h.
        funding_periods: 8-hour periods in the expected holding time.

    Returns:
        (loss, then the parts fee, spread, impact, funding, gap); fractions of notional.  The loss is the
        stop distance plus the parts.

    Source: square-root impact after Donier and Bonart (2015), Market Microstructure and Liquidity 1(2).
    """
    fee = 2.0 * fee_taker_bps / 1e4
    impact = impact_per_sigma * sigma_1m
    funding = funding_abs * funding_periods
    gap_loss = stop * gap
    return stop + gap_loss + fee + spread + impact + funding, fee, spread, impact, funding, gap_loss
