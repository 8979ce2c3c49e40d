from __future__ import annotations

import math
from typing import Any
from urllib.parse import quote

import pytest

from tests.exporter.conftest import Starter
from tests.exporter.deck import START, Deck


def webhook(status: str, fingerprint: str = "f1", **labels: str) -> dict[str, Any]:
    return {
        "version": "4",
        "status": status,
        "receiver": "deck",
        "alerts": [
            {
                "status": status,
                "labels": labels,
                "annotations": {"summary": "too deep"},
                "startsAt": "2026-01-01T00:00:00Z",
                "fingerprint": fingerprint,
                "generatorURL": "",
            }
        ],
    }


def state(deck: Deck, name: str) -> dict[str, Any]:
    view = deck.send("GET", "/status").json["breakers"][name]
    return {key: view[key] for key in ("open", "sources", "trips")}


def test_the_four_breakers_always_exist(deck: Deck) -> None:
    """A fresh deck shows equity, venue, daily_loss and manual, closed, in status and metrics."""
    status = deck.send("GET", "/status").json
    assert sorted(status["breakers"]) == ["daily_loss", "equity", "manual", "venue"]
    assert status["halted"] is False
    shown = [k for k in deck.metrics() if k.startswith("trading_breaker_open")]
    assert len(shown) == 12


def test_a_breaker_of_ones_own_is_counted_from_zero_on_every_engine(deck: Deck) -> None:
    """Told of while it is closed, it has its zeros, or `increase` would not see its first trip."""
    deck.send("POST", "/metrics/push", {"engine": "second", "equity_usd": 1})
    deck.send("POST", "/metrics/push", {"breaker": {"funding": False}})
    for engine in ("default", "second"):
        at = f'breaker="funding",instance="{engine}",job="trading_engine"'
        assert deck.metrics()[f"trading_breaker_trips_total{{{at}}}"] == 0
        assert deck.metrics()[f'trading_breaker_open{{{at},source="engine"}}'] == 0
    deck.send("POST", "/metrics/push", {"breaker": {"funding": True}})
    tripped = 'trading_breaker_trips_total{breaker="funding",instance="default",job="trading_engine"}'
    assert deck.metrics()[tripped] == 1


def test_each_source_releases_only_its_own_hold(deck: Deck) -> None:
    """A breaker is open while any source holds it, and one trip is one edge."""
    deck.send("POST", "/metrics/push", {"breaker": {"equity": True}})
    deck.send("POST", "/breakers/equity", {"tripped": True, "reason": "looking"})
    assert deck.send("POST", "/alerts", webhook("firing", breaker="equity")).json["tripped"] == ["equity"]
    assert state(deck, "equity") == {"open": True, "sources": ["alert", "engine", "operator"], "trips": 1}
    deck.send("POST", "/metrics/push", {"breaker": {"equity": False}})
    deck.send("POST", "/breakers/equity", {"tripped": False, "reason": "fine"})
    assert state(deck, "equity")["sources"] == ["alert"]
    assert deck.send("GET", "/status").json["halted"] is True
    deck.send("POST", "/alerts", webhook("resolved", breaker="equity"))
    assert state(deck, "equity") == {"open": False, "sources": [], "trips": 1}
    history = deck.send("GET", "/breakers/history?breaker=equity").json["history"]
    assert [h["reason"] for h in history if h["source"] == "alert"] == [" is resolved", ": too deep"]
    assert [(h["source"], h["tripped"], h["open"]) for h in history] == [
        ("alert", False, False),
        ("operator", False, True),
        ("engine", False, True),
        ("alert", True, True),
        ("operator", True, True),
        ("engine", True, True),
    ]


@pytest.mark.parametrize("path", ["/breakers/%ff", "/breakers/a%C3", "/breakers/%00", "/breakers/"])
def test_a_breakers_name_in_the_path_is_text(deck: Deck, path: str) -> None:
    """What is none makes no breaker, least of all one for ever."""
    answer = deck.send("POST", path, {"tripped": True, "reason": "x"})
    assert (answer.status, answer.json["field"]) == (422, "name")
    assert set(deck.send("GET", "/breakers").json["breakers"]) == {"equity", "venue", "daily_loss", "manual"}


def test_the_end_of_a_hold_is_known_ahead(deck: Deck) -> None:
    """The first of several is what the clock is set to, so that page and history have it on time."""
    state = deck.app.service.state
    assert state.next_end() == math.inf
    for name, seconds in (("venue", 60.0), ("equity", 2.5), ("manual", None)):
        body = {"tripped": True, "reason": "x", **({"ttl_sec": seconds} if seconds else {})}
        deck.send("POST", f"/breakers/{name}", body)
    assert state.next_end() == START + 2.5
    deck.tick(2.5)
    deck.run(deck.app.expire())
    assert state.next_end() == START + 60
    assert deck.send("GET", "/status").json["breakers"]["equity"]["changed_at"] == START + 2.5


def test_an_alert_that_tells_of_a_breaker_does_not_hold_it(deck: Deck) -> None:
    """With `breaker_hold: none` the label only says which breaker it is about."""
    request = webhook("firing", alertname="TradingBreakerOpen", breaker="equity")
    request["alerts"][0]["annotations"]["breaker_hold"] = "none"
    answer = deck.send("POST", "/alerts", request)
    assert answer.json["ignored"] == 1
    assert state(deck, "equity")["open"] is False


def test_an_alert_that_tells_of_a_breaker_does_not_hold_one_that_it_is_mapped_to(make_deck: Starter) -> None:
    """It would be told of the breaker it holds, go on firing and never let go."""
    deck = make_deck(DECK_ALERT_BREAKERS="TradingBreakerOpen=manual")
    request = webhook("firing", alertname="TradingBreakerOpen", breaker="equity")
    request["alerts"][0]["annotations"]["breaker_hold"] = "none"
    assert deck.send("POST", "/alerts", request).json["ignored"] == 1
    assert deck.send("GET", "/status").json["halted"] is False


def test_any_other_alert_with_the_label_holds_it_whatever_its_name(deck: Deck) -> None:
    """The label is the contract, not the alert's name."""
    deck.send("POST", "/alerts", webhook("firing", alertname="TradingBreakerOpen", breaker="equity"))
    assert state(deck, "equity")["sources"] == ["alert"]
    deck.send("POST", "/alerts", webhook("resolved", alertname="TradingBreakerOpen", breaker="equity"))
    assert state(deck, "equity")["open"] is False


def test_a_mapped_alert_latches(make_deck: Starter) -> None:
    """With latch, the alert's end does not release; an operator does."""
    deck = make_deck(DECK_ALERT_BREAKERS="TradingDrawdown=equity:latch")
    deck.send("POST", "/alerts", webhook("firing", alertname="TradingDrawdown"))
    deck.send("POST", "/alerts", webhook("resolved", alertname="TradingDrawdown"))
    assert state(deck, "equity")["sources"] == ["alert"]
    deck.send("POST", "/breakers/equity", {"tripped": False, "reason": "looked at it"})
    assert state(deck, "equity")["open"] is False


def test_a_hold_with_an_end_is_over_at_its_end(deck: Deck) -> None:
    """ttl_sec releases the operator's hold without anybody's hand."""
    deck.send("POST", "/breakers/manual", {"tripped": True, "reason": "lunch", "ttl_sec": 60})
    deck.tick(59)
    assert state(deck, "manual")["open"] is True
    deck.tick(2)
    assert state(deck, "manual")["open"] is False


def test_an_engine_born_later_starts_with_the_operators_holds(deck: Deck) -> None:
    """A halt concerns every engine, those to come included."""
    deck.send("POST", "/breakers/venue", {"tripped": True, "reason": "down"})
    deck.send("POST", "/metrics/push", {"engine": "second", "equity_usd": 1})
    assert deck.send("GET", "/status?engine=second").json["halted"] is True
    deck.send("POST", "/breakers/venue", {"tripped": False, "reason": "up"})
    assert deck.send("GET", "/status?engine=second").json["halted"] is False


def test_a_mapped_alert_trips_its_own_label_too(make_deck: Starter) -> None:
    """The mapping adds a breaker, it takes none away; each is let go by its own rule."""
    deck = make_deck(DECK_ALERT_BREAKERS="FooAlert=equity:latch")
    alert = {"labels": {"alertname": "FooAlert", "breaker": "daily_loss"}, "fingerprint": "f"}

    def send(status: str) -> dict[str, object]:
        body = {"version": "4", "alerts": [{**alert, "status": status}]}
        answer: dict[str, object] = deck.send("POST", "/alerts", body).json
        return answer

    assert send("firing")["tripped"] == ["daily_loss", "equity"]
    assert send("resolved")["released"] == ["daily_loss"]
    breakers = deck.send("GET", "/status").json["breakers"]
    assert (breakers["daily_loss"]["open"], breakers["equity"]["open"]) == (False, True)


def test_a_name_in_the_path_is_decoded_once(deck: Deck) -> None:
    """%25 is a percent sign, whatever stands behind it."""
    answer = deck.send("POST", "/breakers/a%2541", {"tripped": True, "reason": "x"})
    assert (answer.status, answer.json["breaker"]) == (200, "a%41")


def test_an_empty_label_is_none(deck: Deck) -> None:
    """As in Prometheus: an alert whose `breaker` is empty concerns none, and its neighbour still trips."""
    both = webhook("firing", breaker="")
    both["alerts"] += webhook("firing", "f2", breaker="venue")["alerts"]
    answer = deck.send("POST", "/alerts", both).json
    assert (answer["tripped"], answer["ignored"]) == (["venue"], 1)


def test_alerts_that_were_left_out_are_told_of(deck: Deck, capsys: pytest.CaptureFixture[str]) -> None:
    """What Alertmanager cut off may have been a trip: the rest counts, and the log says so."""
    cut = {**webhook("firing", breaker="venue"), "truncatedAlerts": 3}
    assert deck.send("POST", "/alerts", cut).json["tripped"] == ["venue"]
    assert "left_out=3" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["desk/eu", "a%b", "é ü", "x?y"])
def test_whatever_name_an_alert_trips_an_operator_can_let_go(make_deck: Starter, name: str) -> None:
    """A latched alert waits for an operator; a name that no path could say would be open for ever."""
    deck = make_deck(DECK_ALERT_BREAKERS=f"Deep={name}:latch")
    for status in ("firing", "resolved"):
        deck.send("POST", "/alerts", webhook(status, alertname="Deep"))
    assert state(deck, name)["open"] is True
    answer = deck.send("POST", f"/breakers/{quote(name, safe='')}", {"tripped": False, "reason": "seen"})
    assert (answer.json["breaker"], answer.json["open"]) == (name, False)
    assert deck.send("POST", "/breakers/", {"tripped": True, "reason": "x"}).json["field"] == "name"
