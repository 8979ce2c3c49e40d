"""What every route needs, in one value that is handed in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from exporter.auth import Auth
from exporter.errors import ReadFailed
from exporter.layout import LayoutMemo
from exporter.operations import AlertRule
from exporter.settings import Settings
from exporter.state import State
from exporter.store import StoreReader
from exporter.telemetry import Telemetry
from exporter.writer import Writer

__all__ = ["Service"]

_T = TypeVar("_T")


@dataclass(slots=True)
class Service:
    """The parts of a running exporter.

    Attributes:
        now: Wall clock, epoch seconds; `clock`: monotonic, seconds.
        stop: Asks the process to end; None where it cannot be asked.
    """

    settings: Settings
    state: State
    writer: Writer
    reader: StoreReader
    auth: Auth
    telemetry: Telemetry
    version: str
    now: Callable[[], float]
    clock: Callable[[], float]
    started_at: float
    rules: dict[str, AlertRule] = field(default_factory=dict)
    memo: LayoutMemo = field(default_factory=LayoutMemo)
    stop: Callable[[], None] | None = None
    ready: bool = False

    async def read(self, call: Callable[[], _T]) -> _T:
        """A read of the store, off the event loop.

        Raises:
            ReadFailed: The database does not answer.
        """
        try:
            return await asyncio.to_thread(call)
        except ReadFailed:
            self.telemetry.read_failures.inc()
            raise
