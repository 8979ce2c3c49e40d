from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from scripts.native import ROOT, free_port
from scripts.observe import Observer, Summary, summarise
from tests.exporter.nursery import Nursling

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


def test_the_readme_shows_the_summary_as_it_is_printed() -> None:
    """The sample in the README has the rows of the table, in their order, and no other."""

    def rows(text: str) -> list[str]:
        return [line.strip().split("  ")[0] for line in text.splitlines() if line.startswith("  ")]

    sample = (ROOT / "README.md").read_text(encoding="utf-8").partition("\nSummary\n")[2].partition("```")[0]
    shown = rows(sample)
    until = shown.index("strategy") + 1
    assert shown[:until] == rows(CLOSED.table())[:until]


def test_a_strategy_without_pnl_shows_no_number() -> None:
    """No data is not zero."""
    table = dataclasses.replace(CLOSED, pnl_by_strategy={}).table()
    assert table.count("nan") == 2


def test_a_long_run_is_summed_up_from_its_first_shares_to_its_last(tmp_path: Path) -> None:
    """More versions than the exporter puts on one page are all counted, and the first is the first."""
    deck = Nursling(free_port(), tmp_path, DECK_DURABILITY="process")
    deck.start()
    try:
        for version in range(1, 121):
            share = {"scalp": version / 200, "trend": 1 - version / 200}
            assert deck.call("POST", "/allocator/weights", {"weights": share})[0] == 200
        observer = Observer(f"http://127.0.0.1:{deck.port}", f"http://127.0.0.1:{free_port()}")
        summary = summarise(observer)
        observer.session.close()
    finally:
        deck.stop()
    assert summary.versions == 120
    assert summary.first_shares == {"scalp": 0.005, "trend": 0.995}
    assert summary.last_shares == {"scalp": 0.6, "trend": 0.4}


def test_a_run_without_shares_has_none_to_sum_up(tmp_path: Path) -> None:
    """Before the allocator's first publication there is no version, first or last."""
    deck = Nursling(free_port(), tmp_path, DECK_DURABILITY="process")
    deck.start()
    try:
        observer = Observer(f"http://127.0.0.1:{deck.port}", f"http://127.0.0.1:{free_port()}")
        summary = summarise(observer)
        observer.session.close()
    finally:
        deck.stop()
    assert (summary.versions, summary.first_shares, summary.last_shares) == (0, {}, {})
