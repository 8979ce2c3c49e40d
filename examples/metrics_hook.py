"""The ten lines that put an engine on the deck: copy, and fill in where your numbers come from."""

from exporter.deck_metrics import DeckClient

deck = DeckClient(background=True)  # DECK_URL, DECK_TOKEN; a push takes microseconds and never raises


def on_tick(equity_usd: float, drawdown_pct: float, pnl_by_strategy: dict[str, float]) -> None:
    """Call it once a tick."""
    deck.push_metrics(equity_usd=equity_usd, drawdown_pct=drawdown_pct, pnl_by_strategy=pnl_by_strategy)


def on_fill(
    trade_id: str, ts: float, strategy: str, side: str, qty: float, price: float, fee_usd: float
) -> None:
    """Call it once a fill; the same trade_id again counts once."""
    deck.push_trade(
        trade_id=trade_id,
        ts=ts,
        strategy=strategy,
        symbol="BTC-USD",
        side=side,
        qty=qty,
        price=price,
        fee_usd=fee_usd,
    )
