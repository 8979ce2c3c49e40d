"""The ten lines that put an engine on the deck: copy, and fill in where your numbers come from."""

import time
from functools import cache

from exporter.deck_metrics import DeckClient


@cache
def deck() -> DeckClient:
    """Call it first: a second process with the same engine id is refused here, once and aloud."""
    client = DeckClient(background=True)  # DECK_URL, DECK_TOKEN; a push takes microseconds and never raises
    client.push_metrics(started_at=time.time())  # PnL by strategy begins at zero here, which is no loss
    return client


def on_tick(
    equity_usd: float, drawdown_pct: float, pnl_by_strategy: dict[str, float], pnl_24h: float | None = None
) -> None:
    """Call it once a tick."""
    deck().push_metrics(
        equity_usd=equity_usd, drawdown_pct=drawdown_pct, pnl_by_strategy=pnl_by_strategy, pnl_24h=pnl_24h
    )


def on_fill(
    trade_id: str,
    ts: float,
    strategy: str,
    symbol: str,
    side: str,
    qty: float,
    price: float,
    fee_usd: float,
    pnl_usd: float | None = None,
) -> None:
    """Call it once a fill, with the price PnL where it closes; the same trade_id again counts once."""
    deck().push_trade(
        trade_id=trade_id,
        ts=ts,
        strategy=strategy,
        symbol=symbol,
        side=side,
        qty=qty,
        price=price,
        fee_usd=fee_usd,
        pnl_usd=pnl_usd,
    )
