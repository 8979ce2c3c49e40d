"""The policy: golden numbers, edge cases, invariants."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from allocator.errors import HistoryError
from allocator.policy import allocate, assess, bounds_relaxed, share_bounds, signal_part
from allocator.simplex import project
from tests.reference import allocator_policy as reference

MIN, MAX = 0.05, 0.55
VALUES = st.one_of(
    st.floats(-0.1, 0.1),
    st.sampled_from([0.0, np.nan, np.inf, -np.inf, 0.01, -0.01]),
    st.floats(-1e6, 1e6),
)
HISTORIES = hnp.arrays(np.float64, st.tuples(st.integers(0, 60), st.integers(1, 8)), elements=VALUES)
CLEAN = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 60), st.integers(2, 8)), elements=st.floats(-0.125, 0.125, width=32)
)
BOUNDS = st.tuples(st.floats(0.0, 1.0), st.floats(0.01, 1.0)).map(lambda b: (min(b), max(b)))


def noise(rows: int, n: int, seed: int = 0, scale: float = 0.01) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, scale, (rows, n))


@pytest.mark.parametrize(("rows", "max_share"), list(reference.GOLDEN))
def test_golden_shares(rows, max_share):
    """The specified shares come out to every printed digit."""
    shares = allocate(reference.golden_history()[:rows], MIN, max_share)
    np.testing.assert_array_equal(shares.round(6), reference.GOLDEN[rows, max_share])


def test_golden_scores():
    """The specified smoothed scores come out to every printed digit."""
    found = assess(reference.golden_history(), MIN, MAX)
    np.testing.assert_array_equal(found.score_ema.round(6), reference.GOLDEN_SCORE_EMA)


@given(HISTORIES, st.sampled_from([(0.05, 0.55), (0.0, 1.0), (0.02, 0.3)]))
def test_it_agrees_with_the_formula_row_by_row(history, bounds):
    """The blocked arithmetic gives what the ten steps give when followed literally."""
    assume(np.isfinite(history).any())
    assume(not bounds_relaxed(history.shape[1], *bounds))
    history = np.where(np.abs(history) < 1e-100, 0.0, history)  # whose squares the plain text cannot hold
    np.testing.assert_allclose(allocate(history, *bounds), reference.shares(history, *bounds), atol=1e-7)


@pytest.mark.parametrize("rows", [11, 12, 13, 63, 64, 65, 1000])
@pytest.mark.parametrize("n", [2, 65, 130])
def test_it_agrees_with_the_formula_at_block_edges(rows, n):
    """Neither row blocks nor column blocks leave a seam."""
    history = noise(rows, n, seed=rows)
    history[np.random.default_rng(1).random(history.shape) < 0.05] = np.nan
    np.testing.assert_allclose(
        assess(history, 0.0, 1.0).score_ema, reference.score_ema(history), rtol=1e-9, atol=1e-9
    )


@given(HISTORIES, BOUNDS, st.floats(0.01, 1.0), st.floats(0.0, 1.0))
def test_shares_sum_to_one_inside_the_bounds(history, bounds, alpha, exploration):
    """Whatever comes in, Σ = 1 within 1e-12 and every share is inside the bounds n strategies can meet."""
    shares = allocate(history, *bounds, ema_alpha=alpha, exploration=exploration)
    low, high = share_bounds(history.shape[1], *bounds)
    assert abs(shares.sum() - 1.0) <= 1e-12
    assert shares.min() >= low
    assert shares.max() <= high


@given(HISTORIES)
def test_it_is_deterministic_and_leaves_its_input(history):
    """The same rows give the same bits, and stay as they were."""
    before = history.copy()
    first = allocate(history, MIN, MAX)
    np.testing.assert_array_equal(first, allocate(history, MIN, MAX))
    np.testing.assert_array_equal(history, before)


def test_a_read_only_history_in_either_memory_order_is_fine():
    """Layout and flags of the caller's array do not matter."""
    history = noise(100, 4)
    turned = np.asfortranarray(history)
    turned.flags.writeable = False
    np.testing.assert_allclose(allocate(turned, MIN, MAX), allocate(history, MIN, MAX), atol=1e-12)


@given(CLEAN, st.randoms(use_true_random=False))
def test_order_of_strategies_does_not_matter(history, random):
    """Permuted columns give the permuted shares."""
    order = list(range(history.shape[1]))
    random.shuffle(order)
    np.testing.assert_allclose(
        allocate(history[:, order], MIN, MAX), allocate(history, MIN, MAX)[order], atol=1e-9
    )


@given(CLEAN, st.floats(1e-6, 1e6))
def test_the_currency_does_not_matter(history, factor):
    """All PnL times a constant gives the same shares."""
    history = np.where(np.abs(history) < 1e-30, 0.0, history)
    np.testing.assert_allclose(allocate(history * factor, MIN, MAX), allocate(history, MIN, MAX), atol=1e-6)


@given(HISTORIES, st.integers(1, 3))
def test_identical_columns_get_identical_shares(history, copies):
    """Twins get the same bits, also across column blocks."""
    wide = np.tile(history, (1, 1 + copies))
    shares = allocate(wide, 0.0, 1.0).reshape(1 + copies, history.shape[1])
    for row in shares[1:]:
        np.testing.assert_array_equal(row, shares[0])


def test_seventy_identical_columns_get_identical_shares():
    """Twins in different column blocks get the same bits."""
    assert np.unique(allocate(np.tile(noise(500, 1), (1, 70)), 0.0, 1.0)).size == 1


@given(HISTORIES)
def test_without_room_there_is_no_choice(history):
    """MIN = MAX = 1/n gives equal shares."""
    n = history.shape[1]
    np.testing.assert_array_equal(allocate(history, 1 / n, 1 / n), np.full(n, 1 / n))


@given(HISTORIES)
def test_full_exploration_is_uniform(history):
    """ε = 1 gives 1/n."""
    n = history.shape[1]
    np.testing.assert_allclose(allocate(history, 0.0, 1.0, exploration=1.0), np.full(n, 1 / n), atol=1e-12)


@given(HISTORIES, st.integers(1, 59))
def test_the_future_does_not_reach_back(history, cut):
    """The decision after row t is the same whatever rows follow in the caller's array."""
    rows = min(cut, history.shape[0])
    changed = history.copy()
    changed[rows:] = 1e9
    np.testing.assert_array_equal(allocate(history[:rows], MIN, MAX), allocate(changed[:rows], MIN, MAX))


@given(
    hnp.arrays(np.float64, st.integers(2, 8), elements=st.floats(-6, 6)),
    st.floats(0.0, 5.0),
    st.sampled_from([(0.0, 1.0), (0.05, 0.55), (0.02, 0.4)]),
)
@example(evidence=np.full(2, 3.8e-159), step=0.0, bounds=(0.0, 1.0))  # its square is the smallest of floats
def test_more_evidence_for_the_first_and_less_for_the_last_never_turns_against_it(evidence, step, bounds):
    """Raising the largest t never lowers its share; lowering the smallest never raises it."""
    low, high = share_bounds(evidence.size, *bounds)

    def shares(t: np.ndarray) -> np.ndarray:
        tilt = signal_part(t) * t
        return project(np.exp(tilt - tilt.max()), low, high)

    first, last = int(evidence.argmax()), int(evidence.argmin())
    raised, lowered = evidence.copy(), evidence.copy()
    raised[first] += step
    lowered[last] -= step
    assert shares(raised)[first] >= shares(evidence)[first] - 1e-12
    assert shares(lowered)[last] <= shares(evidence)[last] + 1e-12


@pytest.mark.parametrize("row", [0, 100, 300, 560, 599])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_size_of_an_absurd_print_buys_nothing(row, sign):
    """A print of a million moves no share by more than .002 from what ten deviations would have done."""
    history = reference.golden_history()
    for column in range(4):
        large, absurd = history.copy(), history.copy()
        large[row, column] = sign * 10 * 1.4826 * np.median(np.abs(history[:, column]))
        absurd[row, column] = sign * 1e6
        moved = np.abs(allocate(absurd, MIN, MAX) - allocate(large, MIN, MAX)).max()
        assert moved <= 0.002


def test_an_absurd_print_in_the_middle_moves_next_to_nothing():
    """A million in the middle of 600 rows moves no share by more than .003 at all."""
    history = reference.golden_history()
    for column in range(4):
        absurd = history.copy()
        absurd[300, column] = 1e6
        assert np.abs(allocate(absurd, MIN, MAX) - allocate(history, MIN, MAX)).max() <= 0.003


def test_one_strategy_gets_everything():
    """One strategy: [1]."""
    np.testing.assert_array_equal(allocate(noise(50, 1), MIN, MAX), [1.0])


@pytest.mark.parametrize(
    "history",
    [np.empty((0, 3)), np.full((20, 3), np.nan), np.full((5, 3), np.inf), np.zeros((30, 3))],
    ids=["empty", "all NaN", "all inf", "all zero"],
)
def test_nothing_known_is_equal_shares(history):
    """No row, no reading, no movement: 1/n."""
    np.testing.assert_allclose(allocate(history, MIN, MAX), np.full(3, 1 / 3), atol=1e-15)


def test_no_strategy_is_no_share():
    """No column gives an empty answer."""
    assert allocate(np.empty((10, 0)), MIN, MAX).shape == (0,)


def test_without_a_reading_the_shares_in_force_are_kept():
    """With `prev`, silence holds what is; bounds still count."""
    silent = np.full((20, 3), np.nan)
    np.testing.assert_allclose(allocate(silent, MIN, MAX, prev=[0.5, 0.3, 0.2]), [0.5, 0.3, 0.2], atol=1e-12)
    assert allocate(silent, MIN, MAX, prev=[1.0, 0.0, 0.0]).max() <= MAX
    np.testing.assert_allclose(
        allocate(silent, MIN, MAX, prev=[0.0, 0.0, 0.0]), np.full(3, 1 / 3), atol=1e-12
    )


def test_shares_in_force_do_not_sway_a_decision():
    """The answer is a function of the rows: `prev` matters in silence alone."""
    history = noise(100, 3)
    np.testing.assert_array_equal(
        allocate(history, MIN, MAX, prev=[0.55, 0.4, 0.05]), allocate(history, MIN, MAX)
    )


@pytest.mark.parametrize(("low", "high"), [(0.5, 0.6), (0.25, 0.9), (0.0, 0.2), (0.1, 0.25)])
def test_bounds_that_leave_no_choice_are_relaxed(low, high):
    """n·min ≥ 1 or n·max ≤ 1 gives 1/n and says so."""
    found = assess(noise(100, 4), low, high)
    np.testing.assert_array_equal(found.shares, np.full(4, 0.25))
    assert found.relaxed


def test_bounds_with_room_are_not_called_relaxed():
    """The flag stays down where the bounds hold."""
    assert not assess(noise(100, 4), MIN, MAX).relaxed


def test_equal_constant_pnl_is_equal_shares():
    """Strategies that earn the same, always, share alike."""
    np.testing.assert_allclose(allocate(np.full((200, 5), 0.01), MIN, MAX), np.full(5, 0.2), atol=1e-15)


def test_a_newborn_starts_at_parity_and_a_bonus():
    """A strategy unknown among known equals gets about a quarter more than they get each."""
    history = noise(4032, 4)
    history[:, 3] = np.nan
    found = assess(history, 0.0, 1.0)
    assert found.readings[3] == 0.0
    assert found.evidence[3] == 0.0
    assert found.gate == 0.0
    typical = np.median(found.raw_shares[:3])
    assert 1.15 < found.raw_shares[3] / typical < 1.35


def test_missing_readings_fade_what_is_known():
    """A strategy that stops reporting loses readings and evidence, row by row."""
    history = noise(2000, 3)
    history[:, 0] += 0.002
    full = assess(history, MIN, MAX)
    history[-600:, 0] = np.nan
    gone = assess(history, MIN, MAX)
    assert gone.readings[0] < full.readings[0] - 500
    assert 0.0 < gone.evidence[0] < full.evidence[0]


def test_silence_does_not_look_like_low_risk():
    """A strategy that hardly ever trades gets no more than the common volatility would give it."""
    history = noise(1000, 3)
    history[:-3, 0] = 0.0
    history[-3:, 0] *= 1e-4
    found = assess(history, 0.0, 1.0)
    assert found.volatility[0] > 0.5 * found.volatility[1:].min()


def test_only_differences_count_when_all_lose():
    """Every strategy loses: shares still sum to one, and the one that loses least leads."""
    history = noise(2000, 3) - np.array([0.001, 0.002, 0.004])
    shares = allocate(history, MIN, MAX)
    assert shares.sum() == pytest.approx(1.0, abs=1e-12)
    assert shares[0] > shares[1] > shares[2]


def test_a_steady_loser_ends_at_the_floor():
    """A strategy that loses while the others do not is cut to MIN_SHARE."""
    history = noise(1000, 4)
    history[:, 2] -= 0.01
    assert allocate(history, MIN, MAX)[2] == MIN


@pytest.mark.parametrize("seed", range(3))
def test_it_is_no_kill_switch(seed):
    """After two weeks of evidence a sudden loss of 3σ a refresh is cut within 100 of them, not within 20."""
    history = noise(2016 + 100, 4, seed=seed)
    history[:2016, 0] += 0.001
    history[2016:, 0] -= 0.03
    assert allocate(history[: 2016 + 20], MIN, MAX)[0] == MAX
    assert allocate(history, MIN, MAX)[0] < 0.2


def test_noise_alone_does_not_move_capital():
    """Where dispersion is what chance gives, the gate is shut and equal risks share alike."""
    found = assess(np.tile([[0.01], [-0.01]], (500, 1)) * np.ones((1, 4)), MIN, MAX)
    assert found.gate == 0.0
    np.testing.assert_allclose(found.shares, np.full(4, 0.25), atol=1e-12)


def test_the_quieter_of_two_equals_gets_more():
    """Risk parity: half the volatility, twice the weight, before the uniform part."""
    history = noise(4000, 2)
    history[:, 1] = history[::-1, 0] * 2
    history -= history.mean(axis=0)
    found = assess(history, 0.0, 1.0, exploration=0.0)
    assert found.raw_shares[0] / found.raw_shares[1] == pytest.approx(2.0, rel=0.25)


def test_slower_rows_span_the_same_time():
    """Memory is in days, not rows: at an hour a row the counts fade six times faster."""
    history = noise(2000, 2)
    slow = assess(history, MIN, MAX, refresh_seconds=3600.0)
    fast = assess(history, MIN, MAX, refresh_seconds=600.0)
    assert slow.readings[0] < 1000
    assert fast.readings[0] > 1700


@given(st.sampled_from([1e-320, 1e-200, 1e160, 1e300]))
def test_numbers_at_the_edge_of_floats_do_not_break_it(scale):
    """Tiny and huge returns still give shares."""
    shares = allocate(noise(60, 3, scale=1.0) * scale, MIN, MAX)
    assert abs(shares.sum() - 1.0) <= 1e-12


def test_the_lookback_is_two_half_lives():
    """Other people's harnesses read how many rows a decision wants."""
    assert allocate.lookback == 4032


def test_signal_part_of_no_dispersion_is_zero():
    """Q = 0 shuts the gate."""
    assert signal_part(np.zeros((2, 3))).tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize(
    ("history", "low", "high", "options", "says"),
    [
        ([0.1, 0.2], 0.05, 0.55, {}, "shape"),
        ([[0.1]], -0.1, 0.55, {}, "min_share=-0.1"),
        ([[0.1]], 0.6, 0.55, {}, "min_share=0.6"),
        ([[0.1]], 0.0, 1.1, {}, "max_share=1.1"),
        ([[0.1]], 0.0, 0.0, {}, "max_share=0.0"),
        ([[0.1]], float("nan"), 1.0, {}, "min_share=nan"),
        ([[0.1]], 0.05, 0.55, {"ema_alpha": 0.0}, "ema_alpha=0.0"),
        ([[0.1]], 0.05, 0.55, {"ema_alpha": 1.5}, "ema_alpha=1.5"),
        ([[0.1]], 0.05, 0.55, {"exploration": -0.1}, "exploration=-0.1"),
        ([[0.1]], 0.05, 0.55, {"refresh_seconds": 0.0}, "refresh_seconds=0.0"),
        ([[0.1]], 0.05, 0.55, {"prev": [0.5, 0.5]}, "prev="),
        ([[0.1]], 0.05, 0.55, {"prev": [float("nan")]}, "prev="),
    ],
)
def test_a_wrong_call_is_refused(history, low, high, options, says):
    """A parameter out of its range raises a ValueError that says what came and what was wanted."""
    with pytest.raises(HistoryError, match=says) as caught:
        allocate(history, low, high, **options)
    assert isinstance(caught.value, ValueError)


def test_a_masked_cell_is_no_reading():
    """Whatever stands under the mask is not looked at."""
    history = noise(200, 3)
    hidden = np.zeros(history.shape, dtype=bool)
    hidden[50:90, 1] = True
    masked = np.ma.MaskedArray(np.where(hidden, 7.0, history), mask=hidden)
    shown = np.where(hidden, np.nan, history)
    np.testing.assert_array_equal(allocate(masked, 0.05, 0.55), allocate(shown, 0.05, 0.55))
    whole = np.ma.MaskedArray(history)
    np.testing.assert_array_equal(allocate(whole, 0.05, 0.55), allocate(history, 0.05, 0.55))


@pytest.mark.parametrize("value", [None, "0.05", [0.05], 1j])
@pytest.mark.parametrize("name", ["min_share", "max_share", "ema_alpha", "exploration", "refresh_seconds"])
def test_a_parameter_that_is_no_number_is_told_by_name(name, value):
    """Who forgot one reads which."""
    arguments = {"min_share": 0.05, "max_share": 0.55, name: value}
    with pytest.raises(HistoryError, match=rf"^{name}=.*: want a number$"):
        allocate(noise(20, 3), **arguments)


def test_any_kind_of_number_will_do():
    """Arrays of no dimension and small floats are numbers too."""
    expected = allocate(noise(20, 3), 0.25, 0.5)
    bounds: tuple[Any, Any] = (np.array(0.25), np.float32(0.5))
    found = allocate(noise(20, 3), *bounds)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("history", [[], [["a"]], [[0.1], [0.1, 0.2]], None])
def test_what_is_no_history_is_told(history):
    """Another shape or no numbers: the message has the shape that is wanted."""
    with pytest.raises(HistoryError, match=r"pnl_history.*want .*\(rows, strategies\)"):
        allocate(history, 0.05, 0.55)


def test_a_history_without_rows_gives_equal_shares():
    """Shape (0, n) names the strategies, if nothing else."""
    np.testing.assert_array_equal(allocate(np.empty((0, 4)), 0.05, 0.55), [0.25] * 4)
