"""How log lines look: a fixed phrase and keys, for people or for machines, on standard error."""

from __future__ import annotations

import logging
import sys
from typing import cast

import structlog
from structlog.typing import FilteringBoundLogger, Processor

__all__ = ["configured_log"]


def configured_log(level: str, form: str) -> FilteringBoundLogger:
    """A logger that writes lines of `level` and above.

    Args:
        level: debug, info, warning or error.
        form: console, or json.
    """
    last: Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    return cast("FilteringBoundLogger", structlog.get_logger().bind(service="allocator"))
