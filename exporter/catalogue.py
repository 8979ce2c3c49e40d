"""Every metric this service shows or knows: name, type, unit, labels and help.

Pure.  One table; docs/metrics.md is its text and a test holds the two equal.  The map from the fields of
`POST /metrics/push` to metrics stands here as well, so a field without a metric cannot be.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "CATALOGUE",
    "ENGINE_JOB",
    "FIELD_METRICS",
    "PUSHED_KINDS",
    "RESERVED_NAMES",
    "STRATEGY_METRICS",
    "Entry",
    "is_reserved",
]

ENGINE_JOB = "trading_engine"
"""Job of the groups that the deck's JSON pushes fill."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One metric.

    Attributes:
        owner: Who produces it: "pushed" by an engine, "deck" (computed here from what came in),
            "exporter" (this service about itself), "allocator", "riskrails".
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    owner: str
    help: str


def _entry(name: str, kind: str, labels: str, owner: str, text: str) -> Entry:
    return Entry(name, kind, tuple(labels.split()), owner, text)


CATALOGUE: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        _entry(
            "trading_engine_info",
            "gauge",
            "version mode quote",
            "pushed",
            "What runs: always 1. Amounts called _usd are in the quote currency.",
        ),
        _entry(
            "trading_engine_start_timestamp_seconds",
            "gauge",
            "",
            "pushed",
            "When the engine began its present cumulative PnL.",
        ),
        _entry("trading_equity_usd", "gauge", "", "pushed", "Equity of the account."),
        _entry("trading_pnl_24h_usd", "gauge", "", "pushed", "Profit and loss of the account over 24 hours."),
        _entry(
            "trading_drawdown_ratio",
            "gauge",
            "",
            "pushed",
            "Loss from the high-water mark as a ratio of it, positive below the peak.",
        ),
        _entry(
            "trading_tick_latency_seconds",
            "summary",
            "quantile",
            "pushed",
            "Time the engine takes for one tick; quantiles, never to be averaged.",
        ),
        _entry("trading_error_ratio", "gauge", "", "pushed", "Share of operations that failed."),
        _entry(
            "trading_strategy_pnl_usd",
            "gauge",
            "strategy",
            "pushed",
            "Cumulative mark-to-market profit and loss since the engine's start timestamp.",
        ),
        _entry(
            "trading_strategy_drawdown_ratio",
            "gauge",
            "strategy",
            "pushed",
            "Loss of a strategy from its high-water mark, ratio.",
        ),
        _entry("trading_strategy_exposure_usd", "gauge", "strategy", "pushed", "Exposure a strategy holds."),
        _entry(
            "trading_breaker_open",
            "gauge",
            "breaker source",
            "deck",
            "1 while the source holds the breaker open: engine, operator or alert.",
        ),
        _entry(
            "trading_breaker_trips_total",
            "counter",
            "breaker",
            "deck",
            "Times the breaker went from closed to open.",
        ),
        _entry(
            "trading_breaker_last_change_timestamp_seconds",
            "gauge",
            "breaker",
            "deck",
            "When the breaker last opened or closed; 0 is never.",
        ),
        _entry(
            "trading_trades_total",
            "counter",
            "strategy side result",
            "deck",
            "Trades received, by side and by result: win, loss, flat, or open without a PnL.",
        ),
        _entry(
            "trading_trade_volume_usd_total",
            "counter",
            "strategy",
            "deck",
            "Quantity times price of all trades.",
        ),
        _entry("trading_fees_usd_total", "counter", "strategy", "deck", "Fees paid."),
        _entry(
            "trading_rebates_usd_total", "counter", "strategy", "deck", "Rebates received, negative fees."
        ),
        _entry(
            "trading_realized_profit_usd_total", "counter", "strategy", "deck", "Sum of the trades that won."
        ),
        _entry(
            "trading_realized_loss_usd_total",
            "counter",
            "strategy",
            "deck",
            "Sum of the trades that lost, as a positive number.",
        ),
        _entry("trading_trade_pnl_usd", "histogram", "strategy", "deck", "Profit and loss per closed trade."),
        _entry(
            "allocator_risk_share_ratio",
            "gauge",
            "strategy",
            "deck",
            "Risk share in force, ratio of the risk budget.",
        ),
        _entry(
            "allocator_raw_share_ratio",
            "gauge",
            "strategy",
            "allocator",
            "Share before bounds and MAX_STEP.",
        ),
        _entry("allocator_score", "gauge", "strategy", "allocator", "Score of the newest row."),
        _entry(
            "allocator_score_ema",
            "gauge",
            "strategy",
            "allocator",
            "Smoothed score, what shares are made of.",
        ),
        _entry("allocator_bonus", "gauge", "strategy", "allocator", "Exploration bonus in the score."),
        _entry("allocator_interval_seconds", "gauge", "", "allocator", "Time between decisions."),
        _entry(
            "allocator_turnover_last_ratio",
            "gauge",
            "",
            "allocator",
            "Half the L1 change that the last run published.",
        ),
        _entry(
            "allocator_weights_frozen",
            "gauge",
            "",
            "allocator",
            "1 while a guard or a failed request holds the shares.",
        ),
        _entry(
            "allocator_bounds_relaxed",
            "gauge",
            "",
            "allocator",
            "1 if the bounds leave so many strategies no choice.",
        ),
        _entry(
            "allocator_all_negative",
            "gauge",
            "",
            "allocator",
            "1 if every strategy's mean return is below zero.",
        ),
        _entry(
            "allocator_runs_total",
            "counter",
            "result",
            "allocator",
            "Runs by result: success, error, skipped.",
        ),
        _entry("allocator_run_duration_seconds", "histogram", "", "allocator", "Time of a run."),
        _entry(
            "allocator_query_duration_seconds",
            "histogram",
            "query",
            "allocator",
            "Time of a request to Prometheus or the exporter.",
        ),
        _entry(
            "allocator_last_run_timestamp_seconds",
            "gauge",
            "",
            "allocator",
            "When a run last ended; 0 is never.",
        ),
        _entry(
            "allocator_last_success_timestamp_seconds",
            "gauge",
            "",
            "allocator",
            "When a run last succeeded; 0 is never.",
        ),
        _entry(
            "allocator_turnover_ratio",
            "summary",
            "",
            "allocator",
            "Half the L1 change that each run published, summed.",
        ),
        _entry(
            "allocator_queries_total",
            "counter",
            "query",
            "allocator",
            "Requests to Prometheus and the exporter.",
        ),
        _entry(
            "allocator_query_errors_total",
            "counter",
            "query",
            "allocator",
            "Requests to Prometheus and the exporter that failed.",
        ),
        _entry(
            "riskrails_decisions_total",
            "counter",
            "mode binding",
            "riskrails",
            "Orders decided, by mode and by the limit that bound.",
        ),
        _entry("riskrails_rejections_total", "counter", "reason", "riskrails", "Orders refused, by reason."),
        _entry("riskrails_cap_utilization_ratio", "gauge", "cap", "riskrails", "Use of a cap, ratio."),
        _entry("riskrails_decision_seconds", "histogram", "", "riskrails", "Time of one decision."),
        _entry(
            "exporter_pushes_total",
            "counter",
            "api outcome",
            "exporter",
            "Pushes by API (gateway, deck) and outcome (accepted, rejected, error).",
        ),
        _entry(
            "exporter_push_rejections_total", "counter", "reason", "exporter", "Refused requests, by reason."
        ),
        _entry("exporter_pushed_samples_total", "counter", "", "exporter", "Samples of accepted pushes."),
        _entry(
            "exporter_store_commit_failures_total",
            "counter",
            "",
            "exporter",
            "Batches that could not be made durable.",
        ),
        _entry(
            "exporter_store_read_failures_total",
            "counter",
            "",
            "exporter",
            "Reads of trades or histories that the database did not answer.",
        ),
        _entry("exporter_expired_groups_total", "counter", "", "exporter", "Groups that outlived their TTL."),
        _entry(
            "exporter_push_duration_seconds",
            "histogram",
            "",
            "exporter",
            "From a push being read to its answer, the commit included.",
        ),
        _entry("exporter_store_commit_duration_seconds", "histogram", "", "exporter", "Time of one commit."),
        _entry(
            "exporter_render_duration_seconds", "histogram", "", "exporter", "Time to put a scrape together."
        ),
        _entry("exporter_queue_length", "gauge", "", "exporter", "Requests that wait for the writer."),
        _entry("exporter_queue_capacity", "gauge", "", "exporter", "Requests that may wait."),
        _entry("exporter_groups", "gauge", "", "exporter", "Groups in the exposition."),
        _entry("exporter_series", "gauge", "", "exporter", "Series in the exposition that pushes made."),
        _entry("exporter_series_limit", "gauge", "", "exporter", "Most pushed series that are taken."),
        _entry(
            "pushgateway_http_requests_total",
            "counter",
            "handler code method",
            "exporter",
            "Total HTTP requests processed by the Pushgateway, excluding scrapes.",
        ),
        _entry(
            "pushgateway_http_push_duration_seconds",
            "summary",
            "method",
            "exporter",
            "HTTP request duration for pushes to the Pushgateway.",
        ),
        _entry(
            "pushgateway_http_push_size_bytes",
            "summary",
            "method",
            "exporter",
            "HTTP request size for pushes to the Pushgateway.",
        ),
        _entry(
            "pushgateway_build_info",
            "gauge",
            "version revision",
            "exporter",
            "What runs, under the name a Pushgateway has: always 1.",
        ),
        _entry("exporter_build_info", "gauge", "version revision", "exporter", "What runs: always 1."),
        _entry("allocator_build_info", "gauge", "version revision", "allocator", "What runs: always 1."),
        _entry(
            "push_time_seconds",
            "gauge",
            "",
            "exporter",
            "Last Unix time when changing this group in the Pushgateway succeeded.",
        ),
        _entry(
            "push_failure_time_seconds",
            "gauge",
            "",
            "exporter",
            "Last Unix time when changing this group in the Pushgateway failed.",
        ),
    )
}
"""By name.  A counter's name ends in _total; a histogram or summary is named without its suffixes."""

FIELD_METRICS: dict[str, tuple[str, float]] = {
    # field of POST /metrics/push: (metric, divisor to base units)
    "equity_usd": ("trading_equity_usd", 1.0),
    "pnl_24h": ("trading_pnl_24h_usd", 1.0),
    "drawdown_pct": ("trading_drawdown_ratio", 100.0),
    "error_rate_pct": ("trading_error_ratio", 100.0),
    "started_at": ("trading_engine_start_timestamp_seconds", 1.0),
}
"""Scalar fields; the two tick quantiles share `trading_tick_latency_seconds` and stand in deck.py."""

STRATEGY_METRICS: dict[str, tuple[str, float]] = {
    "pnl_by_strategy": ("trading_strategy_pnl_usd", 1.0),
    "exposure_by_strategy": ("trading_strategy_exposure_usd", 1.0),
    "drawdown_pct_by_strategy": ("trading_strategy_drawdown_ratio", 100.0),
}
"""Fields that map a strategy to a number."""

PUSHED_KINDS: dict[str, str] = {
    entry.name: entry.kind for entry in CATALOGUE.values() if entry.owner == "pushed"
}
"""Type of each metric that an engine's JSON push fills: nobody may push such a name with another type."""

RESERVED_NAMES = frozenset(
    {"up", "ALERTS", "ALERTS_FOR_STATE", "push_time_seconds", "push_failure_time_seconds"}
) | {name for name, entry in CATALOGUE.items() if entry.owner in ("deck", "exporter")}
"""Names nobody may push: Prometheus writes the first itself, this service the rest."""


_COUNTER_BASES = {
    name.removesuffix("_total") for name, entry in CATALOGUE.items() if entry.kind == "counter"
} | {"process_cpu_seconds"}
"""What OpenMetrics calls the counters: a family of that name would take theirs its type."""


def is_reserved(name: str) -> str | None:
    """Why a pushed family may not have this name; None if it may."""
    if name in RESERVED_NAMES or name.startswith("exporter_"):
        return "is produced by this service or by Prometheus itself"
    if name.startswith(("scrape_", "ALERTS")):
        return "belongs to Prometheus itself"
    if ":" in name:
        return "has a colon, which is for recording rules"
    if name in _COUNTER_BASES:
        return f"collides with {name}_total, which this service or its engines, allocator or rails produce"
    for suffix in ("_total", "_sum", "_count", "_bucket"):
        base = name.removesuffix(suffix)
        if base != name and base in RESERVED_NAMES and suffix != "_total":
            return f"collides with {base}, which this service produces"
    return None
