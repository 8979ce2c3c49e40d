"""Decks for the tests of the exporter."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.exporter.deck import Deck, start

Starter = Callable[..., Deck]


@pytest.fixture
def make_deck(tmp_path: Path) -> Iterator[Starter]:
    loop = asyncio.new_event_loop()
    decks: list[Deck] = []

    def make(*, stop: bool = True, **environment: str) -> Deck:
        for deck in decks if stop else ():
            deck.run(deck.app.stop())
        decks.clear()
        decks.append(start(tmp_path, loop, **environment))
        return decks[0]

    yield make
    for deck in decks:
        deck.run(deck.app.stop())
    loop.close()


@pytest.fixture
def deck(make_deck: Starter) -> Deck:
    return make_deck()
