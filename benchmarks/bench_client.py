"""What a push costs the tick that makes it: the background client, a waiting one, a push gateway's.

Times are of the call in the caller's thread.  The goal is under 20 µs; the slowest single calls show what a
tick may meet when the interpreter lock is with the sending thread or the disk is busy.  After a rest the
processor has forgotten the code and its data, and any Python call costs a multiple: `json.dumps` of the same
gauges shows how much of it is the machine's.
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, push_to_gateway

from exporter.deck_metrics import Counters, DeckClient
from scripts.native import exporter, free_port

TICKS = 20_000
GAP_SECONDS = 0.0002
"""Between two ticks, so that the sending thread gets its turns as it would beside a real engine."""


RESTED_TICKS, REST_SECONDS = 500, 0.02


def measure(
    call: Callable[[Any], Any], arguments: Iterable[Any], gap_seconds: float = GAP_SECONDS
) -> list[float]:
    """Seconds each call took, sorted; building its argument is the engine's own business."""
    clock = time.perf_counter
    took = []
    for argument in arguments:
        start = clock()
        call(argument)
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


def background(url: str, spool: Path, name: str) -> Counters:
    """Two rows of the background client, and what became of it all."""
    with DeckClient(url, background=True, spool_dir=spool) as client:
        pushes = (gauges(tick) for tick in range(TICKS))
        row(
            f"background push_metrics, 14 values, {name}", measure(lambda g: client.push_metrics(**g), pushes)
        )
        trades = (trade(tick, "a") for tick in range(TICKS))
        row(f"background push_trade, {name}", measure(client.push_trade, trades))
        if name == "deck there":
            rested(client)
        client.flush(60.0 if name == "deck there" else 0.1)
        counters = client.counters
        client.close(0.1)
    return counters


def rested(client: DeckClient) -> None:
    """Three rows of calls that each come after a rest."""
    after = f"after {REST_SECONDS * 1000:.0f} ms of rest"
    some = [gauges(tick) for tick in range(RESTED_TICKS)]
    row(f"background push_metrics, {after}", measure(lambda g: client.push_metrics(**g), some, REST_SECONDS))
    trades = (trade(tick, "c") for tick in range(RESTED_TICKS))
    row(f"background push_trade, {after}", measure(client.push_trade, trades, REST_SECONDS))
    row(f"json.dumps of the gauges, {after}", measure(json.dumps, some, REST_SECONDS))


def main() -> None:
    logging.getLogger("deckrails.client").setLevel(logging.CRITICAL)
    registry = CollectorRegistry()
    gauge = Gauge("engine_value", "A value.", ["name"], registry=registry)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        port = free_port()
        url = f"http://127.0.0.1:{port}"

        def push(tick: int) -> None:
            for name in "abcdefghijklmn":
                gauge.labels(name).set(tick)
            push_to_gateway(url, job="bench", registry=registry)

        print(f"{'call, µs in the caller':<58}{'median':>9}{'p99':>9}{'p99.9':>10}{'max':>10}")
        with exporter(port, f"sqlite:///{root}/deck.db", root / "exporter.log"):
            there = background(url, root / "there", "deck there")
            with DeckClient(url) as waiting:
                pushes = (gauges(tick) for tick in range(300))
                row(
                    "waiting push_metrics, 14 values", measure(lambda g: waiting.push_metrics(**g), pushes, 0)
                )
                row("waiting push_trade", measure(waiting.push_trade, (trade(n, "b") for n in range(300)), 0))
            row("prometheus_client.push_to_gateway, 14 values (peer)", measure(push, range(300), 0))
        away = background(url, root / "away", "deck away")
        print(
            f"\ndeck there: {there.sent_trades} trades in {there.sent} requests, "
            f"{there.coalesced} gauges replaced"
        )
        print(f"deck away:  {away.pending} trades on disk, {away.dropped} dropped")


if __name__ == "__main__":
    main()
