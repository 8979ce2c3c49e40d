"""The background half of the client: a tick hands over and goes on, a thread does the rest.

What a tick pays for: a lock nobody holds for long, a dict merge for gauges, one write of one line for a
trade (see spool.py: from then on it survives the process).  Everything slow or fallible, the network above
all, happens in the thread, and nothing that goes wrong there reaches a tick: it is counted and logged.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from exporter.deck_answers import receipt, taken
from exporter.deck_bell import Bell
from exporter.deck_errors import (
    DeckClosedError,
    DeckError,
    DeckInputError,
    DeckRefusedError,
    DeckUnavailableError,
    SpoolError,
)
from exporter.deck_http import DeckHttp, RetryPolicy
from exporter.deck_outbox import Outbox, Push
from exporter.deck_payload import (
    empty_push,
    encode,
    several_trades,
    shown,
    split_faults,
    text,
    trade_json,
    without,
)
from exporter.deck_reports import REMIND_SECONDS, Counters, Herald
from exporter.spool import Record, Spool

__all__ = ["CLOSED", "Sender"]

BATCH: Final = 500
"""Trades in one request: about 120 kB, far below the deck's body limit."""
HELD_TRADES: Final = 100_000
"""Trades kept in memory while the disk refuses the spool; about 50 MB."""
BAD_PUSHES: Final = 64
"""Pushes without a usable engine or value that the deck is still told of; all are counted."""
AWAY: Final = "the deck does not take pushes, trades wait on disk"
LONGEST_SECONDS: Final = 86_400.0
"""No wait is longer, were it for ever that was asked for: a lock counts no further than some centuries."""
CLOSED: Final = "this client is closed: make a new one"
PATIENCE: Final = RetryPolicy(base_seconds=0.25, cap_seconds=5.0)
"""Waits between rounds while the deck is away; there is no last attempt."""


class Sender:
    """Takes gauges and trades without blocking and gets them to the deck in a thread of its own.

    After a fork the child's copy takes nothing and says so: the thread and the spool are the parent's.
    """

    def __init__(
        self,
        http: DeckHttp,
        spool: Spool,
        *,
        engine: str | None = None,
        interval_seconds: float = 0.1,
        patience: RetryPolicy = PATIENCE,
        held_trades: int = HELD_TRADES,
        monotonic: Callable[[], float] = time.monotonic,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self.spool = spool
        self._http = http
        self._engine = engine
        self._interval = interval_seconds
        self._patience = patience
        self._held_trades = held_trades
        self._monotonic = monotonic
        self._dice = dice
        self._herald = Herald(monotonic)
        self._guard = threading.RLock()  # reentrant: a signal handler may push in the middle of a push
        self._outbox = Outbox()
        self._held: deque[bytes] = deque()
        self._misfits: deque[tuple[str, DeckInputError]] = deque()
        self._bad_pushes: deque[DeckInputError] = deque(maxlen=BAD_PUSHES)
        self._counters = Counters(recovered=spool.pending)
        self._spooled = self._dropped = 0
        self._offered, self._delivered = (1 if spool.pending else 0), 0
        self._failures = 0
        self._away = False
        self._asked_seconds: float | None = None
        self._spool_fault: SpoolError | None = None
        self._lost_told = 0
        self._wake = Bell()
        self._hurry = threading.Event()
        self._progress = threading.Condition()
        self._closing = threading.RLock()  # reentrant: a signal handler may close in the middle of a close
        self._closed_because: str | None = None
        self._all_sent: bool | None = None
        if spool.pending:
            self._herald.tell(
                "trades of an earlier process are on disk and will be sent", trades=spool.pending
            )
            self._wake.ring()
        self._thread = threading.Thread(target=self._run, name="deck-sender", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    # -- what a tick calls -----------------------------------------------------------------------------

    def offer_metrics(self, engine: str | None, fields: Mapping[str, Any]) -> None:
        """Take gauges; the newest value of each is sent soon."""
        try:
            chosen = self._engine if engine is None else text(engine, "engine")
            if all(type(value) is dict and not value for value in fields.values()):  # the first gauge ends it
                raise empty_push()
        except DeckInputError as fault:
            self._take_bad_push(fault)
        else:
            with self._guard:
                self._check_open()
                self._outbox.merge(chosen, fields)
                self._offered += 1
        self._wake.ring()

    def _take_bad_push(self, fault: DeckInputError) -> None:
        with self._guard:
            self._check_open()
            self._offered += 1
            self._count(refused=1)
            self._bad_pushes.append(fault)

    def offer_trade(self, fields: Mapping[str, Any]) -> None:
        """Take a trade; once this returns it survives the death of the process."""
        try:
            body = trade_json(fields, self._engine)
        except DeckInputError as fault:
            self._take_misfit(shown(fields, 2000), fault)
        else:
            with self._guard:
                self._check_open()
                self._offered += 1
                self._keep(body)
        self._wake.ring()

    def offer_trades(self, trades: Iterable[Mapping[str, Any]]) -> None:
        """Take trades one by one; what came before one that cannot be read is taken."""
        self._check_open()
        try:
            for trade in several_trades(trades):
                self.offer_trade(trade)
        except DeckInputError as fault:
            self._take_misfit(shown(trades, 2000), fault)
            self._wake.ring()

    def _take_misfit(self, trade: str, fault: DeckInputError) -> None:
        with self._guard:
            self._check_open()
            self._offered += 1
            if len(self._misfits) < self._held_trades:
                self._misfits.append((trade, fault))
            else:
                self._dropped += 1

    def _check_open(self) -> None:
        """A tick holds the guard: what gets past this is in the spool before `close` looks what is left."""
        if self._closed_because:
            raise DeckClosedError(self._closed_because)

    def _keep(self, body: bytes) -> None:
        """Put a trade on disk, or in memory while the disk refuses; the guard is held."""
        if not self._held:  # else it goes behind those that wait in memory, or the order would break
            try:
                self.spool.append(body)
            except SpoolError as fault:
                self._check_open()  # closed in the middle by a signal handler: memory is no place then
                self._spool_fault = fault
            else:
                self._spooled += self._away
                return
        if len(self._held) < self._held_trades:
            self._held.append(body)
        else:
            self._dropped += 1

    # -- what the engine's owner calls -----------------------------------------------------------------

    def counters(self) -> Counters:
        """What became of everything so far."""
        with self._guard:
            return replace(
                self._counters,
                retried=self._counters.retried + self._http.retried,
                spooled=self._spooled,
                pending=self.spool.pending + len(self._held),
                held=len(self._held),
                dropped=self._dropped + self.spool.lost,
                dead_lettered=self._counters.dead_lettered + self.spool.damaged,
                coalesced=self._outbox.coalesced,
                lost_steps=self._outbox.lost_steps,
            )

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until what was handed over before is with the deck or set aside; False if time ran out."""
        self._check_open()
        deadline = self._monotonic() + min(timeout_seconds, LONGEST_SECONDS)
        target = self._offered
        self.hurry()
        with self._progress:
            while self._delivered < target:
                left = deadline - self._monotonic()
                if left <= 0 or not self._thread.is_alive():
                    return False
                self._progress.wait(left)
        return True

    def hurry(self) -> None:
        """Send what waits now, whatever the thread waits for."""
        self._hurry.set()
        self._wake.ring()

    def stop(self) -> None:
        """Take nothing more, and let the thread end after the request on its way; `close` is still due."""
        with self._guard:
            self._closed_because = self._closed_because or CLOSED
        self.hurry()  # the hurry before the bell: a thread woken in between would wait out a fault

    def close(self, timeout_seconds: float) -> bool:
        """Send what can be sent in the time, keep the rest on disk, end the thread; whether all was sent."""
        if not self._closing.acquire(timeout=min(timeout_seconds, LONGEST_SECONDS)):
            return False  # another thread's close goes on
        try:
            if self._all_sent is None:  # else closed; what an interrupt stopped half-way is done again
                self._all_sent = self._close(timeout_seconds)
            return self._all_sent
        finally:
            self._closing.release()

    def _close(self, timeout_seconds: float) -> bool:
        done = self._delivered >= self._offered if self._closed_because else self.flush(timeout_seconds)
        self.stop()
        self._thread.join(min(timeout_seconds, LONGEST_SECONDS) + sum(self._http.timeout_seconds))
        with self._guard:
            while self._held_to_disk():
                pass
            pending, held = self.spool.pending, len(self._held)
        try:
            self._bury_misfits()
        except SpoolError as fault:
            self._herald.tell(
                "closed with refused trades that the disk did not take",
                logging.CRITICAL,
                lost=len(self._misfits),
                fault=fault,
            )
        if pending:
            self._herald.tell("closed with trades on disk, the next process sends them", trades=pending)
        if held:
            self._herald.tell(
                "closed with trades that neither disk nor deck took", logging.CRITICAL, lost=held
            )
        try:
            self.spool.close()
        except SpoolError as fault:
            self._herald.tell("the spool did not close", logging.ERROR, fault=fault)
        self._http.close()
        return done and not pending and not held and not self._misfits

    @property
    def closed(self) -> bool:
        """Whether a close came to its end."""
        return self._all_sent is not None

    def after_fork_in_child(self) -> None:
        """Make this copy refuse everything; the parent's goes on untouched."""
        self._closed_because = (
            f"this client is of the process before the fork: make one in process {os.getpid()}"
        )
        self._all_sent = True  # of what is the child's own: nothing
        self._closing = threading.RLock()
        self._guard = threading.RLock()
        self._progress = threading.Condition()
        self._http.forget()
        self.spool.abandon()

    # -- the thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self._wake.wait()
            if self._closed_because:
                return
            if self._round():
                self._hurry.wait(self._interval)  # let newer values replace older ones before the next push
                self._hurry.clear()
            else:
                self._wait_out_the_fault()
                self._wake.ring()

    def _round(self) -> bool:
        """Send everything that waits; whether it all went."""
        target = self._offered
        try:
            if self._failures:
                self._count(retried=1)
            self._warn()
            self._sync_spool()
            with contextlib.suppress(SpoolError):  # gauges and good trades do not wait for a disk
                self._bury_misfits()
            self._send_gauges()
            self._send_trades()
            self._tell_of_bad_pushes()  # last: neither a breaker nor a trade waits for a complaint
            self._bury_misfits()
        except DeckClosedError:  # not a fault, and not delivered either
            return False
        except DeckError as fault:
            self._note_away(fault)
            return False
        except Exception:  # the last line of defence: a dead thread would keep the trades on disk for ever
            logging.getLogger("deckrails.client").exception("a fault of the client itself")
            self._failures += 1
            self._asked_seconds = None
            return False
        self._note_back()
        with self._progress:
            self._delivered = max(self._delivered, target)
            self._progress.notify_all()
        return True

    def _wait_out_the_fault(self) -> None:
        """Wait before the next round; what comes in meanwhile is synced to disk."""
        until = self._monotonic() + self.pause_seconds(self._failures, self._asked_seconds)
        while not (self._hurry.is_set() or self._closed_because) and (left := until - self._monotonic()) > 0:
            if self._wake.wait(left) and not self._closed_because:
                self._sync_spool()
                self._hurry.wait(min(self._interval, left))
        self._hurry.clear()

    def pause_seconds(self, failures: int, asked_seconds: float | None) -> float:
        """How long to wait after so many failures in a row, and at least what the deck asked for."""
        pause = self._patience.wait_seconds(failures, self._dice)
        return max(pause, min(asked_seconds or 0.0, REMIND_SECONDS))

    def _note_away(self, fault: DeckError) -> None:
        self._failures += 1
        self._asked_seconds = fault.retry_after_seconds if isinstance(fault, DeckUnavailableError) else None
        with self._guard:
            if not self._away:
                self._away = True
                self._spooled += self.spool.pending
        phrase, level = AWAY, logging.WARNING
        if isinstance(fault, SpoolError):  # the deck is innocent: the disk wants a person
            phrase, level = "the spool does not work, trades wait", logging.CRITICAL
        self._herald.tell(phrase, level, trades=self.spool.pending, fault=fault)

    def _note_back(self) -> None:
        if self._away:
            with self._guard:
                self._away = False
            self._herald.over(AWAY)
            self._herald.tell("the deck takes pushes again", logging.INFO, attempts=self._failures + 1)
            self._herald.over("the deck takes pushes again")
        self._failures = 0

    def _count(self, **more: int) -> None:
        with self._guard:
            self._counters = replace(
                self._counters, **{name: getattr(self._counters, name) + by for name, by in more.items()}
            )

    # -- gauges ----------------------------------------------------------------------------------------

    def _tell_of_bad_pushes(self) -> None:
        """As with a bad gauge: the deck refuses and counts it, and its alerts see it."""
        with self._guard:  # those there are now: a tick that pushes badly each time would never let it end
            taken_now = list(self._bad_pushes)
            self._bad_pushes.clear()
        faults: dict[str | None, DeckInputError] = {}
        for fault in taken_now:
            faults.setdefault(fault.field, fault)  # one request a field; how many there were is counted
        waiting = deque(faults.values())
        try:
            while waiting:
                self._check_open()
                fault = waiting[0]
                self._herald.tell("a push no deck would take", logging.ERROR, fault=fault)
                words = {fault.field: [f"not sent: {fault.detail}"]} if fault.field else {}
                self._post_words(None if fault.field else self._engine, words)
                waiting.popleft()
        finally:
            with self._guard:
                self._bad_pushes.extendleft(reversed(waiting))

    def _send_gauges(self) -> None:
        with self._guard:
            pushes = self._outbox.take()
        for position, push in enumerate(pushes):
            try:
                self._check_open()
                self._send_push(push)
            except DeckError:
                with self._guard:
                    self._outbox.put_back(pushes[position:])
                raise

    def _send_push(self, push: Push) -> None:
        """Send one push; a field at fault is left out and the rest goes, so no NaN holds back a breaker."""
        good, bad, faults = split_faults(push.fields)
        for fault in faults:
            self._herald.tell("a gauge no deck would take", logging.ERROR, fault=fault)
        while good:
            try:
                self._post_metrics(push.engine, good)
            except DeckRefusedError as fault:
                if not fault.is_verdict:
                    raise
                self._count(refused=1)
                self._herald.tell("the deck refused a gauge", logging.ERROR, fault=fault)
                left = without(good, fault.field)
                if not left and len(good) > 1 and "breaker" in good:
                    # Nobody knows which gauge is at fault, but a trip must not be lost over one.
                    left = {"breaker": good["breaker"]}
                good = left
            else:
                break
        if bad:
            # Sent on purpose, in words: the deck refuses it by name, counts it, and its alerts see it.
            self._count(refused=len(faults))
            self._post_words(push.engine, bad)

    def _post_words(self, engine: str | None, bad: Mapping[str, Any]) -> None:
        try:
            self._post_metrics(engine, bad)
        except DeckRefusedError as fault:
            if not fault.is_verdict:
                raise

    def _post_metrics(self, engine: str | None, fields: Mapping[str, Any]) -> None:
        body = {**fields, "engine": engine} if engine else fields
        taken(self._http.call("POST", "/metrics/push", encode(body).encode(), attempts=1))
        self._count(sent=1)

    # -- trades ----------------------------------------------------------------------------------------

    def _warn(self) -> None:
        """Say aloud what a person should mend while it can still be mended."""
        if self._held:
            phrase = "the disk refuses the spool, trades wait in memory"
            self._herald.tell(phrase, logging.CRITICAL, trades=len(self._held), fault=self._spool_fault)
        if self._dropped:
            self._herald.tell("memory is full too, trades are LOST", logging.CRITICAL, lost=self._dropped)
        if self.spool.cursor_fault:
            fault = self.spool.cursor_fault
            self._herald.tell("sent trades would be sent again after a restart", logging.ERROR, fault=fault)

    def _sync_spool(self) -> None:
        restored = self.spool.restored
        try:
            self.spool.sync()
        except SpoolError as fault:
            self._herald.tell("the spool is not safe from a power failure", logging.ERROR, fault=fault)
        if self.spool.restored > restored:
            phrase = "somebody removed the spool's files, they are written again"
            self._herald.tell(phrase, logging.ERROR, directory=self.spool.directory, lost=self.spool.lost)
            self._lost_told = self.spool.lost

    def _peek(self) -> list[Record]:
        records = self.spool.peek(BATCH)
        if self.spool.lost > self._lost_told:
            self._lost_told = self.spool.lost
            phrase = "somebody removed the spool's files or cut them short, trades are LOST"
            self._herald.tell(phrase, logging.CRITICAL, directory=self.spool.directory, lost=self.spool.lost)
        return records

    def _send_trades(self) -> None:
        """Send what waits now; what comes meanwhile is for the next round, or gauges would starve."""
        goal = self.spool.pending + len(self._held)
        gone = 0
        while gone < goal:
            records = self._peek()
            if records:
                done = 0

                def ack(count: int, records: list[Record] = records) -> None:
                    nonlocal done
                    done += count
                    self.spool.ack(records[done - 1], count)

                self._deliver([record.body for record in records], ack)
                gone += len(records)
            elif self._held:
                self.spool.reclaim()  # all on disk is sent: it may be our own past that fills the disk
                gone += self._send_held()
            else:
                return  # damaged lines were among those that waited

    def _send_held(self) -> int:
        """Bring what waits in memory to disk, or straight to the deck; how many the deck has for it."""
        with self._guard:
            if self._held_to_disk():
                return 0
            bodies = [self._held[i] for i in range(min(BATCH, len(self._held)))]

        def ack(count: int) -> None:
            with self._guard:
                for _ in range(count):
                    self._held.popleft()

        self._deliver(bodies, ack)
        return len(bodies)

    def _held_to_disk(self) -> int:
        """Move what the disk takes now, in order, a batch at most; how many.  The guard is held."""
        moved = 0
        while self._held and moved < BATCH:
            try:
                self.spool.append(self._held[0])
            except SpoolError as fault:
                self._spool_fault = fault
                break
            self._held.popleft()
            moved += 1
        return moved

    def _deliver(self, bodies: list[bytes], ack: Callable[[int], None]) -> None:
        """Send trades in order; a batch the deck refuses is halved until the one at fault stands alone."""
        self._check_open()  # once closed, what is left on disk is the next process's
        try:
            answer = self._http.call(
                "POST", "/trades", b'{"trades":[' + b",".join(bodies) + b"]}", attempts=1
            )
        except DeckRefusedError as fault:
            halve = len(bodies) > 1 and (fault.is_verdict or fault.status == 413)
            if halve:
                middle = len(bodies) // 2
                self._deliver(bodies[:middle], ack)
                self._deliver(bodies[middle:], ack)
                return
            if not fault.is_verdict:
                raise
            self._set_aside(bodies[0], fault)
            ack(1)
            return
        accepted, duplicates = receipt(answer, len(bodies))
        ack(len(bodies))
        self._count(sent=1, sent_trades=accepted + duplicates, duplicates=duplicates)

    def _bury_misfits(self) -> None:
        while self._misfits:
            trade, fault = self._misfits[0]
            self._set_aside(trade, fault)
            self._misfits.popleft()

    def _set_aside(self, trade: bytes | str, fault: DeckRefusedError) -> None:
        reason: dict[str, object] = {
            "status": fault.status,
            "error": fault.error,
            "detail": fault.detail,
            "field": fault.field,
        }
        self.spool.set_aside(trade, reason)
        self._count(dead_lettered=1)
        self._herald.tell(
            "a trade was refused and set aside", logging.ERROR, file=self.spool.dead_letters, fault=fault
        )
