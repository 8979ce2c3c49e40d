"""Pure: from the history of PnL to scores to risk shares.

One pass over the window, no state: the answer depends on the rows alone, so a restarted allocator decides
what it would have decided.  Knows no clock, logger, network or environment.  The steps are numbered as in
docs/allocator.md, which says why each is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from allocator.errors import HistoryError
from allocator.simplex import project

__all__ = [
    "LOOKBACK_ROWS",
    "Assessment",
    "allocate",
    "assess",
    "bounds_relaxed",
    "share_bounds",
    "signal_part",
]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

LOOKBACK_ROWS = 4032
"""Rows of history a decision uses: two half-lives of evidence."""

REFRESH_SECONDS = 600.0
EVIDENCE_HALF_LIFE_SECONDS = 14 * 86_400.0
VOLATILITY_DECAY = 0.99  # per ten minutes
SCORES = 12  # K: scores that the EMA over decisions still sees
WINSOR = 10.0  # robust standard deviations a single return may count
Z_CLIP = 4.0
PRIOR_READINGS = 10.0  # ν: readings' worth of trust in the common volatility
MAD_TO_SIGMA = 1.4826  # of a normal distribution
_ACTIVE_READINGS = 1e-6
_LARGEST = 1e150  # its square is finite
_SMALLEST = 1e-300
_BLOCK = 64  # columns


@dataclass(frozen=True, slots=True)
class Assessment:
    """What the policy thinks of each strategy after the last row; arrays of shape (n,).

    Attributes:
        shares: Risk shares, sum 1, inside the bounds.
        raw_shares: Shares before the bounds: softmax of `score_ema` with the uniform part mixed in.
        score: Score of the last row.
        score_ema: EMA of the last scores, what the shares are made of.
        bonus: Exploration part of `score`.
        evidence: Distance of mean normalised PnL from the others', in standard errors (t).
        readings: Effective number of readings (Kish).
        volatility: Shrunk standard deviation of a row's return.
        mean: Mean normalised return (per unit of volatility and row).
        gate: Part of the dispersion between strategies that is not noise, in [0, 1].
        relaxed: The bounds could not hold or left no choice, so shares are equal.
        silent: There was no reading at all.
    """

    shares: FloatArray
    raw_shares: FloatArray
    score: FloatArray
    score_ema: FloatArray
    bonus: FloatArray
    evidence: FloatArray
    readings: FloatArray
    volatility: FloatArray
    mean: FloatArray
    gate: float
    relaxed: bool
    silent: bool


def share_bounds(count: int, min_share: float, max_share: float) -> tuple[float, float]:
    """The bounds that `count` shares can meet: (min(min_share, 1/n), max(max_share, 1/n))."""
    return min(min_share, 1.0 / count), max(max_share, 1.0 / count)


def bounds_relaxed(count: int, min_share: float, max_share: float) -> bool:
    """Whether the bounds cannot hold, or hold for equal shares alone."""
    slack = 1e-12  # n·(1/n) may round to just below one
    return count * min_share >= 1.0 - slack or count * max_share <= 1.0 + slack


class Allocate(Protocol):
    """`allocate` and the number of rows it wants to see."""

    lookback: int

    def __call__(
        self,
        pnl_history: npt.ArrayLike,
        min_share: float,
        max_share: float,
        *,
        ema_alpha: float = 0.35,
        exploration: float = 0.08,
        prev: npt.ArrayLike | None = None,
        refresh_seconds: float = REFRESH_SECONDS,
    ) -> FloatArray:
        """See `allocate`."""
        ...


def _allocate(
    pnl_history: npt.ArrayLike,
    min_share: float,
    max_share: float,
    *,
    ema_alpha: float = 0.35,
    exploration: float = 0.08,
    prev: npt.ArrayLike | None = None,
    refresh_seconds: float = REFRESH_SECONDS,
) -> FloatArray:
    """Risk shares after the last row of `pnl_history`.

    Args:
        pnl_history: Simple returns on the capital given, rows oldest first, a column a strategy; shape
            (T, n).  NaN, ±inf or masked is no reading.  More than `allocate.lookback` rows change little.
        min_share: Smallest share, ratio in [0, 1].
        max_share: Largest share, ratio in (0, 1]; min_share ≤ max_share.
        ema_alpha: Weight of the newest score in the EMA over decisions, in (0, 1].
        exploration: Size of the bonus for the little-known and of the uniform part, in [0, 1].
        prev: Shares in force; kept (within the bounds) where the history has no reading at all.
        refresh_seconds: Time between rows; sets how many rows the memories span.

    Returns:
        Shares; shape (n,), |Σ − 1| ≤ 1e-12, inside the bounds exactly.  Equal where the bounds leave no
        choice, where there is no reading and no `prev`; [1] for one strategy.

    Raises:
        HistoryError: A history that is not two-dimensional, or a parameter out of its range.

    >>> allocate([[0.01, -0.01], [0.02, -0.01]], 0.05, 0.55).round(2)
    array([0.55, 0.45])
    """
    return assess(
        pnl_history,
        min_share,
        max_share,
        ema_alpha=ema_alpha,
        exploration=exploration,
        prev=prev,
        refresh_seconds=refresh_seconds,
    ).shares


_allocate.__name__ = _allocate.__qualname__ = "allocate"
allocate = cast("Allocate", _allocate)
allocate.lookback = LOOKBACK_ROWS


def assess(
    pnl_history: npt.ArrayLike,
    min_share: float,
    max_share: float,
    *,
    ema_alpha: float = 0.35,
    exploration: float = 0.08,
    prev: npt.ArrayLike | None = None,
    refresh_seconds: float = REFRESH_SECONDS,
) -> Assessment:
    """What `allocate` decides, with the numbers that led there; the same arguments and errors."""
    history = _checked_history(pnl_history)
    min_share = _number("min_share", min_share)
    max_share = _number("max_share", max_share)
    ema_alpha = _number("ema_alpha", ema_alpha)
    exploration = _number("exploration", exploration)
    refresh_seconds = _number("refresh_seconds", refresh_seconds)
    _check_parameters(min_share, max_share, ema_alpha, exploration, refresh_seconds)
    rows, count = history.shape
    held = None if prev is None else _checked_prev(prev, count)
    if count == 0:
        return _neutral(0, np.empty(0), relaxed=False)
    low, high = share_bounds(count, min_share, max_share)
    relaxed = bounds_relaxed(count, min_share, max_share)
    present = np.isfinite(history)
    if rows == 0 or not present.any():
        equal = np.full(count, 1.0 / count)
        return _neutral(count, equal if held is None or relaxed else project(held, low, high), relaxed)

    scores = _scores(history, present, exploration, refresh_seconds)
    # 9. EMA of the score from decision to decision.
    used = scores.score.shape[0]
    fade = ema_alpha * (1.0 - ema_alpha) ** np.arange(used - 1, -1, -1)
    score_ema = (fade[:, None] * scores.score).sum(axis=0) / fade.sum()
    # 10. Shares.
    grown = np.exp(score_ema - score_ema.max())
    raw = (1.0 - exploration) * grown / grown.sum() + exploration / count
    return Assessment(
        shares=np.full(count, 1.0 / count) if relaxed else project(raw, low, high),
        raw_shares=raw,
        score=scores.score[-1],
        score_ema=score_ema,
        bonus=scores.bonus,
        evidence=scores.evidence,
        readings=scores.readings,
        volatility=scores.volatility,
        mean=scores.mean,
        gate=scores.gate,
        relaxed=relaxed,
        silent=False,
    )


@dataclass(frozen=True, slots=True)
class _Scores:
    """`score` has a row for each of the last decisions; the rest are of the last row."""

    score: FloatArray
    bonus: FloatArray
    evidence: FloatArray
    readings: FloatArray
    volatility: FloatArray
    mean: FloatArray
    gate: float


def _scores(history: FloatArray, present: BoolArray, exploration: float, refresh_seconds: float) -> _Scores:
    """Steps 1 to 8: the scores of the last K rows."""
    count = history.shape[1]
    # Blocks of columns that stay in the processor's cache; no column knows its neighbours until step 5.
    parts = [
        _column_sums(history[:, start : start + _BLOCK], present[:, start : start + _BLOCK], refresh_seconds)
        for start in range(0, count, _BLOCK)
    ]
    variance, total, n1, n2, activity = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
    readings = _ratio(n1 * n1, n2)
    mean = _ratio(total, n1)
    # 5. How far each is from the others, and how much of that is more than noise.
    known = readings.sum(axis=1, keepdims=True)
    centre = _ratio((readings * mean).sum(axis=1, keepdims=True), known)
    evidence = np.sqrt(readings) * (mean - centre)
    gate = signal_part(evidence)
    # 6. Volatility shrunk to the common one: silence never looks like low risk.
    moving = activity > _ACTIVE_READINGS
    pairs = zip(variance, moving, strict=True)
    common = np.array([[_median(row[which]) if which.any() else 1.0] for row, which in pairs])
    shrunk = (activity * variance + PRIOR_READINGS * common) / (activity + PRIOR_READINGS)
    np.maximum(shrunk, _SMALLEST, out=shrunk)
    # 7. The less is known of a strategy, the larger its bonus; equal counts cancel.
    most = readings.max(axis=1, keepdims=True)
    bonus = exploration * np.sqrt(np.log1p(most) / (1.0 + readings))
    # 8. Risk parity, tilted by evidence.
    score = -0.5 * np.log(shrunk) + gate * evidence + bonus
    return _Scores(
        score=score,
        bonus=bonus[-1],
        evidence=evidence[-1],
        readings=readings[-1],
        volatility=np.sqrt(shrunk[-1]),
        mean=mean[-1],
        gate=float(gate[-1, 0]),
    )


def signal_part(evidence: FloatArray) -> FloatArray:
    """The part of the dispersion of t-values that is not noise, in [0, 1]; shape (..., n) → (..., 1).

    Source: the positive-part factor of James and Stein (1961); the same number as I² of Higgins and
    Thompson (2002), Statistics in Medicine 21.
    """
    dispersion = (evidence * evidence).sum(axis=-1, keepdims=True)
    noise = float(evidence.shape[-1] - 1)
    # The larger of the two below the line is the positive part, and never overflows.
    gate = 1.0 - _ratio(np.full_like(dispersion, noise), np.maximum(dispersion, noise))
    return np.where(dispersion > 0.0, gate, 0.0)


def _column_sums(
    history: FloatArray, present: BoolArray, refresh_seconds: float
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Steps 1 to 4 and the activity of step 6: s², S, N1, N2 and a of the last K rows; shape (K, n) each."""
    rows, count = history.shape
    keep = min(SCORES, rows)
    evidence_decay = float(2.0 ** (-refresh_seconds / EVIDENCE_HALF_LIFE_SECONDS))
    volatility_decay = float(VOLATILITY_DECAY ** (refresh_seconds / REFRESH_SECONDS))
    # 1. One absurd print buys nothing.
    x = np.where(present, history, 0.0)
    active = x != 0.0
    by_column = np.abs(x.T, order="C")
    limit = np.array([min(WINSOR * MAD_TO_SIGMA * _median(size[size > 0.0]), _LARGEST) for size in by_column])
    np.clip(x, -limit, limit, out=x)
    # 2. Volatility, causal.
    scale = _filtered(x * x, volatility_decay)
    scale /= np.maximum(_filtered_mask(present, volatility_decay), _SMALLEST)
    variance = scale[-keep:].copy()
    # 3. Returns in units of their own risk; where nothing ever moved x is 0, and so is z.
    np.sqrt(scale, out=scale)
    np.maximum(scale, _SMALLEST, out=scale)
    x /= scale
    np.clip(x, -Z_CLIP, Z_CLIP, out=x)
    # 4. The fading sum of normalised PnL and how many readings stand behind it.
    sums = (
        variance,
        _last_sums(x, evidence_decay, keep),
        _last_counts(present, evidence_decay, keep),
        _last_counts(present, evidence_decay * evidence_decay, keep),
        _last_counts(active, volatility_decay, keep),
    )
    shape = (keep, count)
    return cast(
        "tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]",
        tuple(np.broadcast_to(part, shape) for part in sums),
    )


def _filtered_mask(mask: BoolArray, decay: float) -> FloatArray:
    """`_filtered` of zeros and ones; a full mask, as is usual, has the closed form 1 − decayᵗ, one column."""
    if mask.all():
        full: FloatArray = -np.expm1(np.log(decay) * np.arange(1.0, mask.shape[0] + 1.0))
        return full[:, None]
    return _filtered(mask.astype(np.float64), decay)


def _last_counts(mask: BoolArray, decay: float, keep: int) -> FloatArray:
    """`_last_sums` of zeros and ones; the closed form for a full mask as above, one column."""
    if mask.all():
        rows = mask.shape[0]
        ages = np.arange(rows - keep + 1.0, rows + 1.0)
        full: FloatArray = np.expm1(np.log(decay) * ages) / np.expm1(np.log(decay))
        return full[:, None]
    return _last_sums(mask.astype(np.float64), decay, keep)


def _filtered(values: FloatArray, decay: float) -> FloatArray:
    """y[t] = decay·y[t−1] + (1−decay)·values[t] down the rows, y before the first row 0; shape kept.

    About √T blocks of √T rows run side by side, then each block gets what the ones before it left: 2√T
    steps of array arithmetic instead of T, and column by column the same operations in the same order.
    """
    rows, count = values.shape
    length = max(1, int(np.sqrt(rows)))
    blocks = -(-rows // length)
    out = np.zeros((blocks * length, count))
    np.multiply(values, 1.0 - decay, out=out[:rows])
    stacked = out.reshape(blocks, length, count)
    for step in range(1, length):
        stacked[:, step] += decay * stacked[:, step - 1]
    fade = decay ** np.arange(1, length + 1)
    for block in range(1, blocks):
        stacked[block] += fade[:, None] * stacked[block - 1, -1]
    return out[:rows]


def _last_sums(values: FloatArray, decay: float, keep: int) -> FloatArray:
    """The last `keep` rows of y[t] = decay·y[t−1] + values[t], y before the first row 0."""
    head = values.shape[0] - keep
    fade = decay ** np.arange(head - 1, -1, -1)
    current = (fade[:, None] * values[:head]).sum(axis=0)
    out = np.empty((keep, values.shape[1]))
    for row in range(keep):
        current = decay * current + values[head + row]
        out[row] = current
    return out


def _median(values: FloatArray) -> float:
    """Median of a vector, 0 for an empty one.  `np.median` is this with many checks: three times slower."""
    if values.size == 0:
        return 0.0
    upper = values.size // 2
    parted = np.partition(values, upper)
    if values.size % 2:
        return float(parted[upper])
    return 0.5 * float(parted[:upper].max()) + 0.5 * float(parted[upper])


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Element by element, 0 where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=denominator > 0.0)


def _neutral(count: int, shares: FloatArray, relaxed: bool) -> Assessment:
    """Nothing is known: these shares, zeros beside them."""
    zero = np.zeros(count)
    return Assessment(
        shares=shares,
        raw_shares=shares.copy(),
        score=zero,
        score_ema=zero,
        bonus=zero,
        evidence=zero,
        readings=zero,
        volatility=zero,
        mean=zero,
        gate=0.0,
        relaxed=relaxed,
        silent=True,
    )


def _checked_history(pnl_history: npt.ArrayLike) -> FloatArray:
    """The history as an array, NaN where it is masked; shape (T, n)."""
    try:
        if isinstance(pnl_history, np.ma.MaskedArray):
            history = np.asarray(np.ma.filled(pnl_history.astype(np.float64), np.nan))
        else:
            history = np.asarray(pnl_history, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise HistoryError(f"pnl_history: {error}: want numbers, shape (rows, strategies)") from error
    if history.ndim != 2:
        raise HistoryError(
            f"pnl_history has shape {history.shape}: want (rows, strategies), (0, n) where no row is known"
        )
    return history


def _number(name: str, value: object) -> float:
    """A parameter as a number; a text is none, even if it reads like one."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if not isinstance(value, Real):
        raise HistoryError(f"{name}={value!r}: want a number")
    return float(value)


def _check_parameters(
    min_share: float, max_share: float, ema_alpha: float, exploration: float, refresh_seconds: float
) -> None:
    """Refuse what would give shares that mean nothing."""
    if not 0.0 <= min_share <= max_share <= 1.0 or max_share == 0.0:
        raise HistoryError(
            f"min_share={min_share}, max_share={max_share}: want 0 ≤ min ≤ max ≤ 1, max above 0"
        )
    if not 0.0 < ema_alpha <= 1.0:
        raise HistoryError(f"ema_alpha={ema_alpha}: want above 0, at most 1")
    if not 0.0 <= exploration <= 1.0:
        raise HistoryError(f"exploration={exploration}: want 0 to 1")
    if not (np.isfinite(refresh_seconds) and refresh_seconds > 0.0):
        raise HistoryError(f"refresh_seconds={refresh_seconds}: want a finite number above 0")


def _checked_prev(prev: npt.ArrayLike, count: int) -> FloatArray:
    """Shares in force as an array; shape (count,)."""
    held = np.asarray(prev, dtype=np.float64)
    if held.shape != (count,) or not np.isfinite(held).all() or (held < 0.0).any():
        raise HistoryError(f"prev={prev!r}: want {count} finite shares ≥ 0")
    return held if held.sum() > 0.0 else np.full(count, 1.0 / count)
