"""What can go wrong between an engine and the deck, sorted by whose move is next.

    DeckError
    ├── DeckRefusedError         the deck refused what was sent: mend it, sending again will not help
    │   ├── DeckInputError       the client refused it first, nothing was sent: mend the call (a ValueError)
    │   └── DeckAuthError        the token is missing, wrong or lacks the scope: mend DECK_TOKEN
    ├── DeckUnavailableError     no answer, 429 or 5xx, retries spent: the same call may work later
    ├── DeckAnswerError          something answered that is not a deck: mend DECK_URL
    ├── DeckClosedError          the client was closed, or made before a fork: make a new one
    └── SpoolError               the spool cannot be opened or written: mend the disk or its path

Imports nothing: an engine can catch these without loading the client.
"""

from __future__ import annotations

__all__ = [
    "DeckAnswerError",
    "DeckAuthError",
    "DeckClosedError",
    "DeckError",
    "DeckInputError",
    "DeckRefusedError",
    "DeckUnavailableError",
    "SpoolError",
]


class DeckError(Exception):
    """Anything that keeps a push or a reading from the deck."""


class DeckRefusedError(DeckError):
    """The deck understood who asks and refused; nothing of the request was applied.

    Attributes:
        status: HTTP status; None where the client refused before sending.
        error: The deck's code, such as `out_of_range`.
        detail: What came and what was wanted.
        field: Path of the field at fault, such as `trades[3].qty`; None where no field is at fault.
        is_verdict: Whether this is the deck's judgement of the content, rather than of the token, the
            address or a proxy's own rules; only then may a trade be set aside.
    """

    def __init__(
        self,
        *,
        status: int | None,
        error: str,
        detail: str,
        field: str | None = None,
        is_verdict: bool = True,
    ) -> None:
        where = f" (field {field})" if field else ""
        prefix = f"{status} " if status is not None else ""
        super().__init__(f"{prefix}{error}: {detail}{where}")
        self.status = status
        self.error = error
        self.detail = detail
        self.field = field
        self.is_verdict = is_verdict


class DeckInputError(DeckRefusedError, ValueError):
    """A value no deck would take; refused before anything was sent."""

    def __init__(self, *, error: str, detail: str, field: str | None = None) -> None:
        super().__init__(status=None, error=error, detail=detail, field=field)


class DeckAuthError(DeckRefusedError):
    """401 or 403: the token, not the content, is at fault."""

    def __init__(self, *, status: int, error: str, detail: str, field: str | None = None) -> None:
        super().__init__(status=status, error=error, detail=detail, field=field, is_verdict=False)


class DeckUnavailableError(DeckError):
    """The deck gave no answer, or said "not now", as often as the client was willing to ask.

    Attributes:
        status: The last HTTP status; None where no answer came.
        attempts: How often it was tried.
        retry_after_seconds: What the deck asked to wait, if it did.
    """

    def __init__(
        self, message: str, *, status: int | None, attempts: int, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.attempts = attempts
        self.retry_after_seconds = retry_after_seconds


class DeckAnswerError(DeckError):
    """The answer is not one a deck gives: a redirect, a web page, another service's JSON."""


class DeckClosedError(DeckError, RuntimeError):
    """The client can no longer take anything."""


class SpoolError(DeckError, OSError):
    """The spool's directory or file system failed; `__cause__` has the system's error."""
