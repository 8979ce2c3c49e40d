"""The newest gauge wins, and no breaker's trip is lost to that."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from exporter.deck_outbox import STEPS, Outbox, Push


def test_the_newest_value_of_each_gauge_is_what_waits() -> None:
    """However many ticks passed, one value a gauge."""
    outbox = Outbox()
    outbox.merge(None, {"equity_usd": 1.0, "pnl_24h": 5.0})
    outbox.merge(None, {"equity_usd": 2.0})
    assert outbox.take() == [Push(None, {"equity_usd": 2.0, "pnl_24h": 5.0})]
    assert outbox.coalesced == 1
    assert not outbox


def test_maps_merge_by_name_and_are_copied() -> None:
    """A strategy not named in the newer push keeps its value; the engine may reuse its dict."""
    outbox = Outbox()
    pnl = {"scalp": 1.0, "trend": 2.0}
    outbox.merge(None, {"pnl_by_strategy": pnl})
    pnl["scalp"] = -99.0
    outbox.merge(None, {"pnl_by_strategy": {"trend": 3.0}})
    assert outbox.take() == [Push(None, {"pnl_by_strategy": {"scalp": 1.0, "trend": 3.0}})]


def test_a_breaker_that_trips_and_releases_between_two_pushes_is_sent_as_both() -> None:
    """The deck counts trips by the edge; a trip shorter than a push must not be silent."""
    outbox = Outbox()
    outbox.merge(None, {"breaker": {"equity": False}})
    outbox.merge(None, {"breaker": {"equity": True}, "equity_usd": 1.0})
    outbox.merge(None, {"breaker": {"equity": False, "venue": False}})
    assert [push.fields for push in outbox.take()] == [
        {"breaker": {"equity": False}},
        {"breaker": {"equity": True}},
        {"equity_usd": 1.0, "breaker": {"equity": False, "venue": False}},
    ]


def test_a_breaker_that_does_not_change_costs_one_push() -> None:
    """Steps are for edges, not for every tick."""
    outbox = Outbox()
    for _ in range(10):
        outbox.merge(None, {"breaker": {"equity": False}})
    assert outbox.take() == [Push(None, {"breaker": {"equity": False}})]


def test_a_breaker_that_flaps_for_hours_keeps_its_newest_steps_and_the_last_state_of_each() -> None:
    """Bounded, and what gave way is counted."""
    outbox = Outbox()
    outbox.merge(None, {"breaker": {"venue": True}})
    for tick in range(3 * STEPS):
        outbox.merge(None, {"breaker": {"equity": tick % 2 == 0}})
    pushes = [push.fields["breaker"] for push in outbox.take()]
    assert len(pushes) == STEPS
    assert pushes[0]["venue"] is True
    assert pushes[-1] == {"equity": False}
    assert outbox.lost_steps == 3 * STEPS - STEPS


def test_engines_are_kept_apart() -> None:
    """Two engines in one process do not overwrite each other."""
    outbox = Outbox()
    outbox.merge("a", {"equity_usd": 1.0})
    outbox.merge("b", {"equity_usd": 2.0})
    assert outbox.take() == [Push("a", {"equity_usd": 1.0}), Push("b", {"equity_usd": 2.0})]


def test_what_could_not_be_sent_goes_back_behind_what_is_newer() -> None:
    """A push that failed must not overwrite the tick that came meanwhile."""
    outbox = Outbox()
    outbox.merge(None, {"equity_usd": 1.0, "pnl_24h": 5.0, "breaker": {"equity": True}})
    failed = outbox.take()
    outbox.merge(None, {"equity_usd": 2.0, "breaker": {"equity": False}})
    outbox.put_back(failed)
    assert [push.fields for push in outbox.take()] == [
        {"breaker": {"equity": True}},
        {"equity_usd": 2.0, "pnl_24h": 5.0, "breaker": {"equity": False}},
    ]


gauges = st.dictionaries(
    st.sampled_from(["equity_usd", "pnl_24h", "drawdown_pct"]), st.integers(), max_size=3
)
states = st.dictionaries(st.sampled_from(["equity", "venue"]), st.booleans(), min_size=1, max_size=2)


@given(st.lists(st.tuples(gauges, st.none() | states, st.booleans()), max_size=20))
def test_replaying_the_pushes_gives_the_deck_the_same_values_and_the_same_trips(
    ticks: list[tuple[dict[str, int], dict[str, bool] | None, bool]],
) -> None:
    """Whenever pushes are taken, fail and go back: last values and breaker edges stay as they were."""
    outbox = Outbox()
    told: dict[str, Any] = {}
    wanted: dict[str, Any] = {}
    told_trips = wanted_trips = 0
    told_breakers: dict[str, bool] = {}
    wanted_breakers: dict[str, bool] = {}

    def trips(now: dict[str, bool], before: dict[str, bool]) -> int:
        return sum(state and not before.get(name, False) for name, state in now.items())

    def deliver(pushes: list[Push]) -> int:
        count = 0
        for push in pushes:
            fields = dict(push.fields)
            breaker = fields.pop("breaker", {})
            count += trips(breaker, told_breakers)
            told_breakers.update(breaker)
            told.update(fields)
        return count

    for gauge, breaker, works in ticks:
        outbox.merge(None, {**gauge, **({"breaker": breaker} if breaker else {})})
        wanted.update(gauge)
        wanted_trips += trips(breaker or {}, wanted_breakers)
        wanted_breakers.update(breaker or {})
        pushes = outbox.take()
        if works:
            told_trips += deliver(pushes)
        else:
            outbox.put_back(pushes)
    told_trips += deliver(outbox.take())
    assert (told, told_breakers, told_trips) == (wanted, wanted_breakers, wanted_trips)
