"""Every cap on an order in USD, and which of them binds.

Pure.  A cap is the room that is left; what stands above a limit already is an excess, to be reduced.
"""

# ruff: noqa: PLR1730, FURB136 -- min() and max() are calls, each slower than all the comparisons of a cap

from __future__ import annotations

import math

from riskrails.cells import Cell
from riskrails.policy import Policy

__all__ = ["CAPS", "DUST", "FULL", "ROOMS", "caps_usd", "excess_usd"]

CAPS = (
    "risk",
    "open_risk",
    "order_notional",
    "leverage",
    "exposure_total",
    "exposure_symbol",
    "symbol_vol",
    "liquidity",
    "venue",
)
"""The caps in the order in which ties are broken."""

FULL = {
    "open_risk": "HEAT_FULL",
    "leverage": "LEVERAGE_FULL",
    "exposure_total": "TOTAL_EXPOSURE_FULL",
    "exposure_symbol": "SYMBOL_EXPOSURE_FULL",
    "symbol_vol": "SYMBOL_VOL_FULL",
}
"""The code of an order that a portfolio cap leaves no room for; the other caps say BELOW_MIN_NOTIONAL."""

ROOMS = tuple(FULL)
"""The caps that existing positions use up."""

DUST = 1e-9
"""Above a limit by less than this share of it is rounding, not an excess."""


def caps_usd(
    policy: Policy,
    cell: Cell,
    budget_usd: float,
    loss: float,
    equity: float,
    open_risk: float,
    leverage: float,
    exposure: float,
    exposure_symbol: float,
    sigma_1m: float,
    depth: float,
    volume: float,
    venue_max: float,
) -> tuple[tuple[float, float, float, float, float, float, float, float, float], float]:
    """The nine caps in the order of CAPS, and the part of `liquidity` that may be taken at once; USD.

    Args:
        policy: Limits.
        cell: Constants of the type and timeframe.
        budget_usd: Loss the trade may make, USD.
        loss: Loss per dollar of position, above 0.
        equity: USD, at least 0.
        open_risk: Σ loss at the stops of all open positions, fraction of equity.
        leverage: min(allowed, lev_max), times equity.
        exposure: Gross exposure, USD.
        exposure_symbol: |exposure| of the symbol, USD.
        sigma_1m: One-minute standard deviation of returns.
        depth: USD within 10 bps.
        volume: USD per minute.
        venue_max: The venue's largest order, USD; infinity if it has none.
    """
    risk = budget_usd / loss
    if risk * loss > budget_usd:  # the division rounded up; the budget is a promise to the last bit
        risk = math.nextafter(risk, 0.0)
    heat = equity * (policy.h_max - open_risk)
    heat_cap = heat / loss
    if heat_cap * loss > heat:
        heat_cap = math.nextafter(heat_cap, 0.0)
    leverage_room = equity * leverage - exposure
    total_room = policy.gross_max * equity - exposure
    symbol_room = policy.sym_max * equity - exposure_symbol
    if sigma_1m > 0.0:
        vol_room = equity * policy.tau_sym / (sigma_1m * cell.year_per_minute) - exposure_symbol
    else:
        vol_room = math.inf
    now = policy.depth_share * depth
    taken = policy.participation_now * volume
    if taken < now:
        now = taken
    liquidity = now
    if not cell.is_scalp:
        patient = policy.participation_twap * volume * policy.twap_minutes
        if patient > now:
            liquidity = patient
    caps = (
        risk,
        heat_cap if heat_cap > 0.0 else 0.0,
        policy.order_max * equity,
        leverage_room if leverage_room > 0.0 else 0.0,
        total_room if total_room > 0.0 else 0.0,
        symbol_room if symbol_room > 0.0 else 0.0,
        vol_room if vol_room > 0.0 else 0.0,
        liquidity,
        venue_max,
    )
    return caps, now


def excess_usd(
    policy: Policy,
    cell: Cell,
    loss: float,
    equity: float,
    open_risk: float,
    leverage: float,
    exposure: float,
    exposure_symbol: float,
    sigma_1m: float,
) -> tuple[float, float, float, float, float]:
    """How far the book stands above each limit of ROOMS, USD of notional; 0 where it does not.

    Args: as `caps_usd`.
    """
    vol_limit = equity * policy.tau_sym / (sigma_1m * cell.year_per_minute) if sigma_1m > 0.0 else math.inf
    return (
        _excess(equity * open_risk / loss, equity * policy.h_max / loss),
        _excess(exposure, equity * leverage),
        _excess(exposure, policy.gross_max * equity),
        _excess(exposure_symbol, policy.sym_max * equity),
        _excess(exposure_symbol, vol_limit),
    )


def _excess(used: float, limit: float) -> float:
    over = used - limit
    return over if over > DUST * limit else 0.0
