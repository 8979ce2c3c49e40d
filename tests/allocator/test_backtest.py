"""Walking the same decision over a recorded past."""

from __future__ import annotations

import numpy as np
import pytest

from allocator.backtest import Track, from_returns, replay
from allocator.backtest_command import report
from allocator.decision import InForce, Limits, decide
from allocator.errors import NoDataError
from allocator.history import Observation

STEP = 600.0
END = 1_700_000_400.0
FREE = Limits(max_step=1.0, dead_band=0.0)


def past(rows: int = 200, n: int = 3, seed: int = 1) -> Observation:
    returns = np.random.default_rng(seed).normal(0.0, 0.01, (rows, n))
    return from_returns(returns, tuple("abcdefgh"[:n]), END, STEP)


def track(*returns: float, step: float = STEP) -> Track:
    rows = np.array(returns)
    return Track("x", np.ones((rows.size, 1)), rows, np.zeros(rows.size), step)


def test_no_share_knows_its_own_row_or_a_later_one():
    """Whatever happens from row 120 on, shares up to and including row 120's are the same."""
    seen = past()
    other = past()
    other.returns[120:] = np.random.default_rng(9).normal(0.5, 1.0, (80, 3))
    first = replay(seen, Limits()).allocator.shares
    second = replay(other, Limits()).allocator.shares
    np.testing.assert_array_equal(first[:120], second[:120])  # shares[119] are row 120's
    assert not np.array_equal(first[120:], second[120:])


def test_the_shares_are_those_the_daemon_would_have_published():
    """The decision before row t is `decide` on the history up to t−1."""
    seen = past()
    walked = replay(seen, FREE)
    until_150 = from_returns(seen.returns[:150], seen.strategies, END - 50 * STEP, STEP)
    daemon = decide(until_150, InForce(1, {"a": 1.0}), FREE)
    np.testing.assert_array_equal(walked.allocator.shares[149], list(daemon.shares.values()))


def test_equal_weight_earns_the_mean():
    """Equal shares of three earn a third of each."""
    seen = past()
    np.testing.assert_allclose(replay(seen, Limits()).equal.returns, seen.returns[1:].mean(axis=1))


def test_the_best_in_hindsight_is_the_largest_growth():
    """One strategy alone, the one that made most."""
    seen = past()
    seen.returns[:, 1] += 0.01
    done = replay(seen, Limits())
    assert done.best.name == "best in hindsight (b)"
    assert done.best.growth == pytest.approx(float(np.prod(1 + seen.returns[1:, 1])))
    assert done.regret(done.best) == 0.0
    assert done.regret(done.equal) == pytest.approx(np.log(done.best.growth / done.equal.growth))


def test_turnover_costs():
    """Costs are turnover times basis points, taken from the row that the new shares earn."""
    free, dear = replay(past(), FREE), replay(past(), FREE, cost_bps=100.0)
    np.testing.assert_array_equal(free.allocator.shares, dear.allocator.shares)
    np.testing.assert_allclose(
        free.allocator.returns - dear.allocator.returns, 0.01 * free.allocator.turnover, atol=1e-15
    )
    moved = 0.5 * np.abs(np.diff(free.allocator.shares, axis=0)).sum(axis=1)
    np.testing.assert_allclose(free.allocator.turnover[1:], moved)


def test_shares_sum_to_one_at_every_row():
    """A walk never holds more than everything, or less."""
    np.testing.assert_allclose(replay(past(), Limits()).allocator.shares.sum(axis=1), 1.0, atol=1e-12)


def test_it_begins_with_equal_shares():
    """Fewer than MIN_READINGS rows are known at first."""
    done = replay(past(), Limits())
    np.testing.assert_allclose(done.allocator.shares[:11], 1 / 3)
    assert done.reasons["few"] == 11


def test_rows_before_the_first_are_known_at_the_start():
    """With a past before the past the first decision is no blind one."""
    done = replay(past(), FREE, first=100)
    assert len(done.times) == 100
    assert done.times[-1] == END
    assert "few" not in done.reasons


def test_a_strategy_that_dies_leaves():
    """After six missing refreshes its share goes to the others, as live."""
    seen = past(300)
    seen.returns[200:, 2] = np.nan
    dead = from_returns(seen.returns, seen.strategies, END, STEP)
    done = replay(dead, FREE)
    assert done.allocator.shares[204, 2] > 0.0
    assert done.allocator.shares[205, 2] == 0.0
    assert done.allocator.shares[-1, 2] == 0.0
    np.testing.assert_allclose(done.equal.shares[-1], [0.5, 0.5, 0.0])


def test_growth_drawdown_and_sharpe_by_hand():
    """Two rows of +10 % and −20 %."""
    found = track(0.1, -0.2)
    assert found.growth == pytest.approx(0.88)
    assert found.drawdown == pytest.approx(0.2)
    assert found.sharpe == pytest.approx(-0.05 / 0.15 * np.sqrt(365 * 86_400 / STEP))


def test_the_start_is_a_peak():
    """Who only loses has drawn down from the beginning."""
    assert track(-0.1, -0.1).drawdown == pytest.approx(0.19)


def test_ruin_is_the_end():
    """After a loss of everything nothing is earned back."""
    assert track(0.5, -1.5, 3.0).growth == 0.0


def test_without_variation_there_is_no_sharpe():
    """NaN, and a dash in the table."""
    assert np.isnan(track(0.0, 0.0).sharpe)
    flat = replay(from_returns(np.zeros((30, 2)), ("a", "b"), END, STEP), Limits())
    assert " - " in report(flat, 0.0)


def test_regret_after_ruin_is_infinite():
    """Log growth of nothing."""
    seen = from_returns(np.array([[0.1, 0.1], [-1.0, 0.1], [0.1, 0.1]]), ("a", "b"), END, STEP)
    done = replay(seen, Limits())
    assert done.regret(track(-1.0)) == float("inf")


@pytest.mark.parametrize(("rows", "first"), [(1, 1), (0, 1), (5, 5)])
def test_nothing_to_earn_is_told(rows, first):
    """A past without a row to earn is no backtest."""
    with pytest.raises(NoDataError, match="first to earn"):
        replay(past(rows), Limits(), first=first)


def test_the_report_names_every_track_and_strategy():
    """The table has three ways to share and each strategy's shares."""
    text = report(replay(past(), Limits()), 5.0)
    for name in ("allocator", "equal weight", "best in hindsight", "5 bps", "decisions: few 11"):
        assert name in text
