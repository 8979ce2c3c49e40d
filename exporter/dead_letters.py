"""What cannot be delivered, in a file for a person to look at: one JSON object a line, trade and reason."""

from __future__ import annotations

import json
import os
from pathlib import Path

from exporter.deck_errors import SpoolError

__all__ = ["write_letter"]


def write_letter(path: Path, body: bytes | str, reason: dict[str, object]) -> None:
    """Append a trade and why it is here, synced; nothing of it is left behind where that fails.

    Raises:
        SpoolError: The disk did not take it.
    """
    trade = body if isinstance(body, str) else body.decode("utf-8", errors="backslashreplace")
    try:
        shown = json.loads(trade)
    except ValueError:
        shown = trade
    line = json.dumps({"trade": shown, **reason}).encode() + b"\n"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            start = os.fstat(fd).st_size
            if os.write(fd, line) != len(line):
                os.ftruncate(fd, start)
                raise SpoolError(f"cannot write {path}: the disk took half a record")
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as cause:
        if isinstance(cause, SpoolError):
            raise
        raise SpoolError(f"cannot write {path}: {cause}") from cause
