"""Trades into totals.

Pure.  Totals only grow: a rebate and a loss have counters of their own, because a counter that falls looks
like a restart to Prometheus.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable

import msgspec

from exporter.records import PNL_BUCKETS, RESULTS, SIDES, Totals, Trade

__all__ = ["ZERO_TOTALS", "add_trades", "endless_total"]

ZERO_TOTALS = Totals(counts={f"{side}/{result}": 0 for side in SIDES for result in RESULTS})
"""What a strategy starts from: every label set at zero, so that `increase` sees the first trade."""


_SUMS = ("volume_usd", "fees_usd", "rebates_usd", "profit_usd", "loss_usd", "pnl_sum_usd")


def endless_total(totals: Totals) -> str | None:
    """The first total that is no finite number any more; no store can keep such a one."""
    return next((field for field in _SUMS if not math.isfinite(getattr(totals, field))), None)


def add_trades(totals: Totals, trades: Iterable[Trade]) -> Totals:
    """The totals with these trades counted in."""
    counts, buckets = dict(totals.counts), list(totals.buckets)
    volume, fees, rebates = totals.volume_usd, totals.fees_usd, totals.rebates_usd
    profit, loss, pnl_sum = totals.profit_usd, totals.loss_usd, totals.pnl_sum_usd
    for trade in trades:
        key = f"{trade.side}/{trade.result}"
        counts[key] = counts.get(key, 0) + 1
        volume += trade.qty * trade.price
        fees += max(trade.fee_usd, 0.0)
        rebates += max(-trade.fee_usd, 0.0)
        if trade.pnl_usd is not None:
            profit += max(trade.pnl_usd, 0.0)
            loss += max(-trade.pnl_usd, 0.0)
            pnl_sum += trade.pnl_usd
            buckets[bisect_left(PNL_BUCKETS, trade.pnl_usd)] += 1
    return msgspec.structs.replace(
        totals,
        counts=counts,
        volume_usd=volume,
        fees_usd=fees,
        rebates_usd=rebates,
        profit_usd=profit,
        loss_usd=loss,
        pnl_sum_usd=pnl_sum,
        buckets=tuple(buckets),
    )
