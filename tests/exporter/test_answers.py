from __future__ import annotations

from typing import Any

import msgspec
import pytest

from exporter.answers import Status
from exporter.routes.table import ROUTES
from tests.exporter.deck import TRADE, Deck

ALERT = {"status": "firing", "labels": {"alertname": "A", "breaker": "venue"}, "fingerprint": "f"}
REQUESTS: dict[tuple[str, str], tuple[str, Any]] = {
    ("POST", "/metrics/push"): (
        "/metrics/push",
        {
            "started_at": 1.0,
            "equity_usd": 1.0,
            "info": {"version": "1", "mode": "live", "quote": "USD"},
            "breaker": {"daily_loss": True},
            "pnl_by_strategy": {"a": 1.0},
            "exposure_by_strategy": {"a": 1.0},
            "drawdown_pct_by_strategy": {"a": 1.0},
        },
    ),
    ("POST", "/trades"): ("/trades", [TRADE, {**TRADE, "trade_id": "b", "pnl_usd": None}]),
    ("POST", "/allocator/weights"): (
        "/allocator/weights",
        {"weights": {"a": 0.5}, "scores": {"a": 1.0}, "reason": "r", "as_of": 1.0},
    ),
    ("POST", "/breakers/{name}"): ("/breakers/manual", {"tripped": True, "reason": "x", "ttl_sec": 9.0}),
    ("POST", "/alerts"): ("/alerts", {"version": "4", "alerts": [ALERT]}),
    ("GET", "/trades"): ("/trades?limit=1", None),
}
"""What fills a deck to the brim, and one more than a page."""


def is_exactly(kind: Any, value: Any) -> bool:
    """Whether JSON is of this shape and has no field besides, at any depth."""
    try:
        return bool(msgspec.to_builtins(msgspec.convert(value, kind)) == value)
    except msgspec.ValidationError:
        return False


@pytest.mark.parametrize("full", [False, True], ids=["empty", "full"])
def test_every_answer_is_of_the_shape_in_the_table_of_routes(deck: Deck, full: bool) -> None:
    """Each field that comes is described and each that is described comes, on a new deck and a full one."""
    page = deck.send("GET", "/openapi.json").json
    for route in sorted(ROUTES, key=lambda route: route.method == "GET"):
        if not full and route.method != "GET":
            continue
        path, body = REQUESTS.get((route.method, route.path), (route.path, None))
        answer = deck.send(route.method, path, body)
        assert answer.status == 200, answer.text
        described = page["paths"][route.path][route.method.lower()]["responses"]["200"]
        assert ("etag" in answer.headers) == ("ETag" in described.get("headers", {})), route.path
        assert answer.headers["content-type"].partition(";")[0] in described["content"]
        if route.answer is not None:
            assert is_exactly(route.answer, answer.json), (route.path, answer.json)
    status = deck.send("GET", "/status").json
    assert full == all(value not in (None, {}, []) for value in status.values()), status


def test_a_shape_that_is_not_kept_would_be_seen(deck: Deck) -> None:
    """A field more, one less, one of another type: the check above tells each, in an inner object too."""
    status = deck.send("GET", "/status").json
    assert is_exactly(Status, status)
    assert not is_exactly(Status, {**status, "more": 1})
    assert not is_exactly(Status, {key: value for key, value in status.items() if key != "halted"})
    manual = status["breakers"]["manual"]
    for wrong in ({**manual, "trips": "none"}, {**manual, "more": 1}):
        assert not is_exactly(Status, {**status, "breakers": {"manual": wrong}})
