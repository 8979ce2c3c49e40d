"""Pure: what a deck's answers look like; anything else comes from something that is no deck.

A wrong DECK_URL answers 200 too, with JSON of its own: taken for a receipt, it would lose trades unseen.
"""

from __future__ import annotations

from typing import Any, TypeGuard

from exporter.deck_errors import DeckAnswerError
from exporter.deck_payload import shown

__all__ = ["receipt", "taken", "the_status", "the_weights"]


def receipt(answer: dict[str, Any], trades: int) -> tuple[int, int]:
    """How many of the trades the deck took and how many it knew already.

    Raises:
        DeckAnswerError: They are not whole numbers that make up what was sent.
    """
    accepted, duplicates = answer.get("accepted"), answer.get("duplicates")
    if not _is_count(accepted) or not _is_count(duplicates) or accepted + duplicates != trades:
        raise _stranger(f"a batch of {trades} trades", answer)
    return accepted, duplicates


def taken(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer to a push of gauges.

    Raises:
        DeckAnswerError: It does not say how many were accepted.
    """
    if not _is_count(answer.get("accepted")):
        raise _stranger("a push", answer)
    return answer


def the_weights(answer: dict[str, Any]) -> dict[str, Any]:
    """The risk shares in force.

    Raises:
        DeckAnswerError: There is no version or no shares in it.
    """
    if not _is_count(answer.get("version")) or not isinstance(answer.get("weights"), dict):
        raise _stranger("the question for the risk shares", answer)
    return answer


def the_status(answer: dict[str, Any]) -> dict[str, Any]:
    """What the deck shows.

    Raises:
        DeckAnswerError: It does not say whether the engine is halted, or lacks metrics or breakers.
    """
    parts = (answer.get("metrics"), answer.get("breakers"))
    if not isinstance(answer.get("halted"), bool) or not all(isinstance(part, dict) for part in parts):
        raise _stranger("the question for the status", answer)
    return answer


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and value >= 0  # a bool is an int too


def _stranger(sent: str, answer: dict[str, Any]) -> DeckAnswerError:
    return DeckAnswerError(f"{sent} was answered with {shown(answer)}: is DECK_URL a deck?")
