"""The exporter's GET /status without a network: scripted answers, and a clock that is moved by hand."""

from __future__ import annotations

from typing import Any

from riskrails.errors import DeckError


class Clock:
    """Monotonic seconds that only move when told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class FakeDeck:
    """Answers like the exporter: an ETag that changes with the content, 304 for the one it gave last."""

    def __init__(self, body: Any) -> None:
        self.body = body
        self.version = 1
        self.down: str | None = None
        self.status = 200
        self.asked: list[str | None] = []

    def set(self, body: Any) -> None:
        """Change the content, and with it the ETag."""
        self.body = body
        self.version += 1

    def __call__(self, etag: str | None) -> tuple[int, str | None, Any]:
        self.asked.append(etag)
        if self.down is not None:
            raise DeckError(self.down)
        mine = f'"{self.version}"'
        if self.status != 200:
            return self.status, None, None
        if etag == mine:
            return 304, mine, None
        return 200, mine, self.body
