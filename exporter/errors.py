"""What goes wrong, sorted by whose fault it is and by what the caller does about it.

ExporterError
  CallerError            the request is at fault: answered 4xx, nothing of it is applied (also a ValueError)
    Malformed            400  not JSON, not a path, not an exposition: mend the sender
    ParseError           400  a line of the exposition: text/plain, as Pushgateway words it
    Inconsistent         400  fits the format but not what is already there: the failure time is stamped
    Unauthorized         401  no token, or one nobody knows: send one
    Forbidden            403  the token lacks the scope: ask for another
    NotFound             404  no such thing
    WrongMethod          405  another verb: the answer names them
    Conflict             409  the same trade id with other content: look at the sender's ids
    PreconditionFailed   412  somebody else was first: read, decide again
    TooLarge             413  over a limit that never grows: send less
    Invalid              422  a field is missing, unknown, of another type or out of range
    LimitReached         429  over a limit shared by all: remove groups or raise it, then retry
  StoreError             the disk or the database is at fault
    CommitFailed         503  nothing of the batch was applied: retry
      Unstorable         the database takes no such data, now or later: leave out the operation that has it
    ReadFailed           503  the database does not answer a question: ask again
    StoreRefused         the file is corrupt or newer: the start stops, the file stays as it was
  SettingsError          a setting is wrong: the start stops, status 2
  PortRefused            the address cannot be listened on: the start stops, status 1
"""

# ruff: noqa: N818 - the names read as the answer they become, after http.HTTPStatus
from __future__ import annotations

from typing import ClassVar


class ExporterError(Exception):
    """Root of what this service raises on purpose."""


class CallerError(ExporterError, ValueError):
    """The request is at fault.

    Attributes:
        code: Fixed word for machines, `error` of the answer.
        field: Path of the field at fault, or None when no single field is.
        reason: Label of `exporter_push_rejections_total`.
    """

    status: ClassVar[int] = 400
    default_code: ClassVar[str] = "malformed"

    def __init__(self, detail: str, field: str | None = None, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.code = code or self.default_code

    @property
    def reason(self) -> str:
        """Label value under which refusals of this kind are counted."""
        return self.default_code


class Malformed(CallerError):
    """Cannot be read at all."""


class ParseError(CallerError):
    """A line of a pushed exposition is not in its format."""

    default_code = "parse_error"


class Inconsistent(CallerError):
    """Readable, but it would spoil what is already there or what Prometheus expects."""

    default_code = "inconsistent"


class Unauthorized(CallerError):
    """No token, or an unknown one."""

    status = 401
    default_code = "unauthorized"


class Forbidden(CallerError):
    """A known token without the scope the route asks for."""

    status = 403
    default_code = "forbidden"


class NotFound(CallerError):
    """No such path or thing."""

    status = 404
    default_code = "not_found"


class WrongMethod(CallerError):
    """The path exists, the verb does not."""

    status = 405
    default_code = "method_not_allowed"

    def __init__(self, detail: str, allow: str) -> None:
        super().__init__(detail)
        self.allow = allow


class Conflict(CallerError):
    """An id that was used for other content."""

    status = 409
    default_code = "conflict"


class PreconditionFailed(CallerError):
    """The version the caller decided on is no longer the current one."""

    status = 412
    default_code = "precondition_failed"


class TooLarge(CallerError):
    """Over a limit on one request."""

    status = 413
    default_code = "too_large"


class Invalid(CallerError):
    """A field of a JSON request is missing, unknown, of another type or out of range."""

    status = 422
    default_code = "invalid"


class LimitReached(CallerError):
    """Over a limit that all pushers share."""

    status = 429
    default_code = "limit_reached"


class StoreError(ExporterError):
    """The store cannot do what was asked of it."""


class CommitFailed(StoreError):
    """A batch was not made durable; nothing of it is in memory or on disk."""


class Unstorable(CommitFailed):
    """A batch holds what the database has no place for; the same data would fail again."""


class ReadFailed(StoreError):
    """What memory does not hold cannot be read back now."""


class StoreRefused(StoreError):
    """The store cannot be opened as it is; it was not touched."""


class SettingsError(ExporterError, ValueError):
    """A setting does not mean anything; the message names it, what came and what was wanted."""


class PortRefused(ExporterError):
    """Nobody can listen where the settings say; the message names them."""


REASONS = (
    "malformed",
    "parse_error",
    "inconsistent",
    "unauthorized",
    "forbidden",
    "not_found",
    "method_not_allowed",
    "conflict",
    "precondition_failed",
    "too_large",
    "invalid",
    "limit_reached",
)
"""Every label value of `exporter_push_rejections_total`, shown from the start."""
