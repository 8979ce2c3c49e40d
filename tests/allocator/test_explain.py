"""Decisions in words."""

from __future__ import annotations

import numpy as np

from allocator.decision import InForce, Limits, decide
from allocator.explain import LONGEST_REASON, one_line, shares_line, table
from tests.allocator.test_decision import EQUAL, NAMES, seen


def test_the_line_says_who_got_how_much():
    """Largest share first."""
    decision = decide(seen(1000, drift=(0.0, 0.0, 0.0, -0.01)), InForce(0, {}), Limits())
    line = shares_line(decision)
    shares = [float(part.partition("=")[2]) for part in line.split()]
    assert shares == sorted(shares, reverse=True)
    assert line.endswith(" trend=0.0500")


def test_the_line_says_why_with_the_largest_move_first():
    """Each strategy has its move, where it ends, and the reason."""
    decision = decide(seen(1000, drift=(0.01, 0.0, 0.0, -0.01)), InForce(1, EQUAL), Limits(max_step=1.0))
    first = one_line(decision).split("; ")[1]
    assert first.startswith("event +0.300 to 0.550: at MAX_SHARE 0.55, earns more")


def test_a_guard_speaks_alone():
    """Where nothing was decided there is nothing to explain strategy by strategy."""
    assert one_line(decide(seen(breaker_open=True), InForce(1, EQUAL), Limits())) == (
        "shares are kept: the equity breaker is open"
    )


def test_a_thousand_strategies_fit_in_a_line():
    """The ends are named, the middle is counted."""
    names = tuple(f"s{i:04d}" for i in range(1000))
    found = seen(20, names=names, drift=np.zeros(1000))
    decision = decide(found, InForce(0, {}), Limits(min_share=0.0001))
    assert shares_line(decision).endswith(" and 988 more")
    assert one_line(decision).endswith(" and 988 more")
    assert len(one_line(decision)) < 2000


def test_the_table_has_a_row_a_strategy_and_the_verdict():
    """A dry run shows what is in force, what is wanted, what would be, and why."""
    text = table(decide(seen(1000, drift=(0.01, 0.0, 0.0, -0.01)), InForce(1, EQUAL), Limits()))
    lines = text.splitlines()
    assert lines[0].split()[:3] == ["strategy", "in", "force"]
    assert [line.split()[0] for line in lines[1:5]] == list(NAMES)
    assert "would publish: turnover" in text


def test_the_table_of_a_guard_says_nothing_is_published():
    """A skipped decision prints what is kept, with dashes for numbers nobody computed."""
    text = table(decide(seen(breaker_open=True), InForce(1, EQUAL), Limits()))
    assert "would publish nothing: shares are kept: the equity breaker is open" in text
    assert " - " in text


def test_the_table_names_relaxed_bounds_and_general_loss():
    """Flags are said in words."""
    losing = decide(
        seen(2000, drift=(-0.01, -0.02, -0.01, -0.02)), InForce(0, {}), Limits(min_share=0.3, max_share=0.9)
    )
    assert "leave no choice" in table(losing)
    assert "every strategy loses" in table(losing)


def test_the_reason_fits_the_exporter_however_long_the_names():
    """Twelve strategies with the longest names leave room for the count of those not named."""
    names = tuple(f"{'n' * 120}{i:02d}" for i in range(12))
    decision = decide(seen(200, names=names, drift=np.zeros(12)), InForce(0, {}), Limits())
    assert len(one_line(decision)) > LONGEST_REASON
    short = one_line(decision, LONGEST_REASON)
    assert len(short) <= LONGEST_REASON
    assert short.endswith(" more")
    assert short.startswith("turnover")
