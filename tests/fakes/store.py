"""The store in memory: keeps the promises of exporter.store, and fails when told to."""

from __future__ import annotations

from collections.abc import Collection

from exporter.errors import CommitFailed
from exporter.records import BreakerChange, BreakerDoc, EngineDoc, Totals, Trade, WeightsDoc
from exporter.store import KEPT_COMMITS, Batch, GroupRow, Snapshot, TradeKey, TradeQuery


class FakeStore:
    """Each record with the revision that wrote it.

    Attributes:
        failing: Commits raise CommitFailed while it is set.
        commits: Batches that were taken.
    """

    shared = False

    def __init__(self, kept_commits: int = KEPT_COMMITS) -> None:
        self.failing = False
        self.kept_commits = kept_commits
        self._swept_to = 0
        self.commits: list[Batch] = []
        self.closed = False
        self._revision = self._deck_revision = 0
        self._groups: dict[str, tuple[int, GroupRow | None]] = {}
        self._engines: dict[str, tuple[int, EngineDoc | None]] = {}
        self._totals: dict[tuple[str, str], tuple[int, Totals]] = {}
        self._breakers: dict[tuple[str, str], tuple[int, BreakerDoc]] = {}
        self._trades: dict[TradeKey, Trade] = {}
        self._history: list[BreakerChange] = []
        self._weights: list[tuple[int, WeightsDoc]] = []

    def load(self) -> Snapshot:
        self._groups = {k: v for k, v in self._groups.items() if v[1] is not None}
        return self.changes_since(-1)

    def newest_revision(self) -> int:
        return self._revision

    def changes_since(self, seen: int) -> Snapshot:
        whole = seen < self._swept_to
        seen = -1 if whole else seen
        weights = [doc for revision, doc in self._weights if revision > seen]
        return Snapshot(
            whole=whole,
            revision=self._revision,
            deck_revision=self._deck_revision,
            groups={k: doc for k, (r, doc) in self._groups.items() if r > seen},
            engines={k: doc for k, (r, doc) in self._engines.items() if r > seen},
            totals={k: doc for k, (r, doc) in self._totals.items() if r > seen},
            breakers={k: doc for k, (r, doc) in self._breakers.items() if r > seen},
            weights=weights[-1] if weights else None,
            trade_seq=max((trade.seq for trade in self._trades.values()), default=0),
            history_seq=max((change.seq for change in self._history), default=0),
        )

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
        self._groups.update({k: (revision, row) for k, row in batch.groups.items()})
        self._engines.update({k: (revision, doc) for k, doc in batch.engines.items()})
        self._totals.update({k: (revision, doc) for k, doc in batch.totals.items()})
        self._breakers.update({k: (revision, doc) for k, doc in batch.breakers.items()})
        self._trades.update({(trade.engine, trade.trade_id): trade for trade in batch.trades})
        self._history += batch.history
        self._weights += [(revision, doc) for doc in batch.weights]
        self._sweep(revision - self.kept_commits)

    def _sweep(self, old: int) -> None:
        old_groups = [k for k, (r, row) in self._groups.items() if row is None and r <= old]
        old_engines = [k for k, (r, doc) in self._engines.items() if doc is None and r <= old]
        for gone in old_groups:
            del self._groups[gone]
        for gone in old_engines:
            del self._engines[gone]
        if old_groups or old_engines:
            self._swept_to = old

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
        found = [doc for _, doc in reversed(self._weights) if before is None or doc.version < before]
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
