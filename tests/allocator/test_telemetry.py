"""The allocator's own metrics."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from prometheus_client.exposition import generate_latest

from allocator.errors import QueryError
from allocator.queries import QUERY_IDS
from allocator.telemetry import RESULTS, Telemetry
from exporter.catalogue import CATALOGUE
from scripts.native import find_program


def test_the_page_is_the_catalogue():
    """Names, types and meanings on the page are those of the catalogue; process_* comes with them."""
    entries = [entry for entry in CATALOGUE.values() if entry.owner == "allocator"]
    families = {
        family.name + "_total" * (family.type == "counter"): family
        for family in Telemetry(600).registry.collect()
        if not family.name.startswith("process_")
    }
    assert {name: (family.type, family.documentation) for name, family in families.items()} == {
        entry.name: (entry.kind, entry.help) for entry in entries
    }
    assert "process_start_time_seconds" in generate_latest(Telemetry(600).registry).decode()


def test_counters_are_at_zero_from_the_start():
    """A counter that first appears at one counts nothing in `increase`."""
    registry = Telemetry(600).registry
    for result in RESULTS:
        assert registry.get_sample_value("allocator_runs_total", {"result": result}) == 0
    for query in QUERY_IDS:
        assert registry.get_sample_value("allocator_queries_total", {"query": query}) == 0
        assert registry.get_sample_value("allocator_query_errors_total", {"query": query}) == 0
        assert registry.get_sample_value("allocator_query_duration_seconds_count", {"query": query}) == 0
    for name in ("allocator_last_run_timestamp_seconds", "allocator_weights_frozen"):
        assert registry.get_sample_value(name) == 0
    assert registry.get_sample_value("allocator_interval_seconds") == 600


def test_a_query_that_raises_is_counted_twice_over():
    """As sent, and as failed."""
    telemetry = Telemetry(600)
    with pytest.raises(QueryError), telemetry.query("pnl"):
        raise QueryError("no", query="pnl")
    assert telemetry.registry.get_sample_value("allocator_queries_total", {"query": "pnl"}) == 1
    assert telemetry.registry.get_sample_value("allocator_query_errors_total", {"query": "pnl"}) == 1


def test_promtool_finds_nothing_to_say():
    """The page keeps Prometheus's own conventions."""
    assert shutil.which(find_program("promtool"))
    page = generate_latest(Telemetry(600).registry)
    checked = subprocess.run(
        [find_program("promtool"), "check", "metrics"], input=page, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
