"""What wakes the client's thread."""

from __future__ import annotations

import queue

__all__ = ["Bell"]


class Bell:
    """Wakes the thread.  Not an Event: its lock is not reentrant, and a signal handler may push too."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._rung = False

    def ring(self) -> None:
        """Wake the waiting thread, or let its next wait return at once."""
        if not self._rung:
            self._rung = True
            self._queue.put(None)

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Whether it was rung; what was offered before a ring is seen after the wait."""
        try:
            self._queue.get(timeout=timeout_seconds)
        except queue.Empty:
            return False
        self._rung = False
        return True
