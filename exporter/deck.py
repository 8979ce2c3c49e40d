"""The deck's records → metric families, and a push of an engine into its record.

Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import msgspec

from exporter.catalogue import CATALOGUE, ENGINE_JOB, FIELD_METRICS, STRATEGY_METRICS
from exporter.families import Family, Metric, Parsed, escape_value
from exporter.messages import MetricsIn, epoch_seconds
from exporter.records import PNL_BUCKETS, RESULTS, SIDES, SOURCES, BreakerDoc, EngineDoc, Totals, WeightsDoc

__all__ = ["computed_families", "engine_families", "engine_group", "merge_push"]

_SCALARS = ("equity_usd", "pnl_24h", "drawdown_pct", "tick_p50_ms", "tick_p95_ms", "error_rate_pct")


def engine_group(engine: str) -> dict[str, str]:
    """Grouping labels of an engine's own group."""
    return {"job": ENGINE_JOB, "instance": engine}


def merge_push(doc: EngineDoc, push: MetricsIn, now: float) -> EngineDoc:
    """The engine's record with a push on top; what the push does not name keeps its last value."""
    scalars = dict(doc.scalars)
    for field in _SCALARS:
        value = getattr(push, field)
        if value is not None:
            scalars[field] = (value, now)
    if push.started_at is not None:
        scalars["started_at"] = (epoch_seconds(push.started_at, "started_at"), now)
    strategies = dict(doc.strategies)
    for field in STRATEGY_METRICS:
        given = getattr(push, field)
        if given:
            merged = {**strategies.get(field, {}), **{name: (value, now) for name, value in given.items()}}
            strategies[field] = {name: pair for name, pair in merged.items() if pair[0] is not None}
    info = dict(doc.info)
    if push.info is not None:
        info.update({k: v for k, v in msgspec.structs.asdict(push.info).items() if v is not None})
    return EngineDoc(scalars=scalars, strategies=strategies, info=info, pushed_at=now)


def engine_families(doc: EngineDoc) -> Parsed:
    """The engine's record as families of its group."""
    families: list[Family] = []
    values: list[bytes] = []

    def family(name: str, metrics: Iterable[Metric]) -> None:
        entry = CATALOGUE[name]
        families.append(Family(name, entry.kind, entry.help, tuple(metrics)))

    def slot(number: float) -> int:
        values.append(repr(number).encode())
        return len(values) - 1

    if doc.info:
        labels = tuple((label, doc.info.get(label, "")) for label in CATALOGUE["trading_engine_info"].labels)
        family("trading_engine_info", [Metric(labels, slot(1.0))])
    for field, (name, divisor) in FIELD_METRICS.items():
        if field in doc.scalars:
            family(name, [Metric((), slot(doc.scalars[field][0] / divisor))])
    quantiles = [
        (q, field) for q, field in ((0.5, "tick_p50_ms"), (0.95, "tick_p95_ms")) if field in doc.scalars
    ]
    if quantiles:
        points = tuple((q, slot(doc.scalars[field][0] / 1000.0)) for q, field in quantiles)
        family("trading_tick_latency_seconds", [Metric((), points=points)])
    for field, (name, divisor) in STRATEGY_METRICS.items():
        known = doc.strategies.get(field, {})
        if known:
            family(
                name, [Metric((("strategy", s),), slot(v / divisor)) for s, (v, _) in sorted(known.items())]
            )
    return Parsed(tuple(families), values)


def computed_families(
    totals: Mapping[tuple[str, str], Totals],
    breakers: Mapping[tuple[str, str], BreakerDoc],
    weights: WeightsDoc,
) -> list[tuple[str, bytes]]:
    """What this service computes from the deck's records: (metric, sample lines) in the catalogue's order."""
    lines: dict[str, list[str]] = {}

    def sample(name: str, labels: Mapping[str, str], value: float | int, suffix: str = "") -> None:
        # A bucket's bound stands last, as in what clients push.
        ordered = sorted(labels.items(), key=lambda pair: (pair[0] == "le", pair[0]))
        text = ",".join(f'{k}="{escape_value(v)}"' for k, v in ordered)
        number = str(value) if isinstance(value, int) else repr(value)
        lines.setdefault(name, []).append(f"{name}{suffix}{{{text}}} {number}\n")

    for (engine, name), doc in sorted(breakers.items()):
        at = {**engine_group(engine), "breaker": name}
        for source in SOURCES:
            sample("trading_breaker_open", {**at, "source": source}, int(source in doc.holds))
        sample("trading_breaker_trips_total", at, doc.trips)
        sample("trading_breaker_last_change_timestamp_seconds", at, doc.changed_at)
    for (engine, strategy), total in sorted(totals.items()):
        at = {**engine_group(engine), "strategy": strategy}
        for side in SIDES:
            for result in RESULTS:
                count = total.counts.get(f"{side}/{result}", 0)
                sample("trading_trades_total", {**at, "side": side, "result": result}, count)
        sample("trading_trade_volume_usd_total", at, total.volume_usd)
        sample("trading_fees_usd_total", at, total.fees_usd)
        sample("trading_rebates_usd_total", at, total.rebates_usd)
        sample("trading_realized_profit_usd_total", at, total.profit_usd)
        sample("trading_realized_loss_usd_total", at, total.loss_usd)
        below = 0
        for bound, inside in zip((*PNL_BUCKETS, float("inf")), total.buckets, strict=True):
            below += inside
            # With its point, as OpenMetrics wants it: both formats are the same series.
            le = "+Inf" if math.isinf(bound) else repr(bound)
            sample("trading_trade_pnl_usd", {**at, "le": le}, below, "_bucket")
        sample("trading_trade_pnl_usd", at, total.pnl_sum_usd, "_sum")
        sample("trading_trade_pnl_usd", at, below, "_count")
    for strategy, share in sorted(weights.weights.items()):
        sample("allocator_risk_share_ratio", {"strategy": strategy}, share)
    return [(name, "".join(found).encode()) for name, found in lines.items()]
