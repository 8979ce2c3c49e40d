"""The account: drawdown from the peak, latched breakers, the day's loss."""

from __future__ import annotations

import pytest

from examples.account import Account, Limits

HOUR, DAY = 3600.0, 86_400.0


def test_drawdown_is_measured_from_the_peak_with_unrealised_pnl() -> None:
    """Up 10 %, down to par: 9.09 % below the peak."""
    account = Account(100.0)
    account.mark(0.0, 10.0)
    account.mark(HOUR, 0.0)
    assert account.drawdown_ratio == pytest.approx(10.0 / 110.0)
    assert account.equity_usd == 100.0


def test_the_equity_breaker_trips_once_and_a_recovery_alone_does_not_release_it() -> None:
    """Latched: at a new peak two hours later it is still open; rested and low enough it releases."""
    account = Account(100.0, Limits(0.10, release_drawdown=0.05, release_hours=72.0, daily_loss=0.9))
    assert account.mark(0.0, -10.0) == ["equity"]
    assert account.mark(HOUR, -10.5) == []
    account.mark(2 * HOUR, 5.0)
    assert account.breakers["equity"]
    account.mark(72 * HOUR, -6.0)
    assert account.breakers["equity"], "rested, but not recovered"
    account.mark(73 * HOUR, -4.0)
    assert account.trips["equity"] == 1
    assert account.drawdown_ratio > 0.05, "from the new peak of 105"
    assert account.breakers["equity"]
    account.mark(74 * HOUR, 2.0)
    assert not account.breakers["equity"]


def test_rebase_moves_the_peak_and_says_so() -> None:
    """The only way the peak goes down, with both numbers for the log."""
    account = Account(100.0)
    account.mark(0.0, -20.0)
    story = account.rebase()
    assert "100.00 to 80.00" in story
    assert (account.drawdown_ratio, account.breakers["equity"], account.equity_tripped_at) == (
        0.0,
        False,
        None,
    )
    account.mark(HOUR, -20.0)
    assert not account.breakers["equity"]


def test_a_days_loss_halts_until_the_next_day() -> None:
    """−3 % of the equity the day began with; a recovery within the day does not release it."""
    account = Account(100.0, Limits(drawdown=0.5))
    assert account.mark(0.0, -2.9) == []
    assert account.mark(HOUR, -3.0) == ["daily_loss"]
    states = []
    for time in (2 * HOUR, DAY):
        account.mark(time, 1.0)
        states.append(account.breakers["daily_loss"])
    assert states == [True, False]
    assert account.daily_pnl_ratio == 0.0


def test_pnl_of_24_hours_looks_back_24_hours() -> None:
    """Hour by hour +1: after two days the last 24 hours made 24."""
    account = Account(100.0)
    for hour in range(49):
        account.mark(hour * HOUR, float(hour))
    assert account.pnl_24h_usd == 24.0


def test_data_that_starts_over_starts_the_24_hours_over_and_keeps_the_breaker() -> None:
    """Market time jumps back: no PnL of the future is looked back on, and nothing releases by that."""
    account = Account(100.0)
    account.mark(1000 * HOUR, -15.0)
    account.mark(0.0, -14.0)
    assert account.pnl_24h_usd == 0.0
    assert account.breakers["equity"]
    account.mark(HOUR, -1.0)
    assert account.breakers["equity"]


def test_an_account_needs_money() -> None:
    """Zero and NaN are refused at birth."""
    for start in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="want USD above 0"):
            Account(start)


def test_a_ruined_account_reads_as_ruined() -> None:
    """Equity below zero is a drawdown of all of it, not more."""
    account = Account(100.0)
    account.mark(0.0, -150.0)
    assert account.drawdown_ratio == 1.0
