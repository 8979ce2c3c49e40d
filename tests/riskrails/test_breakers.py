"""Breakers: each path in and out, and that nothing is forgiven silently."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskrails import RiskInputError
from riskrails.breakers import BREAKERS, DAY_SECONDS, BreakerEvent, BreakerPolicy, Breakers, Latch
from riskrails.features import MAX_USD
from tests.riskrails.desk import rails, size
from tests.riskrails.strategies import numbers

MORNING = 20_000.0 * DAY_SECONDS + 3600.0


def at(
    *equities: float, start: float = MORNING, step: float = 60.0, policy: BreakerPolicy | None = None
) -> Breakers:
    """Breakers that have seen these equities, a minute apart."""
    state = Breakers(policy=policy or BreakerPolicy(daily_loss_max=1.0))
    for i, equity in enumerate(equities):
        state = state.observe(equity, start + i * step)
    return state


def opened(state: Breakers) -> set[str]:
    return {name for name, is_open in state.is_open().items() if is_open}


def test_all_four_are_always_there_and_closed_at_first() -> None:
    """The names the deck knows, none open."""
    assert Breakers().is_open() == {"equity": False, "venue": False, "daily_loss": False, "manual": False}
    assert (Breakers().drawdown_pct, Breakers().daily_pnl_pct) == (0.0, 0.0)


def test_equity_trips_at_the_level_measured_from_the_peak() -> None:
    """20 % below the highest equity ever seen trips, a cent less does not."""
    assert opened(at(100.0, 125.0, 100.01)) == set()
    state = at(100.0, 125.0, 100.0)
    assert opened(state) == {"equity"}
    assert state.drawdown_pct == 0.2
    assert [(event.breaker, event.change, event.reason) for event in state.events] == [
        ("equity", "tripped", "drawdown 20.00%")
    ]


def test_unrealised_gains_raise_the_peak() -> None:
    """Equity is marked to market: a gain given back counts, though no trade was closed."""
    assert at(100.0, 150.0, 119.0).drawdown_pct == pytest.approx(31 / 150)


def test_a_tripped_breaker_stays_open_when_the_cause_goes() -> None:
    """Latched: back at the peak it is still open, and its peak is where it was."""
    state = at(100.0, 79.0, 100.0)
    assert opened(state) == {"equity"}
    assert state.peak_usd == 100.0
    assert state.events == ()


def test_release_by_hand_waits_for_the_release_level() -> None:
    """Between release and trip level it stays open (hysteresis); at it a person may close it."""
    with pytest.raises(RiskInputError, match=r"drawdown 16\.00%: want at most 15\.00%") as caught:
        at(100.0, 79.0, 84.0).release("equity", "looks fine", MORNING + 300)
    assert caught.value.code == "E_STILL_TRIPPED"
    state = at(100.0, 79.0, 85.0).release("equity", "checked the book", MORNING + 300)
    assert opened(state) == set()
    assert state.peak_usd == 100.0, "a release never moves the peak"
    assert state.events[-1].reason == "checked the book"
    assert opened(state.observe(80.0, MORNING + 400)) == {"equity"}, "and it trips again from the same peak"


def test_release_by_time_needs_time_and_the_release_level() -> None:
    """After the cooldown it closes by itself, but only behind the release level."""
    policy = BreakerPolicy(daily_loss_max=1.0, equity_cooldown_seconds=600.0)
    state = at(100.0, 79.0, policy=policy)
    tripped = MORNING + 60
    assert opened(state.observe(86.0, tripped + 599.0)) == {"equity"}
    assert opened(state.observe(84.0, tripped + 601.0)) == {"equity"}
    closed = state.observe(86.0, tripped + 600.0)
    assert opened(closed) == set()
    assert [(event.change, event.reason) for event in closed.events] == [("released", "time")]


def test_without_a_cooldown_equity_closes_by_hand_alone() -> None:
    """The default: no time is long enough."""
    assert opened(at(100.0, 79.0).observe(100.0, MORNING + 1e9)) == {"equity"}


def test_the_peak_moves_down_only_aloud() -> None:
    """rebase_peak says so in an event, refuses a peak below the equity, and closes nothing by itself."""
    state = at(100.0, 79.0)
    moved = state.rebase_peak(80.0, "withdrew 20", MORNING + 100)
    assert (moved.peak_usd, opened(moved)) == (80.0, {"equity"})
    assert moved.events[-1].change == "peak_moved"
    assert moved.events[-1].reason == "100.0 -> 80.0: withdrew 20"
    assert opened(moved.release("equity", "withdrawal", MORNING + 101)) == set()
    for peak in (78.0, 0.0, -1.0, math.nan, None):
        with pytest.raises(RiskInputError, match="E_PEAK"):
            state.rebase_peak(peak, "oops", MORNING + 100)  # type: ignore[arg-type]


def test_daily_loss_trips_at_three_percent_and_ends_with_the_day() -> None:
    """−3 % since the day's start halts for the rest of the UTC day, whatever happens, and not beyond."""
    state = Breakers().observe(100.0, MORNING)
    assert opened(state.observe(97.01, MORNING + 60)) == set()
    state = state.observe(97.0, MORNING + 60)
    assert opened(state) == {"daily_loss"}
    assert opened(state.observe(99.0, MORNING + 120)) == {"daily_loss"}
    midnight = (MORNING // DAY_SECONDS + 1) * DAY_SECONDS
    assert opened(state.observe(97.0, midnight - 1)) == {"daily_loss"}
    tomorrow = state.observe(97.0, midnight)
    assert opened(tomorrow) == set()
    assert (tomorrow.day_start_usd, tomorrow.daily_pnl_pct) == (97.0, 0.0)


def test_a_loss_over_midnight_belongs_to_the_new_day() -> None:
    """The day starts from the last equity of the day before: a gap does not vanish between two days."""
    state = Breakers().observe(100.0, MORNING).observe(95.0, MORNING + DAY_SECONDS)
    assert state.daily_pnl_pct == pytest.approx(-0.05)
    assert opened(state) == {"daily_loss"}
    again = state.observe(90.0, MORNING + 2 * DAY_SECONDS)
    assert opened(again) == {"daily_loss"}
    assert again.events == (), "a lasting cause is not released in between"


def test_daily_loss_may_be_released_by_hand_above_the_level() -> None:
    """Not while the day's loss stands; after a recovery a person may."""
    state = Breakers().observe(100.0, MORNING).observe(96.0, MORNING + 1)
    with pytest.raises(RiskInputError, match="PnL of the day"):
        state.release("daily_loss", "patience", MORNING + 2)
    better = state.observe(98.0, MORNING + 3).release("daily_loss", "recovered", MORNING + 4)
    assert opened(better) == set()


def test_venue_trips_on_errors_and_closes_behind_its_release_level() -> None:
    """5 % errors open it; it closes after 300 s once errors are at most 1 %, or by hand."""
    state = Breakers().observe(100.0, MORNING, error_ratio=0.05)
    assert opened(state) == {"venue"}
    assert opened(state.observe(100.0, MORNING + 301, error_ratio=0.02)) == {"venue"}
    assert opened(state.observe(100.0, MORNING + 299, error_ratio=0.0)) == {"venue"}
    assert opened(state.observe(100.0, MORNING + 300, error_ratio=0.01)) == set()
    with pytest.raises(RiskInputError, match="error ratio"):
        state.release("venue", "hurry", MORNING + 1)
    calm = state.observe(100.0, MORNING + 1, error_ratio=0.0)
    assert opened(calm.release("venue", "venue says so", MORNING + 2)) == set()
    assert opened(Breakers().observe(100.0, MORNING, error_ratio=0.0499)) == set()


def test_a_person_opens_and_closes_any_breaker() -> None:
    """By hand, with a reason, until released by hand."""
    for name in BREAKERS:
        state = at(100.0).trip(name, "maintenance", MORNING + 10)
        assert opened(state) == {name}
        assert opened(state.observe(100.0, MORNING + 10 * DAY_SECONDS)) == {name}, (
            "no cooldown undoes a person"
        )
        assert opened(state.release(name, "done", MORNING + 20)) == set()


def test_a_timed_trip_ends_by_itself() -> None:
    """With a ttl it closes at its end, not before."""
    state = at(100.0).trip("manual", "deploy", MORNING, ttl_seconds=120.0)
    assert opened(state.observe(100.0, MORNING + 119.0)) == {"manual"}
    assert opened(state.observe(100.0, MORNING + 120.0)) == set()


def test_a_second_trip_never_shortens_the_first() -> None:
    """A timed trip on an open breaker keeps what held it; two timed ones keep the longer."""
    held = at(100.0, 79.0).trip("equity", "deploy", MORNING + 61, ttl_seconds=1.0)
    assert opened(held.observe(100.0, MORNING + 1000)) == {"equity"}
    twice = (
        at(100.0)
        .trip("manual", "a", MORNING, ttl_seconds=100.0)
        .trip("manual", "b", MORNING, ttl_seconds=1.0)
    )
    assert opened(twice.observe(100.0, MORNING + 99)) == {"manual"}
    assert opened(twice.observe(100.0, MORNING + 100)) == set()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda s: s.observe(math.nan, MORNING), "E_EQUITY"),
        (lambda s: s.observe(None, MORNING), "E_EQUITY"),
        (lambda s: s.observe(math.inf, MORNING), "E_EQUITY"),
        (lambda s: s.observe(100.0, math.nan), "E_NOW"),
        (lambda s: s.observe(100.0, MORNING, error_ratio=5.0), "E_ERROR_RATIO"),
        (lambda s: s.observe(100.0, MORNING, error_ratio=math.nan), "E_ERROR_RATIO"),
        (lambda s: s.trip("fuse", "x", MORNING), "E_BREAKER"),
        (lambda s: s.trip("manual", " ", MORNING), "E_REASON"),
        (lambda s: s.trip("manual", "x", MORNING, ttl_seconds=0), "E_TTL"),
        (lambda s: s.trip("manual", "x", math.inf), "E_NOW"),
        (lambda s: s.release("manual", "x", MORNING), "E_CLOSED"),
        (lambda s: s.release("fuse", "x", MORNING), "E_BREAKER"),
        (lambda s: s.release("manual", "", MORNING), "E_REASON"),
        (lambda s: s.rebase_peak(200.0, "", MORNING), "E_REASON"),
    ],
)
def test_what_makes_no_sense_is_refused(change: Any, code: str) -> None:
    """Each wrong argument has its code, and the old object is untouched because nothing is ever changed."""
    with pytest.raises(RiskInputError) as caught:
        change(at(100.0))
    assert caught.value.code == code
    assert str(caught.value).startswith(code)


def test_an_account_cannot_start_broke() -> None:
    """A first equity of 0 would be its own peak, and no loss could be measured."""
    for equity in (0.0, -5.0):
        with pytest.raises(RiskInputError, match="first observation"):
            Breakers().observe(equity, MORNING)


def test_losing_everything_and_more_is_a_drawdown_of_one() -> None:
    """Negative equity trips, and the next day starts without dividing by it."""
    state = at(100.0, -50.0, policy=BreakerPolicy())
    assert (state.drawdown_pct, state.daily_pnl_pct) == (1.0, -1.0)
    assert opened(state) == {"equity", "daily_loss"}
    assert opened(state.observe(-50.0, MORNING + DAY_SECONDS)) == {"equity", "daily_loss"}


def test_time_running_backwards_moves_nothing() -> None:
    """A clock set back neither starts a new day nor lets a cooldown run twice."""
    state = at(100.0, 99.0).observe(98.0, MORNING - 10 * DAY_SECONDS)
    assert (state.last_seen, state.day, state.day_start_usd) == (MORNING + 60.0, 20_000, 100.0)


def test_a_restart_forgives_nothing() -> None:
    """Through JSON and back: peak, day, open breakers and their times are as before."""
    policy = BreakerPolicy()
    state = at(100.0, 79.0, policy=policy).trip("manual", "deploy", MORNING + 100, ttl_seconds=60.0)
    back = Breakers.from_dict(json.loads(json.dumps(state.to_dict(), allow_nan=False)), policy)
    assert back.to_dict() == state.to_dict()
    assert opened(back) == {"equity", "daily_loss", "manual"}
    assert opened(back.observe(100.0, MORNING + 160)) == {"equity", "daily_loss"}
    assert Breakers.from_dict(json.loads(json.dumps(Breakers().to_dict()))) == Breakers()


@pytest.mark.parametrize(
    "name", ["peak_usd", "equity_usd", "day", "day_start_usd", "error_ratio", "latches", "last_seen"]
)
def test_a_saved_state_with_a_hole_is_refused(name: str) -> None:
    """A missing field is not guessed: the guess could forget an open breaker."""
    plain = at(100.0).to_dict()
    del plain[name]
    with pytest.raises(RiskInputError, match="E_SAVED"):
        Breakers.from_dict(plain)


def test_saved_nonsense_is_refused() -> None:
    """A breaker nobody knows and a latch of another shape are no saved state."""
    for latches in (
        {"fuse": {"since": 1.0, "reason": "x", "by_hand": True, "until": None}},
        {"manual": 1},
        None,
    ):
        with pytest.raises(RiskInputError):
            Breakers.from_dict(at(100.0).to_dict() | {"latches": latches})


@pytest.mark.parametrize(
    ("levels", "field"),
    [
        ({"dd_trip": 20}, "dd_trip"),
        ({"dd_trip": 0}, "dd_trip"),
        ({"dd_release": 0.2}, "dd_release"),
        ({"dd_release": -0.1}, "dd_release"),
        ({"error_release": 0.05}, "error_release"),
        ({"daily_loss_max": math.nan}, "daily_loss_max"),
        ({"venue_cooldown_seconds": 0}, "venue_cooldown_seconds"),
        ({"equity_cooldown_seconds": "1"}, "equity_cooldown_seconds"),
    ],
)
def test_levels_that_make_no_sense_are_refused(levels: dict[str, Any], field: str) -> None:
    """Percent for a fraction, no hysteresis, NaN: named."""
    with pytest.raises(RiskInputError) as caught:
        BreakerPolicy(**levels)
    assert (caught.value.code, caught.value.field) == ("E_BREAKER_POLICY", field)


@given(st.lists(st.tuples(numbers(-10.0, 200.0), numbers(0.0, 5e4)), min_size=1, max_size=20))
def test_no_path_of_equity_closes_a_breaker_that_only_a_hand_may_close(
    path: list[tuple[float, float]],
) -> None:
    """Once equity has tripped it is open for good; the peak never falls; the drawdown is in [0, 1]."""
    state, now = Breakers().observe(100.0, MORNING), MORNING
    tripped = False
    for equity, seconds in path:
        now += seconds
        peak = state.peak_usd or 0.0
        state = state.observe(equity, now)
        tripped = tripped or state.drawdown_pct >= 0.2
        assert (state.peak_usd or 0.0) >= peak
        assert 0.0 <= state.drawdown_pct <= 1.0
        assert ("equity" in state.latches) == tripped


def test_what_is_open_stops_the_rails() -> None:
    """The engine hands its breakers and drawdown over; the next order is refused."""
    state = at(100.0, 79.0)
    desk = rails()
    desk.set_account_state(state.drawdown_pct, daily_pnl_pct=state.daily_pnl_pct)
    desk.set_breakers(state.is_open())
    assert size(desk).reasons[:2] == ("HALTED", "DRAWDOWN")
    assert state.latches["equity"] == Latch(MORNING + 60.0, "drawdown 21.00%")


def test_every_change_is_an_event_with_its_moment() -> None:
    """What tripped, what was released, by whom and when: for the log, exactly once."""
    tripped = at(100.0).trip("manual", "deploy", MORNING + 5)
    assert tripped.events[-1] == BreakerEvent(MORNING + 5, "manual", "tripped", "deploy")
    released = tripped.release("manual", "done", MORNING + 6)
    assert released.events[-1] == BreakerEvent(MORNING + 6, "manual", "released", "done")
    moved = at(100.0).rebase_peak(200.0, "deposit", MORNING + 7)
    assert moved.events == (BreakerEvent(MORNING + 7, "equity", "peak_moved", "100.0 -> 200.0: deposit"),)
    by_cause = at(100.0, 79.0)
    assert by_cause.events == (BreakerEvent(MORNING + 60, "equity", "tripped", "drawdown 21.00%"),)
    timed = at(100.0).trip("manual", "deploy", MORNING, ttl_seconds=9.0).observe(100.0, MORNING + 9)
    assert timed.events == (BreakerEvent(MORNING + 9, "manual", "released", "time"),)


def test_at_its_level_a_cause_still_lasts() -> None:
    """Exactly −3 % of the day keeps daily_loss open; every request failing is a ratio like any other."""
    state = Breakers().observe(100.0, MORNING).observe(97.0, MORNING + 1)
    with pytest.raises(RiskInputError, match=r"want above −3\.00%, or the next day"):
        state.release("daily_loss", "now", MORNING + 2)
    assert opened(Breakers().observe(100.0, MORNING, error_ratio=1.0)) == {"venue"}
    with pytest.raises(RiskInputError, match="E_ERROR_RATIO"):
        Breakers().observe(100.0, MORNING, error_ratio=1.5)
    assert at(100.0).rebase_peak(100.0, "as it is", MORNING).peak_usd == 100.0


def test_a_small_account_is_an_account() -> None:
    """Half a dollar is above nothing."""
    assert at(0.5, 0.4).drawdown_pct == pytest.approx(0.2)
    assert at(0.5).rebase_peak(0.6, "deposit", MORNING).peak_usd == 0.6
    assert at(0.5).observe(0.45, MORNING + DAY_SECONDS).day_start_usd == 0.5


def test_what_is_saved_is_what_was_seen() -> None:
    """Times and amounts by name; nothing seen yet is null."""
    plain = at(100.0, 90.0).to_dict()
    assert (plain["last_seen"], plain["day"], plain["day_start_usd"]) == (MORNING + 60, 20_000, 100.0)
    assert (plain["peak_usd"], plain["equity_usd"], plain["error_ratio"]) == (100.0, 90.0, 0.0)
    assert Breakers().to_dict()["last_seen"] is None
    levels = BreakerPolicy(dd_trip=0.5)
    assert Breakers.from_dict(plain, levels).policy is levels


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        (lambda s: s.observe(math.nan, MORNING), "equity_usd", "equity_usd=nan: want a finite number of USD"),
        (
            lambda s: s.observe(1.0, MORNING, error_ratio=5),
            "error_ratio",
            "error_ratio=5: want a fraction from 0",
        ),
        (lambda s: s.observe(1.0, None), "now", "now=None: want seconds since 1970"),
        (
            lambda s: s.trip("fuse", "x", MORNING),
            "name",
            "'fuse': want one of equity, venue, daily_loss, manual",
        ),
        (
            lambda s: s.trip("manual", "", MORNING),
            "reason",
            "reason='': want a sentence; the log will show it",
        ),
        (
            lambda s: s.trip("manual", "x", MORNING, ttl_seconds=-1),
            "ttl_seconds",
            "ttl_seconds=-1: want seconds",
        ),
        (
            lambda s: s.trip("manual", "x", MORNING, ttl_seconds=math.inf),
            "ttl_seconds",
            "ttl_seconds=inf: want",
        ),
        (lambda s: s.release("manual", "x", MORNING), "manual", "breaker manual is not open"),
        (
            lambda s: s.rebase_peak(1.0, "x", MORNING),
            "peak_usd",
            "peak_usd=1.0: want USD above 0 and not below",
        ),
        (lambda s: Breakers.from_dict({}), "saved", "not a saved Breakers: KeyError"),
        (
            lambda s: BreakerPolicy(dd_trip=2.0),
            "dd_trip",
            "dd_trip=2.0: want a fraction, 0.05 for 5 %, above 0",
        ),
        (
            lambda s: BreakerPolicy(dd_release=0.5),
            "dd_release",
            "dd_release=0.5, dd_trip=0.2: want dd_release <",
        ),
        (
            lambda s: BreakerPolicy(venue_cooldown_seconds=-1),
            "venue_cooldown_seconds",
            "want seconds, above 0",
        ),
    ],
)
def test_a_refusal_names_the_field_what_came_and_what_was_wanted(change: Any, field: str, says: str) -> None:
    """The sentence is part of the contract: an operator reads it at night."""
    with pytest.raises(RiskInputError) as caught:
        change(at(100.0))
    assert caught.value.field == field
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            (name, bad)
            for name in ("peak_usd", "day_start_usd")
            for bad in (math.nan, math.inf, 0.0, -5.0, 1e16)
        ),
        *((name, None) for name in ("peak_usd", "day_start_usd", "equity_usd", "day", "error_ratio")),
        *(("equity_usd", bad) for bad in (math.nan, -math.inf, "100", True)),
        *(("error_ratio", bad) for bad in (math.nan, -0.1, 1.1)),
        *(("last_seen", bad) for bad in (math.nan, math.inf, -math.inf, None, "noon")),
        *(("day", bad) for bad in (10**9, 19_999, 20_000.5, math.nan, True, "today")),
    ],
)
def test_a_saved_value_out_of_range_is_refused(name: str, value: Any) -> None:
    """A NaN peak compares false with everything: taken over, it would leave a breaker dead for ever."""
    with pytest.raises(RiskInputError) as caught:
        Breakers.from_dict(at(100.0, 90.0).to_dict() | {name: value})
    assert caught.value.code == "E_SAVED"
    assert caught.value.field == ("day" if name == "last_seen" and value is None else name)
    assert "want" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("since", math.nan),
        ("since", None),
        ("until", math.inf),
        ("until", "soon"),
        ("by_hand", 1),
        ("reason", None),
    ],
)
def test_a_saved_latch_out_of_range_is_refused(name: str, value: Any) -> None:
    """A breaker open since NaN would never cool down, one until infinity never close."""
    plain = at(100.0).trip("manual", "lunch", MORNING, ttl_seconds=60.0).to_dict()
    plain["latches"]["manual"][name] = value
    with pytest.raises(RiskInputError) as caught:
        Breakers.from_dict(plain)
    assert (caught.value.code, caught.value.field) == ("E_SAVED", f"latches.manual.{name}")


def test_a_peak_set_before_the_first_observation_stands() -> None:
    """A person's peak is not overwritten by the first equity, saved and restored or not."""
    state = Breakers().rebase_peak(200.0, "the account's high", MORNING)
    assert Breakers.from_dict(state.to_dict()).observe(100.0, MORNING).drawdown_pct == 0.5
    assert opened(state.observe(100.0, MORNING)) == {"equity"}


def test_a_release_level_may_be_zero() -> None:
    """Who closes only at the very peak, or only without any error, says so with 0."""
    policy = BreakerPolicy(dd_release=0.0, error_release=0.0)
    assert (policy.dd_release, policy.error_release) == (0.0, 0.0)


def test_half_an_observation_is_no_loss() -> None:
    """With a peak or a start of the day alone there is nothing to measure yet."""
    assert Breakers(peak_usd=100.0).drawdown_pct == 0.0
    assert Breakers(day_start_usd=100.0).daily_pnl_pct == 0.0


def test_a_peak_set_beforehand_does_not_stand_in_for_the_start_of_the_day() -> None:
    """The first equity is the day's start even where a person set the peak before, and is above zero."""
    state = Breakers().rebase_peak(150.0, "moved here from another account", MORNING)
    first = state.observe(140.0, MORNING)
    assert (first.peak_usd, first.day_start_usd) == (150.0, 140.0)
    with pytest.raises(RiskInputError, match="above 0 USD at the first observation") as caught:
        state.observe(0.0, MORNING)
    assert (caught.value.code, caught.value.field) == ("E_EQUITY", "equity_usd")


def test_the_largest_amounts_are_amounts() -> None:
    """Equity and peak are taken up to and including the largest amount, on both sides."""
    rich = Breakers().observe(MAX_USD, MORNING)
    assert rich.peak_usd == MAX_USD
    assert rich.rebase_peak(MAX_USD, "as it is", MORNING).peak_usd == MAX_USD
    assert rich.observe(-MAX_USD, MORNING + 1).equity_usd == -MAX_USD


@pytest.mark.parametrize(("last", "start"), [(0.5, 0.5), (0.0, 100.0), (-5.0, 100.0)])
def test_a_day_starts_from_money_that_is_there(last: float, start: float) -> None:
    """The last equity of the day before, however small, unless nothing was left to lose a share of."""
    assert at(100.0, last, 50.0, step=DAY_SECONDS / 2).day_start_usd == start


def test_the_peak_may_be_the_present_equity_and_no_less() -> None:
    """A loss that a person accepts is accepted whole; what is left stays the least."""
    state = at(100.0, 90.0)
    assert state.rebase_peak(90.0, "withdrew the rest", MORNING + 300).drawdown_pct == 0.0
    for refused, peak in ((state, math.nextafter(90.0, 0.0)), (Breakers(), 0.0)):
        with pytest.raises(RiskInputError) as caught:
            refused.rebase_peak(peak, "too low", MORNING + 300)
        assert (caught.value.code, caught.value.field) == ("E_PEAK", "peak_usd")


def test_what_is_saved_at_the_limit_comes_back() -> None:
    """The largest amount and an error ratio of one survive a restart as they were."""
    state = Breakers().observe(MAX_USD, MORNING, error_ratio=1.0)
    assert Breakers.from_dict(json.loads(json.dumps(state.to_dict())), state.policy) == replace(
        state, events=()
    )


@pytest.mark.parametrize("missing", ["latches", "peak_usd", "error_ratio"])
def test_a_saved_state_without_a_field_has_its_code(missing: str) -> None:
    """What a program reads is the code, whichever field is gone."""
    plain = {name: value for name, value in at(100.0).to_dict().items() if name != missing}
    with pytest.raises(RiskInputError) as caught:
        Breakers.from_dict(plain)
    assert (caught.value.code, caught.value.field) == ("E_SAVED", "saved")


@pytest.mark.parametrize("now", [-math.inf, math.inf, math.nan])
def test_a_moment_is_finite(now: float) -> None:
    """No breaker is tripped before or after all time."""
    with pytest.raises(RiskInputError) as caught:
        Breakers().trip("manual", "now", now)
    assert (caught.value.code, caught.value.field) == ("E_NOW", "now")
