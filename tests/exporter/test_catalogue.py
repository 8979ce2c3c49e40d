from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from exporter.catalogue import CATALOGUE, FIELD_METRICS, STRATEGY_METRICS, is_reserved
from exporter.messages import MetricsIn
from tests.exporter.deck import Deck

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "metrics.md"


def test_the_page_is_the_table() -> None:
    """docs/metrics.md has each metric once with its type, labels and meaning, and no other."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \| ([^|]*) \|$", PAGE.read_text(), re.MULTILINE)
    want = [(e.name, e.kind, ", ".join(e.labels) or "–", e.help) for e in CATALOGUE.values()]
    assert sorted(rows) == sorted(want)


def test_every_field_of_a_push_has_its_metric() -> None:
    """No field of the request is without a metric, and no metric of an engine without a field."""
    fields = (
        set(FIELD_METRICS)
        | set(STRATEGY_METRICS)
        | {"tick_p50_ms", "tick_p95_ms", "info", "breaker", "engine"}
    )
    assert fields == set(msgspec.structs.asdict(MetricsIn(equity_usd=1.0)))
    named = {name for name, _ in (*FIELD_METRICS.values(), *STRATEGY_METRICS.values())}
    named |= {"trading_tick_latency_seconds", "trading_engine_info"}
    assert named == {entry.name for entry in CATALOGUE.values() if entry.owner == "pushed"}


def test_the_page_of_a_full_deck_is_the_catalogue(deck: Deck) -> None:
    """With everything pushed, each metric of ours is shown with the catalogue's type, help and labels."""
    maps = {field: {"scalp": 1} for field in STRATEGY_METRICS}
    scalars = dict.fromkeys(("equity_usd", "pnl_24h", "drawdown_pct", "error_rate_pct", "started_at"), 1)
    ticks = {"tick_p50_ms": 1, "tick_p95_ms": 2}
    info = {"version": "1", "mode": "paper", "quote": "USD"}
    deck.send("POST", "/metrics/push", {**maps, **scalars, **ticks, "info": info})
    deck.send("POST", "/allocator/weights", {"weights": {"scalp": 1}})
    page = deck.send("GET", "/metrics").text
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))
    helps = dict(re.findall(r"^# HELP (\S+) (.*)$", page, re.MULTILINE))
    for entry in CATALOGUE.values():
        if entry.owner not in ("pushed", "deck", "exporter"):
            continue
        assert kinds.get(entry.name) == entry.kind, entry.name
        assert helps[entry.name] == entry.help
        lines = re.findall(rf"^{entry.name}(?:_sum|_count|_bucket)?(?:{{(.*)}})? \S+$", page, re.MULTILINE)
        if entry.name == "pushgateway_http_requests_total":
            continue  # has no line before the first such request
        shown = {label for line in lines for label in re.findall(r'(\w+)="', line)}
        assert shown - {"job", "instance", "le"} == set(entry.labels), entry.name


def test_an_engine_has_as_many_series_as_the_page_on_sizes_says(deck: Deck) -> None:
    """Four strategies with every optional field: the figure of docs/deploy.md is counted, not remembered."""
    maps = {field: dict.fromkeys(("scalp", "momentum", "trend", "event"), 1) for field in STRATEGY_METRICS}
    scalars = dict.fromkeys(FIELD_METRICS, 1)
    ticks = {"tick_p50_ms": 1, "tick_p95_ms": 2}
    info = {"version": "1", "mode": "paper", "quote": "USD"}
    deck.send("POST", "/metrics/push", {**maps, **scalars, **ticks, "info": info})
    shown = [name for name in deck.metrics() if 'job="trading_engine"' in name]
    page = (PAGE.parent / "deploy.md").read_text()
    assert f"One engine with four strategies shows {len(shown)} series" in page


@pytest.mark.parametrize(
    "name", ["m", "process_cpu_seconds_total", "trading_equity_usd", "upper", "riskrails_x"]
)
def test_names_of_others_are_free(name: str) -> None:
    """What an engine or any client may push is not reserved."""
    assert is_reserved(name) is None
