from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from exporter.records import PNL_BUCKETS, Trade
from exporter.trades import ZERO_TOTALS, add_trades

AMOUNTS = st.floats(-1e6, 1e6)
TRADES = st.builds(
    Trade,
    engine=st.just("default"),
    trade_id=st.text(max_size=3),
    seq=st.integers(0, 100),
    ts=st.just(1.0),
    strategy=st.just("scalp"),
    symbol=st.just("BTC"),
    side=st.sampled_from(["buy", "sell"]),
    qty=st.floats(1e-6, 1e3),
    price=st.floats(1e-6, 1e6),
    fee_usd=AMOUNTS,
    pnl_usd=st.one_of(st.none(), AMOUNTS),
)


@given(st.lists(TRADES, max_size=10), st.lists(TRADES, max_size=10))
def test_totals_only_grow_and_add_up(first: list[Trade], second: list[Trade]) -> None:
    """Every counter is monotonic, batches may be split anywhere, and the parts give back the whole."""
    half = add_trades(ZERO_TOTALS, first)
    whole = add_trades(half, second)
    assert whole == add_trades(ZERO_TOTALS, [*first, *second])
    for field in ("volume_usd", "fees_usd", "rebates_usd", "profit_usd", "loss_usd"):
        assert 0 <= getattr(half, field) <= getattr(whole, field)
    trades = [*first, *second]
    closed = [trade.pnl_usd for trade in trades if trade.pnl_usd is not None]
    assert sum(whole.counts.values()) == len(trades)
    assert sum(whole.buckets) == len(closed)
    assert math.isclose(whole.profit_usd - whole.loss_usd, math.fsum(closed), abs_tol=1e-6)
    assert math.isclose(
        whole.fees_usd - whole.rebates_usd, math.fsum(trade.fee_usd for trade in trades), abs_tol=1e-6
    )


def test_a_bound_belongs_to_its_bucket() -> None:
    """A PnL equal to a bound counts below it, as `le` says."""
    base = {
        "engine": "e",
        "trade_id": "x",
        "seq": 1,
        "ts": 1.0,
        "strategy": "s",
        "symbol": "b",
        "side": "buy",
    }
    for i, bound in enumerate(PNL_BUCKETS):
        trade = Trade(**base, qty=1.0, price=1.0, fee_usd=0.0, pnl_usd=bound)  # type: ignore[arg-type]
        assert add_trades(ZERO_TOTALS, [trade]).buckets[i] == 1
