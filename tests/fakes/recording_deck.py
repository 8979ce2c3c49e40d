"""A deck that only remembers what it was told."""

from __future__ import annotations

from typing import Any


class RecordingDeck:
    """Stands in for a DeckClient where nothing is to be sent."""

    def __init__(self) -> None:
        self.pushes: list[dict[str, Any]] = []
        self.trades: list[dict[str, Any]] = []

    def push_metrics(self, **fields: Any) -> None:
        self.pushes.append(
            {**fields, **({"breaker": dict(fields["breaker"])} if "breaker" in fields else {})}
        )

    def push_trade(self, trade: dict[str, Any], /) -> None:
        self.trades.append(trade)
