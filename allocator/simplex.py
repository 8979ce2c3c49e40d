"""Pure: the projection of shares onto the simplex between two bounds.

Knows no clock, no network, no environment; the same input gives the same bits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from allocator.errors import HistoryError

__all__ = ["project"]

FloatArray = npt.NDArray[np.float64]

_SMALLEST_WEIGHT = 1e-200
"""Weights below this part of the largest count as this; keeps every knot hi/p finite."""


def project(weights: npt.ArrayLike, low: float, high: float) -> FloatArray:
    """The shares nearest to `weights` in relative entropy that sum to one inside [low, high].

    The minimiser of Σ w ln(w/p) under Σw = 1 and low ≤ w ≤ high is w = clip(c·p, low, high): ratios
    between free entries stay as they were, unlike in the Euclidean projection.  The multiplier c is found
    by a search over the 2n knots where an entry meets a bound, O(n log n).

    Args:
        weights: Wanted proportions, finite and ≥ 0, not all zero; shape (n,).  Their sum is free.
        low: Smallest share; n·low ≤ 1.
        high: Largest share; n·high ≥ 1.

    Returns:
        Shares; shape (n,), |Σ − 1| ≤ 1e-12, each one inside the bounds exactly.

    Raises:
        HistoryError: Weights that are not a finite, non-negative, not all-zero vector, or bounds that no
            share vector meets.

    Source: Lagrange conditions of the I-projection, Csiszár (1975), Annals of Probability 3(1).

    >>> project(np.array([8.0, 1.0, 1.0]), 0.05, 0.5)
    array([0.5 , 0.25, 0.25])
    """
    weights = _checked(weights)
    count = weights.size
    if weights.ndim != 1 or count == 0:
        raise HistoryError(f"weights have shape {weights.shape}: want (n,) with n ≥ 1")
    top = float(weights.max())
    if not (np.isfinite(weights).all() and weights.min() >= 0.0 and top > 0.0):
        raise HistoryError("weights: want finite numbers ≥ 0, at least one above 0")
    slack = 1e-12
    if not (0.0 <= low <= high and count * low <= 1.0 + slack and count * high >= 1.0 - slack):
        raise HistoryError(f"low={low}, high={high}: no {count} shares between them sum to 1")
    p = np.maximum(weights / top, _SMALLEST_WEIGHT)

    # Knots, sorted; between two neighbours the set of clipped entries does not change.
    knots = np.unique(np.concatenate([low / p, high / p]))
    # First knot with Σclip ≥ 1.  The sum is evaluated itself: prefix sums cancel at extreme ratios.
    first, last = 0, knots.size - 1
    while first < last:
        middle = (first + last) // 2
        if float(np.clip(knots[middle] * p, low, high).sum()) >= 1.0:
            last = middle
        else:
            first = middle + 1
    right = float(knots[first])
    left = float(knots[first - 1]) if first > 0 else 0.0
    # Any point strictly inside the segment classifies every entry without a tie.
    inside = float(np.sqrt(left) * np.sqrt(right)) if left > 0.0 else right / 2
    at_high = inside * p >= high
    at_low = inside * p <= low
    free = ~(at_high | at_low)

    shares = np.where(at_high, high, low)
    n_free = int(free.sum())
    if n_free:
        rest = 1.0 - high * int(at_high.sum()) - low * int((at_low & ~at_high).sum())
        multiplier = rest / float(p[free].sum())
        shares[free] = np.clip(multiplier * p[free], low, high)
        # What rounding left over, in equal parts, so that equal weights keep equal shares.
        residual = 1.0 - float(shares.sum())
        shares[free] = np.clip(shares[free] + residual / n_free, low, high)
    return shares


def _checked(weights: npt.ArrayLike) -> FloatArray:
    """Weights as an array of floats."""
    try:
        return np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise HistoryError(f"weights: {error}: want numbers, shape (n,)") from error
