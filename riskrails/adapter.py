"""compute_order: one decision, from validation to mode, in the order in which the rails are documented.

Pure: no clock, no random number, no IO, no change of its inputs.  A tick waits for this path, so it reads
plain floats, and what is rare (a refusal's sentence, an odd number type) lives in functions of its own.
"""

# ruff: noqa: PLR1730, FURB136 -- min() and max() are calls, each slower than all the comparisons of a cap

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from riskrails.caps import CAPS, FULL, ROOMS, caps_usd, excess_usd
from riskrails.cells import Cell, cells_of
from riskrails.errors import RiskInputError
from riskrails.features import (
    MAX_PRICE,
    MAX_USD,
    MIN_PRICE,
    Inputs,
    LiveFeatures,
    as_number,
    exposure_problem,
    find_problems,
)
from riskrails.order import NO_CODES, Codes, Order, make_order
from riskrails.policy import Policy, dynamic_policy, regime_multiplier
from riskrails.refusals import (
    STRICT,
    allowed_leverage,
    contract_error,
    reason_messages,
    refused,
    strict_field,
    whole_positions,
)
from riskrails.state import RiskState, View, view_of
from riskrails.stops import gap_fraction, loss_per_usd, stop_pct
from riskrails.venue import Venue, VenueRules, floor_steps, round_stop, steps_to_number

__all__ = ["Desk", "size_order"]


class Desk:
    """Everything a call reads besides its arguments, worked out once: policy cells, judged state, venues.

    Immutable by habit: RiskRails swaps the whole desk by reference, and a call reads the reference once.
    """

    __slots__ = ("cells", "policy", "state", "unknown_venue", "venues", "view")

    def __init__(self, policy: Policy, venue_rules: Mapping[str, VenueRules], state: RiskState) -> None:
        self.policy = policy
        self.cells: dict[tuple[str, str], Cell] = cells_of(policy)
        self.venues: dict[str, Venue] = {name: Venue.of(rules, policy) for name, rules in venue_rules.items()}
        self.unknown_venue = Venue.of(VenueRules(), policy)
        self.state = state
        self.view: View = view_of(state, policy)

    def with_state(self, state: RiskState) -> Desk:
        """The same desk on another state."""
        desk = Desk.__new__(Desk)
        desk.policy, desk.cells, desk.venues = self.policy, self.cells, self.venues
        desk.unknown_venue = self.unknown_venue
        desk.state = state
        desk.view = view_of(state, self.policy)
        return desk


def size_order(
    desk: Desk,
    strat_name: str,
    strat_type: str,
    base_tf: str,
    leverage_allowed: bool | float,
    live: LiveFeatures,
    equity_usd: float,
    open_risk_sum_pct: float,
    open_positions: int,
    exposure_total_usd: float,
    exposure_by_symbol: Mapping[str, float],
    regime_signal: str | float | None,
    strict: bool,
) -> Order:
    """One order from one desk; see `RiskRails.compute_order` for the arguments."""
    policy, view = desk.policy, desk.view
    # 1. Validate.
    try:
        cell = desk.cells[strat_type, base_tf]
        symbol, price, atr, spread_bps = live.symbol, live.price, live.atr_pct, live.spread_bps
        depth, volume, funding = live.depth10bps_usd, live.vol1m_usd, live.funding
        heat, velocity, liq = live.event_heat, live.velocity, live.liq_score
        amounts = exposure_by_symbol.values()
        own = exposure_by_symbol.get(symbol, 0.0)
    except (KeyError, TypeError, AttributeError) as error:
        broken = contract_error(policy, strat_name, strat_type, base_tf, live, exposure_by_symbol)
        raise broken or error from error
    if not (isinstance(strat_name, str) and strat_name and isinstance(symbol, str) and symbol) or (
        type(exposure_by_symbol) is not dict and not isinstance(exposure_by_symbol, Mapping)
    ):
        broken = contract_error(policy, strat_name, strat_type, base_tf, live, exposure_by_symbol)
        if broken is not None:
            raise broken
    if leverage_allowed is True:
        leverage = cell.lev_max
    else:
        leverage = allowed_leverage(leverage_allowed)
        if leverage > cell.lev_max:
            leverage = cell.lev_max
    positions = open_positions
    if type(positions) is not int or positions < 0:
        positions = whole_positions(positions)

    equity, open_risk, exposure = equity_usd, open_risk_sum_pct, exposure_total_usd
    if not (
        type(price) is float
        and type(atr) is float
        and type(spread_bps) is float
        and type(depth) is float
        and type(volume) is float
        and type(funding) is float
        and type(heat) is float
        and type(velocity) is float
        and type(liq) is float
        and type(equity) is float
        and type(open_risk) is float
        and type(exposure) is float
        and type(own) is float
    ):
        price, atr, spread_bps = as_number(price), as_number(atr), as_number(spread_bps)
        depth, volume, funding = as_number(depth), as_number(volume), as_number(funding)
        heat, velocity, liq = as_number(heat), as_number(velocity), as_number(liq)
        equity, open_risk, exposure = as_number(equity), as_number(open_risk), as_number(exposure)
        own = as_number(own)
    gross = 0.0
    for amount in amounts:
        if type(amount) is not float:
            amount = as_number(amount)  # noqa: PLW2901  # the same amount, as a float
        gross += amount if amount >= 0.0 else -amount
    if not (
        MIN_PRICE <= price <= MAX_PRICE
        and 0.0 <= atr <= cell.atr_max
        and 0.0 <= spread_bps <= policy.spread_plausible_bps
        and 0.0 <= depth <= MAX_USD
        and 0.0 <= volume <= MAX_USD
        and -policy.funding_plausible <= funding <= policy.funding_plausible
        and 0.0 <= heat <= 1.0
        and -math.inf < velocity < math.inf
        and 0.0 <= liq <= 1.0
        and -MAX_USD <= equity <= MAX_USD
        and 0.0 <= open_risk <= 1.0
        and 0.0 <= exposure <= MAX_USD
        and gross <= MAX_USD
    ):
        given = Inputs(
            live.price,
            live.atr_pct,
            live.spread_bps,
            live.depth10bps_usd,
            live.vol1m_usd,
            live.funding,
            live.event_heat,
            live.velocity,
            live.liq_score,
            equity_usd,
            open_risk_sum_pct,
            exposure_total_usd,
        )
        return _bad_data(desk, cell, strat_name, symbol, given, exposure_by_symbol, positions, strict)
    warnings: list[str] = []
    if gross > exposure:
        if gross > policy.exposure_mismatch * exposure:
            warnings.append("EXPOSURE_MISMATCH")
        exposure = gross
    if own < 0.0:
        own = -own
    speed = velocity if velocity >= 0.0 else -velocity
    carry = funding if funding >= 0.0 else -funding

    # 2. Gates, all of them.
    reasons: list[str] = []
    if view.halted:
        reasons.append("HALTED")
    if view.in_drawdown:
        reasons.append("DRAWDOWN")
    if equity <= 0.0:
        reasons.append("NO_EQUITY")
        equity = 0.0
    if atr == 0.0:
        reasons.append("ZERO_ATR")
    if depth == 0.0 or volume == 0.0:
        reasons.append("NO_LIQUIDITY")
    if positions >= policy.max_positions:
        reasons.append("MAX_POSITIONS")
    if spread_bps > cell.max_spread_bps:
        reasons.append("SPREAD_WIDE")
    if liq < policy.liq_score_min:
        reasons.append("LIQ_SCORE_LOW")
    if not cell.is_event:
        if heat >= policy.event_heat_max:
            reasons.append("EVENT_GATE")
        if speed >= policy.velocity_max:
            reasons.append("VELOCITY_GATE")
    if carry >= policy.funding_max and cell.holds_funding:
        reasons.append("FUNDING_EXTREME")

    # 3. Stop.  4. Loss per dollar.
    venue = desk.venues.get(symbol, desk.unknown_venue)
    spread = spread_bps / 1e4
    stop = stop_pct(cell.k, atr, cell.stop_floor, spread, policy.stop_floor_spreads)
    sigma = atr * cell.sigma_per_atr
    loss, fee, _, impact, funding_cost, gap = loss_per_usd(
        stop,
        gap_fraction(heat, liq, policy.gap_base, policy.gap_event, policy.gap_illiquid),
        venue.fee_taker_bps,
        spread,
        sigma,
        cell.impact_per_sigma,
        carry,
        cell.funding_periods,
    )

    # 5. Multipliers.  6. Budget.
    m_regime = regime_multiplier(cell.regimes, regime_signal)
    regime_known = m_regime is not None
    factors = dynamic_policy(
        policy,
        cell,
        view.drawdown,
        policy.regime_unknown if m_regime is None else m_regime,
        atr,
        spread_bps,
        heat,
        speed,
        liq,
        carry,
    )
    m = factors[0]
    share = view.shares.get(strat_name)
    if share is None:
        share = view.missing_share
        warnings.append("SHARE_MISSING")
    if view.warnings:
        warnings.extend(view.warnings)
    if not regime_known:
        warnings.append("REGIME_UNKNOWN")
    if venue.step is None:
        warnings.append("STEP_UNKNOWN")
    fraction = policy.r_total * share * cell.type_risk
    if fraction > policy.r_max:
        fraction = policy.r_max
    budget = equity * fraction * m
    edge = view.kelly.get(strat_name) if view.kelly else None
    if edge is not None and equity * edge < budget:
        budget = equity * edge
    if not reasons:
        if stop > cell.stop_ceiling:
            reasons.append("STOP_TOO_WIDE")
        if m < policy.m_min:
            reasons.append("SCALED_OUT")
        if edge == 0.0:
            reasons.append("NEGATIVE_EDGE")

    # 7. Caps.
    largest = venue.max_qty * price * venue.multiplier
    if largest > venue.max_notional:
        largest = venue.max_notional
    caps, now = caps_usd(
        policy,
        cell,
        budget,
        loss,
        equity,
        open_risk,
        leverage,
        exposure,
        own,
        sigma,
        depth,
        volume,
        largest,
    )
    size = min(caps)
    binding = None if reasons else CAPS[caps.index(size)]
    over = 0.0
    if size == 0.0:
        excess = excess_usd(policy, cell, loss, equity, open_risk, leverage, exposure, own, sigma)
        over = max(excess)
        if over > 0.0:
            reasons.extend(FULL[name] for name, usd in zip(ROOMS, excess, strict=True) if usd > 0.0)

    # 8. Rounding.
    left, qty = size, 0.0
    if not reasons:
        unit = price * venue.multiplier
        if venue.step is None:
            qty = size / unit
        else:
            qty = steps_to_number(floor_steps(size, price, venue.multiplier, venue.step), venue.step)
            rounded = qty * unit
            if rounded < size:
                size = rounded
        if size <= 0.0 or size < venue.min_notional or qty < venue.min_qty:
            reasons.append(FULL.get(binding or "", "BELOW_MIN_NOTIONAL"))
    stop_long, stop_short = price * (1.0 - stop), price * (1.0 + stop)
    if stop_long < 0.0:  # refused already: no stop that wide passes
        stop_long = 0.0
    if venue.tick is not None:
        stop_long = round_stop(stop_long, venue.tick, up=True)
        stop_short = round_stop(stop_short, venue.tick, up=False)
        if not reasons and not stop_long < price < stop_short:
            reasons.append("TICK_TOO_COARSE")

    # 9. Mode.
    messages = NO_CODES
    slices = 0
    if reasons:
        reduce = over > 0.0 or view.halted or view.in_drawdown or equity == 0.0
        mode = "reduce" if reduce else "skip"
        seen = {
            "strat_name": strat_name,
            "symbol": symbol,
            "equity_usd": equity_usd,
            "equity": equity,
            "depth": depth,
            "volume": volume,
            "positions": positions,
            "spread_bps": spread_bps,
            "liq_score": liq,
            "event_heat": heat,
            "velocity": velocity,
            "funding": funding,
            "stop": stop,
            "m": m,
            "open_risk": open_risk,
            "exposure": exposure,
            "own": own,
            "leverage": leverage,
            "size": left,
            "min_notional": venue.min_notional,
            "min_qty": venue.min_qty,
            "unit": price * venue.multiplier,
            "step": venue.step,
        }
        messages = reason_messages(reasons, policy, cell, view, seen)
        if strict:
            for code, text in zip(reasons, messages, strict=True):
                if code in STRICT:
                    raise RiskInputError(code, strict_field(code, seen), text)
        size = qty = 0.0
        if over > exposure:  # no more can be cut than is held
            over = exposure
    elif size > now:
        mode = "twap"
        if size > now * policy.slices_max:
            slices = policy.slices_max
            warnings.append("TWAP_SLICES_CAPPED")
        else:
            slices = min(policy.slices_max, math.ceil(size / now))
    else:
        slices = 1
        saved = venue.fee_taker_bps - venue.fee_maker_bps + spread_bps
        rests = saved >= (cell.alpha + speed) * (sigma * 1e4) and heat < policy.maker_heat_max
        mode = "maker" if rests else "taker"

    # 10. Venue leverage: the stop triggers before liquidation.
    highest = float(int(1.0 / (policy.kappa * stop + venue.maintenance_margin)))
    if highest > leverage:
        highest = leverage
    risk_usd = size * loss
    room = {
        "risk": caps[0],
        "open_risk": caps[1],
        "order_notional": caps[2],
        "leverage": caps[3],
        "exposure_total": caps[4],
        "exposure_symbol": caps[5],
        "symbol_vol": caps[6],
        "liquidity": caps[7],
        "venue": caps[8],
    }
    if caps[8] == math.inf:
        del room["venue"]
    if caps[6] == math.inf:
        del room["symbol_vol"]
    return make_order(
        {
            "strat_name": strat_name,
            "symbol": symbol,
            "mode": mode,
            "size_usd": size,
            "qty": qty,
            "stop_pct": stop,
            "stop_price_long": stop_long,
            "stop_price_short": stop_short,
            "leverage": highest if highest > 1.0 else 1.0,
            "risk_usd": risk_usd,
            "risk_pct": risk_usd / equity if equity > 0.0 else 0.0,
            "loss_per_usd": loss,
            "cost_bps": {
                "fee": fee * 1e4,
                "spread": spread * 1e4,
                "impact": impact * 1e4,
                "funding": funding_cost * 1e4,
                "gap": gap * 1e4,
            },
            "caps": room,
            "binding": binding,
            "multipliers": {
                "m": m,
                "m_dd": factors[1],
                "m_regime": factors[2],
                "m_vol": factors[3],
                "m_micro": factors[4],
                "micro_spread": factors[5],
                "micro_event": factors[6],
                "micro_velocity": factors[7],
                "micro_liquidity": factors[8],
                "micro_funding": factors[9],
            },
            "reasons": Codes(reasons) if reasons else NO_CODES,
            "warnings": Codes(warnings) if warnings else NO_CODES,
            "slices": slices,
            "reduce_usd": over if reasons and over > 0.0 else 0.0,
            "policy_version": policy.version,
            "messages": messages,
        }
    )


def _bad_data(
    desk: Desk,
    cell: Cell,
    strat_name: str,
    symbol: str,
    given: Inputs,
    exposure_by_symbol: Mapping[str, object],
    positions: int,
    strict: bool,
) -> Order:
    """The order for inputs no size can be worked out from, with every fault, and the account's own gates."""
    policy, view = desk.policy, desk.view
    problems = find_problems(
        given,
        tf=cell.tf,
        atr_max=cell.atr_max,
        funding_plausible=policy.funding_plausible,
        spread_plausible_bps=policy.spread_plausible_bps,
    )
    fault = exposure_problem(exposure_by_symbol)
    if fault is not None:
        problems.append(fault)
    if strict:
        raise RiskInputError(*problems[0])
    gates = []
    if view.halted:
        gates.append("HALTED")
    if view.in_drawdown:
        gates.append("DRAWDOWN")
    if -MAX_USD <= as_number(given.equity_usd) <= 0.0:
        gates.append("NO_EQUITY")
    if positions >= policy.max_positions:
        gates.append("MAX_POSITIONS")
    seen: dict[str, Any] = {"equity_usd": given.equity_usd, "positions": positions}
    texts = [problem.message for problem in problems]
    texts.extend(reason_messages(gates, policy, cell, view, seen))
    return refused(policy, strat_name, symbol, [*(p.code for p in problems), *gates], texts)
