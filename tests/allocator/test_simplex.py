"""The projection onto the simplex with bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from allocator.errors import HistoryError
from allocator.simplex import project

WEIGHTS = hnp.arrays(
    np.float64,
    st.integers(1, 60),
    elements=st.one_of(st.floats(0.0, 1.0), st.floats(1e-290, 1e-150), st.sampled_from([0.0, 1.0, 0.5])),
).filter(lambda w: w.max() > 0)


@st.composite
def problems(draw):
    """Weights and bounds that some share vector meets."""
    weights = draw(WEIGHTS)
    n = weights.size
    low = draw(st.sampled_from([0.0, 1.0])) and draw(st.floats(0.0, 1.0)) / n
    high = draw(st.floats(1.0 / n, 1.0))
    return weights, low, high


@given(problems())
def test_the_sum_is_one_and_the_bounds_are_exact(problem):
    """Whatever the weights, shares sum to one within 1e-12 and none is outside its bounds by one bit."""
    weights, low, high = problem
    shares = project(weights, low, high)
    assert abs(shares.sum() - 1.0) <= 1e-12
    assert shares.min() >= low
    assert shares.max() <= high


@given(problems())
def test_free_entries_keep_their_ratios_and_clipped_ones_are_on_the_right_side(problem):
    """The optimality conditions hold: one multiplier c with share = clip(c·weight) for every entry."""
    weights, low, high = problem
    p = np.maximum(weights / weights.max(), 1e-200)
    shares = project(weights, low, high)
    free = (shares > low) & (shares < high)
    if not free.any():
        return
    ratios = shares[free] / p[free]
    # Entries within rounding of a bound may stand on it, hence relative 1e-6 around one multiplier.
    biggest = shares[free].argmax()
    c = ratios[biggest]
    expected = np.clip(c * p, low, high)
    np.testing.assert_allclose(shares, expected, rtol=1e-6, atol=1e-12)


@given(problems(), st.floats(1e-3, 1e3))
def test_only_proportions_count(problem, factor):
    """Weights times a constant give the same shares."""
    weights, low, high = problem
    np.testing.assert_allclose(project(weights * factor, low, high), project(weights, low, high), atol=1e-9)


@given(problems(), st.randoms(use_true_random=False))
def test_order_does_not_matter(problem, random):
    """Permuted weights give the permuted shares."""
    weights, low, high = problem
    order = list(range(weights.size))
    random.shuffle(order)
    np.testing.assert_allclose(
        project(weights[order], low, high), project(weights, low, high)[order], atol=1e-9
    )


@given(problems())
def test_equal_weights_get_equal_shares(problem):
    """Entries with the same weight get the same bits."""
    weights, low, high = problem
    twice = np.concatenate([weights, weights])
    shares = project(twice, low / 2, max(high / 2, 0.5 / weights.size))
    np.testing.assert_array_equal(shares[: weights.size], shares[weights.size :])


def test_inputs_are_untouched():
    """The caller's array stays as it was."""
    weights = np.array([0.9, 0.05, 0.05])
    before = weights.copy()
    project(weights, 0.1, 0.5)
    np.testing.assert_array_equal(weights, before)


@pytest.mark.parametrize("seed", range(20))
def test_a_thousand_dense_knots_are_told_apart(seed):
    """Where bounds are met by many entries at nearly the same multiplier, the right ones are clipped."""
    weights = np.random.default_rng(seed).lognormal(0.0, 1.0, 1000)
    low, high = 0.0005, 0.002
    shares = project(weights, low, high)
    assert abs(shares.sum() - 1.0) <= 1e-12
    free = (shares > low) & (shares < high)
    ratios = shares[free] / weights[free]
    assert ratios.max() / ratios.min() - 1.0 < 1e-9
    c = ratios.mean()
    assert (c * weights[shares == low]).max() <= low * (1 + 1e-9)
    assert (c * weights[shares == high]).min() >= high * (1 - 1e-9)


@pytest.mark.parametrize(
    ("weights", "low", "high", "expected"),
    [
        ([1.0], 0.0, 1.0, [1.0]),
        ([1.0, 1.0], 0.5, 0.5, [0.5, 0.5]),
        ([1.0, 0.0], 0.0, 1.0, [1.0, 0.0]),
        ([1.0, 1e-300], 0.05, 0.55, [0.55, 0.45]),
        ([1.0, 0.0, 0.0], 0.0, 0.5, [0.5, 0.25, 0.25]),
        ([6.0, 3.0, 1.0], 0.2, 0.5, [0.5, 0.3, 0.2]),
        ([6.0, 2.0, 2.0], 0.0, 1.0, [0.6, 0.2, 0.2]),
    ],
)
def test_worked_by_hand(weights, low, high, expected):
    """Small cases solved on paper."""
    np.testing.assert_allclose(project(np.array(weights), low, high), expected, atol=1e-12)


def test_the_answer_is_nearer_than_its_neighbours():
    """No feasible move between two entries lowers the relative entropy."""
    rng = np.random.default_rng(7)
    for _ in range(50):
        p = rng.dirichlet(np.full(6, 0.4)) + 1e-9
        shares = project(p, 0.03, 0.4)
        best = float((shares * np.log(shares / p)).sum())
        for giver in range(6):
            for taker in range(6):
                moved = shares.copy()
                moved[giver] -= 1e-5
                moved[taker] += 1e-5
                if giver != taker and moved.min() >= 0.03 and moved.max() <= 0.4:
                    assert float((moved * np.log(moved / p)).sum()) >= best - 1e-12


@pytest.mark.parametrize(
    ("weights", "low", "high", "says"),
    [
        ([], 0.0, 1.0, "shape"),
        ([[1.0]], 0.0, 1.0, "shape"),
        ([0.0, 0.0], 0.0, 1.0, "above 0"),
        ([1.0, -1.0], 0.0, 1.0, "above 0"),
        ([1.0, np.nan], 0.0, 1.0, "finite"),
        ([1.0, np.inf], 0.0, 1.0, "finite"),
        ([1.0, 1.0], 0.6, 0.7, "low=0.6"),
        ([1.0, 1.0], 0.1, 0.4, "high=0.4"),
        ([1.0, 1.0], 0.7, 0.3, "low=0.7"),
        ([1.0, 1.0], np.nan, 1.0, "low=nan"),
    ],
)
def test_what_has_no_answer_is_refused(weights, low, high, says):
    """Input without a projection raises and says what came."""
    with pytest.raises(HistoryError, match=says):
        project(np.array(weights), low, high)


def test_a_list_will_do():
    """Anything numpy can make an array of; a text is told."""
    np.testing.assert_array_equal(project([8, 1, 1], 0.05, 0.5), [0.5, 0.25, 0.25])
    with pytest.raises(HistoryError, match=r"weights: .*want numbers"):
        project(["x"], 0.05, 0.5)
