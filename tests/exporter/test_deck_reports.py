"""Counters and the log of the background client."""

from __future__ import annotations

import logging

import pytest

from exporter.deck_reports import Counters, Herald


def test_counters_go_into_a_summary_by_name() -> None:
    """What an engine prints at its end."""
    plain = Counters(sent=3, pending=1).as_dict()
    assert (plain["sent"], plain["pending"], plain["dropped"]) == (3, 1, 0)


def test_a_fault_that_goes_on_is_logged_at_once_and_then_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log of an engine without its deck stays readable."""
    clock = [0.0]
    herald = Herald(lambda: clock[0])
    with caplog.at_level(logging.WARNING, "deckrails.client"):
        for second in range(130):
            clock[0] = float(second)
            herald.tell("the deck is away", pending=second)
        assert [record.getMessage() for record in caplog.records] == [
            "the deck is away: pending=0",
            "the deck is away: pending=60, left_out=59",
            "the deck is away: pending=120, left_out=59",
        ]
        caplog.clear()
        herald.over("the deck is away")
        herald.tell("the deck is away", pending=7)
        assert caplog.records[0].getMessage() == "the deck is away: pending=7"
