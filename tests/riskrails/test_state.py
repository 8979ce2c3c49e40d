"""The state: refused when it makes no sense, judged once, merged to the cautious side."""

from __future__ import annotations

import math
from typing import Any

import pytest

from riskrails import EdgeStatistics, Policy, RiskInputError, RiskRails, RiskState
from riskrails.state import kelly_limit, view_of, worst_of
from tests.reference.riskrails import WILSON_LOWER_975
from tests.riskrails.desk import call, rails, size

POLICY = Policy()


@pytest.mark.parametrize(("record", "lower"), WILSON_LOWER_975.items())
def test_the_cautious_win_rate_is_wilsons(record: tuple[int, int], lower: float) -> None:
    """With no losses to speak of full Kelly is the win rate itself: the published lower bounds."""
    wins, trades = record
    edge = EdgeStatistics(trades, wins, 1.0, 0.0)
    assert kelly_limit(edge, fraction=1.0, min_trades=1, confidence=0.975) == pytest.approx(lower, abs=5e-5)


def test_fractional_kelly_on_the_cautious_win_rate() -> None:
    """.25 · (p − (1−p)/b) with p = .51781 (60 of 100) and b = 1.5; 0 without an edge; None when young."""
    limits = {"fraction": 0.25, "min_trades": 100, "confidence": 0.95}
    p = 0.5178095
    good = kelly_limit(EdgeStatistics(100, 60, 3.0, 2.0), fraction=0.25, min_trades=100, confidence=0.95)
    assert good == pytest.approx(0.25 * (p - (1 - p) / 1.5), rel=1e-6)
    assert kelly_limit(EdgeStatistics(100, 50, 1.0, 1.0), **limits) == 0.0  # type: ignore[arg-type]
    assert kelly_limit(EdgeStatistics(100, 90, 0.0, 0.0), **limits) == 0.0  # type: ignore[arg-type]
    assert kelly_limit(EdgeStatistics(99, 99, 1.0, 1.0), **limits) is None  # type: ignore[arg-type]


def test_kelly_is_off_until_enabled_and_caps_without_raising() -> None:
    """Off: no effect. On: the smaller of budget and Kelly; nothing before 100 trades; NEGATIVE_EDGE at 0."""
    thin = EdgeStatistics(400, 220, 1.0, 1.0)
    limit = kelly_limit(thin, fraction=0.25, min_trades=100, confidence=0.95)
    assert limit is not None
    assert 0 < limit < 0.005
    on = Policy(kelly_enabled=True)
    assert size(rails(edges={"momentum": thin})) == size()
    assert size(rails(on, edges={"momentum": thin})).risk_usd == pytest.approx(100_000 * limit)
    rich = EdgeStatistics(400, 390, 1.0, 1.0)
    assert size(rails(on, edges={"momentum": rich})).risk_usd == size().risk_usd
    young = EdgeStatistics(99, 10, 1.0, 1.0)
    assert size(rails(on, edges={"momentum": young})).risk_usd == size().risk_usd
    assert size(rails(on, edges={"trend": EdgeStatistics(400, 100, 1.0, 1.0)})).risk_usd == size().risk_usd
    none = size(rails(on, edges={"momentum": EdgeStatistics(400, 100, 1.0, 1.0)}))
    assert (none.size_usd, none.mode, none.reasons) == (0.0, "skip", ("NEGATIVE_EDGE",))


@pytest.mark.parametrize(
    ("record", "field"),
    [
        ((-1, 0, 1.0, 1.0), "trades"),
        ((10.0, 5, 1.0, 1.0), "trades"),
        ((10, True, 1.0, 1.0), "wins"),
        ((10, 11, 1.0, 1.0), "wins"),
        ((10, 5, -1.0, 1.0), "average_win"),
        ((10, 5, math.inf, 1.0), "average_win"),
        ((10, 5, 1.0, math.nan), "average_loss"),
        ((10, 5, 1.0, -2.0), "average_loss"),
    ],
)
def test_a_record_that_cannot_be_is_refused(record: Any, field: str) -> None:
    """Named by its field."""
    with pytest.raises(RiskInputError) as caught:
        EdgeStatistics(*record)
    assert (caught.value.code, caught.value.field) == ("E_EDGE", field)


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"risk_shares": [0.5]}, "E_RISK_SHARE", "risk_shares"),
        ({"risk_shares": {"": 0.5}}, "E_RISK_SHARE", "risk_shares"),
        ({"risk_shares": {"a": 1.01}}, "E_RISK_SHARE", "risk_shares['a']"),
        ({"risk_shares": {"a": -0.01}}, "E_RISK_SHARE", "risk_shares['a']"),
        ({"risk_shares": {"a": None}}, "E_RISK_SHARE", "risk_shares['a']"),
        ({"risk_shares": {"a": 0.5, "b": 0.500001}}, "E_RISK_SHARE", "risk_shares"),
        ({"drawdown_pct": 1.2}, "E_DRAWDOWN", "drawdown_pct"),
        ({"drawdown_pct": math.nan}, "E_DRAWDOWN", "drawdown_pct"),
        ({"daily_pnl_pct": -1.5}, "E_DAILY_PNL", "daily_pnl_pct"),
        ({"daily_pnl_pct": math.inf}, "E_DAILY_PNL", "daily_pnl_pct"),
        ({"breakers": {"manual": 1}}, "E_BREAKERS", "breakers['manual']"),
        ({"breakers": {1: True}}, "E_BREAKERS", "breakers"),
        ({"share_age_seconds": -1}, "E_AGE", "share_age_seconds"),
        ({"share_age_seconds": None}, "E_AGE", "share_age_seconds"),
        ({"breaker_age_seconds": math.nan}, "E_AGE", "breaker_age_seconds"),
        ({"drawdown_age_seconds": "1"}, "E_AGE", "drawdown_age_seconds"),
        ({"daily_pnl_age_seconds": -1}, "E_AGE", "daily_pnl_age_seconds"),
        ({"allocator_period_seconds": 0}, "E_AGE", "allocator_period_seconds"),
        ({"allocator_period_seconds": math.inf}, "E_AGE", "allocator_period_seconds"),
        ({"edges": {"a": 3}}, "E_EDGE", "edges['a']"),
    ],
)
def test_a_state_that_makes_no_sense_is_refused(fields: dict[str, Any], code: str, field: str) -> None:
    """Code, field, what came and what was wanted."""
    with pytest.raises(RiskInputError, match="want") as caught:
        RiskState(**fields)
    assert (caught.value.code, caught.value.field) == (code, field)


def test_a_state_cannot_be_changed_from_outside() -> None:
    """What was handed in may change afterwards; the state does not."""
    shares = {"momentum": 0.25}
    state = RiskState(risk_shares=shares)
    shares["momentum"] = 1.0
    assert state.risk_shares["momentum"] == 0.25
    with pytest.raises(TypeError):
        state.risk_shares["momentum"] = 1.0  # type: ignore[index]


def test_ages_at_their_limits_pass_and_beyond_them_fail() -> None:
    """30 s for breakers, 60 s for drawdown, three periods for shares: at the limit fresh, beyond it not."""
    assert not view_of(RiskState(breaker_age_seconds=30.0, drawdown_age_seconds=60.0), POLICY).halted
    assert view_of(RiskState(breaker_age_seconds=30.001), POLICY).halted
    assert view_of(RiskState(drawdown_age_seconds=60.001), POLICY).halted
    assert view_of(RiskState(daily_pnl_age_seconds=60.0), POLICY).warnings.count("DAILY_PNL_UNKNOWN") == 0
    assert view_of(RiskState(daily_pnl_age_seconds=60.001), POLICY).warnings.count("DAILY_PNL_UNKNOWN") == 1
    fresh = RiskState(risk_shares={"a": 0.9, "b": 0.1}, share_age_seconds=1800.0)
    assert view_of(fresh, POLICY).shares == {"a": 0.9, "b": 0.1}
    stale = view_of(RiskState(risk_shares={"a": 0.9, "b": 0.1}, share_age_seconds=1800.1), POLICY)
    assert (stale.shares, stale.stale_shares) == ({"a": 0.5, "b": 0.1}, True)
    many = {f"s{i}": 0.025 for i in range(40)}
    assert view_of(RiskState(risk_shares=many, share_age_seconds=1e5), POLICY).missing_share == 1 / 40
    assert not view_of(RiskState(share_age_seconds=1e5), POLICY).stale_shares, (
        "no shares are missing, not stale"
    )


def test_the_days_loss_halts_at_its_limit() -> None:
    """−3 % of equity halts, a hair less does not; the sentence says so."""
    assert size(rails(daily_pnl_pct=-0.0299)).size_usd > 0
    order = size(rails(daily_pnl_pct=-0.03))
    assert (order.mode, order.reasons) == ("reduce", ("HALTED",))
    assert "daily PnL -3.00% has reached the limit of −3.00%" in order.messages[0]


def test_every_cause_of_a_halt_is_told() -> None:
    """Two breakers, an old report and a bad day stand in one sentence; a closed breaker does not."""
    breakers = {"manual": True, "equity": True, "venue": False}
    message = size(rails(breakers=breakers, breaker_age_seconds=99.0, daily_pnl_pct=-0.5)).messages[0]
    for part in (
        "breaker manual is open",
        "breaker equity is open",
        "99 s old: want at most 30 s",
        "-50.00%",
    ):
        assert part in message
    assert "venue" not in message


def test_the_more_cautious_of_two_states_counts() -> None:
    """Any open breaker, the deeper drawdown, the worse day, the older breakers; shares from who has them."""
    ours = RiskState(
        risk_shares={"a": 0.1},
        drawdown_pct=0.05,
        drawdown_age_seconds=0.0,
        daily_pnl_pct=-0.01,
        breakers={"manual": True, "equity": False},
        edges={"a": EdgeStatistics(1, 1, 1.0, 1.0)},
    )
    theirs = RiskState(
        risk_shares={"a": 0.3},
        share_age_seconds=7.0,
        allocator_period_seconds=60.0,
        drawdown_pct=0.02,
        drawdown_age_seconds=90.0,
        breakers={"equity": True, "manual": False},
        breaker_age_seconds=5.0,
    )
    for both in (worst_of(ours, theirs), worst_of(theirs, ours)):
        assert dict(both.breakers) == {"manual": True, "equity": True}
        assert (both.drawdown_pct, both.drawdown_age_seconds) == (0.05, 0.0)
        assert (both.daily_pnl_pct, both.breaker_age_seconds) == (-0.01, 5.0)
        assert "a" in both.edges
    merged = worst_of(ours, theirs)
    assert merged.risk_shares["a"] == 0.3
    assert (merged.share_age_seconds, merged.allocator_period_seconds) == (7.0, 60.0)
    assert worst_of(ours, RiskState()).risk_shares["a"] == 0.1
    nothing = worst_of(RiskState(), RiskState())
    assert (nothing.breaker_age_seconds, nothing.drawdown_age_seconds) == (None, None)
    older = worst_of(RiskState(breaker_age_seconds=3.0), RiskState(breaker_age_seconds=9.0))
    assert older.breaker_age_seconds == 9.0


@pytest.mark.parametrize(
    ("ours", "theirs", "day"),
    [
        ((-0.01, 0.0), (-0.04, 1.0), (-0.04, 0.0)),
        ((-0.04, 9.0), (-0.01, 1.0), (-0.04, 1.0)),
        ((-0.01, 2.0), (-0.04, 1.0), (-0.04, 1.0)),
        ((-0.01, None), (-0.04, 1.0), (-0.04, 1.0)),
        ((-0.05, None), (-0.04, 1.0), (-0.05, 1.0)),
        ((-0.05, 3.0), (-0.04, None), (-0.05, 3.0)),
        ((0.01, 3.0), (0.02, math.inf), (0.01, 3.0)),
        ((-0.01, 3.0), (0.0, math.inf), (-0.01, 3.0)),
        ((0.0, None), (0.0, math.inf), (0.0, math.inf)),
        ((-0.01, None), (-0.04, None), (-0.04, None)),
    ],
)
def test_of_two_reports_of_the_day_the_worse_counts(ours: Any, theirs: Any, day: Any) -> None:
    """As old as the younger, as a drawdown is."""
    states = [RiskState(daily_pnl_pct=pnl, daily_pnl_age_seconds=age) for pnl, age in (ours, theirs)]
    both = worst_of(*states)
    assert (both.daily_pnl_pct, both.daily_pnl_age_seconds) == day


def test_a_day_that_should_be_known_and_is_not_is_warned_of() -> None:
    """Unknown warns and does not halt; where nobody feeds a state nothing is said, as before."""
    unknown = view_of(RiskState(daily_pnl_age_seconds=math.inf), POLICY)
    assert (unknown.halted, "DAILY_PNL_UNKNOWN" in unknown.warnings) == (False, True)
    for age in (None, 0.0, 60.0):
        assert "DAILY_PNL_UNKNOWN" not in view_of(RiskState(daily_pnl_age_seconds=age), POLICY).warnings


class Source:
    """A state source that is changed by hand."""

    def __init__(self, state: RiskState) -> None:
        self.state = state

    def snapshot(self) -> RiskState:
        return self.state


def test_rails_follow_a_source_and_the_engines_own_word() -> None:
    """Each call reads the source; what the engine sets beside it counts when it is worse."""
    source = Source(
        RiskState(risk_shares={"momentum": 0.25}, breaker_age_seconds=0.0, drawdown_age_seconds=0.0)
    )
    desk = RiskRails(state=source)
    assert size(desk) == size()
    source.state = RiskState(risk_shares={"momentum": 0.5}, breaker_age_seconds=0.0, drawdown_age_seconds=0.0)
    assert size(desk).size_usd == pytest.approx(2 * size().size_usd)
    desk.set_breakers({"venue": True})
    assert size(desk).reasons == ("HALTED",)
    desk.set_breakers({"venue": False})
    assert size(desk).size_usd > 0
    desk.set_account_state(0.12)
    assert desk.state.drawdown_pct == 0.12
    assert desk.compute_orders(**call())[0] == size(desk)


def test_rails_refuse_what_is_no_state_and_no_policy() -> None:
    """A dict for a state, a path for a policy: named."""
    with pytest.raises(RiskInputError, match="E_STATE"):
        RiskRails(state={"momentum": 0.25})  # type: ignore[arg-type]
    with pytest.raises(RiskInputError, match="E_POLICY"):
        RiskRails("policy.toml")  # type: ignore[arg-type]
    assert RiskRails().policy == Policy()


def test_a_state_may_stand_at_each_limit() -> None:
    """Everything lost, a share of nothing or of all, a sum as near to one as floats add up."""
    state = RiskState(
        risk_shares={"a": 1.0, "b": 1e-9, "c": 0.0},
        drawdown_pct=1.0,
        daily_pnl_pct=-1.0,
        allocator_period_seconds=0.5,
    )
    assert (state.drawdown_pct, state.daily_pnl_pct, state.allocator_period_seconds) == (1.0, -1.0, 0.5)
    assert state.risk_shares == {"a": 1.0, "b": 1e-9, "c": 0.0}


@pytest.mark.parametrize(
    ("field", "code"), [("edges", "E_EDGE"), ("breakers", "E_BREAKERS"), ("risk_shares", "E_RISK_SHARE")]
)
def test_what_is_no_mapping_is_refused_by_its_code(field: str, code: str) -> None:
    """A list where names belong says which field it is of."""
    with pytest.raises(RiskInputError) as caught:
        RiskState(**{field: [1]})  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.field) == (code, field)
