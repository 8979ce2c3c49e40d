"""Pure: every PromQL string the allocator sends, with its unit and the labels it must return.

Pushed gauges never go stale by themselves, so PnL and equity are read from recording rules that are gated
on the age of the push.  Two series are read as they are: breakers, because one that a dead engine left open
is open, and the engine's start, because it is a fact about the past.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DECK_PUBLISH", "DECK_READ", "QUERY_IDS", "Queries", "Query", "queries"]

EQUITY = "job:trading_equity_usd:sum_fresh"
PNL_PER_ENGINE = "job_instance_strategy:trading_strategy_pnl_usd:fresh"

DECK_READ = "deck_read"
DECK_PUBLISH = "deck_publish"


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL query.

    Attributes:
        id: Its fixed name in metrics and logs.
        promql: What is asked.
        unit: What the values are.
        labels: What tells its series apart.
    """

    id: str
    promql: str
    unit: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Queries:
    """All that one observation asks.

    Attributes:
        pnl: Cumulative PnL; range.
        equity: Capital of the account; range.
        risk_share: Shares that were in force; range.
        engine_start: When each engine began to count; a change means cumulative PnL began anew; range.
        engines: How many fresh engines a strategy's PnL is the sum of; a change is a step that nobody
            earned or lost; range.
        pnl_time: When the newest PnL was sampled; instant.
        equity_breaker: 1 while the equity breaker is open anywhere; instant.
        clock: The server's own time; instant.
    """

    pnl: Query
    equity: Query
    risk_share: Query
    engine_start: Query
    engines: Query
    pnl_time: Query
    equity_breaker: Query
    clock: Query


def queries(pnl_metric: str, pnl_selector: str = "") -> Queries:
    """The queries for a PnL metric and label matchers without braces."""
    pnl = f"{pnl_metric}{{{pnl_selector}}}" if pnl_selector.strip() else pnl_metric
    return Queries(
        pnl=Query("pnl", pnl, "usd", ("strategy",)),
        equity=Query("equity", EQUITY, "usd", ("job",)),
        risk_share=Query(
            "risk_share", "max by (strategy) (allocator_risk_share_ratio)", "ratio", ("strategy",)
        ),
        engine_start=Query(
            "engine_start",
            "max by (job, instance) (trading_engine_start_timestamp_seconds)",
            "seconds",
            ("job", "instance"),
        ),
        engines=Query("engines", f"count by (job, strategy) ({PNL_PER_ENGINE})", "", ("job", "strategy")),
        pnl_time=Query("pnl_time", f"timestamp({pnl})", "seconds", ("strategy",)),
        equity_breaker=Query("equity_breaker", 'max(trading_breaker_open{breaker="equity"})', ""),
        clock=Query("clock", "time()", "seconds"),
    )


QUERY_IDS: tuple[str, ...] = (
    "pnl",
    "equity",
    "risk_share",
    "engine_start",
    "engines",
    "pnl_time",
    "equity_breaker",
    "clock",
    DECK_READ,
    DECK_PUBLISH,
)
"""Every value of the label `query`: the PromQL queries, and the two requests to the exporter."""
