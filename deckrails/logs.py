"""How both services log: a fixed phrase and keys, for people or for machines, on standard error.

Lines go out through the standard library's handler, which never raises: a closed or full standard error must
not end the one writer of a store, nor a decision.
"""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import Processor

__all__ = ["configure_logging"]

_LOGGER = logging.getLogger("deckrails")


class _Others(logging.Handler):
    """Lines of libraries, in our form."""

    def emit(self, record: logging.LogRecord) -> None:
        level = max(logging.DEBUG, min(logging.CRITICAL, record.levelno // 10 * 10))
        try:
            structlog.get_logger(record.name).log(
                level, record.getMessage(), exc_info=record.exc_info or None, **_stack(record)
            )
        except Exception:  # noqa: BLE001 - who logs must not be ended by what they log
            self.handleError(record)


def _stack(record: logging.LogRecord) -> dict[str, str]:
    return {"stack": record.stack_info} if record.stack_info else {}


def configure_logging(level: str, form: str) -> None:
    """Send lines of `level` and above to standard error.

    Args:
        level: debug, info, warning or error.
        form: console, or json.
    """
    last: Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    _LOGGER.handlers[:] = [handler]
    logging.getLogger().handlers[:] = [_Others()]
    _LOGGER.propagate = False
    _LOGGER.setLevel(level.upper())
    # Without this a line that cannot be written prints a traceback to the place that cannot be written to.
    logging.raiseExceptions = False
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=lambda *_names: _LOGGER,
        cache_logger_on_first_use=False,
    )
