"""What goes wrong in the allocator, and what the caller does about it.

    AllocatorError
    ├── SettingsError   (ValueError) a setting that cannot be: the start is stopped, the message names it
    ├── HistoryError    (ValueError) the policy was called with what is no history: the caller's fault
    ├── QueryError      Prometheus is unreachable or refuses: this decision is skipped, shares stay
    ├── NoDataError     it answers with nothing usable: shares stay, the outcome is named
    ├── DeckReadError   the exporter does not say what is in force: this decision is skipped, shares stay
    └── PublishError    the exporter is unreachable or refuses: tried again within the period
        └── ConflictError   someone else wrote first: read again, decide again

The loop survives an AllocatorError and counts it; anything else ends the process.
"""

from __future__ import annotations

__all__ = [
    "AllocatorError",
    "ConflictError",
    "DeckReadError",
    "HistoryError",
    "NoDataError",
    "PublishError",
    "QueryError",
    "SettingsError",
]


class AllocatorError(Exception):
    """Anything this package raises on purpose."""


class SettingsError(AllocatorError, ValueError):
    """A setting that cannot be; mend it and start again."""


class HistoryError(AllocatorError, ValueError):
    """An argument of the policy that it cannot work with; the caller mends the call."""


class QueryError(AllocatorError):
    """Prometheus is unreachable or refuses; skip this decision.

    Attributes:
        query: Fixed id of the query.
        retryable: Whether the same request may succeed a moment later.
    """

    def __init__(self, message: str, *, query: str, retryable: bool = False) -> None:
        super().__init__(message)
        self.query = query
        self.retryable = retryable


class NoDataError(AllocatorError):
    """Prometheus answers with nothing usable; keep the shares in force.

    Attributes:
        outcome: Fixed name of what was found.
    """

    def __init__(self, message: str, *, outcome: str) -> None:
        super().__init__(message)
        self.outcome = outcome


class DeckReadError(AllocatorError):
    """The exporter does not say what is in force; skip this decision.

    Attributes:
        retryable: Whether the same request may succeed a moment later.
    """

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


class PublishError(AllocatorError):
    """The exporter is unreachable or refuses; try again within the period if `retryable`."""

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable


class ConflictError(PublishError):
    """Someone else wrote the shares first; read again, decide again."""
