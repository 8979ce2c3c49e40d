"""What a push costs the tick that makes it: the background client, a waiting one, a push gateway's.

Times are of the call in the caller's thread.  The goal is under 20 µs; the slowest single calls show what a
tick may meet when the interpreter lock is with the sending thread or the disk is busy.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, push_to_gateway

from exporter.deck_metrics import DeckClient
from scripts.native import exporter, free_port

TICKS = 20_000
GAP_SECONDS = 0.0002
"""Between two ticks, so that the sending thread gets its turns as it would beside a real engine."""


def measure(call: Callable[[int], Any], ticks: int, gap_seconds: float = GAP_SECONDS) -> list[float]:
    """Seconds each call took, sorted."""
    clock = time.perf_counter
    took = []
    for tick in range(ticks):
        start = clock()
        call(tick)
        took.append(clock() - start)
        if gap_seconds:
            time.sleep(gap_seconds)
    return sorted(took)


def row(name: str, took: list[float]) -> None:
    """One line of the table, in microseconds."""
    at = [took[int(len(took) * share)] * 1e6 for share in (0.5, 0.99, 0.999)]
    print(f"{name:<58}{at[0]:>9.1f}{at[1]:>9.1f}{at[2]:>10.1f}{took[-1] * 1e6:>10.0f}")


def trade(tick: int, run: str) -> dict[str, Any]:
    return {
        "trade_id": f"{run}-{tick}",
        "ts": 1_700_000_000.0 + tick,
        "strategy": "scalp",
        "symbol": "BTC-USD",
        "side": "buy",
        "qty": 0.5,
        "price": 37_000.0,
        "fee_usd": 9.25,
    }


def gauges(tick: int) -> dict[str, Any]:
    return {
        "equity_usd": 100_000.0 + tick,
        "pnl_24h": 12.5,
        "drawdown_pct": 0.4,
        "tick_p50_ms": 0.2,
        "tick_p95_ms": 0.9,
        "error_rate_pct": 0.0,
        "breaker": {"equity": False, "venue": False, "daily_loss": False},
        "pnl_by_strategy": {"scalp": 1.0 + tick, "momentum": 2.0, "trend": -3.0, "event": 0.0},
    }


def main() -> None:
    logging.getLogger("deckrails.client").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        print(f"{'call, µs in the caller':<58}{'median':>9}{'p99':>9}{'p99.9':>10}{'max':>10}")
        with exporter(port, f"sqlite:///{root}/deck.db", root / "exporter.log"):
            with DeckClient(url, background=True, spool_dir=root / "spool") as client:
                row(
                    "background push_metrics, 14 values",
                    measure(lambda n: client.push_metrics(**gauges(n)), TICKS),
                )
                row("background push_trade", measure(lambda n: client.push_trade(trade(n, "a")), TICKS))
                client.flush(60)
                counters = client.counters
            with DeckClient(url) as waiting:
                row("waiting push_metrics", measure(lambda n: waiting.push_metrics(**gauges(n)), 300, 0))
                row("waiting push_trade", measure(lambda n: waiting.push_trade(trade(n, "b")), 300, 0))
            registry = CollectorRegistry()
            gauge = Gauge("engine_value", "A value.", ["name"], registry=registry)

            def push(tick: int) -> None:
                for name in "abcdefghijklmn":
                    gauge.labels(name).set(tick)
                push_to_gateway(url, job="bench", registry=registry)

            row("prometheus_client.push_to_gateway, 14 values (peer)", measure(push, 300, 0))
        with DeckClient(url, background=True, spool_dir=root / "away") as client:
            row(
                "background push_metrics, deck away",
                measure(lambda n: client.push_metrics(**gauges(n)), TICKS),
            )
            row(
                "background push_trade, deck away", measure(lambda n: client.push_trade(trade(n, "c")), TICKS)
            )
            away = client.counters
            client.close(0.1)
        print(
            f"\ndeck there: {counters.sent_trades} trades in {counters.sent} requests, "
            f"{counters.coalesced} gauges replaced"
        )
        print(f"deck away:  {away.pending} trades on disk, {away.dropped} dropped")


if __name__ == "__main__":
    main()
