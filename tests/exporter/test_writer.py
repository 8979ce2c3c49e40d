from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Coroutine
from typing import Any

import pytest

from exporter.errors import CommitFailed, Conflict, Invalid, LimitReached, Unstorable
from exporter.families import compile_family
from exporter.grouping import group_key
from exporter.groups import DeleteGroup, PushGroup
from exporter.index import Index
from exporter.layout import Layout
from exporter.messages import MetricsIn, TradeIn, WeightsIn
from exporter.operations import Operation, PushEngine, RecordTrades, SetWeights
from exporter.records import Trade
from exporter.state import Draft, State
from exporter.store import Batch, GroupRow, Snapshot, TradeKey, TradeQuery
from exporter.telemetry import Telemetry
from exporter.textformat import parse_text
from exporter.writer import MAX_BATCH, Writer, restore
from tests.fakes.store import FakeStore


def push(job: str, body: bytes, *, replace: bool = True, limit: int = 1000) -> PushGroup:
    key, parsed = group_key({"job": job}), parse_text(body)
    layout = Layout.of(parsed, {f.name: compile_family(f, key.labels) for f in parsed.families})
    return PushGroup(key, layout, parsed.values, replace, None, limit)


def trade(trade_id: str, qty: float = 1.0) -> TradeIn:
    return TradeIn(trade_id, 1.0, "scalp", "BTC", "buy", qty, 10.0, 0.0)


class Bench:
    """A writer on a fake store, its clock standing still."""

    def __init__(self, store: FakeStore, capacity: int = 100) -> None:
        self.store = store
        self.state = State(Index())
        self.writer = Writer(
            self.state, store, Telemetry("t", ""), now=lambda: 5.0, clock=lambda: 0.0, capacity=capacity
        )

    async def together(self, *operations: Operation) -> list[Any]:
        """Answers of operations that wait at the same time."""
        return await asyncio.gather(*(self.writer.submit(o) for o in operations), return_exceptions=True)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        async def whole() -> Any:
            await self.writer.start()
            try:
                return await work
            finally:
                await self.writer.stop()

        return asyncio.run(whole())

    def shown(self) -> dict[str, list[bytes]]:
        return {name: self.state.bodies(name) for name in sorted(self.state.visible)}


def test_what_waits_together_is_committed_together() -> None:
    """Many operations are one commit, and a group pushed often in it is written once, as it was last."""
    bench = Bench(FakeStore())
    bench.run(bench.together(*(push("a", b"m %d\n" % n) for n in range(10)), push("b", b"m 5\n")))
    assert len(bench.store.commits) == 1
    assert set(bench.store.commits[0].groups) == {'[["job","a"]]', '[["job","b"]]'}
    assert bench.shown() == {"m": [b'm{instance="",job="a"} 9\n', b'm{instance="",job="b"} 5\n']}


def test_a_failed_commit_changes_nothing_and_answers_so() -> None:
    """Every operation of the batch gets CommitFailed; state and index are as before; the next batch works."""
    bench = Bench(FakeStore())

    async def work() -> None:
        await bench.together(push("a", b"# TYPE m gauge\nm 1\n"))
        before = bench.shown()
        bench.store.failing = True
        answers = await bench.together(
            push("a", b"# TYPE m counter\nm 2\nextra 1\n"),
            push("b", b"new 1\n"),
            PushEngine(MetricsIn(equity_usd=1.0), 1, 1000, ""),
            RecordTrades([trade("x")], 1000),
            SetWeights(WeightsIn({"scalp": 0.5}), None, "", 1000),
        )
        assert [type(answer) for answer in answers] == [CommitFailed] * 5
        assert bench.shown() == before
        assert bench.state.weights.version == 0
        assert bench.state.engines == {}
        bench.store.failing = False
        # Were the index not rolled back, these would collide with what was never there.
        retried = await bench.together(
            push("c", b"# TYPE m gauge\nm 3\n"),
            push("d", b"# TYPE new gauge\nnew 1\n"),
            RecordTrades([trade("x")], 1000),
        )
        assert retried == [1, 1, {"accepted": 1, "duplicates": 0}]

    bench.run(work())


def test_nothing_is_shown_or_answered_before_its_commit() -> None:
    """While the disk is busy a scrape shows the old state, and no answer is given."""
    gate, entered = threading.Event(), threading.Event()

    class Slow(FakeStore):
        def commit(self, batch: Batch, revision: int) -> None:
            entered.set()
            gate.wait()
            super().commit(batch, revision)

    bench = Bench(Slow())

    async def work() -> None:
        answer = asyncio.ensure_future(bench.writer.submit(push("a", b"m 1\n")))
        await asyncio.to_thread(entered.wait)
        assert not answer.done()
        assert bench.shown() == {}
        gate.set()
        await answer
        assert bench.shown() == {"m": [b'm{instance="",job="a"} 1\n']}

    bench.run(work())


def test_operations_of_a_batch_see_each_other_in_order() -> None:
    """A trade twice in one batch counts once; a conflict refuses its own operation only."""
    bench = Bench(FakeStore())
    answers = bench.run(
        bench.together(
            RecordTrades([trade("x")], 1000),
            RecordTrades([trade("x"), trade("y")], 1000),
            RecordTrades([trade("z"), trade("x", qty=2.0)], 1000),
            push("a", b"m 1\n"),
            DeleteGroup(group_key({"job": "a"})),
            push("b", b'm{job="b"} 1\n'),
        )
    )
    assert answers[0] == {"accepted": 1, "duplicates": 0}
    assert answers[1] == {"accepted": 1, "duplicates": 1}
    assert isinstance(answers[2], Conflict)
    assert answers[4] is True
    assert bench.shown() == {"m": [b'm{instance="",job="b"} 1\n']}
    assert bench.state.trade_seq == 2


def test_more_than_the_queue_holds_is_refused_at_once() -> None:
    """A full queue answers instead of growing."""
    bench = Bench(FakeStore(), capacity=3)
    answers = bench.run(bench.together(*(push("a", b"m 1\n") for _ in range(5))))
    assert [type(answer) for answer in answers] == [int, int, int, CommitFailed, CommitFailed]


def test_a_mistake_in_one_operation_leaves_nobody_without_an_answer() -> None:
    """An unexpected exception refuses its own operation, and the writer goes on."""

    class Broken:
        trade_keys = ()

        def plan(self, draft: Draft) -> None:
            raise RuntimeError("a bug")

    bench = Bench(FakeStore())

    async def work() -> None:
        answers = await bench.together(push("a", b"m 1\n"), Broken(), push("a", b"m 2\n"))
        assert [answers[0], type(answers[1]), answers[2]] == [1, CommitFailed, 1]
        assert bench.shown() == {"m": [b'm{instance="",job="a"} 2\n']}
        assert await bench.together(push("a", b"m 1\n")) == [1]

    bench.run(work())


@pytest.mark.parametrize("shared", [False, True])
def test_a_batch_that_was_begun_is_ended_whatever_happens(shared: bool) -> None:
    """A mistake after begin() does not leave the store begun: the next batch could not begin."""

    class Begun(FakeStore):
        begun = False

        def begin(self, seen: int, trades: Collection[TradeKey]) -> tuple[Snapshot, dict[TradeKey, Trade]]:
            assert not self.begun
            self.begun = True
            return super().begin(seen, trades)

        def commit(self, batch: Batch, revision: int) -> None:
            super().commit(batch, revision)
            self.begun = False

        def abandon(self) -> None:
            self.begun = False

    class Broken:
        trade_keys = (("default", "x"),)

        def plan(self, draft: Draft) -> None:
            raise RuntimeError("a bug")

    store = Begun()
    store.shared = shared
    bench = Bench(store)

    async def work() -> None:
        assert [type(answer) for answer in await bench.together(Broken())] == [CommitFailed]
        assert not store.begun
        assert await bench.together(RecordTrades([trade("x")], 1000)) == [{"accepted": 1, "duplicates": 0}]

    bench.run(work())


def test_the_series_limit_holds_over_all_groups() -> None:
    """One series too many is refused with the limit's name; what is there may still be replaced."""
    bench = Bench(FakeStore())
    answers = bench.run(
        bench.together(
            push("a", b"m 1\nn 1\n", limit=3),
            push("b", b"m 1\nn 1\n", limit=3),
            push("a", b"m 2\nn 2\n", limit=3),
            push("b", b"m 1\n", limit=3),
        )
    )
    assert isinstance(answers[1], LimitReached)
    assert "DECK_MAX_SERIES is 3" in str(answers[1])
    assert [answers[0], answers[2], answers[3]] == [2, 2, 1]


class Choosy(FakeStore):
    """A store that has no place for groups whose id says so."""

    tries = 0

    def commit(self, batch: Batch, revision: int) -> None:
        self.tries += 1
        if any("unstorable" in gid for gid in batch.groups):
            raise Unstorable("it is too long")
        super().commit(batch, revision)


@pytest.mark.parametrize("guilty", [{0}, {13}, {31}, {5, 6, 20}, set(range(32))])
def test_what_no_database_takes_spoils_no_other_operation(guilty: set[int]) -> None:
    """It alone is refused, for good; its neighbours are committed in their order, trades counted once."""
    store = Choosy()
    bench = Bench(store)
    asked: list[Operation] = []
    for n in range(32):
        asked.append(push(f"unstorable{n}" if n in guilty else "a", b"m %d\n" % n))
        asked.append(RecordTrades([trade(str(n)), trade(str(max(n - 1, 0)))], 1000))

    async def work() -> None:
        answers = await bench.together(*asked)
        assert {n for n in range(32) if isinstance(answers[2 * n], Invalid)} == guilty
        assert all(answer.code == "unstorable" for answer in answers if isinstance(answer, Invalid))
        assert answers[1::2] == [{"accepted": 1, "duplicates": 1}] * 32
        last = max(set(range(32)) - guilty, default=None)
        assert bench.shown() == ({} if last is None else {"m": [b'm{instance="",job="a"} %d\n' % last]})
        assert bench.state.trade_seq == len(store.read_trades(TradeQuery())) == 32
        assert bench.state.revision == len(store.commits)

    bench.run(work())


def test_one_operation_at_fault_in_a_full_batch_is_found_in_few_commits() -> None:
    """A thousand that wait behind it do not wait for a thousand commits."""
    store = Choosy()
    bench = Bench(store, capacity=MAX_BATCH)
    pushes = (
        push(f"unstorable{n}" if n == 700 else f"a{n}", b"m 1\n", limit=10**6) for n in range(MAX_BATCH)
    )
    answers = bench.run(bench.together(*pushes))
    assert [n for n, answer in enumerate(answers) if answer != 1] == [700]
    assert store.tries < 40


def test_a_removed_group_does_not_take_its_twin_along() -> None:
    """Of groups that differ in empty labels only one is known, whichever is told of first."""
    gone, there = (group_key({"job": "h", name: ""}) for name in "yz")
    rows = {key.id: GroupRow(key.id, b"m 1\n", None, 1.0, 0.0, None) for key in (gone, there)}
    state = State(Index())
    restore(state, Snapshot(revision=1, groups={gone.id: rows[gone.id]}))
    restore(state, Snapshot(revision=3, groups={there.id: rows[there.id], gone.id: None}))
    assert state.hollow == {there.bare: there.id}
    # Stored side by side by an older version.
    state = State(Index())
    restore(state, Snapshot(revision=1, groups={**rows}))
    draft = Draft(state, 1.0)
    assert DeleteGroup(gone).plan(draft)
    assert draft.twin(gone) == there.id
    draft.apply(2)
    assert state.hollow == {there.bare: there.id}


def test_what_waits_at_the_end_is_committed() -> None:
    """stop() answers what is queued, then closes the store; later operations are refused."""
    bench = Bench(FakeStore())

    async def work() -> None:
        waiting = asyncio.ensure_future(bench.writer.submit(push("a", b"m 1\n")))
        await asyncio.sleep(0)
        await bench.writer.stop()
        assert await waiting == 1
        assert bench.store.closed
        with pytest.raises(CommitFailed):
            await bench.writer.submit(push("a", b"m 1\n"))

    async def whole() -> None:
        await bench.writer.start()
        await work()

    asyncio.run(whole())


def test_a_writer_that_dies_answers_who_waits_and_refuses_who_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """No push hangs on a writer that is no more: each gets CommitFailed."""
    bench = Bench(FakeStore())

    async def work() -> None:
        async def broken(_batch: Any) -> None:
            raise RuntimeError("a mistake of ours")

        monkeypatch.setattr(bench.writer, "_take", broken)
        answers = await asyncio.wait_for(bench.together(push("a", b"m 1\n"), push("b", b"m 1\n")), 10)
        assert [str(answer) for answer in answers] == ["the writer has ended"] * 2
        with pytest.raises(CommitFailed, match="closing"):
            await bench.writer.submit(push("c", b"m 1\n"))

    with pytest.raises(RuntimeError, match="a mistake of ours"):
        bench.run(work())


def test_a_store_taken_over_whole_is_a_change() -> None:
    """Its numbers may be those of before, and what they number another past."""
    state = State(Index())
    before = state.shown
    restore(state, Snapshot(whole=True))
    assert state.shown != before
    before = state.shown
    restore(state, Snapshot())
    assert state.shown == before
