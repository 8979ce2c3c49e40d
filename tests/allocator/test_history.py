"""From samples to returns: each thing that is no reading has its name."""

from __future__ import annotations

import numpy as np
import pytest

from allocator.errors import NoDataError
from allocator.history import Answers, Grid, Observation, Outcome, Sample, Series, grid_for, observe
from tests.fakes.metrics import series, without

END, STEP = 600_000.0, 600.0
ROWS = 10
GRID = Grid(END, STEP, ROWS)
JOB = "trading_engine"


def pnl(values, strategy="scalp", job=JOB) -> Series:
    return series(values, END, STEP, strategy=strategy, job=job)


def equity(values=(1000.0,) * ROWS, job=JOB) -> Series:
    return series(values, END, STEP, job=job)


def shares(value: float, strategy: str) -> Series:
    return series([value] * ROWS, END, STEP, strategy=strategy)


def look(*columns: Series, **answers) -> Observation:
    given = {"equity": [equity()], **answers}
    return observe(Answers(pnl=list(columns), **given), GRID)


def test_a_return_is_pnl_per_capital_given():
    """ΔPnL over yesterday's equity times yesterday's share."""
    seen = look(
        pnl(np.arange(ROWS) * 10.0, "a"),
        pnl(np.arange(ROWS) * -5.0, "b"),
        risk_share=[shares(0.25, "a"), shares(0.5, "b")],
    )
    assert seen.strategies == ("a", "b")
    assert seen.returns.shape == (ROWS - 1, 2)
    np.testing.assert_allclose(seen.returns[:, 0], 10 / (1000 * 0.25))
    np.testing.assert_allclose(seen.returns[:, 1], -5 / (1000 * 0.5))
    assert seen.newest == (Outcome.ONE, Outcome.ONE)
    assert seen.readings == ROWS - 1
    assert seen.assumed_shares == 0


def test_capital_is_that_of_the_row_before():
    """Equity and share of t−1 divide the PnL of t."""
    seen = look(
        pnl([0.0] * (ROWS - 1) + [10.0]),
        equity=[equity([1000.0] * (ROWS - 2) + [500.0, 9e9])],
        risk_share=[series([0.1] * (ROWS - 2) + [0.2, 0.9], END, STEP, strategy="scalp")],
    )
    assert seen.returns[-1, 0] == pytest.approx(10 / (500 * 0.2))


def test_without_recorded_shares_equal_ones_stand_in():
    """1/n, and the observation counts how often."""
    seen = look(pnl(np.arange(ROWS) * 10.0, "a"), pnl(np.arange(ROWS) * 10.0, "b"))
    np.testing.assert_allclose(seen.returns, 10 / (1000 * 0.5))
    assert seen.assumed_shares == 2 * ROWS


def test_no_series_is_none():
    """An empty answer keeps the shares, by name."""
    with pytest.raises(NoDataError, match="no PnL series") as caught:
        look()
    assert caught.value.outcome == "none"


def test_samples_off_the_grid_are_none():
    """Series without a sample at the asked times are no series."""
    with pytest.raises(NoDataError, match="grid") as caught:
        look(Series({"strategy": "a"}, np.array([END - 300.0]), np.array([1.0])))
    assert caught.value.outcome == "none"


def test_several_series_for_one_strategy_are_refused():
    """Nobody guesses which of two is meant."""
    with pytest.raises(NoDataError, match="PNL_SELECTOR") as caught:
        look(pnl([0.0] * ROWS), pnl([0.0] * ROWS, job="paper"))
    assert caught.value.outcome == "several"


def test_a_series_without_a_strategy_is_refused():
    """The label is what a share belongs to."""
    with pytest.raises(NoDataError, match="no label strategy"):
        look(series([0.0] * ROWS, END, STEP, job=JOB))


def test_a_nan_sample_is_no_reading():
    """NaN costs the row it stands in and the difference after it."""
    values = np.arange(ROWS) * 10.0
    values[4] = np.nan
    seen = look(pnl(values), pnl(np.arange(ROWS) * 1.0, "other"))
    assert Outcome(seen.outcomes[3, 1]) is Outcome.NAN
    assert Outcome(seen.outcomes[4, 1]) is Outcome.GAP
    assert np.isnan(seen.returns[3:5, 1]).all()
    assert np.isfinite(seen.returns[5:, 1]).all()


def test_infinite_pnl_is_nan():
    """±inf is no reading either."""
    values = np.arange(ROWS) * 10.0
    values[-1] = np.inf
    assert look(pnl(values)).newest == (Outcome.NAN,)


def test_an_old_newest_sample_is_stale():
    """PnL older than asked is no reading, though a range query still repeats it."""
    columns = [pnl(np.arange(ROWS) * 10.0, "old"), pnl(np.arange(ROWS) * 10.0, "young")]
    times = [Sample({"strategy": "old"}, END - 700.0), Sample({"strategy": "young"}, END - 100.0)]
    answers = Answers(pnl=columns, equity=[equity()], pnl_times=times)
    seen = observe(answers, GRID, now=END, stale_after=600.0)
    assert seen.newest == (Outcome.STALE, Outcome.ONE)
    assert np.isnan(seen.returns[-1, 0])
    assert seen.absent_rows.tolist() == [1, 0]


def test_a_reading_of_unknown_age_is_stale():
    """No time of sampling is no proof of freshness."""
    answers = Answers(pnl=[pnl(np.arange(ROWS) * 10.0)], equity=[equity()], pnl_times=[])
    assert observe(answers, GRID, now=END, stale_after=600.0).newest == (Outcome.STALE,)


def test_a_sampling_time_of_nan_is_stale():
    """A comparison with NaN proves nothing."""
    times = [Sample({"strategy": "scalp"}, float("nan"))]
    answers = Answers(pnl=[pnl(np.arange(ROWS) * 10.0)], equity=[equity()], pnl_times=times)
    assert observe(answers, GRID, now=END, stale_after=600.0).newest == (Outcome.STALE,)


def start_of(values) -> Series:
    return series(values, END, STEP, job=JOB, instance="default")


def test_a_restart_is_a_missing_row_and_not_a_loss():
    """When the engine's start changes, the fall of cumulative PnL is nobody's loss."""
    values = np.array([100.0, 110, 120, 130, 0, 10, 20, 30, 40, 50])
    seen = look(pnl(values), engine_start=[start_of([1.0] * 4 + [2.0] * 6)])
    assert Outcome(seen.outcomes[3, 0]) is Outcome.RESET
    assert np.nanmin(seen.returns) > 0.0


def test_pnl_that_follows_its_restart_late_is_missing_too():
    """Recorded PnL lags the scraped start by a rule's interval: the next row is no loss either."""
    values = np.array([100.0, 110, 120, 130, 140, 0, 10, 20, 30, 40])
    seen = look(pnl(values), engine_start=[start_of([1.0] * 4 + [2.0] * 6)])
    assert Outcome(seen.outcomes[4, 0]) is Outcome.RESET
    assert np.nanmin(seen.returns) > 0.0


def test_a_restart_during_a_gap_is_seen():
    """The start is compared with its last known value, not with the row before."""
    values = np.array([100.0, 110, 120, np.nan, np.nan, 5, 10, 20, 30, 40])
    starts = without(start_of([1.0] * 5 + [2.0] * 5), 3, 4)
    seen = look(without(pnl(values), 3, 4), engine_start=[starts])
    assert np.nanmin(seen.returns) > 0.0


def test_a_start_told_together_with_the_first_pnl_is_no_restart():
    """A deck that begins does not lose its first rows."""
    young = series(np.arange(6) * 10.0, END, STEP, strategy="a", job=JOB)
    begun = series(np.full(6, 7.0), END, STEP, job=JOB)
    assert look(young, engine_start=[begun]).readings == 5


def test_a_start_told_late_is_a_restart():
    """An engine that now says when it started was started anew."""
    values = np.array([100.0, 110, 120, 130, 0, 10, 20, 30, 40, 50])
    begun = series(np.full(6, 7.0), END, STEP, job=JOB)
    assert np.nanmin(look(pnl(values), engine_start=[begun]).returns) > 0.0


def test_the_restart_of_another_job_changes_nothing():
    """Only engines whose PnL is read count."""
    other = series([1.0] * 4 + [2.0] * 6, END, STEP, job="paper", instance="x")
    assert look(pnl(np.arange(ROWS) * 10.0), engine_start=[other]).readings == ROWS - 1


def test_an_engine_that_leaves_the_sum_is_no_loss():
    """When PnL becomes the sum of fewer engines the step is not a return."""
    values = np.array([100.0, 110, 120, 130, 60, 65, 70, 75, 80, 85])
    counts = series([2.0] * 4 + [1.0] * 6, END, STEP, job=JOB, strategy="scalp")
    seen = look(pnl(values), engines=[counts])
    assert Outcome(seen.outcomes[3, 0]) is Outcome.REGROUPED
    assert np.nanmin(seen.returns) > 0.0


def test_a_strategy_that_appears_has_no_return_at_first():
    """Its first PnL is no profit."""
    young = without(pnl(np.arange(ROWS) * 10.0 + 500, "young"), *range(6))
    seen = look(pnl(np.arange(ROWS) * 10.0, "old"), young)
    assert [Outcome(code) for code in seen.outcomes[4:7, 1]] == [Outcome.NONE, Outcome.APPEARED, Outcome.ONE]
    assert np.isfinite(seen.returns[6:, 1]).all()


def test_a_strategy_that_disappears_is_counted_row_by_row():
    """How long it is away decides whether it keeps its place."""
    gone = without(pnl(np.arange(ROWS) * 10.0, "gone"), 7, 8, 9)
    seen = look(pnl(np.arange(ROWS) * 10.0, "here"), gone)
    assert seen.newest == (Outcome.DISAPPEARED, Outcome.ONE)
    assert seen.absent_rows.tolist() == [3, 0]


def test_a_gap_for_all_is_a_gap():
    """Nobody has a sample: no return in the gap, none across it."""
    seen = look(without(pnl(np.arange(ROWS) * 10.0), 4, 5))
    assert [Outcome(code) for code in seen.outcomes[3:6, 0]] == [Outcome.GAP] * 3
    assert np.isfinite(np.delete(seen.returns[:, 0], [3, 4, 5])).all()


@pytest.mark.parametrize("value", [0.0, -5.0, np.nan])
def test_without_equity_there_is_no_return(value):
    """No capital to divide by is no reading, not an infinite one."""
    seen = look(pnl(np.arange(ROWS) * 10.0), equity=[equity([value] * ROWS)])
    assert seen.newest == (Outcome.NO_EQUITY,)
    assert np.isnan(seen.returns).all()


def test_no_equity_series_is_no_return():
    """An account that says nothing gives no returns."""
    assert look(pnl(np.arange(ROWS) * 10.0), equity=[]).readings == 0


def test_a_strategy_without_capital_has_no_return():
    """A share of zero earns nothing that could be judged."""
    seen = look(pnl(np.arange(ROWS) * 10.0), risk_share=[shares(0.0, "scalp")])
    assert seen.newest == (Outcome.NO_CAPITAL,)


def test_equity_of_other_jobs_does_not_count():
    """A paper account beside the real one is not its capital."""
    seen = look(pnl(np.arange(ROWS) * 10.0), equity=[equity(), equity([9e9] * ROWS, job="paper")])
    np.testing.assert_allclose(seen.returns, 10 / 1000)


def test_equity_of_two_engines_is_their_sum():
    """Strategies of two jobs share the capital of both."""
    seen = look(
        pnl(np.arange(ROWS) * 10.0, "a"),
        pnl(np.arange(ROWS) * 10.0, "b", job="second"),
        equity=[equity(), equity([3000.0] * ROWS, job="second")],
    )
    np.testing.assert_allclose(seen.returns, 10 / (4000 * 0.5))


def test_equity_that_pauses_in_one_job_is_no_smaller_capital():
    """A hole in one account's equity is a hole, not half the capital."""
    seen = look(
        pnl(np.arange(ROWS) * 10.0, "a"),
        pnl(np.arange(ROWS) * 10.0, "b", job="second"),
        equity=[equity(), without(equity([3000.0] * ROWS, job="second"), 5)],
    )
    assert Outcome(seen.outcomes[5, 0]) is Outcome.NO_EQUITY
    np.testing.assert_allclose(seen.returns[6:], 10 / (4000 * 0.5))


def test_several_equities_without_a_job_to_choose_by_are_refused():
    """Two accounts and no way to tell which is ours."""
    bare = series(np.arange(ROWS) * 10.0, END, STEP, strategy="a")
    with pytest.raises(NoDataError, match="equity has 2 series"):
        look(bare, equity=[equity(), equity(job="paper")])


def test_a_custom_metric_without_job_uses_the_only_equity():
    """One account needs no label."""
    seen = look(series(np.arange(ROWS) * 10.0, END, STEP, strategy="a"))
    np.testing.assert_allclose(seen.returns, 10 / 1000)


def test_rows_before_the_first_pnl_are_left_out():
    """A young deck has a short history, not a long one of nothing."""
    young = without(pnl(np.arange(ROWS) * 10.0), *range(7))
    assert look(young).returns.shape == (2, 1)


def test_a_single_sample_has_no_row_yet():
    """The first look at a deck shows a strategy and no return."""
    seen = look(without(pnl([5.0] * ROWS), *range(ROWS - 1)))
    assert seen.returns.shape == (0, 1)
    assert seen.newest == (Outcome.APPEARED,)
    assert seen.readings == 0


def test_breakers_are_read():
    """Any open equity breaker counts."""
    answers = Answers(pnl=[pnl([0.0] * ROWS)], equity=[equity()], equity_breaker=[Sample({}, 1.0)])
    assert observe(answers, GRID).breaker_open


def test_an_overflow_is_no_reading():
    """A return beyond what a float holds is not infinite wealth."""
    values = [0.0] * (ROWS - 1) + [1e308]
    seen = look(pnl(values), equity=[equity([1e-10] * ROWS)])
    assert seen.newest == (Outcome.NAN,)


@pytest.mark.parametrize("now", [1200.0, 1200.1, 1799.999])
def test_the_grid_ends_at_a_multiple_of_the_step(now):
    """Whoever looks within one period sees the same rows."""
    assert grid_for(now, 600.0, 3) == Grid(1200.0, 600.0, 3)


def test_the_grid_of_a_short_step_is_a_multiple_too():
    """Fractions of a second do not drift."""
    grid = grid_for(1_700_000_000.37, 0.1, 5)
    assert grid.end == pytest.approx(1_700_000_000.3, abs=1e-6)
    assert grid.start == pytest.approx(grid.end - 0.4, abs=1e-6)


def test_every_outcome_has_words():
    """What is logged can be read."""
    assert all(outcome.meaning and outcome.label for outcome in Outcome)


def test_counts_name_what_was_no_reading():
    """The log says how many cells were what."""
    seen = look(without(pnl(np.arange(ROWS) * 10.0), 4))
    assert seen.counts == {"gap": 2}
