from __future__ import annotations

import dataclasses

import pytest

from scripts.observe import Summary

CLOSED = Summary(
    pushes=900,
    trades=42,
    scrapes=80,
    allocator_runs={"success": 20, "skipped": 4},
    pnl_by_strategy={"scalp": -10.0, "trend": 2500.5},
    first_shares={"scalp": 0.5, "trend": 0.5},
    last_shares={"scalp": 0.45, "trend": 0.55},
    versions=9,
    decisions={"taker": 30, "maker": 0, "skip": 9},
    alerts=("Watchdog",),
    queries_answered=6,
    queries=6,
)


def test_a_run_in_which_shares_moved_counts_as_closed() -> None:
    """Trades, answers and moved shares are all that is asked."""
    assert CLOSED.failures() == []
    assert CLOSED.turnover == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trades": 0}, "no trade was counted"),
        ({"queries_answered": 5}, "only 5 of 6 PromQL queries"),
        ({"allocator_runs": {"skipped": 9}}, "never published"),
        ({"last_shares": {"scalp": 0.5, "trend": 0.5}}, "did not move"),
        ({"last_shares": {}}, "did not move"),
    ],
)
def test_each_broken_link_of_the_loop_is_named(change: dict[str, object], message: str) -> None:
    """A loop that did not close says where it is open."""
    broken = dataclasses.replace(CLOSED, **change)  # type: ignore[arg-type]
    assert any(message in failure for failure in broken.failures())


def test_the_table_shows_each_strategy_with_its_pnl_and_shares() -> None:
    """A reader sees what moved and why."""
    table = CLOSED.table()
    assert "trend" in table
    assert "2,500.50" in table
    assert "0.5500" in table
    assert "30 taker, 9 skip" not in table  # sorted by name, idle modes left out
    assert "9 skip, 30 taker" in table
    assert "maker" not in table


def test_a_strategy_without_pnl_shows_no_number() -> None:
    """No data is not zero."""
    table = dataclasses.replace(CLOSED, pnl_by_strategy={}).table()
    assert table.count("nan") == 2
