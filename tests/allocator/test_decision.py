"""What is done with a history and the shares in force, and the words for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.decision import Action, InForce, Limits, decide, next_shares
from allocator.history import Observation, Outcome
from allocator.policy import allocate, share_bounds

LIMITS = Limits()
FREE = Limits(max_step=1.0, dead_band=0.0)
NAMES = ("event", "momentum", "scalp", "trend")
EQUAL = dict.fromkeys(NAMES, 0.25)


def seen(rows: int = 200, names=NAMES, seed: int = 3, drift=(0.0, 0.0, 0.0, 0.0), **changes) -> Observation:
    n = len(names)
    returns = np.random.default_rng(seed).normal(0.0, 0.01, (rows, n)) + np.array(drift[:n])
    outcomes = np.full((rows, n), Outcome.ONE, dtype=np.int8)
    return replace(
        Observation(
            as_of=1_000_200.0,
            step=600.0,
            strategies=tuple(names),
            returns=returns,
            outcomes=outcomes,
            absent_rows=np.zeros(n, dtype=np.int64),
            assumed_shares=0,
            breaker_open=False,
            readings=rows,
        ),
        **changes,
    )


def newest(outcome: Outcome) -> Observation:
    found = seen()
    found.outcomes[-1] = outcome
    found.returns[-1] = np.nan
    return found


def test_a_deck_without_shares_gets_the_target_at_once():
    """There is nothing to move from."""
    decision = decide(seen(), InForce(0, {}), LIMITS)
    assert decision.action is Action.PUBLISH
    np.testing.assert_array_equal(
        list(decision.shares.values()), allocate(seen().returns, LIMITS.min_share, LIMITS.max_share)
    )


def test_a_move_is_scaled_to_the_largest_step():
    """No share moves further than MAX_STEP, the sum stays one, all move towards their target."""
    strong = seen(1000, drift=(0.01, -0.01, 0.0, 0.0))
    decision = decide(strong, InForce(4, EQUAL), LIMITS)
    moves = {name: decision.shares[name] - 0.25 for name in NAMES}
    assert max(map(abs, moves.values())) == pytest.approx(LIMITS.max_step)
    assert sum(decision.shares.values()) == pytest.approx(1.0, abs=1e-12)
    targets = {view.name: view.target for view in decision.views}
    assert all(moves[name] * (targets[name] - 0.25) >= 0.0 for name in NAMES)


@given(
    st.lists(st.floats(0.05, 0.55), min_size=4, max_size=4),
    st.lists(st.floats(0.05, 0.55), min_size=4, max_size=4),
    st.floats(0.001, 1.0),
)
def test_a_step_stays_between_where_it_starts_and_where_it_goes(held, target, step):
    """A partial move leaves no bound that both ends keep."""
    before, after = dict(zip(NAMES, held, strict=True)), dict(zip(NAMES, target, strict=True))
    moved = next_shares(before, before, after, step)
    for name in NAMES:
        assert min(before[name], after[name]) - 1e-12 <= moved[name] <= max(before[name], after[name]) + 1e-12
        assert abs(moved[name] - before[name]) <= step + 1e-12


def test_small_moves_are_not_worth_publishing():
    """Inside the dead band the shares in force hold, and the log says so."""
    target = decide(seen(), InForce(0, {}), FREE).shares
    near = {
        name: share + move for (name, share), move in zip(target.items(), (1e-3, -1e-3, 0, 0), strict=True)
    }
    decision = decide(seen(), InForce(1, near), replace(LIMITS, max_step=1.0))
    assert decision.action is Action.HOLD
    assert "dead band" in decision.reason
    assert decision.shares == near
    assert decision.turnover == 0.0


def test_the_dead_band_looks_at_the_whole_move_not_at_the_step():
    """A MAX_STEP smaller than the dead band slows the move and does not forbid it."""
    strong = seen(1000, drift=(0.01, -0.01, 0.0, 0.0))
    decision = decide(strong, InForce(1, EQUAL), replace(LIMITS, max_step=0.001))
    assert decision.action is Action.PUBLISH


@pytest.mark.parametrize(
    ("age", "action"),
    [(None, Action.HOLD), (600.0, Action.HOLD), (900.0, Action.HOLD), (1200.0, Action.CONFIRM)],
)
@pytest.mark.parametrize("move", [0.0, 1e-3])
def test_shares_that_are_held_long_are_confirmed(age, action, move):
    """Old shares that are good enough are written again as they are, which is no turnover."""
    target = decide(seen(), InForce(0, {}), FREE).shares
    near = {**target, "scalp": target["scalp"] + move, "trend": target["trend"] - move}
    decision = decide(seen(), InForce(1, near, age_seconds=age), LIMITS)
    assert decision.action is action
    assert decision.shares == near
    assert decision.turnover == 0.0
    assert not decision.frozen
    assert decision.reason.startswith("confirmed as they are: ") is (action is Action.CONFIRM)


def test_bounds_without_a_choice_are_confirmed_too():
    """Equal shares are all there can be, and they are somebody's decision still."""
    held = InForce(1, EQUAL, age_seconds=1200.0)
    assert decide(seen(), held, replace(LIMITS, min_share=0.4, max_share=0.6)).action is Action.CONFIRM


def test_a_guard_never_confirms():
    """Shares that a guard keeps grow old, however old they are."""
    found = seen(breaker_open=True)
    assert decide(found, InForce(1, EQUAL, age_seconds=1e6), LIMITS).action is Action.SKIP
    assert decide(seen(3), InForce(1, EQUAL, age_seconds=1e6), LIMITS).action is Action.SKIP
    held = InForce(1, EQUAL, as_of=seen().as_of, age_seconds=1e6)
    assert decide(seen(), held, LIMITS).action is Action.HOLD  # no new row, no new decision


def test_shares_that_do_not_sum_to_one_are_mended_inside_the_dead_band():
    """What somebody typed is completed, however small the step."""
    target = decide(seen(), InForce(0, {}), FREE).shares
    short = {**target, "scalp": target["scalp"] - 0.001}
    assert decide(seen(), InForce(1, short), LIMITS).action is Action.PUBLISH


def test_the_target_itself_is_not_published_again():
    """Nothing to do is a decision too."""
    target = decide(seen(), InForce(0, {}), FREE).shares
    decision = decide(seen(), InForce(1, target), FREE)
    assert decision.action is Action.HOLD


@pytest.mark.parametrize("where", ["prometheus", "exporter"])
def test_an_open_equity_breaker_keeps_the_shares(where):
    """Whoever shows it open, nothing moves."""
    found = seen(breaker_open=where == "prometheus")
    decision = decide(found, InForce(3, EQUAL, breaker_open=where == "exporter"), LIMITS)
    assert decision.action is Action.SKIP
    assert decision.guard == "breaker"
    assert decision.frozen
    assert decision.shares == EQUAL


@pytest.mark.parametrize(
    "outcome", [Outcome.STALE, Outcome.RESET, Outcome.NAN, Outcome.GAP, Outcome.NO_EQUITY]
)
def test_without_a_single_new_reading_the_shares_are_kept(outcome):
    """The guard carries the outcome's name."""
    decision = decide(newest(outcome), InForce(3, EQUAL), LIMITS)
    assert (decision.action, decision.guard, decision.frozen) == (Action.SKIP, outcome.label, True)
    assert outcome.meaning in decision.reason


def test_one_new_reading_is_enough_to_decide():
    """Others may be silent: their evidence fades."""
    found = newest(Outcome.STALE)
    found.outcomes[-1, 0] = Outcome.ONE
    found.returns[-1, 0] = 0.01
    assert decide(found, InForce(3, EQUAL), LIMITS).action is not Action.SKIP


def test_shares_that_were_all_taken_away_stay_away():
    """Whoever set every share to zero meant it; nothing is given back, at once or by steps."""
    zeros = dict.fromkeys(NAMES, 0.0)
    for rows in (3, 200):
        decision = decide(seen(rows), InForce(5, zeros), LIMITS)
        assert (decision.action, decision.guard) == (Action.SKIP, "no_capital")
        assert decision.shares == zeros


def test_too_few_readings_keep_the_shares():
    """Below MIN_READINGS nothing is made of readings."""
    decision = decide(seen(11), InForce(3, {"scalp": 0.7, "trend": 0.3}), LIMITS)
    assert (decision.action, decision.guard, decision.frozen) == (Action.SKIP, "few", True)
    assert "11 readings, 12 wanted" in decision.reason


def test_too_few_readings_and_no_shares_begin_with_equal_ones():
    """An engine need not wait two hours for a share; equal ones rest on no reading."""
    decision = decide(seen(3), InForce(0, {}), LIMITS)
    assert (decision.action, decision.guard) == (Action.PUBLISH, "few")
    assert decision.shares == EQUAL
    assert decision.frozen


def test_a_deck_with_one_sample_begins_with_equal_shares():
    """No row of returns yet, but the strategies are known."""
    empty = seen(0)
    assert decide(empty, InForce(0, {}), LIMITS).shares == EQUAL


def test_twelve_readings_are_enough():
    """At MIN_READINGS the policy speaks."""
    assert decide(seen(12), InForce(0, {}), LIMITS).guard == ""


def test_a_row_is_decided_once():
    """A daemon that comes back within the period does not take a second step from the same row."""
    strong = seen(1000, drift=(0.01, -0.01, 0.0, 0.0))
    first = decide(strong, InForce(1, EQUAL), LIMITS)
    held = InForce(2, first.shares, as_of=first.as_of)
    assert decide(strong, held, LIMITS).action is Action.HOLD
    assert decide(strong, held, LIMITS, again=True).action is Action.PUBLISH
    assert decide(replace(strong, as_of=strong.as_of + 600), held, LIMITS).action is Action.PUBLISH


def test_a_row_before_the_one_in_force_is_a_clock_step():
    """Time does not run backwards; shares wait until it has caught up."""
    decision = decide(seen(), InForce(2, EQUAL, as_of=1_000_800.0), LIMITS)
    assert (decision.action, decision.guard) == (Action.SKIP, "clock_step")
    assert "600 s older" in decision.reason


@pytest.mark.parametrize(("rows", "stays"), [(1, True), (5, True), (6, False), (7, False)])
@pytest.mark.parametrize("max_step", [0.1, 1.0])
def test_a_strategy_leaves_after_six_missing_refreshes(rows, stays, max_step):
    """Its share goes to zero at once whatever MAX_STEP is, and the others have all of it."""
    found = seen(absent_rows=np.array([0, 0, 0, rows]))
    decision = decide(found, InForce(1, EQUAL), replace(FREE, max_step=max_step))
    assert (decision.shares["trend"] > 0.0) is stays
    assert sum(decision.shares.values()) == pytest.approx(1.0, abs=1e-12)
    if not stays:
        assert decision.shares["trend"] == 0.0
        assert f"no PnL for {rows} refreshes" in decision.views[-1].why


def test_a_strategy_nobody_knows_leaves_at_once():
    """What somebody typed for a strategy without PnL is shared among those that have some."""
    decision = decide(seen(), InForce(1, {**dict.fromkeys(NAMES, 0.2), "ghost": 0.2}), LIMITS)
    assert decision.shares["ghost"] == 0.0
    assert decision.views[-1].name == "ghost"
    assert sum(decision.shares.values()) == pytest.approx(1.0, abs=1e-12)


@given(
    st.lists(st.floats(0.0, 1.0), min_size=5, max_size=5),
    st.sampled_from([(0.05, 0.55), (0.0, 1.0), (0.2, 0.3), (0.4, 0.9)]),
    st.sampled_from([0.005, 0.1, 1.0]),
)
def test_whatever_is_in_force_what_is_published_sums_to_one_inside_the_bounds(held, bounds, step):
    """Shares typed by hand, of other bounds or of the gone: after one decision all is in order again."""
    before = dict(zip((*NAMES, "ghost"), held, strict=True))
    limits = replace(LIMITS, min_share=bounds[0], max_share=bounds[1], max_step=step)
    decision = decide(seen(), InForce(1, before), limits)
    if decision.action is Action.PUBLISH:
        assert decision.shares.get("ghost", 0.0) == 0.0
    if decision.action is not Action.SKIP:
        low, high = share_bounds(4, *bounds)
        assert sum(decision.shares.values()) == pytest.approx(1.0, abs=1e-5)
        assert all(low - 2e-6 <= decision.shares[name] <= high + 2e-6 for name in NAMES)


@pytest.mark.parametrize(
    ("held", "max_share"),
    [({"event": 0.3}, 0.55), ({"event": 0.9, "trend": 0.1}, 0.55), ({"event": 0.551, "trend": 0.449}, 0.55)],
)
def test_shares_out_of_order_are_put_in_order_at_once(held, max_share):
    """A sum that is not one, or a share above MAX_SHARE, does not last another refresh."""
    found = seen(names=("event", "trend"))
    decision = decide(found, InForce(1, held), replace(LIMITS, max_share=max_share))
    assert decision.action is Action.PUBLISH
    assert sum(decision.shares.values()) == pytest.approx(1.0, abs=1e-12)
    assert max(decision.shares.values()) <= max_share


def test_a_newborn_moves_no_further_than_the_others():
    """It stands at MIN_SHARE at least, and MAX_STEP above nothing at most."""
    held = dict(zip(NAMES[:3], (0.3, 0.3, 0.4), strict=True))
    moved = decide(seen(), InForce(1, held), LIMITS).shares
    assert moved["trend"] == pytest.approx(0.10)
    assert max(abs(moved[name] - held[name]) for name in held) <= 0.10


def test_a_share_of_zero_that_nobody_needs_is_forgotten():
    """Strategies long gone do not stay in the book for ever."""
    held = {**dict.fromkeys(NAMES, 0.2), "ghost": 0.0}
    assert "ghost" not in decide(seen(), InForce(1, held), FREE).shares


def test_when_all_have_left_the_shares_are_kept():
    """A dead engine is no reason to take its shares."""
    found = seen(absent_rows=np.full(4, 7))
    decision = decide(found, InForce(1, EQUAL), LIMITS)
    assert (decision.action, decision.guard) == (Action.SKIP, "none")


def test_bounds_without_room_are_told():
    """Relaxed bounds give equal shares and a flag."""
    decision = decide(seen(), InForce(0, {}), replace(LIMITS, min_share=0.4, max_share=0.6))
    assert decision.relaxed
    assert decision.shares == EQUAL


def test_all_negative_is_told():
    """Every strategy loses: the flag is up, the sum is one."""
    decision = decide(seen(2000, drift=(-0.01, -0.02, -0.01, -0.02)), InForce(0, {}), LIMITS)
    assert decision.all_negative
    assert sum(decision.shares.values()) == pytest.approx(1.0, abs=1e-12)
    assert not decide(seen(2000, drift=(0.01, -0.02, -0.01, -0.02)), InForce(0, {}), LIMITS).all_negative


def test_the_words_of_a_loser_at_the_floor():
    """The why of a steady loser names the floor and the evidence."""
    decision = decide(seen(1000, drift=(0.0, 0.0, 0.0, -0.01)), InForce(0, {}), LIMITS)
    view = decision.views[3]
    assert view.target == LIMITS.min_share
    assert view.why.startswith("at MIN_SHARE 0.05, loses against the others (t=-")


def test_the_words_of_a_winner_a_newborn_and_a_wild_one():
    """Each part of a score that matters is said."""
    found = seen(1000, drift=(0.01, 0.0, 0.0, 0.0))
    found.returns[:, 1] *= 5
    found.returns[:, 2] = np.nan
    found.outcomes[:, 2] = Outcome.NONE
    views = decide(found, InForce(1, EQUAL), LIMITS).views
    assert "at MAX_SHARE 0.55, earns more than the others (t=+" in views[0].why
    assert "times the usual risk" in views[1].why
    assert "new: starts near parity" in views[2].why
    assert "on the way to 0.550" in views[0].why


def test_no_strategy_at_all_keeps_the_shares():
    """An observation without columns decides nothing."""
    empty = seen(0, names=())
    assert decide(empty, InForce(1, EQUAL), LIMITS).guard == "none"
