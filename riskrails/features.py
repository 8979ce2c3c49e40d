"""What an engine knows of the market at this moment, and what is a plausible value of each input.

Pure.  Inputs outside their plausible band are refused with a code, never clamped: a clamp hides a change of
unit, and a percent taken for a fraction is the commonest way to size a hundred times too much.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import NamedTuple

__all__ = [
    "FEATURES",
    "MAX_PRICE",
    "MAX_USD",
    "MIN_PRICE",
    "Inputs",
    "LiveFeatures",
    "Problem",
    "as_number",
    "exposure_problem",
    "find_problems",
]

MAX_USD = 1e15
"""Above it an amount is a mistake of unit (wei, satoshi), and products of two could overflow."""
MIN_PRICE = 1e-15
MAX_PRICE = 1e15
"""The band of a price in USD; the smallest traded coins stand near 1e-12."""


@dataclass(frozen=True, slots=True)
class LiveFeatures:
    """The market as the engine sees it; values are judged when an order is sized, not here.

    Attributes:
        symbol: Instrument, the key of `exposure_by_symbol` and of the venue's rules.
        price: USD, above 0.
        atr_pct: ATR(14) / price on the base timeframe, fraction of price.
        spread_bps: Ask less bid, basis points of mid.
        depth10bps_usd: USD on the thinner side within 10 bps of mid.
        vol1m_usd: Traded USD per minute.
        funding: Fraction per 8 h, signed; 0 on spot. Its absolute value counts: no call knows the side.
        event_heat: [0, 1], 1 = an event is on.
        velocity: Signed standard deviations per minute.
        liq_score: [0, 1], 1 = most liquid.
    """

    symbol: str
    price: float
    atr_pct: float
    spread_bps: float
    depth10bps_usd: float
    vol1m_usd: float
    funding: float
    event_heat: float
    velocity: float
    liq_score: float


FEATURES = (
    "price",
    "atr_pct",
    "spread_bps",
    "depth10bps_usd",
    "vol1m_usd",
    "funding",
    "event_heat",
    "velocity",
    "liq_score",
)
"""The numeric attributes of LiveFeatures, in order."""


class Inputs(NamedTuple):
    """The data of one call as it came; numbers not yet judged."""

    price: object
    atr_pct: object
    spread_bps: object
    depth10bps_usd: object
    vol1m_usd: object
    funding: object
    event_heat: object
    velocity: object
    liq_score: object
    equity_usd: object
    open_risk_sum_pct: object
    exposure_total_usd: object


class Problem(NamedTuple):
    """One input that no order can be sized from."""

    code: str
    field: str
    message: str


def as_number(value: object) -> float:
    """A real number as a float; NaN for anything else: None, text, booleans, complex numbers, arrays.

    >>> as_number(Decimal("0.5")), as_number("0.5")
    (0.5, nan)
    """
    if type(value) is float:
        return value
    if isinstance(value, bool) or not isinstance(value, (Real, Decimal)):
        return math.nan
    try:
        return float(value)
    except (OverflowError, ValueError):  # an integer beyond floats, a signalling NaN
        return math.nan


def exposure_problem(exposure_by_symbol: Mapping[str, object]) -> Problem | None:
    """The first exposure that is no amount of USD, or a sum that is none; None if all are."""
    total = 0.0
    for name, value in exposure_by_symbol.items():
        number = as_number(value)
        if not -MAX_USD <= number <= MAX_USD:
            message = f"exposure_by_symbol[{name!r}]={value!r}: want a finite number of USD"
            return Problem("BAD_EXPOSURE_SYMBOL", f"exposure_by_symbol[{name!r}]", message)
        total += abs(number)
    if total > MAX_USD:
        message = f"exposure_by_symbol sums to {total!r}: want at most {MAX_USD:g} USD"
        return Problem("BAD_EXPOSURE_SYMBOL", "exposure_by_symbol", message)
    return None


def find_problems(
    given: Inputs, *, tf: str, atr_max: float, funding_plausible: float, spread_plausible_bps: float
) -> list[Problem]:
    """Every input outside its plausible band, in the order of the fields.

    Args:
        given: The inputs as they came.
        tf: Base timeframe, for the message.
        atr_max: Largest plausible ATR on it, fraction of price.
        funding_plausible: Largest plausible |funding|, fraction per 8 h.
        spread_plausible_bps: Largest plausible spread, basis points.
    """
    usd = f"want a finite number of USD from 0 to {MAX_USD:g}"
    atr = f"want a fraction of price, 0.012 for 1.2 %, at most {atr_max:g} for {tf}"
    spread = (
        f"want basis points of mid, from 0 (a negative spread is a crossed book) to {spread_plausible_bps:g}"
    )
    bands: tuple[tuple[str, str, float, float, str], ...] = (
        ("price", "BAD_PRICE", MIN_PRICE, MAX_PRICE, f"want USD above 0, {MIN_PRICE:g} to {MAX_PRICE:g}"),
        ("atr_pct", "BAD_ATR", 0.0, atr_max, atr),
        ("spread_bps", "BAD_SPREAD", 0.0, spread_plausible_bps, spread),
        ("depth10bps_usd", "BAD_DEPTH", 0.0, MAX_USD, usd),
        ("vol1m_usd", "BAD_VOLUME", 0.0, MAX_USD, usd),
        (
            "funding",
            "BAD_FUNDING",
            -funding_plausible,
            funding_plausible,
            f"want a fraction per 8 h, 0.0001 for 0.01 %, within ±{funding_plausible:g}; 0 on spot",
        ),
        ("event_heat", "BAD_EVENT_HEAT", 0.0, 1.0, "want a score from 0 to 1"),
        (
            "velocity",
            "BAD_VELOCITY",
            -math.nextafter(math.inf, 0.0),
            math.nextafter(math.inf, 0.0),
            "want a finite number of standard deviations per minute",
        ),
        ("liq_score", "BAD_LIQ_SCORE", 0.0, 1.0, "want a score from 0 to 1, 1 = most liquid"),
        ("equity_usd", "BAD_EQUITY", -MAX_USD, MAX_USD, f"want a finite number of USD, at most {MAX_USD:g}"),
        (
            "open_risk_sum_pct",
            "BAD_OPEN_RISK",
            0.0,
            1.0,
            "want a fraction of equity from 0 to 1, 0.03 for 3 %",
        ),
        ("exposure_total_usd", "BAD_EXPOSURE_TOTAL", 0.0, MAX_USD, usd),
    )
    problems = []
    for name, code, low, high, wanted in bands:
        value = getattr(given, name)
        if not low <= as_number(value) <= high:
            problems.append(Problem(code, name, f"{name}={value!r}: {wanted}"))
    return problems
