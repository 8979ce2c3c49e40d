"""What the background client says about itself: counters, and log lines that do not flood."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

__all__ = ["REMIND_SECONDS", "Counters", "Herald"]

REMIND_SECONDS: Final = 60.0
"""A fault that goes on is logged this often, not at every attempt."""


@dataclass(frozen=True, slots=True)
class Counters:
    """What became of everything handed over, since the client was made.

    Attributes:
        sent: Requests the deck took: pushes and batches of trades.
        sent_trades: Trades the deck took, those it knew already included.
        duplicates: Of these, trades the deck said it had already.
        retried: Requests tried again.
        spooled: Trades that had to wait on disk because the deck was away.
        recovered: Trades found on disk from an earlier process.
        pending: Trades not with the deck yet, on disk and in memory.
        held: Of these, in memory only, because the disk refused them.
        dropped: Trades lost: disk and memory were full, or files of the spool were removed or cut.  Anything
            but 0 is an emergency.
        dead_lettered: Trades the deck refused, or that were damaged; kept in the dead-letter file.
        refused: Gauges or pushes that no deck would take or that the deck refused.
        coalesced: Gauges replaced by a newer value before they were sent.
        lost_steps: Breaker steps folded together after a long time away.
    """

    sent: int = 0
    sent_trades: int = 0
    duplicates: int = 0
    retried: int = 0
    spooled: int = 0
    recovered: int = 0
    pending: int = 0
    held: int = 0
    dropped: int = 0
    dead_lettered: int = 0
    refused: int = 0
    coalesced: int = 0
    lost_steps: int = 0

    def as_dict(self) -> dict[str, int]:
        """The counters by name."""
        return asdict(self)


class Herald:
    """Log lines about a fault that goes on: at once, then every REMIND_SECONDS with how many it left out."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._log = logging.getLogger("deckrails.client")
        self._monotonic = monotonic
        self._told: dict[str, tuple[float, int]] = {}

    def tell(self, phrase: str, level: int = logging.WARNING, **keys: object) -> None:
        """Log `phrase` and its keys, unless the same phrase was logged a moment ago."""
        now = self._monotonic()
        told_at, left_out = self._told.get(phrase, (-REMIND_SECONDS, 0))
        if now - told_at < REMIND_SECONDS:
            self._told[phrase] = (told_at, left_out + 1)
            return
        if left_out:
            keys["left_out"] = left_out
        self._told[phrase] = (now, 0)
        self._log.log(level, "%s: %s", phrase, ", ".join(f"{key}={value}" for key, value in keys.items()))

    def over(self, phrase: str) -> None:
        """The fault is over: the next one of its kind is logged at once."""
        self._told.pop(phrase, None)
