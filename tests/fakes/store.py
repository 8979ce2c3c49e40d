"""The store in memory: keeps the promises of exporter.store, and fails when told to."""

from __future__ import annotations

from collections.abc import Collection

from exporter.errors import CommitFailed
from exporter.records import BreakerChange, BreakerDoc, EngineDoc, Totals, Trade, WeightsDoc
from exporter.store import Batch, GroupRow, Snapshot, TradeKey, TradeQuery


class FakeStore:
    """The newest of each record.

    Attributes:
        failing: Commits raise CommitFailed while it is set.
        commits: Batches that were taken.
    """

    def __init__(self) -> None:
        self.shared = False
        self.failing = False
        self.commits: list[Batch] = []
        self.closed = False
        self._revision = self._deck_revision = 0
        self._groups: dict[str, GroupRow | None] = {}
        self._engines: dict[str, EngineDoc | None] = {}
        self._totals: dict[tuple[str, str], Totals] = {}
        self._breakers: dict[tuple[str, str], BreakerDoc] = {}
        self._trades: dict[TradeKey, Trade] = {}
        self._history: list[BreakerChange] = []
        self._weights: list[WeightsDoc] = []

    def load(self) -> Snapshot:
        self._groups = {k: row for k, row in self._groups.items() if row is not None}
        return Snapshot(
            whole=True,
            revision=self._revision,
            deck_revision=self._deck_revision,
            groups=dict(self._groups),
            engines=dict(self._engines),
            totals=dict(self._totals),
            breakers=dict(self._breakers),
            weights=self._weights[-1] if self._weights else None,
            trade_seq=max((trade.seq for trade in self._trades.values()), default=0),
            history_seq=max((change.seq for change in self._history), default=0),
        )

    def newest_revision(self) -> int:
        return self._revision

    def begin(self, seen: int, trades: Collection[TradeKey]) -> tuple[Snapshot, dict[TradeKey, Trade]]:
        return Snapshot(revision=seen), {key: self._trades[key] for key in trades if key in self._trades}

    def commit(self, batch: Batch, revision: int) -> None:
        if self.failing:
            raise CommitFailed("told to fail")
        if any((trade.engine, trade.trade_id) in self._trades for trade in batch.trades):
            raise CommitFailed("a trade is there already")
        self.commits.append(batch)
        self._revision = revision
        if batch.touches_deck:
            self._deck_revision = revision
        self._groups.update(batch.groups)
        self._engines.update(batch.engines)
        self._totals.update(batch.totals)
        self._breakers.update(batch.breakers)
        self._trades.update({(trade.engine, trade.trade_id): trade for trade in batch.trades})
        self._history += batch.history
        self._weights += batch.weights

    def abandon(self) -> None:
        """There is nothing to let go of."""

    def read_trades(self, query: TradeQuery) -> list[Trade]:
        found = [
            trade
            for trade in sorted(self._trades.values(), key=lambda trade: trade.seq)
            if trade.seq > query.after
            and query.engine in (None, trade.engine)
            and query.strategy in (None, trade.strategy)
            and (query.since is None or trade.ts >= query.since)
            and (query.until is None or trade.ts < query.until)
        ]
        return found[: query.limit]

    def read_weights(self, before: int | None, limit: int) -> list[WeightsDoc]:
        found = [doc for doc in reversed(self._weights) if before is None or doc.version < before]
        return found[:limit]

    def read_breaker_history(
        self, breaker: str | None, before: int | None, limit: int
    ) -> list[BreakerChange]:
        found = [
            change
            for change in reversed(self._history)
            if breaker in (None, change.breaker) and (before is None or change.seq < before)
        ]
        return found[:limit]

    def check(self) -> list[str]:
        return []

    def close(self) -> None:
        self.closed = True
