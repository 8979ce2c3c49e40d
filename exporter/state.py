"""What is committed, and a draft of what comes next.

The writer validates a batch against a Draft, which reads through to the State; only after the store has
committed the batch does the State take the draft over.  A scrape reads the State and so never sees what is
not durable.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from exporter.families import Chunk, FamilyShape, group_text
from exporter.grouping import GroupKey
from exporter.index import Index
from exporter.layout import Layout
from exporter.records import (
    BREAKERS,
    DEFAULT_ENGINE,
    EVERY_ENGINE,
    PNL_BUCKETS,
    RESULTS,
    SIDES,
    SOURCES,
    BreakerChange,
    BreakerDoc,
    EngineDoc,
    Totals,
    Trade,
    WeightsDoc,
)

__all__ = ["Draft", "Group", "State", "VisibleFamily"]


TOTALS_SERIES = len(SIDES) * len(RESULTS) + 5 + len(PNL_BUCKETS) + 3
"""Series of one strategy's totals: trades by side and result, five sums, and the PnL's histogram."""
BREAKER_SERIES = len(SOURCES) + 2
"""Series of one breaker of one engine."""


def is_extra_breaker(key: tuple[str, str]) -> bool:
    """Whether a push made it, and it is shown: not a default engine's own, not what engines start from."""
    engine, name = key
    return engine != EVERY_ENGINE and not (engine == DEFAULT_ENGINE and name in BREAKERS)


class Group:
    """One group: its families, and when it was pushed; immutable from outside.

    A group that one push made whole is given as that push's layout and numbers, and its lines are put
    together when somebody first asks: of many pushes in one batch only the last is ever asked for.  The
    numbers are kept as one text: to let go of many small objects that lie about in memory costs more.

    Attributes:
        key: Its grouping key.
        layout: The layout of the push that made all of it, if one push did.
        ttl_seconds: Its own time to live; None is the service's.
        series: Number of sample lines.
    """

    __slots__ = ("_chunks", "_numbers", "failure_time", "key", "layout", "push_time", "series", "ttl_seconds")

    def __init__(
        self,
        key: GroupKey,
        chunks: Mapping[str, Chunk] | None = None,
        *,
        layout: Layout | None = None,
        values: list[bytes] | None = None,
        push_time: float = 0.0,
        failure_time: float = 0.0,
        ttl_seconds: float | None = None,
        series: int | None = None,
    ) -> None:
        self.key = key
        self.layout = layout
        self.push_time = push_time
        self.failure_time = failure_time
        self.ttl_seconds = ttl_seconds
        self._chunks = chunks
        self._numbers = None if values is None else b"\n".join(values)
        if series is None:
            series = (
                sum(len(chunk.shape.prefixes) for chunk in (chunks or {}).values())
                if layout is None
                else layout.series
            )
        self.series = series

    @property
    def chunks(self) -> Mapping[str, Chunk]:
        """Its families by name, ready for a scrape."""
        if self._chunks is None:
            values = self._values
            self._chunks = self.layout.fill(values) if self.layout and values is not None else {}
            # The lines have the numbers now; keeping both would cost a third of the memory.
            self._numbers = None
        return self._chunks

    @property
    def _values(self) -> list[bytes] | None:
        return None if self._numbers is None else self._numbers.split(b"\n")

    @property
    def text(self) -> bytes:
        """All of it as text with HELP and TYPE lines, as the store keeps it."""
        if self.layout is not None and (values := self._values) is not None:
            return self.layout.text(values)
        return group_text(self.chunks.values())

    @property
    def native(self) -> bytes | None:
        """Its families that text cannot hold, as length-delimited protobuf."""
        if self._chunks is None:
            return None
        return b"".join([chunk.native for chunk in self._chunks.values() if chunk.native]) or None

    @property
    def shapes(self) -> Mapping[str, FamilyShape]:
        """Its families without their numbers."""
        if self.layout is not None:
            return self.layout.shapes
        return {name: chunk.shape for name, chunk in self.chunks.items()}

    def is_like(self, old: Group) -> bool:
        """Whether it differs from what it was in its numbers and times only, as from push to push."""
        return self.layout is old.layout and self.layout is not None and self.ttl_seconds == old.ttl_seconds

    def with_times(self, *, failure_time: float) -> Group:
        """The same group after a push was refused."""
        return Group(
            self.key,
            self._chunks,
            layout=self.layout,
            values=self._values,
            push_time=self.push_time,
            failure_time=failure_time,
            ttl_seconds=self.ttl_seconds,
            series=self.series,
        )


class VisibleFamily:
    """One family over all groups: which groups have it, and what its header says.

    Attributes:
        shapes: By group id.
    """

    __slots__ = ("_helps", "kind", "shapes")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.shapes: dict[str, FamilyShape] = {}
        self._helps: dict[str, int] = {}

    @property
    def help(self) -> str | None:
        """The help text; groups may differ, the least in the alphabet is shown, lest it flap."""
        return min(self._helps) if self._helps else None

    def add(self, group_id: str, shape: FamilyShape) -> None:
        """A group has the family now."""
        self.kind = shape.kind
        self.shapes[group_id] = shape
        if shape.help is not None:
            self._helps[shape.help] = self._helps.get(shape.help, 0) + 1

    def drop(self, group_id: str) -> None:
        """A group has it no longer."""
        shape = self.shapes.pop(group_id)
        if shape.help is not None:
            self._helps[shape.help] -= 1
            if not self._helps[shape.help]:
                del self._helps[shape.help]


@dataclass(slots=True)
class State:
    """Everything that is committed.

    Attributes:
        revision: Number of the last commit; `deck_revision` of the last one that changed what /status shows
            apart from pushed groups.
        series: Series of pushed groups; `computed` of what the deck's records add to the exposition.
        mortal: Groups with a time to live of their own.
        hollow: Groups with an empty label, by their id without it.
        restored: How often the whole of a store was taken over.
        unreadable: Groups of the store that could not be read and are not shown.
    """

    index: Index
    groups: dict[str, Group] = field(default_factory=dict)
    visible: dict[str, VisibleFamily] = field(default_factory=dict)
    engines: dict[str, EngineDoc] = field(default_factory=dict)
    totals: dict[tuple[str, str], Totals] = field(default_factory=dict)
    breakers: dict[tuple[str, str], BreakerDoc] = field(default_factory=dict)
    weights: WeightsDoc = field(default_factory=WeightsDoc)
    trade_seq: int = 0
    history_seq: int = 0
    series: int = 0
    computed: int = 0
    mortal: set[str] = field(default_factory=set)
    hollow: dict[str, str] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)
    revision: int = 0
    deck_revision: int = 0
    restored: int = 0

    def __post_init__(self) -> None:
        self.forget_deck()

    def forget_deck(self) -> None:
        """Become what a deck is that nobody pushed to, pushed groups apart."""
        self.unreadable.clear()
        self.engines.clear()
        self.totals.clear()
        self.breakers.clear()
        self.weights = WeightsDoc()
        self.trade_seq = self.history_seq = 0
        for engine in (EVERY_ENGINE, DEFAULT_ENGINE):
            for name in BREAKERS:
                self.breakers[engine, name] = BreakerDoc()

    @property
    def all_series(self) -> int:
        """Every series that pushes made: what the limit counts."""
        return self.series + self.computed

    @property
    def shown(self) -> tuple[int, int, int, int]:
        """Changes with what any /status shows: the deck's revision, how many groups, how many series.

        And with each taking over of a whole store, which may have another past under the same numbers.
        """
        return self.deck_revision, len(self.groups), self.all_series, self.restored

    def next_end(self) -> float:
        """When the first hold of a breaker ends by itself, epoch seconds; infinity if none does."""
        holds = (hold for doc in self.breakers.values() for hold in doc.holds.values())
        return min((hold.until for hold in holds if hold.until is not None), default=math.inf)

    def count_computed(self) -> int:
        """Series of totals, breakers and shares; those that always exist are nobody's push."""
        return (
            TOTALS_SERIES * len(self.totals)
            + BREAKER_SERIES * sum(map(is_extra_breaker, self.breakers))
            + len(self.weights.weights)
        )

    def engine_names(self) -> set[str]:
        """Every engine that was ever heard of, the default one included."""
        return {engine for engine, _ in self.breakers if engine != EVERY_ENGINE}

    def put_group(self, group_id: str, group: Group | None) -> None:
        """Show a group as it now is, or no longer."""
        self.unreadable.discard(group_id)
        old = self.groups.get(group_id)
        if group is not None and old is not None and group.is_like(old):
            self.groups[group_id] = group
            return
        old_shapes = old.shapes if old else {}
        new_shapes = group.shapes if group else {}
        if old_shapes is not new_shapes:
            for name, shape in old_shapes.items():
                if new_shapes.get(name) is not shape:
                    self._hide(name, group_id)
            for name, shape in new_shapes.items():
                if old_shapes.get(name) is not shape:
                    self.visible.setdefault(name, VisibleFamily(shape.kind)).add(group_id, shape)
        self.series += (group.series if group else 0) - (old.series if old else 0)
        known = group or old
        if known is not None and known.key.hollow:
            if group is not None:
                self.hollow[known.key.bare] = group_id
            elif self.hollow.get(known.key.bare) == group_id:  # it may be its twin's by now
                del self.hollow[known.key.bare]
        if group is None:
            self.groups.pop(group_id, None)
        else:
            self.groups[group_id] = group
        if group is not None and group.ttl_seconds:
            self.mortal.add(group_id)
        else:
            self.mortal.discard(group_id)

    def _hide(self, name: str, group_id: str) -> None:
        family = self.visible[name]
        family.drop(group_id)
        if not family.shapes:
            del self.visible[name]

    def bodies(self, name: str) -> list[bytes]:
        """The sample lines of a family, group by group."""
        groups = self.groups
        return [groups[group_id].chunks[name].body for group_id in self.visible[name].shapes]


class Draft:
    """The next state while its batch is being validated: what differs, over what is committed.

    The index is shared with the State and written at once; `rollback` undoes that.
    """

    def __init__(self, state: State, now: float) -> None:
        self.state = state
        self.now = now
        self.index_mark = state.index.mark()
        self.groups: dict[str, Group | None] = {}
        self.texts: dict[str, bytes] = {}
        self.engines: dict[str, EngineDoc | None] = {}
        self.totals: dict[tuple[str, str], Totals] = {}
        self.breakers: dict[tuple[str, str], BreakerDoc] = {}
        self.trades: dict[tuple[str, str], Trade] = {}
        self.known_trades: Mapping[tuple[str, str], Trade] = {}
        self.history: list[BreakerChange] = []
        self.weights: list[WeightsDoc] = []
        self.trade_seq = state.trade_seq
        self.history_seq = state.history_seq
        self.series = state.series
        self.computed = state.computed
        self.group_count = len(state.groups)
        self.hollow: dict[str, str | None] = {}

    def group(self, group_id: str) -> Group | None:
        """The group as it will be."""
        if group_id in self.groups:
            return self.groups[group_id]
        return self.state.groups.get(group_id)

    def put_group(self, group_id: str, group: Group | None, text: bytes | None = None) -> None:
        """Let the group become this; `text` is what the store may keep of it, where that is known."""
        old = self.group(group_id)
        self.series += (group.series if group else 0) - (old.series if old else 0)
        self.group_count += (group is not None) - (old is not None)
        self.groups[group_id] = group
        if text is not None:
            self.texts[group_id] = text
        else:
            self.texts.pop(group_id, None)
        known = group or old
        if known is not None and known.key.hollow:
            bare = known.key.bare
            if group is not None:
                self.hollow[bare] = group_id
            elif self._hollow(bare) == group_id:
                self.hollow[bare] = None

    def twin(self, key: GroupKey) -> str | None:
        """Another group that differs from this one in empty labels only."""
        bare = key.bare
        if key.hollow and self.group(bare) is not None:
            return bare
        found = self._hollow(bare)
        return found if found != key.id else None

    def _hollow(self, bare: str) -> str | None:
        return self.hollow[bare] if bare in self.hollow else self.state.hollow.get(bare)

    def put_total(self, key: tuple[str, str], total: Totals) -> None:
        """Let the totals of an engine's strategy become these."""
        self.computed += TOTALS_SERIES * (self.total(key) is None)
        self.totals[key] = total

    def put_breaker(self, engine: str, name: str, doc: BreakerDoc) -> None:
        """Let a breaker become this."""
        if self.breaker(engine, name) is None and is_extra_breaker((engine, name)):
            self.computed += BREAKER_SERIES
        self.breakers[engine, name] = doc

    def put_weights(self, doc: WeightsDoc) -> None:
        """Let these shares be in force."""
        self.computed += len(doc.weights) - len(self.current_weights.weights)
        self.weights.append(doc)

    def group_ids(self) -> Iterator[str]:
        """Every group there will be."""
        yield from (gid for gid in self.state.groups if gid not in self.groups)
        yield from (gid for gid, group in self.groups.items() if group is not None)

    def engine(self, name: str) -> EngineDoc:
        """The engine's record as it will be."""
        found = self.engines[name] if name in self.engines else self.state.engines.get(name)
        return found or EngineDoc()

    def engine_names(self) -> set[str]:
        """Every engine there will be."""
        return self.state.engine_names() | {engine for engine, _ in self.breakers if engine != EVERY_ENGINE}

    def total(self, key: tuple[str, str]) -> Totals | None:
        """The totals of an engine's strategy as they will be."""
        return self.totals.get(key) or self.state.totals.get(key)

    def breaker(self, engine: str, name: str) -> BreakerDoc | None:
        """The breaker as it will be."""
        return self.breakers.get((engine, name)) or self.state.breakers.get((engine, name))

    def breaker_names(self) -> set[str]:
        """Every breaker there will be."""
        return {name for _, name in self.state.breakers} | {name for _, name in self.breakers}

    def trade(self, key: tuple[str, str]) -> Trade | None:
        """A trade of this batch or of the store; only ids announced before validation are found."""
        return self.trades.get(key) or self.known_trades.get(key)

    @property
    def current_weights(self) -> WeightsDoc:
        """The shares that will be in force."""
        return self.weights[-1] if self.weights else self.state.weights

    @property
    def touches_deck(self) -> bool:
        """Whether /status will show other deck values."""
        return bool(self.engines or self.totals or self.breakers or self.trades or self.weights)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.groups or self.touches_deck or self.history)

    def rollback(self) -> None:
        """Forget it all."""
        self.state.index.rollback(self.index_mark)

    def apply(self, revision: int) -> None:
        """Make it the committed state; called only after the store has it."""
        state = self.state
        for group_id, group in self.groups.items():
            state.put_group(group_id, group)
        for name, engine in self.engines.items():
            if engine is None:
                state.engines.pop(name, None)
            else:
                state.engines[name] = engine
        state.totals.update(self.totals)
        state.breakers.update(self.breakers)
        if self.weights:
            state.weights = self.weights[-1]
        state.computed = self.computed
        state.trade_seq, state.history_seq = self.trade_seq, self.history_seq
        state.revision = revision
        if self.touches_deck:
            state.deck_revision = revision
        state.index.commit(self.index_mark)
