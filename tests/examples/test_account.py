"""The account: equity, 24 hours, and riskrails' breakers fed with market time."""

from __future__ import annotations

import pytest

from examples.account import DAY, HOUR, Account
from riskrails.breakers import BreakerPolicy

WIDE = BreakerPolicy(dd_trip=0.9, dd_release=0.8, daily_loss_max=0.9)


def test_drawdown_is_measured_from_the_peak_and_the_peak_is_at_least_the_start() -> None:
    """Up 10 % and back to par: 9.09 % below the peak; a first hour that loses counts from the start."""
    account = Account(100.0, WIDE)
    account.mark(0.0, 10.0)
    account.mark(HOUR, 0.0)
    assert account.drawdown_ratio == pytest.approx(10.0 / 110.0)
    other = Account(100.0, WIDE)
    other.mark(0.0, -4.0)
    assert other.drawdown_ratio == pytest.approx(0.04)
    assert other.daily_pnl_ratio == pytest.approx(-0.04)


def test_the_equity_breaker_trips_once_and_a_recovery_alone_does_not_release_it() -> None:
    """Latched: at a new peak two hours later it is still open; rested and low enough it releases."""
    levels = BreakerPolicy(
        dd_trip=0.10, dd_release=0.05, equity_cooldown_seconds=72 * HOUR, daily_loss_max=0.9
    )
    account = Account(100.0, levels)
    (event,) = account.mark(0.0, -10.0)
    assert (event.breaker, event.change) == ("equity", "tripped")
    assert account.mark(HOUR, -10.5) == ()
    states = []
    for hour, pnl in ((2, 5.0), (72, -6.0), (73, 2.0)):
        account.mark(hour * HOUR, pnl)
        states.append(account.breakers.is_open()["equity"])
    assert states == [True, True, False]
    assert account.trips == {"equity": 1}


def test_accepting_a_loss_moves_the_peak_and_says_so() -> None:
    """The only way the peak goes down: both numbers stand in the events for the log."""
    account = Account(100.0, BreakerPolicy(dd_trip=0.1, dd_release=0.05, daily_loss_max=0.9))
    account.mark(0.0, -20.0)
    account.mark(5 * HOUR, -20.0)
    assert account.equity_halted_hours == 5.0
    moved, released = account.accept_loss("a person said so")
    assert (moved.change, released.change) == ("peak_moved", "released")
    assert "100.0 -> 80.0" in moved.reason
    assert (account.drawdown_ratio, account.equity_halted_hours) == (0.0, 0.0)
    account.mark(6 * HOUR, -20.0)
    assert not account.breakers.is_open()["equity"]


def test_a_days_loss_halts_until_the_next_day() -> None:
    """−3 % of the equity the day began with; a recovery within the day does not release it."""
    account = Account(100.0, BreakerPolicy(dd_trip=0.5, dd_release=0.4))
    states = []
    for time, pnl in ((0.0, -2.9), (HOUR, -3.0), (2 * HOUR, 1.0), (DAY, 1.0)):
        account.mark(time, pnl)
        states.append(account.breakers.is_open()["daily_loss"])
    assert states == [False, True, True, False]
    assert account.daily_pnl_ratio == 0.0


def test_pnl_of_24_hours_looks_back_24_hours() -> None:
    """Hour by hour +1: after two days the last 24 hours made 24."""
    account = Account(100.0)
    for hour in range(49):
        account.mark(hour * HOUR, float(hour))
    assert account.pnl_24h_usd == 24.0


def test_data_that_starts_over_keeps_the_breaker_and_its_clock_running() -> None:
    """Market time jumps back: no PnL of the future is looked back on, days still end, cooldowns still run."""
    levels = BreakerPolicy(
        dd_trip=0.1, dd_release=0.09, equity_cooldown_seconds=48 * HOUR, daily_loss_max=0.03
    )
    account = Account(100.0, levels)
    account.mark(1000 * HOUR, -15.0)
    account.mark(0.0, -14.0)
    assert account.pnl_24h_usd == 0.0
    assert account.breakers.is_open()["equity"]
    assert not account.breakers.is_open()["daily_loss"], "another day has begun"
    account.mark(HOUR, -5.0)
    assert account.breakers.is_open()["equity"], "recovered, not rested"
    account.mark(60 * HOUR, -5.0)
    assert not account.breakers.is_open()["equity"]


def test_an_account_needs_money() -> None:
    """Zero and NaN are refused at birth."""
    for start in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="want USD above 0"):
            Account(start)


def test_a_ruined_account_reads_as_ruined() -> None:
    """Equity below zero is a drawdown of all of it, not more, and the day's loss is at most all."""
    account = Account(100.0)
    account.mark(0.0, -150.0)
    assert (account.drawdown_ratio, account.daily_pnl_ratio) == (1.0, -1.0)
    assert account.breakers.is_open()["equity"]
    assert account.accept_loss("nothing left to begin from") == ()
    assert account.breakers.is_open()["equity"]
