"""A trading engine to try the stack with: real BTC-USD hours, four plain strategies, sizes by the rails.

    python -m examples.replay_engine --bars 2000 --interval-ms 30 --start 2017-12-01

Wired as a live engine would be: gauges, PnL and trades go out through exporter.deck_metrics, risk shares and
breakers come back through riskrails.deck, and riskrails.compute_order says how much may be opened.  While the
deck is away trading goes on with the last risk shares until they are too old, then the rails refuse; trades
wait on disk.  SIGTERM or Ctrl-C closes what is open and delivers it; one JSON line at the end says what was.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from examples.account import Account
from examples.derived import WINDOW
from examples.market_data import Bar, DataError, load_bars, position_of
from examples.publisher import Publisher, TelemetryLoop, market_time
from examples.trader import QTY_STEP, SYMBOL, Rails, Trader
from exporter.deck_metrics import DEFAULT_URL, DeckClient, DeckInputError, SpoolError, token_from
from riskrails import RiskRails, VenueRules
from riskrails.deck import DeckState
from riskrails.telemetry import Telemetry

__all__ = ["Engine", "main", "passes"]

log = logging.getLogger("replay_engine")

REBASE_HOURS: Final = 168.0
"""Market hours after which the replay does what a person would: accept the loss and begin anew."""
STATUS_SECONDS: Final = 0.5
DEFAULT_REFRESH_SECONDS: Final = 600.0


class SettingError(ValueError):
    """A variable of the environment says what cannot be; mend it and start again."""


@dataclass
class Engine:
    """Trader, rails and publisher, bar by bar."""

    trader: Trader
    rails: RiskRails
    publisher: Publisher
    bars: int = 0
    max_drawdown_ratio: float = 0.0

    def on_bar(self, bar: Bar) -> None:
        """One tick: trade, tell the rails about the account, decide, tell the deck."""
        began = time.perf_counter()
        hour = self.trader.step(bar)
        account = self.trader.account
        self.bars += 1
        self.max_drawdown_ratio = max(self.max_drawdown_ratio, account.drawdown_ratio)
        events = hour.events
        if account.equity_halted_hours > REBASE_HOURS:
            events += account.accept_loss(f"nobody there to decide for {REBASE_HOURS:g} market hours")
        for event in events:
            log.warning(
                "breaker %s: breaker=%s, market_time=%s, reason=%s",
                event.change,
                event.breaker,
                market_time(bar),
                event.reason,
            )
        self.rails.set_account_state(account.drawdown_ratio, daily_pnl_pct=account.daily_pnl_ratio)
        self.rails.set_breakers(account.breakers.is_open())
        self.trader.decide()
        self.publisher.fills(bar, hour.fills)
        self.publisher.gauges(self.trader)
        self.publisher.tick_took(time.perf_counter() - began)

    def finish(self) -> None:
        """Close what is open and say so."""
        fills = self.trader.finish()
        if self.trader.window:
            self.publisher.fills(self.trader.window[-1], fills)
            self.publisher.gauges(self.trader)

    def summary(self) -> dict[str, Any]:
        """What was, for the last line."""
        account = self.trader.account
        p50, p95 = self.publisher.latency_ms()
        return {
            "bars": self.bars,
            "trades": self.publisher.trades,
            "equity_usd": round(account.equity_usd, 2),
            "pnl_usd": round(account.equity_usd - account.start_usd, 2),
            "pnl_by_strategy": {name: round(pnl, 2) for name, pnl in self.trader.pnl_by_strategy().items()},
            "fees_usd": round(self.publisher.fees_usd, 2),
            "max_drawdown_pct": round(100.0 * self.max_drawdown_ratio, 3),
            "orders": dict(sorted(self.trader.modes.items())),
            "breaker_trips": dict(account.trips),
            "tick_p50_ms": round(p50, 3),
            "tick_p95_ms": round(p95, 3),
        }


def passes(bars: list[Bar], first: int, count: int | None, *, loop: bool) -> Iterator[tuple[Bar, bool]]:
    """Each bar to live through, and whether the data starts (over) with it.

    Args:
        bars: All bars, oldest first.
        first: Where each pass starts.
        count: Bars in all; None for as many as there are.
        loop: Start over at the end.
    """
    given = 0
    while True:
        for index in range(first, len(bars)):
            if count is not None and given >= count:
                return
            given += 1
            yield bars[index], index == first
        if not loop:
            return


def run(
    engine: Engine,
    bars: list[Bar],
    first: int,
    count: int | None,
    *,
    loop: bool,
    interval_seconds: float,
    stop: threading.Event,
) -> None:
    """Live through the bars, one every `interval_seconds`, until they end or `stop` is set."""
    next_at = time.monotonic()
    for bar, starts in passes(bars, first, count, loop=loop):
        if starts:
            engine.finish()  # what the last pass left open; nothing on the first
            engine.trader.warm_up(bars[max(0, first - WINDOW) : first])
        engine.on_bar(bar)
        next_at = max(
            next_at + interval_seconds, time.monotonic()
        )  # late bars are not made up for in a burst
        if stop.wait(max(0.0, next_at - time.monotonic())):
            return


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.replay_engine", description=__doc__.split("\n")[0]
    )
    add = parser.add_argument
    add("--bars", type=int, help="bars to replay in all; by default all there are")
    add("--interval-ms", type=float, default=30.0, help="time from one bar to the next (default 30)")
    add("--start", default="2017-12-01", help="first day, UTC (data from 2017-07-01 to 2019-10-17)")
    add(
        "--engine-id",
        default=os.environ.get("DECK_ENGINE") or "default",
        help="name of this engine on the deck",
    )
    add("--deck", default=os.environ.get("DECK_URL") or DEFAULT_URL, help="the deck (default DECK_URL)")
    add("--equity", type=float, default=100_000.0, help="USD to start with (default 100000)")
    add("--spool-dir", type=Path, help="where trades wait (default DECK_SPOOL_DIR)")
    add("--run-id", help="part of every trade id (default the start's time)")
    endless = parser.add_mutually_exclusive_group()
    endless.add_argument(
        "--loop", action="store_true", help="start over at the end; the default without --bars"
    )
    endless.add_argument("--once", action="store_true", help="stop at the end of the data")
    args = parser.parse_args(argv)
    if args.bars is not None and args.bars < 1:
        parser.error(f"--bars {args.bars}: want at least 1")
    if not 0.0 <= args.interval_ms < 3.6e6:
        parser.error(f"--interval-ms {args.interval_ms:g}: want 0 to an hour")
    if not 0.0 < args.equity < 1e12:
        parser.error(f"--equity {args.equity:g}: want USD above 0")
    args.loop = args.loop or (args.bars is None and not args.once)
    return args


def refresh_seconds(text: str | None) -> float:
    """How often the allocator decides: the rails distrust shares that are some periods old.

    Raises:
        SettingError: `text`, of REFRESH_SEC, is no time.
    """
    try:
        found = float(text or DEFAULT_REFRESH_SECONDS)
    except ValueError:
        found = math.nan
    if not 0.0 < found < math.inf:
        raise SettingError(f"REFRESH_SEC={text}: want seconds above 0")
    return found


def open_client(args: argparse.Namespace, token: str | None) -> DeckClient:
    """The client; in a temporary directory where the default one cannot be written, as in a container."""
    settings: dict[str, Any] = {"token": token or "", "engine": args.engine_id, "background": True}
    try:
        return DeckClient(args.deck, spool_dir=args.spool_dir, **settings)
    except SpoolError as fault:
        chosen = args.spool_dir or os.environ.get("DECK_SPOOL_DIR")
        if chosen or isinstance(fault.__cause__, BlockingIOError):  # a wish, or another process's spool
            raise
        place = Path(tempfile.gettempdir()) / "deckrails-spool"
        log.warning("%s; trades wait in %s, which a reboot empties: set DECK_SPOOL_DIR", fault, place)
        return DeckClient(args.deck, spool_dir=place, **settings)


def main(argv: Sequence[str] | None = None) -> int:
    """Replay; 0 if everything reached the deck, 3 if not (trades stay on disk), 2 for wrong settings."""
    args = parse(argv)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        bars = load_bars()
        first = position_of(bars, args.start)
        refresh = refresh_seconds(os.environ.get("REFRESH_SEC"))
        token = token_from(os.environ)
        client = open_client(args, token)
    except (DataError, DeckInputError, SettingError, SpoolError) as fault:
        print(f"replay_engine: {fault}", file=sys.stderr)
        return 2
    started_at = time.time()
    run_id = args.run_id or f"{int(started_at * 1000):x}"
    deck_state = DeckState(
        args.deck,
        token=token,
        engine=args.engine_id,
        interval_seconds=STATUS_SECONDS,
        allocator_period_seconds=refresh,
    )
    rails = RiskRails(
        venue_rules={SYMBOL: VenueRules(qty_step=QTY_STEP, price_tick="0.01")}, state=deck_state
    )
    telemetry = Telemetry()
    counted: Rails = telemetry.watch(rails)
    policy = rails.policy
    trader = Trader(
        counted,
        Account(args.equity),
        fee_taker_bps=policy.fee_taker_bps,
        fee_maker_bps=policy.fee_maker_bps,
    )

    def calls() -> tuple[int, int]:
        """Questions to the deck: failed, all."""
        return deck_state.errors_total, deck_state.errors_total + deck_state.fetches_total

    engine = Engine(trader, rails, Publisher(client, args.engine_id, run_id, started_at, calls))
    counters = TelemetryLoop(lambda: telemetry.push(args.deck, instance=args.engine_id, token=token))
    engine.publisher.hello()
    deck_state.start()
    counters.start()
    log.info("replaying: start=%s, engine=%s, run=%s, deck=%s", args.start, args.engine_id, run_id, args.deck)
    try:
        run(
            engine,
            bars,
            first,
            args.bars,
            loop=args.loop,
            interval_seconds=args.interval_ms / 1e3,
            stop=stop,
        )
    finally:
        engine.finish()
        delivered = client.close(5.0)
        counters.close()
        deck_state.close()
    line = {
        "engine": args.engine_id,
        "run": run_id,
        **engine.summary(),
        "risk_share": dict(rails.state.risk_shares),
        "delivered": delivered,
        "client": client.counters.as_dict(),
    }
    print(json.dumps(line), flush=True)
    return 0 if delivered else 3


if __name__ == "__main__":
    sys.exit(main())
