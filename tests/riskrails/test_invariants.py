"""The seventeen invariants, each as a property over the whole plausible range."""

from __future__ import annotations

import copy
import json
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from riskrails import LiveFeatures, Order, Policy, RiskRails, RiskState
from riskrails.state import view_of
from tests.riskrails.desk import ACCOUNT, FEATURES, rails, size
from tests.riskrails.strategies import POLICY, calls, desks, examples, numbers, states

HAIR = 1e-12
"""Relative room for the rounding of a comparison that the code does not make itself."""


def _unit(desk: RiskRails, arguments: dict[str, Any]) -> float:
    """USD of one quantity step; 0 without one."""
    rules = desk.venue_rules.get(arguments["live"].symbol)
    if rules is None or rules.step is None:
        return 0.0
    return float(rules.step.number * arguments["live"].price * rules.multiplier)


@given(desks(), calls())
def test_01_size_is_finite_not_negative_and_a_multiple_of_the_step(
    desk: RiskRails, arguments: dict[str, Any]
) -> None:
    """The quantity is a whole number of steps, as decimals, and the size is its notional."""
    order = desk.compute_order(**arguments)
    assert 0.0 <= order.size_usd < math.inf
    assert 0.0 <= order.qty < math.inf
    rules = desk.venue_rules.get(order.symbol)
    if rules is not None and rules.step is not None:
        assert Decimal(repr(order.qty)) % rules.step.exact == 0
        notional = order.qty * (arguments["live"].price * rules.multiplier)
        assert order.size_usd == pytest.approx(notional, rel=HAIR)
        assert order.size_usd <= notional


@given(desks(), calls())
def test_02_size_is_under_every_cap_and_within_a_step_of_the_binding_one(
    desk: RiskRails, arguments: dict[str, Any]
) -> None:
    """No cap is exceeded, not by the last bit, and nothing but rounding separates size and binding cap."""
    order = desk.compute_order(**arguments)
    for name, cap in order.caps.items():
        assert order.size_usd <= cap, name
    if order.size_usd > 0:
        assert order.binding is not None
        short = order.caps[order.binding] - order.size_usd
        assert short <= _unit(desk, arguments) * (1 + 1e-9) + HAIR * order.size_usd


@given(desks(), calls())
def test_03_the_loss_at_the_stop_never_exceeds_the_budget(desk: RiskRails, arguments: dict[str, Any]) -> None:
    """Size × L ≤ r_max × equity, compared as floats without a tolerance."""
    order = desk.compute_order(**arguments)
    assert order.size_usd * order.loss_per_usd <= POLICY.r_max * arguments["equity_usd"]
    assert order.risk_usd == order.size_usd * order.loss_per_usd


@given(desks(), calls())
def test_04_open_risk_stays_under_the_heat_limit(desk: RiskRails, arguments: dict[str, Any]) -> None:
    """Open risk and the new order's risk together are at most h_max of equity."""
    order = desk.compute_order(**arguments)
    if order.size_usd > 0:
        heat = arguments["open_risk_sum_pct"] + order.size_usd * order.loss_per_usd / arguments["equity_usd"]
        assert heat <= POLICY.h_max * (1 + HAIR)


@given(desks(), calls())
def test_05_exposures_stay_under_their_limits(desk: RiskRails, arguments: dict[str, Any]) -> None:
    """Gross exposure, leverage and the symbol's exposure hold after the order."""
    order = desk.compute_order(**arguments)
    if order.size_usd > 0:
        equity, by_symbol = arguments["equity_usd"], arguments["exposure_by_symbol"]
        gross = max(arguments["exposure_total_usd"], sum(abs(usd) for usd in by_symbol.values()))
        allowed = arguments["leverage_allowed"]
        most = POLICY.strategies[arguments["strat_type"]].lev_max
        lever = most if allowed is True else min(most, allowed or 1.0)
        assert gross + order.size_usd <= POLICY.gross_max * equity * (1 + HAIR)
        assert gross + order.size_usd <= lever * equity * (1 + HAIR)
        own = abs(by_symbol.get(order.symbol, 0.0))
        assert own + order.size_usd <= POLICY.sym_max * equity * (1 + HAIR)


@given(desks(), calls())
def test_06_no_size_exactly_with_no_order_exactly_with_reasons(
    desk: RiskRails, arguments: dict[str, Any]
) -> None:
    """Size 0, mode skip or reduce, and a reason come together or not at all."""
    order = desk.compute_order(**arguments)
    assert (order.size_usd == 0) == (order.mode in {"skip", "reduce"}) == bool(order.reasons)
    assert (order.slices == 0) == (order.size_usd == 0)
    assert (order.qty == 0) == (order.size_usd == 0)
    assert len(order.messages) == len(order.reasons) == len(set(order.reasons))


@given(calls(), st.sampled_from(["equity", "venue", "daily_loss", "manual", "any other"]), states())
def test_07_any_open_breaker_stops_everything(arguments: dict[str, Any], name: str, state: RiskState) -> None:
    """Whatever the market and whichever the breaker: size 0, HALTED, only exposure-cutting orders."""
    desk = RiskRails(state=state)
    desk.set_breakers({"equity": False, name: True})
    order = desk.compute_order(**arguments)
    assert order.size_usd == 0
    assert order.mode == "reduce"
    assert "HALTED" in order.reasons


WORSE_UP = (
    "spread_bps",
    "event_heat",
    "velocity",
    "funding",
    "atr_pct",
    "open_risk_sum_pct",
    "exposure_total_usd",
    "exposure_by_symbol",
    "open_positions",
)
BETTER_UP = ("depth10bps_usd", "vol1m_usd", "liq_score", "equity_usd")
RANGES: dict[str, tuple[float, float]] = {
    "spread_bps": (0.0, 30.0),
    "event_heat": (0.0, 1.0),
    "velocity": (0.0, 8.0),
    "funding": (0.0, 0.004),
    "atr_pct": (1e-6, 0.02),
    "open_risk_sum_pct": (0.0, 0.08),
    "exposure_total_usd": (0.0, 4e5),
    "exposure_by_symbol": (0.0, 2e5),
    "open_positions": (0, 10),
    "depth10bps_usd": (0.0, 1e6),
    "vol1m_usd": (0.0, 1e6),
    "liq_score": (0.0, 1.0),
    "equity_usd": (-1e3, 1e6),
}


def _with(arguments: dict[str, Any], name: str, value: float) -> dict[str, Any]:
    changed = dict(arguments)
    if name in FEATURES:
        live = arguments["live"]
        fields = {field: getattr(live, field) for field in LiveFeatures.__slots__}
        changed["live"] = LiveFeatures(**(fields | {name: value}))
    elif name == "exposure_by_symbol":
        changed[name] = {"BTC-USD": value}
    else:
        changed[name] = value
    return changed


@pytest.mark.parametrize("name", [*WORSE_UP, *BETTER_UP])
@examples(60)
# No tick: one as coarse as the stop refuses the calmer market, whose stop rounds onto the entry.
@given(data=st.data(), desk=desks(ticks=(None,), share_age_seconds=0.0), arguments=calls())
def test_08_size_is_monotone(
    name: str, data: st.DataObject, desk: RiskRails, arguments: dict[str, Any]
) -> None:
    """A worse market or a fuller book never sizes more; a better one never less."""
    low, high = RANGES[name]
    value = st.integers(int(low), int(high)) if name == "open_positions" else numbers(low, high)
    first, second = sorted((data.draw(value), data.draw(value)))
    sign = data.draw(st.sampled_from([1, -1])) if name in {"velocity", "funding"} else 1
    less = desk.compute_order(**_with(arguments, name, sign * first)).size_usd
    more = desk.compute_order(**_with(arguments, name, sign * second)).size_usd
    if name in WORSE_UP:
        assert more <= less
    else:
        assert more >= less


@given(calls(strat_name="momentum"), numbers(0.0, 0.25), numbers(0.0, 0.25))
def test_08_size_never_grows_with_drawdown(arguments: dict[str, Any], one: float, other: float) -> None:
    """A deeper drawdown never sizes more."""
    low, high = sorted((one, other))
    shallow = rails(drawdown_pct=low).compute_order(**arguments).size_usd
    assert rails(drawdown_pct=high).compute_order(**arguments).size_usd <= shallow


@given(calls(strat_name="momentum"), numbers(0.0, 1.0), numbers(0.0, 1.0))
def test_08_size_never_falls_with_the_risk_share(arguments: dict[str, Any], one: float, other: float) -> None:
    """A larger risk share never sizes less."""
    low, high = sorted((one, other))
    small = rails(risk_shares={"momentum": low}).compute_order(**arguments).size_usd
    assert rails(risk_shares={"momentum": high}).compute_order(**arguments).size_usd >= small


@given(calls(), states(), numbers(0.1, 1e4))
def test_09_size_scales_with_the_account_and_the_market(
    arguments: dict[str, Any], state: RiskState, factor: float
) -> None:
    """C times the equity, exposures, depth and volume: c times the size, with steps and minimum off."""
    desk = RiskRails(Policy(min_notional=0.0), state=state)
    live = arguments["live"]
    fields = {field: getattr(live, field) for field in LiveFeatures.__slots__}
    for name in ("depth10bps_usd", "vol1m_usd"):
        fields[name] *= factor
    scaled = arguments | {
        "live": LiveFeatures(**fields),
        "equity_usd": arguments["equity_usd"] * factor,
        "exposure_total_usd": arguments["exposure_total_usd"] * factor,
        "exposure_by_symbol": {n: usd * factor for n, usd in arguments["exposure_by_symbol"].items()},
    }
    small, large = desk.compute_order(**arguments), desk.compute_order(**scaled)
    room = 1e-9 * arguments["equity_usd"]  # a cap's room is a difference; next to full, rounding decides
    assume(small.size_usd > room or small.size_usd == 0.0)
    assert large.size_usd == pytest.approx(small.size_usd * factor, rel=1e-6, abs=room * factor)


@given(desks(), calls())
def test_10_the_same_input_gives_the_same_output_and_is_left_alone(
    desk: RiskRails, arguments: dict[str, Any]
) -> None:
    """No hidden state, no clock, no change of what was handed in."""
    kept = copy.deepcopy(arguments)
    first = desk.compute_order(**arguments)
    assert arguments == kept
    assert desk.compute_order(**arguments) == first


BAD = st.sampled_from([math.nan, math.inf, -math.inf, None, "0.5", "", b"1", True, [], object(), 1j, 10**400])


@pytest.mark.parametrize("name", [*FEATURES, *ACCOUNT, "exposure_by_symbol"])
@examples(60)
@given(arguments=calls(), bad=BAD)
def test_11_what_is_no_number_is_never_sized(name: str, arguments: dict[str, Any], bad: Any) -> None:
    """NaN, infinity, None, text and other non-numbers in any data field: size 0, mode skip, a BAD_ code."""
    order = rails().compute_order(**_with(arguments, name, bad))
    assert order.size_usd == 0
    assert order.mode == "skip"
    assert order.reasons[0].startswith("BAD_")


@given(desks(), calls())
def test_12_multipliers_only_shrink(desk: RiskRails, arguments: dict[str, Any]) -> None:
    """Every multiplier lies in [0, 1] and the product is the product of its factors."""
    factors = desk.compute_order(**arguments).multipliers
    assert all(0.0 <= value <= 1.0 for value in factors.values())
    product = factors["m_dd"] * factors["m_regime"] * factors["m_vol"] * factors["m_micro"]
    assert factors["m"] == product
    parts = [value for name, value in factors.items() if name.startswith("micro_")]
    assert factors["m_micro"] == min(parts)


@given(desks(), calls())
def test_13_the_stop_is_outside_the_spread_and_triggers_before_liquidation(
    desk: RiskRails, arguments: dict[str, Any]
) -> None:
    """Stop ≥ 3 spreads; at the leverage given, liquidation is at least κ stops away."""
    order = desk.compute_order(**arguments)
    assert order.stop_pct >= POLICY.stop_floor_spreads * (arguments["live"].spread_bps / 1e4)
    if order.size_usd > 0:
        liquidation = 1.0 / order.leverage - POLICY.maintenance_margin
        assert liquidation >= POLICY.kappa * order.stop_pct * (1 - HAIR)
        assert order.stop_price_long is not None
        assert order.stop_price_short is not None
        price = arguments["live"].price
        assert price * (1 - order.stop_pct) * (1 - HAIR) <= order.stop_price_long < price
        assert price < order.stop_price_short <= price * (1 + order.stop_pct) * (1 + HAIR)


@given(
    st.lists(numbers(0.0, 1.0), min_size=1, max_size=8),
    calls(),
    st.sampled_from(list(POLICY.strategies)),
)
def test_14_the_budgets_of_all_strategies_stay_under_the_total(
    weights: list[float], arguments: dict[str, Any], kind: str
) -> None:
    """With shares that sum to 1 at most, the risk of one order each is at most r_total of equity."""
    total = max(1.0, math.fsum(weights) * (1 + 1e-12))
    shares = {f"s{i}": weight / total for i, weight in enumerate(weights)}
    desk = rails(risk_shares=shares)
    orders = [desk.compute_order(**(arguments | {"strat_name": n, "strat_type": kind})) for n in shares]
    assert math.fsum(order.risk_usd for order in orders) <= POLICY.r_total * arguments["equity_usd"] * (
        1 + HAIR
    )


@pytest.mark.parametrize("kind", list(POLICY.strategies))
@given(data=st.data(), arguments=calls())
def test_16_percent_for_a_fraction_never_sizes_more(
    kind: str, data: st.DataObject, arguments: dict[str, Any]
) -> None:
    """ATR or open risk given in percent: refused, or at least not larger."""
    desk = rails()
    right = arguments | {"strat_type": kind}
    sized = desk.compute_order(**right)
    atr = arguments["live"].atr_pct
    risk = data.draw(numbers(0.0101, 0.06))
    wrong_atr = desk.compute_order(**_with(right, "atr_pct", atr * 100))
    assert wrong_atr.size_usd <= sized.size_usd
    if atr >= 0.5 * POLICY.timeframes[arguments["base_tf"]].atr_ref:
        assert wrong_atr.mode in {"skip", "reduce"}
    wrong_risk = desk.compute_order(**(right | {"open_risk_sum_pct": risk * 100}))
    assert wrong_risk.mode == "skip"
    assert "BAD_OPEN_RISK" in wrong_risk.reasons


@given(desks(), calls())
def test_17_an_order_survives_json_without_nan(desk: RiskRails, arguments: dict[str, Any]) -> None:
    """Through strict JSON and back the order is equal."""
    order = desk.compute_order(**arguments)
    assert Order.from_dict(json.loads(order.to_json())) == order
    assert json.loads(json.dumps(dict(order), allow_nan=False)) == order.to_dict()


def test_a_state_is_judged_once_and_shared() -> None:
    """The view of a state depends on nothing but the state and the policy."""
    state = RiskState(risk_shares={"a": 0.5})
    assert view_of(state, POLICY) == view_of(state, POLICY)
    assert size().policy_version == POLICY.version
