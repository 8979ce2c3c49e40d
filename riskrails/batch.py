"""compute_orders: the formulas of compute_order over arrays of rows, for backtests.

Pure.  The single call is written in plain floats because a tick waits for it; here the same steps are array
operations in the same order, so that each row comes out equal to the last bit.  Property tests hold the two
together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from riskrails.adapter import Desk
from riskrails.caps import CAPS, DUST, FULL, ROOMS
from riskrails.cells import Cell
from riskrails.columns import (
    Floats,
    Texts,
    fractions,
    leverages,
    live_columns,
    mapping_columns,
    numbers,
    positions,
    regimes,
    row_count,
    texts,
)
from riskrails.errors import RiskInputError
from riskrails.features import FEATURES, MAX_PRICE, MAX_USD, MIN_PRICE
from riskrails.order import MODES, REASONS, WARNINGS
from riskrails.orders import Bits, Orders, bits
from riskrails.policy import MULTIPLIERS, Policy
from riskrails.refusals import contract_error
from riskrails.stops import COSTS, gap_fraction, loss_per_usd
from riskrails.venue import CLEAR, SAFE_STEPS, Step, Venue, floor_steps, round_stop, steps_to_number

__all__ = ["size_orders"]

CHUNK = 8192
"""Rows at a time: a column of them stays in a core's cache."""
EXACT = 2.0**53
"""Whole numbers below it are exact as floats."""

BIT = bits(REASONS)
WARN = bits(WARNINGS)
Mask = NDArray[np.bool_]


@dataclass(slots=True)
class _Batch:
    """The inputs of all rows, judged as to contract but not as to data."""

    rows: int
    strat_name: Texts
    symbol: Texts
    cells: list[Cell]
    cell_code: NDArray[np.intp] | None
    leverage: Floats
    positions: NDArray[np.int64]
    data: dict[str, Floats]
    by_symbol: dict[str, Floats]
    regime: Floats
    drawdown: Floats | None
    share: Floats | None


def _read(desk: Desk, arguments: Mapping[str, Any]) -> _Batch:
    """Columns of everything, or the RiskInputError a single call would have raised."""
    policy = desk.policy
    live = live_columns(arguments["live"])
    by_symbol = arguments["exposure_by_symbol"]
    broken = contract_error(
        policy, "-", next(iter(policy.strategies)), next(iter(policy.timeframes)), live, {}
    )
    if broken is not None and broken.field != "live.symbol":
        raise broken
    if not isinstance(by_symbol, Mapping):
        message = f"exposure_by_symbol={by_symbol!r}: want a mapping from symbol to a column of USD"
        raise RiskInputError("E_EXPOSURE_MAP", "exposure_by_symbol", message)
    scalars = [arguments[name] for name in arguments if name not in {"live", "exposure_by_symbol"}]
    features = [getattr(live, name) for name in ("symbol", *FEATURES)]
    rows = row_count([*scalars, *features, *by_symbol.values()])

    def check(name: str) -> Any:
        """The contract's check of one text argument, the others being in order."""
        kind, frame = next(iter(policy.strategies)), next(iter(policy.timeframes))
        right: dict[str, object] = {"strat_name": "-", "strat_type": kind, "base_tf": frame, "symbol": "-"}

        def run(value: object) -> None:
            given = right | {name: value}
            row = _Row(given["symbol"])
            error = contract_error(
                policy, given["strat_name"], given["strat_type"], given["base_tf"], row, {}
            )
            if error is not None:
                raise error

        return run

    kinds, kind_code = texts(arguments["strat_type"], rows, check("strat_type"))
    frames, frame_code = texts(arguments["base_tf"], rows, check("base_tf"))
    cells = [desk.cells[kind, frame] for kind in kinds for frame in frames] if rows else []
    cell_code: NDArray[np.intp] | None = None
    if len(cells) > 1:
        first = kind_code if kind_code is not None else np.zeros(rows, dtype=np.intp)
        second = frame_code if frame_code is not None else np.zeros(rows, dtype=np.intp)
        cell_code = first * len(frames) + second
    data = {name: numbers(getattr(live, name), rows) for name in FEATURES}
    for name in ("equity_usd", "open_risk_sum_pct", "exposure_total_usd"):
        data[name] = numbers(arguments[name], rows)
    drawdown, share = arguments["drawdown_pct"], arguments["risk_share"]
    return _Batch(
        rows=rows,
        strat_name=texts(arguments["strat_name"], rows, check("strat_name")),
        symbol=texts(live.symbol, rows, check("symbol")),
        cells=cells,
        cell_code=cell_code,
        leverage=leverages(arguments["leverage_allowed"], rows),
        positions=positions(arguments["open_positions"], rows),
        data=data,
        by_symbol=mapping_columns(by_symbol, rows),
        regime=regimes(arguments["regime_signal"], rows),
        drawdown=None if drawdown is None else fractions("drawdown_pct", drawdown, rows),
        share=None if share is None else fractions("risk_share", share, rows),
    )


class _Row:
    """A live row whose numbers do not matter, to judge a symbol by the contract."""

    def __init__(self, symbol: object) -> None:
        self.symbol = symbol

    def __getattr__(self, name: str) -> float:
        return 0.0


def size_orders(desk: Desk, arguments: Mapping[str, Any]) -> Orders:
    """All rows of a batch; see `RiskRails.compute_orders`."""
    batch = _read(desk, arguments)
    n = batch.rows
    orders = Orders(
        strat_name=batch.strat_name,
        symbol=batch.symbol,
        mode_code=np.zeros(n, dtype=np.uint8),
        size_usd=np.zeros(n),
        qty=np.zeros(n),
        stop_pct=np.zeros(n),
        stop_price_long=np.zeros(n),
        stop_price_short=np.zeros(n),
        leverage=np.ones(n),
        risk_usd=np.zeros(n),
        risk_pct=np.zeros(n),
        loss_per_usd=np.zeros(n),
        cost_bps={name: np.zeros(n) for name in COSTS},
        caps={name: np.zeros(n) for name in CAPS},
        binding_code=np.full(n, -1, dtype=np.int8),
        multipliers={name: np.zeros(n) for name in MULTIPLIERS},
        reason_bits=np.zeros(n, dtype=np.uint64),
        warning_bits=np.zeros(n, dtype=np.uint64),
        slices=np.zeros(n, dtype=np.int64),
        reduce_usd=np.zeros(n),
        bad_data=np.zeros(n, dtype=np.bool_),
        policy_version=desk.policy.version,
    )
    # Rows with bad data run through the formulas and are blanked at the end: NaN there is no accident.
    with np.errstate(all="ignore"):
        for start in range(0, n, CHUNK):
            _size_chunk(desk, batch, orders, slice(start, min(n, start + CHUNK)))
    return orders


def _column(values: list[Any], codes: NDArray[np.intp] | None, rows: slice) -> Any:
    """A constant per row; the constant itself where all rows share it."""
    if codes is None or len(values) == 1:
        return values[0]
    return np.array(values)[codes[rows]]


def _ramp(x: Floats, soft: Any, hard: Any, floor: float) -> Floats:
    """`policy.ramp` over rows."""
    y = np.maximum(1.0 - (1.0 - floor) * ((x - soft) / (hard - soft)), floor)
    return np.where(x <= soft, 1.0, np.where(x >= hard, floor, y))


def _size_chunk(desk: Desk, batch: _Batch, out: Orders, rows: slice) -> None:
    """One chunk of rows, step by step as in `adapter.size_order`."""
    policy, view = desk.policy, desk.view
    codes = batch.cell_code

    def cell(name: str) -> Any:
        return _column([getattr(c, name) for c in batch.cells], codes, rows)

    data = {name: column[rows] for name, column in batch.data.items()}
    price, atr, spread_bps = data["price"], data["atr_pct"], data["spread_bps"]
    depth, volume, funding = data["depth10bps_usd"], data["vol1m_usd"], data["funding"]
    heat, velocity, liq = data["event_heat"], data["velocity"], data["liq_score"]
    equity, open_risk, exposure = data["equity_usd"], data["open_risk_sum_pct"], data["exposure_total_usd"]
    count = len(price)
    leverage = np.minimum(batch.leverage[rows], cell("lev_max"))
    reasons = np.zeros(count, dtype=np.uint64)
    warnings = np.zeros(count, dtype=np.uint64)

    def flag(bitmask: Bits, bit: np.uint64, where: Mask) -> None:
        bitmask |= where * bit

    # 1. Validate.
    speed, carry = np.abs(velocity), np.abs(funding)
    gross, own = np.zeros(count), np.zeros(count)
    symbols, symbol_codes = batch.symbol
    for name, column in batch.by_symbol.items():
        amount = np.abs(column[rows])
        gross = gross + amount
        if symbol_codes is None:
            if symbols[0] == name:
                own = amount
        elif name in symbols:
            own = np.where(symbol_codes[rows] == symbols.index(name), amount, own)
    for code, good in (
        ("BAD_PRICE", (price >= MIN_PRICE) & (price <= MAX_PRICE)),
        ("BAD_ATR", (atr >= 0.0) & (atr <= cell("atr_max"))),
        ("BAD_SPREAD", (spread_bps >= 0.0) & (spread_bps <= policy.spread_plausible_bps)),
        ("BAD_DEPTH", (depth >= 0.0) & (depth <= MAX_USD)),
        ("BAD_VOLUME", (volume >= 0.0) & (volume <= MAX_USD)),
        ("BAD_FUNDING", carry <= policy.funding_plausible),
        ("BAD_EVENT_HEAT", (heat >= 0.0) & (heat <= 1.0)),
        ("BAD_VELOCITY", speed < np.inf),
        ("BAD_LIQ_SCORE", (liq >= 0.0) & (liq <= 1.0)),
        ("BAD_EQUITY", np.abs(equity) <= MAX_USD),
        ("BAD_OPEN_RISK", (open_risk >= 0.0) & (open_risk <= 1.0)),
        ("BAD_EXPOSURE_TOTAL", (exposure >= 0.0) & (exposure <= MAX_USD)),
        ("BAD_EXPOSURE_SYMBOL", gross <= MAX_USD),
    ):
        if not good.all():
            flag(reasons, BIT[code], ~good)
    bad = reasons != 0
    higher = gross > exposure
    if higher.any():
        flag(warnings, WARN["EXPOSURE_MISMATCH"], higher & (gross > policy.exposure_mismatch * exposure))
        exposure = np.where(higher, gross, exposure)

    # 2. Gates.
    if view.halted:
        reasons |= BIT["HALTED"]
    drawdown = view.drawdown if batch.drawdown is None else batch.drawdown[rows]
    fallen = np.broadcast_to(np.asarray(drawdown >= policy.dd_max), (count,))
    flag(reasons, BIT["DRAWDOWN"], fallen)
    broke = (equity <= 0.0) & (equity >= -MAX_USD)
    flag(reasons, BIT["NO_EQUITY"], broke)
    equity = np.where(broke, 0.0, equity)
    flag(reasons, BIT["MAX_POSITIONS"], batch.positions[rows] >= policy.max_positions)
    is_event = np.asarray(cell("is_event"))
    market = (
        ("ZERO_ATR", atr == 0.0),
        ("NO_LIQUIDITY", (depth == 0.0) | (volume == 0.0)),
        ("SPREAD_WIDE", spread_bps > cell("max_spread_bps")),
        ("LIQ_SCORE_LOW", liq < policy.liq_score_min),
        ("EVENT_GATE", (heat >= policy.event_heat_max) & ~is_event),
        ("VELOCITY_GATE", (speed >= policy.velocity_max) & ~is_event),
        ("FUNDING_EXTREME", (carry >= policy.funding_max) & np.asarray(cell("holds_funding"))),
    )
    for code, shut in market:
        flag(reasons, BIT[code], shut & ~bad)

    # 3. Stop.  4. Loss per dollar.
    venues = [desk.venues.get(name, desk.unknown_venue) for name in symbols]

    def venue(name: str) -> Any:
        return _column([getattr(v, name) for v in venues], symbol_codes, rows)

    spread = spread_bps / 1e4
    stop = np.maximum(np.maximum(cell("k") * atr, cell("stop_floor")), policy.stop_floor_spreads * spread)
    sigma = atr * cell("sigma_per_atr")
    loss, fee, _, impact, funding_cost, gap = loss_per_usd(
        stop,
        gap_fraction(heat, liq, policy.gap_base, policy.gap_event, policy.gap_illiquid),
        venue("fee_taker_bps"),
        spread,
        sigma,
        cell("impact_per_sigma"),
        carry,
        cell("funding_periods"),
    )

    # 5. Multipliers.
    factors = _multipliers(policy, batch, rows, cell, drawdown, atr, spread_bps, heat, speed, liq, carry)
    m = factors[0]

    # 6. Budget.
    names_, name_codes = batch.strat_name
    if batch.share is not None:
        share: Any = batch.share[rows]
    else:
        share = _column([view.shares.get(name, view.missing_share) for name in names_], name_codes, rows)
        missing = np.asarray(_column([name not in view.shares for name in names_], name_codes, rows))
        flag(warnings, WARN["SHARE_MISSING"], np.broadcast_to(missing, (count,)))
    for code in view.warnings:
        if not (code == "SHARES_STALE" and batch.share is not None) and not (
            code == "DRAWDOWN_UNKNOWN" and batch.drawdown is not None
        ):
            warnings |= WARN[code]
    flag(warnings, WARN["REGIME_UNKNOWN"], np.isnan(batch.regime[rows]))
    stepless = np.asarray(_column([v.step is None for v in venues], symbol_codes, rows))
    flag(warnings, WARN["STEP_UNKNOWN"], np.broadcast_to(stepless, (count,)))
    fraction = np.minimum(policy.r_total * share * cell("type_risk"), policy.r_max)
    budget = equity * fraction * m
    passed = reasons == 0
    if view.kelly:
        edge = np.asarray(_column([view.kelly.get(name, np.inf) for name in names_], name_codes, rows))
        budget = np.where(np.isinf(edge), budget, np.minimum(budget, equity * edge))
        flag(reasons, BIT["NEGATIVE_EDGE"], passed & (edge == 0.0))
    flag(reasons, BIT["STOP_TOO_WIDE"], passed & (stop > cell("stop_ceiling")))
    flag(reasons, BIT["SCALED_OUT"], passed & (m < policy.m_min))

    # 7. Caps.
    caps, now, excess = _caps(
        policy,
        cell,
        venue,
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
        price,
    )
    size, binding = caps[0].copy(), np.zeros(count, dtype=np.int8)
    for place in range(1, len(caps)):
        smaller = caps[place] < size
        np.copyto(size, caps[place], where=smaller)
        binding[smaller] = place
    binding[reasons != 0] = -1
    over = np.zeros(count)
    full = (size == 0.0) & ~bad
    if full.any():
        for name, usd in zip(ROOMS, excess, strict=True):
            flag(reasons, BIT[FULL[name]], full & (usd > 0.0))
            over = np.where(full, np.maximum(over, usd), over)

    # 8. Rounding.
    unit = price * venue("multiplier")
    live_rows = reasons == 0
    qty = _quantities(venues, symbol_codes, rows, size, price, unit, live_rows)
    size = np.where(np.broadcast_to(stepless, (count,)), size, np.minimum(size, qty * unit))
    small = live_rows & ((size <= 0.0) | (size < venue("min_notional")) | (qty < venue("min_qty")))
    if small.any():
        for place, name in enumerate(CAPS):
            flag(reasons, BIT[FULL.get(name, "BELOW_MIN_NOTIONAL")], small & (binding == place))
    stop_long = _stop_prices(venues, symbol_codes, rows, np.maximum(price * (1.0 - stop), 0.0), bad, up=True)
    stop_short = _stop_prices(venues, symbol_codes, rows, price * (1.0 + stop), bad, up=False)
    ticked = np.broadcast_to(
        np.asarray(_column([v.tick is not None for v in venues], symbol_codes, rows)), (count,)
    )
    inside = (stop_long < price) & (price < stop_short)
    flag(reasons, BIT["TICK_TOO_COARSE"], ticked & (reasons == 0) & ~inside)

    # 9. Mode.
    refused = reasons != 0
    size, qty = np.where(refused, 0.0, size), np.where(refused, 0.0, qty)
    saved = venue("fee_taker_bps") - venue("fee_maker_bps") + spread_bps
    rests = (saved >= (cell("alpha") + speed) * (sigma * 1e4)) & (heat < policy.maker_heat_max)
    patient = size > now
    mode = np.where(patient, MODES.index("twap"), np.where(rests, MODES.index("maker"), MODES.index("taker")))
    cutting = (over > 0.0) | view.halted | fallen | (equity == 0.0)
    mode = np.where(refused, np.where(cutting & ~bad, MODES.index("reduce"), MODES.index("skip")), mode)
    slices = np.where(refused, 0, 1)
    if patient.any():
        capped = patient & (size > now * policy.slices_max)
        flag(warnings, WARN["TWAP_SLICES_CAPPED"], capped)
        parts = np.minimum(np.ceil(size / now), policy.slices_max)
        parts = np.where(capped, policy.slices_max, parts)
        slices = np.where(patient, np.where(patient, parts, 0.0).astype(np.int64), slices)

    # 10. Venue leverage.
    highest = np.floor(1.0 / (policy.kappa * stop + venue("maintenance_margin")))
    highest = np.maximum(np.minimum(highest, leverage), 1.0)
    risk = size * loss

    def put(target: Any, column: Any, blank: Any = 0.0) -> None:
        target[rows] = np.where(bad, blank, column) if bad.any() else column

    put(out.size_usd, size)
    put(out.qty, qty)
    put(out.stop_pct, stop)
    put(out.stop_price_long, stop_long, np.nan)
    put(out.stop_price_short, stop_short, np.nan)
    put(out.leverage, highest, 1.0)
    put(out.risk_usd, risk)
    put(out.risk_pct, np.where(equity > 0.0, risk / equity, 0.0))
    put(out.loss_per_usd, loss)
    for name, cost in zip(COSTS, (fee, spread, impact, funding_cost, gap), strict=True):
        put(out.cost_bps[name], cost * 1e4)
    for name, cap in zip(CAPS, caps, strict=True):
        put(out.caps[name], cap)
    for name, factor in zip(MULTIPLIERS, factors, strict=True):
        put(out.multipliers[name], factor)
    put(out.binding_code, binding, -1)
    put(out.mode_code, mode, MODES.index("skip"))
    put(out.slices, slices, 0)
    put(out.reduce_usd, np.where(refused, np.minimum(over, exposure), 0.0))
    out.reason_bits[rows] = reasons
    put(out.warning_bits, warnings, np.uint64(0))
    out.bad_data[rows] = bad


def _multipliers(
    policy: Policy,
    batch: _Batch,
    rows: slice,
    cell: Any,
    drawdown: Any,
    atr: Floats,
    spread_bps: Floats,
    heat: Floats,
    speed: Floats,
    liq: Floats,
    carry: Floats,
) -> tuple[Any, ...]:
    """`policy.dynamic_policy` over rows."""
    regimes_ = [c.regimes for c in batch.cells]

    def regime(name: str) -> Any:
        return _column([r[name] for r in regimes_], batch.cell_code, rows)

    s = batch.regime[rows]
    up = (1.0 - s) * regime("neutral") + s * regime("trend")
    down = (1.0 + s) * regime("neutral") - s * regime("stress")
    m_regime = np.where(np.isnan(s), policy.regime_unknown, np.where(s >= 0.0, up, down))
    line = (policy.dd_max - drawdown) / (policy.dd_max - policy.dd_soft)
    m_dd = np.where(np.asarray(drawdown) <= policy.dd_soft, 1.0, np.maximum(line, 0.0))
    m_vol = np.where(atr > 0.0, cell("vol_numerator") / atr, 0.0)
    m_vol = np.maximum(np.minimum(m_vol, 1.0), policy.vol_floor)
    spread = _ramp(spread_bps, cell("spread_soft"), cell("max_spread_bps"), policy.spread_floor)
    event = 1.0 - cell("event_slope") * heat
    velocity = _ramp(speed, policy.velocity_soft, policy.velocity_hard, policy.velocity_floor)
    liquidity = np.minimum(policy.liq_base + (1.0 - policy.liq_base) * liq, 1.0)
    funding = _ramp(carry, policy.funding_soft, policy.funding_hard, policy.funding_floor)
    m_micro = np.minimum(np.minimum(np.minimum(np.minimum(spread, event), velocity), liquidity), funding)
    m = m_dd * m_regime * m_vol * m_micro
    return (m, m_dd, m_regime, m_vol, m_micro, spread, event, velocity, liquidity, funding)


def _down(quotient: Floats, divisor: Floats, dividend: Floats) -> Floats:
    """The quotient, one float lower where multiplying it back would exceed the dividend."""
    high = quotient * divisor > dividend
    if high.any():
        quotient = np.where(high, np.nextafter(quotient, 0.0), quotient)
    return quotient


def _caps(
    policy: Policy,
    cell: Any,
    venue: Any,
    budget: Floats,
    loss: Floats,
    equity: Floats,
    open_risk: Floats,
    leverage: Floats,
    exposure: Floats,
    own: Floats,
    sigma: Floats,
    depth: Floats,
    volume: Floats,
    price: Floats,
) -> tuple[list[Floats], Floats, list[Floats]]:
    """`caps.caps_usd` and `caps.excess_usd` over rows."""
    heat = equity * (policy.h_max - open_risk)
    limits = (equity * leverage, policy.gross_max * equity, policy.sym_max * equity)
    vol_limit = np.where(sigma > 0.0, equity * policy.tau_sym / (sigma * cell("year_per_minute")), np.inf)
    now = np.minimum(policy.depth_share * depth, policy.participation_now * volume)
    patient = policy.participation_twap * volume * policy.twap_minutes
    liquidity = np.where(np.asarray(cell("is_scalp")), now, np.maximum(now, patient))
    largest = np.minimum(venue("max_qty") * price * venue("multiplier"), venue("max_notional"))
    caps = [
        _down(budget / loss, loss, budget),
        np.maximum(_down(heat / loss, loss, heat), 0.0),
        policy.order_max * equity,
        np.maximum(limits[0] - exposure, 0.0),
        np.maximum(limits[1] - exposure, 0.0),
        np.maximum(limits[2] - own, 0.0),
        np.maximum(vol_limit - own, 0.0),
        liquidity,
        largest,
    ]
    pairs = (
        (equity * open_risk / loss, equity * policy.h_max / loss),
        (exposure, limits[0]),
        (exposure, limits[1]),
        (own, limits[2]),
        (own, vol_limit),
    )
    excess = []
    for used, limit in pairs:
        above = used - limit
        excess.append(np.where(above > DUST * limit, above, 0.0))
    return caps, now, excess


def _groups(
    venues: list[Venue], codes: NDArray[np.intp] | None, rows: slice, wanted: Mask
) -> list[tuple[Venue, NDArray[np.intp]]]:
    """The wanted rows of each symbol."""
    if codes is None:
        return [(venues[0], np.flatnonzero(wanted))]
    part = codes[rows]
    return [(venues[code], np.flatnonzero(wanted & (part == code))) for code in np.unique(part)]


def _on_grid(quotient: Floats, step: Step, steps: Floats) -> tuple[Floats, Mask]:
    """Multiples of the step as floats, and where binary arithmetic proves them right."""
    rest = quotient - np.floor(quotient)
    margin = CLEAR * quotient
    sure = (quotient < SAFE_STEPS) & (rest > margin) & (rest < 1.0 - margin)
    whole = steps * float(step.mantissa)
    sure &= whole < EXACT  # below it the product is exact and the division rounds once, as whole numbers do
    return whole / float(step.scale), sure


def _quantities(
    venues: list[Venue],
    codes: NDArray[np.intp] | None,
    rows: slice,
    size: Floats,
    price: Floats,
    unit: Floats,
    wanted: Mask,
) -> Floats:
    """Quantities, floored to each venue's step."""
    qty = np.zeros(len(size))
    for venue, place in _groups(venues, codes, rows, wanted):
        if venue.step is None:
            qty[place] = size[place] / unit[place]
            continue
        quotient = size[place] / (unit[place] * venue.step.number)
        grid, sure = _on_grid(quotient, venue.step, np.floor(quotient))
        qty[place] = grid
        for row in place[~sure]:
            steps = floor_steps(float(size[row]), float(price[row]), venue.multiplier, venue.step)
            qty[row] = steps_to_number(steps, venue.step)
    return qty


def _stop_prices(
    venues: list[Venue],
    codes: NDArray[np.intp] | None,
    rows: slice,
    raw: Floats,
    bad: Mask,
    *,
    up: bool,
) -> Floats:
    """Stop prices, rounded toward the entry where the venue has a tick."""
    if all(venue.tick is None for venue in venues):
        return raw
    prices = raw.copy()
    for venue, place in _groups(venues, codes, rows, ~bad):
        if venue.tick is None:
            continue
        quotient = raw[place] / venue.tick.number
        grid, sure = _on_grid(quotient, venue.tick, np.floor(quotient) + (1.0 if up else 0.0))
        prices[place] = grid
        for row in place[~sure]:
            prices[row] = round_stop(float(raw[row]), venue.tick, up=up)
    return prices
