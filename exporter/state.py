"""What is committed, and a draft of what comes next.

The writer validates a batch against a Draft, which reads through to the State; only after the store has
committed the batch does the State take the draft over.  A scrape reads the State and so never sees what is
not durable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from exporter.families import Chunk, FamilyShape
from exporter.grouping import GroupKey
from exporter.index import Index
from exporter.layout import Layout
from exporter.records import (
    BREAKERS,
    DEFAULT_ENGINE,
    EVERY_ENGINE,
    BreakerChange,
    BreakerDoc,
    EngineDoc,
    Totals,
    Trade,
    WeightsDoc,
)

__all__ = ["Draft", "Group", "State", "VisibleFamily"]


class Group:
    """One group: its families, and when it was pushed; immutable from outside.

    A group that one push made whole is given as that push's layout and numbers, and its lines are put
    together when somebody first asks: of many pushes in one batch only the last is ever asked for.

    Attributes:
        key: Its grouping key.
        layout: The layout of the push that made all of it, if one push did.
        ttl_seconds: Its own time to live; None is the service's.
        series: Number of sample lines.
    """

    __slots__ = ("_chunks", "_values", "failure_time", "key", "layout", "push_time", "series", "ttl_seconds")

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
        self._values = values
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
            if self.layout is None or self._values is None:
                return {}
            self._chunks = self.layout.fill(self._values)
            self._values = None
        return self._chunks

    @property
    def shapes(self) -> Mapping[str, FamilyShape]:
        """Its families without their numbers."""
        if self.layout is not None:
            return self.layout.shapes
        return {name: chunk.shape for name, chunk in self.chunks.items()}

    def with_times(self, *, failure_time: float) -> Group:
        """The same group after a push was refused."""
        return Group(
            self.key,
            self.chunks,
            layout=self.layout,
            push_time=self.push_time,
            failure_time=failure_time,
            ttl_seconds=self.ttl_seconds,
            series=self.series,
        )


class VisibleFamily:
    """One family over all groups, as a scrape shows it."""

    __slots__ = ("chunks", "helps", "kind")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.chunks: dict[str, Chunk] = {}
        self.helps: dict[str, int] = {}

    @property
    def help(self) -> str | None:
        """The help text; groups may differ, the least in the alphabet is shown, lest it flap."""
        return min(self.helps) if self.helps else None


@dataclass(slots=True)
class State:
    """Everything that is committed.

    Attributes:
        revision: Number of the last commit; `deck_revision` of the last one that changed what /status shows
            apart from pushed groups.
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
    revision: int = 0
    deck_revision: int = 0

    def __post_init__(self) -> None:
        for engine in (EVERY_ENGINE, DEFAULT_ENGINE):
            for name in BREAKERS:
                self.breakers.setdefault((engine, name), BreakerDoc())

    def engine_names(self) -> set[str]:
        """Every engine that was ever heard of, the default one included."""
        return {engine for engine, _ in self.breakers if engine != EVERY_ENGINE}

    def put_group(self, group_id: str, group: Group | None) -> None:
        """Show a group as it now is, or no longer."""
        old = self.groups.get(group_id)
        old_chunks = old.chunks if old else {}
        new_chunks = group.chunks if group else {}
        for name, chunk in old_chunks.items():
            kept = new_chunks.get(name)
            if kept is None or kept.shape is not chunk.shape:
                self._hide(name, group_id, chunk)
        for name, chunk in new_chunks.items():
            if old_chunks.get(name) is not chunk:
                self._show(name, group_id, chunk)
        self.series += (group.series if group else 0) - (old.series if old else 0)
        if group is None:
            self.groups.pop(group_id, None)
        else:
            self.groups[group_id] = group

    def _hide(self, name: str, group_id: str, chunk: Chunk) -> None:
        family = self.visible[name]
        del family.chunks[group_id]
        if chunk.shape.help is not None:
            family.helps[chunk.shape.help] -= 1
            if not family.helps[chunk.shape.help]:
                del family.helps[chunk.shape.help]
        if not family.chunks:
            del self.visible[name]

    def _show(self, name: str, group_id: str, chunk: Chunk) -> None:
        family = self.visible.get(name)
        if family is None:
            family = self.visible[name] = VisibleFamily(chunk.shape.kind)
        if group_id not in family.chunks and chunk.shape.help is not None:
            family.helps[chunk.shape.help] = family.helps.get(chunk.shape.help, 0) + 1
        family.kind = chunk.shape.kind
        family.chunks[group_id] = chunk


class Draft:
    """The next state while its batch is being validated: what differs, over what is committed.

    The index is shared with the State and written at once; `rollback` undoes that.
    """

    def __init__(self, state: State, now: float) -> None:
        self.state = state
        self.now = now
        self.index_mark = state.index.mark()
        self.groups: dict[str, Group | None] = {}
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
        self.wiped = False

    def group(self, group_id: str) -> Group | None:
        """The group as it will be."""
        if group_id in self.groups:
            return self.groups[group_id]
        return self.state.groups.get(group_id)

    def put_group(self, group_id: str, group: Group | None) -> None:
        """Let the group become this."""
        old = self.group(group_id)
        self.series += (group.series if group else 0) - (old.series if old else 0)
        self.groups[group_id] = group

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
        return not (self.groups or self.touches_deck or self.history or self.wiped)

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
        state.trade_seq, state.history_seq = self.trade_seq, self.history_seq
        state.revision = revision
        if self.touches_deck:
            state.deck_revision = revision
        state.index.commit(self.index_mark)
