from __future__ import annotations

import asyncio

import pytest

from tests.exporter.conftest import Starter
from tests.exporter.deck import Deck


def etag(deck: Deck) -> str:
    return deck.send("GET", "/status").headers["etag"]


def test_nothing_new_is_304(deck: Deck) -> None:
    """The tag names what is shown, ages apart: of what others push, how much there is."""
    deck.send("POST", "/metrics/push", {"equity_usd": 1})
    deck.send("PUT", "/metrics/job/other", b"m 1\n")
    seen = etag(deck)
    deck.tick(5)
    deck.send("PUT", "/metrics/job/other", b"m 2\n")
    answer = deck.send("GET", "/status", headers={"If-None-Match": seen})
    assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", seen)
    deck.send("POST", "/metrics/push", {"engine": "known", "equity_usd": 1})
    seen = etag(deck)
    deck.send("POST", "/metrics/push", {"engine": "known", "equity_usd": 2})
    assert deck.send("GET", "/status", headers={"If-None-Match": seen}).status == 304
    deck.tick(1)
    for path, body in (
        ("/metrics/push", {"equity_usd": 1}),
        ("/allocator/weights", {"weights": {"a": 1}}),
        ("/breakers/manual", {"tripped": True, "reason": "x"}),
    ):
        before = etag(deck)
        deck.send("POST", path, body)
        assert deck.send("GET", "/status", headers={"If-None-Match": before}).status == 200
    for method, text in (("PUT", b"m 1\n"), ("POST", b"n 1\n"), ("DELETE", b"")):
        before = etag(deck)
        deck.send(method, "/metrics/job/more", text)
        answer = deck.send("GET", "/status", headers={"If-None-Match": before})
        assert answer.status == 200
        assert etag(deck) != before


@pytest.mark.parametrize(
    ("path", "body"),
    [("/breakers/manual", {"tripped": True, "reason": "x"}), ("/metrics/job/new", b"m 1\n")],
)
def test_a_waiting_reader_hears_of_a_change(deck: Deck, path: str, body: object) -> None:
    """With wait the answer comes with the change, not at the end of the time."""
    seen = etag(deck)

    async def both() -> bool:
        waiting = asyncio.ensure_future(
            deck.request("GET", "/status?wait=60", headers={"If-None-Match": seen})
        )
        await asyncio.sleep(0)
        early = waiting.done()
        await deck.request("POST", path, body)
        answer = await waiting
        assert (answer.status, answer.headers["etag"] != seen) == (200, True)
        return early

    assert deck.run(both()) is False


def test_another_engines_push_wakes_nobody(deck: Deck) -> None:
    """Who waits for one engine's state goes on waiting, and hears of the change that is its own."""
    for name in ("mine", "other"):
        deck.send("POST", "/metrics/push", {"engine": name, "equity_usd": 1})
    seen = deck.send("GET", "/status?engine=mine").headers["etag"]

    async def both() -> list[bool]:
        headers = {"If-None-Match": seen}
        waiting = asyncio.ensure_future(deck.request("GET", "/status?engine=mine&wait=60", headers=headers))
        done = []
        for name in ("other", "other", "mine"):
            deck.tick(1)
            await deck.request("POST", "/metrics/push", {"engine": name, "equity_usd": 2})
            await asyncio.sleep(0)
            done.append(waiting.done())
        assert (await waiting).json["metrics"]["equity_usd"]["value"] == 2
        return done[:2]

    assert deck.run(both()) == [False, False]


def test_the_tag_is_the_same_after_a_restart(make_deck: Starter) -> None:
    """It names what is shown, so that another start or replica can go on with it."""
    deck = make_deck()
    deck.send("POST", "/metrics/push", {"equity_usd": 1, "breaker": {"venue": True}})
    deck.send("PUT", "/metrics/job/j", b"m 1\n")
    assert etag(deck) == etag(make_deck())


def test_the_end_of_the_time_is_304(deck: Deck) -> None:
    """Nothing changed while it waited."""
    answer = deck.send("GET", "/status?wait=0.01", headers={"If-None-Match": etag(deck)})
    assert answer.status == 304


@pytest.mark.parametrize(
    "query", ["wait=-1", "wait=61", "wait=x", "wait=nan", "wait=1_0", "engine=", "what=1", "wait=1&wait=2"]
)
def test_a_query_that_means_nothing_is_refused(deck: Deck, query: str) -> None:
    """The argument at fault is named."""
    answer = deck.send("GET", f"/status?{query}")
    assert (answer.status, answer.json["field"]) == (422, query.split("=", maxsplit=1)[0])


def test_the_shape_is_the_promised_one(deck: Deck) -> None:
    """Every key that others read is there on a fresh deck."""
    status = deck.send("GET", "/status").json
    assert status["version"] == "test"
    assert (status["halted"], status["metrics"], status["pnl_by_strategy"], status["risk_share"]) == (
        False,
        {},
        {},
        {},
    )
    assert {"version": 0, "updated_at": None, "age_seconds": None}.items() <= status["weights"].items()
    closed = {"open": False, "sources": [], "since": None, "reason": None, "trips": 0}
    assert all(closed.items() <= breaker.items() for breaker in status["breakers"].values())
    assert (status["groups"], status["series"]) == (0, 0)


def test_engines_do_not_see_each_others_values(deck: Deck) -> None:
    """Values and the engine's own breakers are per engine; risk shares are common."""
    deck.send("POST", "/metrics/push", {"engine": "a", "equity_usd": 1, "breaker": {"venue": True}})
    deck.send("POST", "/metrics/push", {"engine": "b", "equity_usd": 2})
    deck.send("POST", "/allocator/weights", {"weights": {"scalp": 0.5}})
    views = {name: deck.send("GET", f"/status?engine={name}").json for name in ("a", "b", "default")}
    assert [views[name]["halted"] for name in views] == [True, False, False]
    assert views["b"]["metrics"]["equity_usd"]["value"] == 2
    assert views["default"]["metrics"] == {}
    assert all(view["risk_share"] == {"scalp": 0.5} for view in views.values())


def test_unknown_paths_and_verbs_are_said_so(deck: Deck) -> None:
    """404 and 405 in the form of every error, with the verbs that are allowed."""
    missing = deck.send("GET", "/nothing")
    assert (missing.status, missing.json["error"]) == (404, "not_found")
    wrong = deck.send("PUT", "/trades")
    assert (wrong.status, wrong.headers["allow"]) == (405, "GET, OPTIONS, POST")
    assert wrong.json["error"] == "method_not_allowed"


def test_nobody_waits_on_a_server_that_stops(deck: Deck) -> None:
    """Who waits is answered when it is asked to stop, and who comes later does not wait."""
    seen = {"If-None-Match": etag(deck)}

    async def both() -> list[int]:
        waiting = asyncio.ensure_future(deck.request("GET", "/status?wait=60", headers=seen))
        await asyncio.sleep(0)
        deck.app.service.writer.release()
        late = await deck.request("GET", "/status?wait=60", headers=seen)
        return [(await waiting).status, late.status]

    assert deck.run(both()) == [304, 304]
