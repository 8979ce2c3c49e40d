from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

from exporter.openapi_gateway import GATEWAY
from exporter.routes.table import ROUTES
from tests.exporter.deck import Deck

EVERY = {(route.method, route.path) for route in ROUTES} | {
    (method.upper(), path) for path, methods in GATEWAY.items() for method in methods
}


class _Reader(HTMLParser):
    """What a browser would see, and what it would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src"):
                self.links.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(deck: Deck) -> tuple[_Reader, str]:
    answer = deck.send("GET", "/docs")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    reader = _Reader()
    reader.feed(answer.text)
    return reader, "\n".join(reader.text)


def test_every_route_is_there_with_its_scope_and_its_fields(deck: Deck) -> None:
    """What the table of routes says, and each field of each body, nested ones too."""
    reader, text = read(deck)
    for method, path in EVERY:
        assert f"{method} {path}" in text
    for route in ROUTES:
        assert route.summary in text
        assert route.scope is None or f"Scope: {route.scope}." in text
    for field in (
        "drawdown_pct_by_strategy",
        "quote",
        "trade_id",
        "fee_usd",
        "scores",
        "ttl_sec",
        "startsAt",
        "next_cursor",
        "pnl_age_seconds",
        "latched",
    ):
        assert field in text
    for words in (
        "name to number",
        "live or paper or replay",
        "buy or sell",
        "list of TradeIn",
        "X-Group-TTL",
        "Answer: Trades or text/csv.",
        "name to BreakerView",
        "text or null",
        "next_cursor is null on the last",
    ):
        assert words in text
    for words in ("at least 0, at most 100", "more than 0, at most 1e+15", "at most 128 characters"):
        assert words in text
    assert len(reader.ids) == len(set(reader.ids)) == len(EVERY)


def test_it_fetches_nothing_from_anywhere(deck: Deck) -> None:
    """A deck without a way out shows the whole page, and no stranger's script runs beside a breaker."""
    reader, _ = read(deck)
    assert reader.scripts == 0
    assert {link for link in reader.links if not link.startswith("#")} == {"/openapi.json"}
    assert {link[1:] for link in reader.links if link.startswith("#")} == set(reader.ids)
    assert not re.search(r"https?://|@import|url\(", deck.send("GET", "/docs").text)


def test_what_it_points_to_is_the_description(deck: Deck) -> None:
    """The link for programs answers what the page was made from."""
    description: dict[str, Any] = deck.send("GET", "/openapi.json").json
    assert {(m.upper(), p) for p, ms in description["paths"].items() for m in ms} == EVERY
