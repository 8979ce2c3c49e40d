"""Growth that allocation made on public data, beside equal weight and other ways to share capital.

Runs in `.venv-bench`.  Data: hourly BTC-USD of examples/data through five plain strategies, and the six sets
of the online-portfolio literature that ship inside the package universal-portfolios, two groups of five
columns of each in file order.  Everybody sees the same rows, has the same bounds and pays the same for
turnover; nothing was tuned to these numbers.

Returns of each track are scaled to the volatility of equal weight, so that growth is compared at equal risk.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from mabwiser.mab import MAB, LearningPolicy

from allocator.policy import allocate
from allocator.simplex import project

ROOT = Path(__file__).resolve().parent.parent
LOW, HIGH, COST = 0.05, 0.55, 5e-4
FIRST = 12  # decisions before these rows are equal shares
GROUPS, SIZE = 2, 5
BLOCK, RESAMPLES = 50, 2000
SETS = ("nyse_o", "nyse_n", "djia", "msci", "sp500", "tse")


def bitcoin() -> list[np.ndarray]:
    """Hourly returns of five plain strategies on BTC-USD, 5 bps paid on their own trades; shape (T, 5)."""
    with gzip.open(ROOT / "examples/data/btcusd_1h_coinbase.csv.gz", "rt") as stream:
        close = np.array([float(row["close"]) for row in csv.DictReader(stream)])
    moved = np.diff(np.log(close))
    past = np.concatenate([[0.0], np.cumsum(moved)])

    def over(hours: int) -> np.ndarray:
        out = np.zeros(close.size)
        out[hours:] = past[hours:] - past[:-hours]
        return out

    def mean(hours: int) -> np.ndarray:
        total = np.concatenate([[0.0], np.cumsum(close)])
        out = close.copy()
        out[hours - 1 :] = (total[hours:] - total[:-hours]) / hours
        return out

    window = np.lib.stride_tricks.sliding_window_view(close, 72)
    high, low = close.copy(), close.copy()
    high[72:], low[72:] = window[:-1].max(axis=1), window[:-1].min(axis=1)
    broken = np.where(close > high, 1.0, np.where(close < low, -1.0, np.nan))
    held = np.maximum.accumulate(np.where(np.isnan(broken), 0, np.arange(close.size)))
    positions = {
        "hold": np.ones(close.size),
        "momentum": np.sign(over(24)),
        "trend": np.sign(mean(24) - mean(168)),
        "reversal": -np.sign(over(6)),
        "breakout": np.nan_to_num(broken[held]),
    }
    columns = []
    for position in positions.values():
        paid = np.abs(np.diff(position, prepend=0.0))[:-1] * COST
        columns.append(position[:-1] * np.expm1(moved) - paid)
    return [np.column_stack(columns)[168:]]  # from where the longest average is whole


def literature(name: str) -> list[np.ndarray]:
    """Daily returns of groups of five stocks; shape (T, 5) each."""
    spec = importlib.util.find_spec("universal")
    assert spec is not None and spec.submodule_search_locations is not None
    path = Path(next(iter(spec.submodule_search_locations))) / "data" / f"{name}.csv"
    prices = np.genfromtxt(path, delimiter=",", skip_header=1)
    prices = prices[:, np.isfinite(prices).all(axis=0)]
    returns = prices[1:] / prices[:-1] - 1.0
    return [returns[:, start : start + SIZE] for start in range(0, GROUPS * SIZE, SIZE)]


Policy = Callable[[np.ndarray], np.ndarray]


def equal(past: np.ndarray) -> np.ndarray:
    return np.full(past.shape[1], 1.0 / past.shape[1])


def deckrails(past: np.ndarray) -> np.ndarray:
    return allocate(past[-allocate.lookback :], LOW, HIGH)


def inverse_volatility(past: np.ndarray) -> np.ndarray:
    window = past[-allocate.lookback :]
    return project(1.0 / np.maximum(window.std(axis=0), 1e-12), LOW, HIGH)


def bandit(learning: object) -> Callable[[], Policy]:
    """MABWiser as it is used: the arm it picks gets the largest share, the others what is left.

    It is told the reward of every arm after every row, in units of the arm's volatility, moved into [0, 1],
    which is what UCB1's bonus presumes.
    """

    def start() -> Policy:
        state: dict[str, object] = {}

        def decide(past: np.ndarray) -> np.ndarray:
            count = past.shape[1]
            arms = list(range(count))
            if not state:
                state["mab"] = MAB(arms, learning, seed=7)
                state["power"] = np.maximum((past * past).mean(axis=0), 1e-18)
                rewards = [0.5 + np.clip(row / np.sqrt(state["power"]) / 8, -0.5, 0.5) for row in past]
                state["mab"].fit(np.tile(arms, len(past)), np.concatenate(rewards))
            else:
                row = past[-1]
                state["power"] = 0.99 * state["power"] + 0.01 * row * row
                reward = 0.5 + np.clip(row / np.sqrt(np.maximum(state["power"], 1e-18)) / 8, -0.5, 0.5)
                state["mab"].partial_fit(np.array(arms), reward)
            wanted = np.zeros(count)
            wanted[state["mab"].predict()] = 1.0
            return project(wanted, LOW, HIGH)

        return decide

    return start


def plain(policy: Policy) -> Callable[[], Policy]:
    return lambda: policy


POLICIES: dict[str, Callable[[], Policy]] = {
    "equal weight": plain(equal),
    "deckrails": plain(deckrails),
    "inverse volatility": plain(inverse_volatility),
    "MABWiser UCB1": bandit(LearningPolicy.UCB1(alpha=1.0)),
    "MABWiser Softmax": bandit(LearningPolicy.Softmax(tau=1.0)),
}


def walk(returns: np.ndarray, policy: Policy) -> tuple[np.ndarray, float]:
    """Net returns of a walk-forward, shares of row t from the rows before it; and the mean turnover."""
    held = equal(returns)
    out = np.empty(len(returns))
    moved = 0.0
    for row, earned in enumerate(returns):
        shares = policy(returns[:row]) if row >= FIRST else held
        turnover = 0.5 * float(np.abs(shares - held).sum())
        out[row] = shares @ earned - COST * turnover
        moved += turnover
        held = shares
    return out, moved / len(returns)


def gains(groups: list[np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Log growth beyond equal weight, row by row, at equal risk, mean of the groups; and turnovers."""
    sums: dict[str, list[np.ndarray]] = {name: [] for name in POLICIES}
    turnovers: dict[str, list[float]] = {name: [] for name in POLICIES}
    for returns in groups:
        base, _ = walk(returns, equal)
        for name, start in POLICIES.items():
            track, turnover = walk(returns, start())
            scaled = track * base.std() / track.std()
            sums[name].append(np.log1p(scaled) - np.log1p(base))
            turnovers[name].append(turnover)
    return (
        {name: np.mean(found, axis=0) for name, found in sums.items()},
        {name: float(np.mean(found)) for name, found in turnovers.items()},
    )


def interval(series: list[np.ndarray]) -> tuple[float, float]:
    """95 % of growth per 1,000 rows over resampled blocks of rows, sets weighed alike."""
    rng = np.random.default_rng(0)
    means = np.zeros(RESAMPLES)
    for one in series:
        blocks = -(-one.size // BLOCK)
        starts = rng.integers(0, one.size, (RESAMPLES, blocks))
        total = np.concatenate([[0.0], np.cumsum(np.concatenate([one, one]))])
        means += (total[starts + BLOCK] - total[starts]).sum(axis=1) / (blocks * BLOCK) / len(series)
    low, high = np.quantile(np.exp(1000 * means), [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    found = {}
    for name in ("btc-usd", *SETS):
        groups = bitcoin() if name == "btc-usd" else literature(name)
        print(f"  {name}: {len(groups)} × {groups[0].shape[1]} columns, {len(groups[0])} rows", flush=True)
        found[name] = gains(groups)
    sets = list(found)
    print(f"\ngrowth per 1,000 decisions at equal risk, equal weight = 1; {COST * 1e4:g} bps of turnover")
    head = "".join(f"{name:>9}" for name in sets)
    print(f"{'':20}{head}{'all sets':>10}  {'95 % interval':17}{'turnover':>9}")
    for policy in POLICIES:
        series = [found[name][0][policy] for name in sets]
        cells = "".join(f"{np.exp(1000 * one.mean()):>9.3f}" for one in series)
        pooled = float(np.exp(1000 * np.mean([one.mean() for one in series])))
        low, high = interval(series)
        turnover = np.mean([found[name][1][policy] for name in sets])
        print(f"{policy:20}{cells}{pooled:>10.3f}  [{low:.3f}, {high:.3f}]{turnover:>11.4f}")


if __name__ == "__main__":
    sys.exit(main())
