"""What is asked."""

from __future__ import annotations

from dataclasses import fields

from allocator.queries import DECK_PUBLISH, DECK_READ, QUERY_IDS, Queries, queries


def all_queries(asked: Queries):
    return [getattr(asked, field.name) for field in fields(asked)]


def test_ids_are_fixed_and_unique():
    """Every query has a counter from the start, and every counter a query."""
    ids = [query.id for query in all_queries(queries("m"))]
    assert set(ids) | {DECK_READ, DECK_PUBLISH} == set(QUERY_IDS)
    assert len(set(ids)) == len(ids)


def test_the_selector_narrows_pnl_and_its_age():
    """Both look at the same series."""
    asked = queries("m", 'job="live"')
    assert asked.pnl.promql == 'm{job="live"}'
    assert asked.pnl_time.promql == 'timestamp(m{job="live"})'


def test_without_a_selector_the_metric_stands_bare():
    """No empty braces."""
    assert queries("m", " ").pnl.promql == "m"


def test_pnl_and_equity_are_fresh_gated():
    """The defaults read recording rules that a dead engine leaves."""
    assert queries("job_strategy:trading_strategy_pnl_usd:sum_fresh").equity.promql.endswith("sum_fresh")
