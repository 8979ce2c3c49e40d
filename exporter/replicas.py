"""Several exporters on one database: each follows what the others commit.

What is pushed to one must be on the scrape page of all.  Each commit has a number, and whoever writes first
reads what the others wrote (see writer).  A replica nobody pushes to asks for the newest number several times
a second, and catches up when it is not its own.

A replica that cannot ask does not know whether a breaker was tripped elsewhere, so it says that it is not
ready, and the proxy before it sends the next request to another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor

import structlog

from exporter.errors import ExporterError
from exporter.state import Draft
from exporter.store import TradeKey

__all__ = ["POLL_SECONDS", "STALE_SECONDS", "CatchUp", "Follower"]

POLL_SECONDS = 0.2
"""How often the others' commits are looked for: a fifth of the second in which a push is promised to show."""
STALE_SECONDS = 3.0
"""Without an answer for so long, what this replica shows may be wrong (JC)."""

log = structlog.get_logger(__name__)


class CatchUp:
    """An operation that writes nothing: every batch on a shared store begins with what others committed."""

    trade_keys: Collection[TradeKey] = ()

    def plan(self, draft: Draft) -> None:
        """Nothing of its own."""
        del draft


class Follower:
    """Keeps one replica up with the others.

    Args:
        newest: Asks the shared store for the number of the last commit; called in a thread of its own.
        known: Number of the last commit that this replica shows.
        catch_up: Reads what is between the two.
        on_fresh: Told whether what this replica shows can be believed, when that changes.
        clock: Monotonic clock, seconds.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        newest: Callable[[], int],
        known: Callable[[], int],
        catch_up: Callable[[], Awaitable[object]],
        on_fresh: Callable[[bool], None],
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._newest = newest
        self._known = known
        self._catch_up = catch_up
        self._on_fresh = on_fresh
        self._clock = clock
        self._sleep = sleep
        self._seen_at = clock()
        self._fresh = True
        # A thread of its own: a database that hangs must not use up those that serve reads.
        self._thread = ThreadPoolExecutor(1, "follower")

    async def run(self) -> None:
        """Follow until cancelled."""
        try:
            while True:
                await self._sleep(POLL_SECONDS)
                await self.step()
        finally:
            self._thread.shutdown(wait=False)

    async def step(self) -> None:
        """Look once, and catch up if others committed, or if commits were lost."""
        try:
            async with asyncio.timeout(STALE_SECONDS):
                newest = await asyncio.get_running_loop().run_in_executor(self._thread, self._newest)
                if newest != self._known():
                    await self._catch_up()
        except (ExporterError, TimeoutError) as error:
            if self._fresh and self._clock() - self._seen_at >= STALE_SECONDS:
                log.warning("replica is behind", error=str(error) or "no answer in time")
                self._tell(fresh=False)
            return
        self._seen_at = self._clock()
        if not self._fresh:
            log.info("replica is up to date", revision=newest)
            self._tell(fresh=True)

    def _tell(self, *, fresh: bool) -> None:
        self._fresh = fresh
        self._on_fresh(fresh)
