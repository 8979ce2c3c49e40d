"""The store's protocol: what the rest of the service may count on.

Pure.  `commit` is the only way anything changes.  It is atomic and, when it returns, durable as far as the
setting DECK_DURABILITY says; when it raises, nothing of the batch is there now or after a restart.  Commits
are ordered: each has a revision one above the last.  All methods are called from one thread, the writer's,
apart from those of StoreReader, which any thread may call.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from exporter.records import BreakerChange, BreakerDoc, EngineDoc, Totals, Trade, WeightsDoc

__all__ = ["KEPT_COMMITS", "Batch", "GroupRow", "Snapshot", "Store", "StoreReader", "TradeKey", "TradeQuery"]

KEPT_COMMITS = 10_000
"""A removed group is told of for so many commits (JC): seconds at the highest load; a replica that follows is
a fifth of a second behind.  Who is further behind reads everything anew."""

TradeKey = tuple[str, str]
"""(engine, trade id): what a trade is counted once by."""


class GroupRow(msgspec.Struct, frozen=True, array_like=True):
    """A pushed group as kept.

    Attributes:
        id: Its grouping labels as JSON.
        body: Its families in text format, without push times; of labels that the id has too, the id's count.
        native: Families that text cannot hold, as delimited protobuf; they replace those of the same name.
    """

    id: str
    body: bytes
    native: bytes | None
    push_time: float
    failure_time: float
    ttl_seconds: float | None


@dataclass(slots=True)
class Batch:
    """What one commit writes.

    Attributes:
        groups: By id; None removes.
        engines: By name; None removes.
    """

    groups: Mapping[str, GroupRow | None] = field(default_factory=dict)
    engines: Mapping[str, EngineDoc | None] = field(default_factory=dict)
    totals: Mapping[tuple[str, str], Totals] = field(default_factory=dict)
    breakers: Mapping[tuple[str, str], BreakerDoc] = field(default_factory=dict)
    trades: Collection[Trade] = ()
    history: Collection[BreakerChange] = ()
    weights: Collection[WeightsDoc] = ()
    touches_deck: bool = False


@dataclass(slots=True)
class Snapshot:
    """What is in the store; where `begin` gives it, only what others changed.

    Attributes:
        whole: It is everything: what is not in it is gone.
    """

    whole: bool = False
    revision: int = 0
    deck_revision: int = 0
    groups: dict[str, GroupRow | None] = field(default_factory=dict)
    engines: dict[str, EngineDoc | None] = field(default_factory=dict)
    totals: dict[tuple[str, str], Totals] = field(default_factory=dict)
    breakers: dict[tuple[str, str], BreakerDoc] = field(default_factory=dict)
    weights: WeightsDoc | None = None
    trade_seq: int = 0
    history_seq: int = 0


@dataclass(frozen=True, slots=True)
class TradeQuery:
    """Which trades to read back; `after` is a trade's seq, `since` included, `until` not."""

    engine: str | None = None
    strategy: str | None = None
    since: float | None = None
    until: float | None = None
    after: int = 0
    limit: int = 100


class StoreReader(Protocol):
    """Reading back what memory does not hold.  Any thread may call these; each may raise ReadFailed."""

    def newest_revision(self) -> int:
        """Number of the last commit, whoever made it."""
        ...

    def read_trades(self, query: TradeQuery) -> list[Trade]:
        """Trades in order of arrival, at most `limit`."""
        ...

    def read_weights(self, before: int | None, limit: int) -> list[WeightsDoc]:
        """Versions of the weights, newest first, below version `before`."""
        ...

    def read_breaker_history(
        self, breaker: str | None, before: int | None, limit: int
    ) -> list[BreakerChange]:
        """Changes of breakers, newest first, below sequence number `before`."""
        ...


class Store(StoreReader, Protocol):
    """The durable state.  One thread calls these."""

    @property
    def shared(self) -> bool:
        """Whether other processes write to it too; then `begin` must come before each commit."""
        ...

    def load(self) -> Snapshot:
        """Everything a restart needs in memory."""
        ...

    def begin(self, seen: int, trades: Collection[TradeKey]) -> tuple[Snapshot, dict[TradeKey, Trade]]:
        """Start a batch: what others committed after revision `seen`, and which of these trades are known.

        On a shared store no other process can commit until `commit` or `abandon`.  The snapshot is the whole
        if removals since `seen` are forgotten, or if the store may have lost commits that were seen; then
        nothing is begun: to take it over takes long, so begin again after it.  Of any other store the
        snapshot is empty: there are no others.
        """
        ...

    def commit(self, batch: Batch, revision: int) -> None:
        """Make the batch durable under this revision, one above the last.

        Raises:
            Unstorable: The database takes no such data; nothing of it is there.
            CommitFailed: It is not durable and nothing of it is there.
        """
        ...

    def abandon(self) -> None:
        """End a batch that was begun without writing anything."""
        ...

    def check(self) -> list[str]:
        """Audit the whole store; each finding is one line, none means it is sound."""
        ...

    def close(self) -> None:
        """Let go of it; nothing that was committed depends on this being called."""
        ...
