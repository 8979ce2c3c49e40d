"""The one writer: what waits is validated together, committed together, then answered together.

While one batch is being committed in the store's thread the next one gathers, so a slow disk makes batches
larger, not answers fewer.  Nothing is answered, and nothing shown, before its commit returned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import structlog

from exporter.documents import read_document
from exporter.errors import CallerError, CommitFailed, Inconsistent, Invalid, StoreError, Unstorable
from exporter.families import Chunk, FamilyShape, compile_family, fill
from exporter.grouping import GroupKey, group_key
from exporter.operations import Operation
from exporter.protobuf import read_delimited, write_delimited
from exporter.records import Trade
from exporter.state import Draft, Group, State
from exporter.store import Batch, GroupRow, Snapshot, Store, TradeKey
from exporter.telemetry import Telemetry
from exporter.textformat import parse_text

__all__ = ["Writer"]

_T = TypeVar("_T")
Done = Callable[[Any], None]
MAX_BATCH = 1000
"""Operations of one commit: bounds how long the last of them waits (JC)."""

log = structlog.get_logger(__name__)


class Writer:
    """Queue, batches and commits.

    Args:
        state: What is committed; only this class changes it.
        store: Where it is kept.
        now: Wall clock, epoch seconds.
        clock: Monotonic clock, seconds.
        capacity: Operations that may wait; more are answered 503.
    """

    def __init__(
        self,
        state: State,
        store: Store,
        telemetry: Telemetry,
        *,
        now: Callable[[], float],
        clock: Callable[[], float],
        capacity: int = 10_000,
    ) -> None:
        self.state = state
        self.capacity = capacity
        self._store = store
        self._telemetry = telemetry
        self._now = now
        self._clock = clock
        self._queue: list[tuple[Operation, Done]] = []
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "store")
        self._task: asyncio.Task[None] | None = None
        self._changed: asyncio.Event = asyncio.Event()
        self._closing = False
        self._released = False
        telemetry.queue_capacity.set(capacity)

    @property
    def shared(self) -> bool:
        """Whether other processes commit to the same store."""
        return self._store.shared

    @property
    def length(self) -> int:
        """Operations that wait."""
        return len(self._queue)

    async def start(self) -> None:
        """Load the store and begin to take operations."""
        snapshot = await self._in_thread(self._store.load)
        restore(self.state, snapshot)
        self._task = asyncio.create_task(self._run(), name="writer")
        self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Commit what waits, then close the store."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task
        await self._in_thread(self._store.close)
        self._thread.shutdown()

    def enqueue(self, operation: Operation, done: Done) -> None:
        """Queue an operation; `done` is called with its answer or its error when it is durable or refused.

        Raises:
            CommitFailed: Too many wait, or we are closing.
        """
        if self._closing or len(self._queue) >= self.capacity:
            raise CommitFailed(
                "the service is closing" if self._closing else f"{self.capacity} requests wait already"
            )
        self._queue.append((operation, done))
        if not self._wake.is_set():
            self._wake.set()

    async def submit(self, operation: Operation) -> Any:
        """The operation's answer, once it is durable.

        Raises:
            CallerError: It was refused.
            CommitFailed: It is not durable and has had no effect; so when too many wait, or we are closing.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def done(result: Any) -> None:
            if future.done():
                return
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

        self.enqueue(operation, done)
        return await future

    def release(self) -> None:
        """Let nobody wait for a change any more: the server is about to stop; writes are still taken."""
        self._released = True
        self._announce()

    async def changed(self, seconds: float, seen: tuple[int, int, int, int]) -> bool:
        """Whether within so many seconds the state shows something else than `seen`; False too at the end."""
        try:
            async with asyncio.timeout(seconds):
                while self.state.shown == seen and not (self._closing or self._released):
                    await self._changed.wait()
        except TimeoutError:
            return False
        return self.state.shown != seen

    async def _in_thread(self, call: Callable[..., _T], *args: Any) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *args)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            # One turn of the loop more: what has already arrived shall join the batch.
            await asyncio.sleep(0)
            while self._queue:
                batch, self._queue = self._queue[:MAX_BATCH], self._queue[MAX_BATCH:]
                try:
                    await self._take(batch)
                except BaseException:
                    # For _ended to answer; those that were answered already are done.
                    self._queue = batch + self._queue
                    raise
                await asyncio.sleep(0)
            if self._closing:
                self._announce()
                return

    async def _take(self, batch: list[tuple[Operation, Done]]) -> None:
        """Commit and answer a batch in its order; what was answered leaves the list.

        Where one operation is at fault the others are committed without it: it is found by halving.
        """
        size = len(batch)
        while batch:
            some = batch[:size]
            try:
                results = await self._commit([operation for operation, _ in some])
            except Exception as error:  # noqa: BLE001 - a mistake of ours must leave nobody without an answer
                if len(some) > 1 and not _concerns_all(error):
                    size = len(some) // 2
                    continue
                results = [self._failed(error, len(some))] * len(some)
            for (_, done), result in zip(some, results, strict=True):
                done(result)
            del batch[: len(some)]
            size *= 2

    def _failed(self, error: Exception, operations: int) -> Exception:
        """What operations get that could not be committed."""
        if isinstance(error, Unstorable):
            log.warning("the database has no place for an operation", error=str(error))
            return Invalid(f"the database has no place for this: {error}", None, "unstorable")
        if isinstance(error, StoreError):
            self._telemetry.commit_failures.inc()
            log.error("commit failed", error=str(error), operations=operations)
            return error
        log.error("operation failed", exc_info=error)
        return CommitFailed(f"internal error: {type(error).__name__}")

    async def _commit(self, operations: list[Operation]) -> list[Any]:
        keys = [key for operation in operations for key in operation.trade_keys]
        begun = bool(keys) or self._store.shared
        try:
            known = await self._begin(keys) if begun else None
            return await self._write(operations, known)
        except BaseException:
            # Nobody else can commit to a shared store, nor the next batch begin, while this one is open.
            if begun:
                await self._in_thread(self._store.abandon)
            raise

    async def _begin(self, keys: list[TradeKey]) -> Mapping[TradeKey, Trade]:
        """Begin a batch and catch up with what others committed; which of these trades are known."""
        while True:
            changes, known = await self._in_thread(self._store.begin, self.state.revision, keys)
            if changes.whole or changes.revision != self.state.revision:
                restore(self.state, changes)
                self._announce()
            if not changes.whole:
                return known

    async def _write(self, operations: list[Operation], known: Mapping[TradeKey, Trade] | None) -> list[Any]:
        """Plan and commit; without `known` trades nothing was begun."""
        draft = Draft(self.state, self._now())
        draft.known_trades = known or {}
        try:
            results = [_plan(operation, draft) for operation in operations]
            if draft.empty:
                if known is not None:
                    await self._in_thread(self._store.abandon)
                return results
            revision = self.state.revision + 1
            start = self._clock()
            await self._in_thread(self._store.commit, as_batch(draft), revision)
        except BaseException:
            draft.rollback()
            raise
        self._telemetry.commit_seconds.observe(self._clock() - start)
        shown = self.state.shown
        draft.apply(revision)
        if self.state.shown != shown:
            self._announce()
        return results

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A writer that died answers who waits and refuses who comes: nobody hangs on it."""
        self._closing = True
        waiting, self._queue = self._queue, []
        for _, done in waiting:
            done(CommitFailed("the writer has ended"))
        if not task.cancelled() and task.exception() is not None:
            log.critical("writer died", error=repr(task.exception()))

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _concerns_all(error: Exception) -> bool:
    """Whether a commit failed for all its operations alike: the store is away, not one of them at fault."""
    return isinstance(error, StoreError) and not isinstance(error, Unstorable)


def _plan(operation: Operation, draft: Draft) -> Any:
    try:
        return operation.plan(draft)
    except CallerError as refused:
        return refused


def as_batch(draft: Draft) -> Batch:
    """What the store is to write."""
    return Batch(
        groups={
            gid: None if group is None else group_row(group, draft.texts.get(gid))
            for gid, group in draft.groups.items()
        },
        engines=draft.engines,
        totals=draft.totals,
        breakers=draft.breakers,
        trades=list(draft.trades.values()),
        history=draft.history,
        weights=draft.weights,
        touches_deck=draft.touches_deck,
    )


def group_row(group: Group, text: bytes | None = None) -> GroupRow:
    """A group as the store keeps it; `text` is the body it was pushed as, if that says all of it."""
    return GroupRow(
        group.key.id,
        group.text if text is None else text,
        group.native,
        group.push_time,
        group.failure_time,
        group.ttl_seconds,
    )


def group_of_row(row: GroupRow) -> Group:
    """The group a row was written from."""
    key = key_of_id(row.id)
    parsed = parse_text(row.body, utf8_names=True)
    shapes: dict[str, FamilyShape] = {f.name: compile_family(f, key.labels) for f in parsed.families}
    native = {m.name: write_delimited([m]) for m in read_delimited(row.native or b"")}
    return Group(
        key,
        {name: Chunk(shape, fill(shape, parsed.values), native.get(name)) for name, shape in shapes.items()},
        push_time=row.push_time,
        failure_time=row.failure_time,
        ttl_seconds=row.ttl_seconds,
    )


def key_of_id(text: str) -> GroupKey:
    """The grouping key of a stored id."""
    return group_key(dict(read_document("group", text, text, list[tuple[str, str]])))


def _readable(state: State, row: GroupRow) -> Group | None:
    """The group of a row; None if it cannot be read: a push or a DELETE mends it, all others are shown."""
    try:
        return _admit(state, group_of_row(row))
    except CallerError as unreadable:
        why = str(unreadable)
        log.error("a stored group is left out until it is pushed again or deleted", group=row.id, why=why)  # noqa: TRY400 - it is all
        return None


def _admit(state: State, group: Group) -> Group:
    """The group with what the index takes: an older version may have let in what now is refused."""
    none: Mapping[str, FamilyShape] = {}
    taken: dict[str, Chunk] = {}
    for name, chunk in group.chunks.items():
        try:
            state.index.replace(group.key.id, none, {name: chunk.shape})
        except Inconsistent as refused:
            log.warning("a stored family is left out", group=group.key.id, family=name, why=str(refused))
        else:
            taken[name] = chunk
    if len(taken) == len(group.chunks):
        return group
    return Group(
        group.key,
        taken,
        push_time=group.push_time,
        failure_time=group.failure_time,
        ttl_seconds=group.ttl_seconds,
    )


def restore(state: State, snapshot: Snapshot) -> None:
    """Let the state become what the store holds; of changes, only what changed."""
    if snapshot.whole:
        snapshot.groups = {**dict.fromkeys(state.groups), **snapshot.groups}
        state.forget_deck()
        state.restored += 1
    mark = state.index.mark()
    for gid in snapshot.groups:
        known = state.groups.get(gid)
        if known is not None:
            state.index.replace(gid, known.shapes, {})
    for gid, row in snapshot.groups.items():
        group = None if row is None else _readable(state, row)
        state.put_group(gid, group)
        if row is not None and group is None:
            state.unreadable.add(gid)
    for name, doc in snapshot.engines.items():
        if doc is None:
            state.engines.pop(name, None)
        else:
            state.engines[name] = doc
    state.totals.update(snapshot.totals)
    state.breakers.update(snapshot.breakers)
    if snapshot.weights is not None:
        state.weights = snapshot.weights
    state.trade_seq = max(state.trade_seq, snapshot.trade_seq)
    state.history_seq = max(state.history_seq, snapshot.history_seq)
    state.computed = state.count_computed()
    state.revision, state.deck_revision = snapshot.revision, snapshot.deck_revision
    state.index.commit(mark)
