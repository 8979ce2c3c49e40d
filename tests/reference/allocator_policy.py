"""The allocation policy written as its ten steps read: one row, one strategy at a time.

Source: the formula of docs/allocator.md.  Slow and plain on purpose; the real one must agree with it.
GOLDEN are the shares printed beside the formula when it was specified, not what our code gave.
"""

from __future__ import annotations

import math
import statistics

import numpy as np

from allocator.policy import FloatArray

GOLDEN: dict[tuple[int, float], tuple[float, ...]] = {
    # (rows, max_share): shares at min_share .05
    (1, 0.55): (0.244135, 0.259234, 0.251804, 0.244827),
    (10, 0.55): (0.273272, 0.187451, 0.300024, 0.239253),
    (100, 0.55): (0.55, 0.16237, 0.230107, 0.057523),
    (600, 0.55): (0.55, 0.152065, 0.150727, 0.147208),
    (600, 0.30): (0.30, 0.236545, 0.234464, 0.228991),
}
GOLDEN_SCORE_EMA = (12.908412, 5.670218, 5.348189, -1.621503)


def golden_history() -> FloatArray:
    """Four waves of 600 rows; shape (600, 4)."""
    t = np.arange(600)
    return np.column_stack(
        [
            0.004 * np.sin(0.7 * t + 1) + 0.001,
            0.010 * np.sin(1.3 * t) + 0.0004,
            0.003 * np.cos(0.9 * t),
            0.006 * np.sin(2.1 * t + 2) - 0.0012,
        ]
    )


def score_rows(history: FloatArray, exploration: float, refresh_seconds: float = 600.0) -> list[list[float]]:
    """The score of every strategy after every row, steps 1 to 8."""
    rows, n = history.shape
    g = 2 ** (-refresh_seconds / (14 * 86_400))
    lam = 0.99 ** (refresh_seconds / 600)
    caps = []
    for i in range(n):
        sizes = [abs(v) for v in history[:, i] if math.isfinite(v) and v != 0]
        caps.append(10 * 1.4826 * statistics.median(sizes) if sizes else 0.0)
    v, big_f, a, s, n1, n2 = ([0.0] * n for _ in range(6))
    out = []
    for t in range(rows):
        s2 = [0.0] * n
        for i in range(n):
            seen = math.isfinite(history[t, i])
            x = max(-caps[i], min(caps[i], float(history[t, i]))) if seen else 0.0
            v[i] = lam * v[i] + (1 - lam) * x * x
            big_f[i] = lam * big_f[i] + (1 - lam) * seen
            a[i] = lam * a[i] + (x != 0)
            s2[i] = v[i] / big_f[i] if big_f[i] > 0 else 0.0
            z = max(-4.0, min(4.0, x / math.sqrt(s2[i]))) if s2[i] > 0 else 0.0
            s[i] = g * s[i] + z
            n1[i] = g * n1[i] + seen
            n2[i] = g * g * n2[i] + seen
        kish = [n1[i] ** 2 / n2[i] if n2[i] > 0 else 0.0 for i in range(n)]
        m = [s[i] / n1[i] if n1[i] > 0 else 0.0 for i in range(n)]
        centre = sum(k * x for k, x in zip(kish, m, strict=True)) / sum(kish) if sum(kish) > 0 else 0.0
        ts = [math.sqrt(kish[i]) * (m[i] - centre) for i in range(n)]
        q = sum(x * x for x in ts)
        gate = max(0.0, 1 - (n - 1) / q) if q > 0 else 0.0
        moving = [s2[i] for i in range(n) if a[i] > 1e-6]
        med = statistics.median(moving) if moving else 1.0
        row = []
        for i in range(n):
            vol = (a[i] * s2[i] + 10 * med) / (a[i] + 10)
            bonus = exploration * math.sqrt(math.log(1 + max(kish)) / (1 + kish[i]))
            row.append(-0.5 * math.log(vol) + gate * ts[i] + bonus)
        out.append(row)
    return out


def score_ema(history: FloatArray, exploration: float = 0.08, ema_alpha: float = 0.35) -> list[float]:
    """Step 9: the EMA of the last twelve scores."""
    last = score_rows(history, exploration)[-12:]
    weights = [ema_alpha * (1 - ema_alpha) ** k for k in range(len(last))]
    return [
        sum(w * last[-1 - k][i] for k, w in enumerate(weights)) / sum(weights)
        for i in range(history.shape[1])
    ]


def shares(
    history: FloatArray, low: float, high: float, exploration: float = 0.08, ema_alpha: float = 0.35
) -> list[float]:
    """Step 10, with the projection's multiplier found by bisection."""
    n = history.shape[1]
    ema = score_ema(history, exploration, ema_alpha)
    grown = [math.exp(x - max(ema)) for x in ema]
    p = [(1 - exploration) * x / sum(grown) + exploration / n for x in grown]
    low, high = min(low, 1 / n), max(high, 1 / n)
    left, right = 0.0, max(high / x for x in p)
    for _ in range(300):
        c = (left + right) / 2
        if sum(min(high, max(low, c * x)) for x in p) < 1:
            left = c
        else:
            right = c
    return [min(high, max(low, right * x)) for x in p]
