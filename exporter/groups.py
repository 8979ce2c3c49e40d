"""Operations on pushed groups: push, delete, wipe.

Pure.  See exporter.operations for what an operation promises.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from exporter.catalogue import ENGINE_JOB
from exporter.errors import Inconsistent, LimitReached
from exporter.families import Chunk, FamilyShape, fill
from exporter.grouping import GroupKey
from exporter.layout import Layout
from exporter.state import Draft, Group
from exporter.store import TradeKey

__all__ = [
    "DeleteGroup",
    "NoTrades",
    "PushGroup",
    "Wipe",
    "check_groups",
    "check_room",
    "forget_engine",
    "remove_group",
]


class NoTrades:
    """An operation that concerns no trade."""

    trade_keys: Collection[TradeKey] = ()


@dataclass(slots=True)
class PushGroup(NoTrades):
    """A Pushgateway push, already read.

    Attributes:
        layout: The body's families; `values` the numbers.  Both None if `refusal` says why not.
        replace: PUT replaces the whole group, POST the families it names.
        refusal: Found while reading, after the body was understood: stamps the failure time.
        text: The body, if reading it again gives the layout and the numbers.
    """

    key: GroupKey
    layout: Layout | None
    values: list[bytes]
    replace: bool
    ttl_seconds: float | None
    series_limit: int
    native: Mapping[str, bytes] | None = None
    refusal: Inconsistent | None = None
    text: bytes | None = None

    def plan(self, draft: Draft) -> int:
        """Number of samples pushed."""
        gid = self.key.id
        old = draft.group(gid)
        if old is None:
            check_alone(draft, self.key)
        try:
            group = self._group(draft, old)
        except Inconsistent:
            if old is not None:
                draft.put_group(gid, old.with_times(failure_time=draft.now))
            elif draft.group_count < self.series_limit:
                draft.put_group(gid, Group(self.key, {}, failure_time=draft.now))
            raise
        draft.put_group(gid, group, self.text if group.layout is self.layout else None)
        if self.replace:
            forget_engine(draft, self.key)
        return self.layout.series if self.layout else 0

    def _group(self, draft: Draft, old: Group | None) -> Group:
        if self.refusal is not None or self.layout is None:
            raise self.refusal or Inconsistent("nothing was read")
        check_groups(draft, old, self.series_limit)
        layout = self.layout
        failure_time = old.failure_time if old else 0.0
        ttl = self.ttl_seconds if self.ttl_seconds is not None else (old.ttl_seconds if old else None)
        whole = self.replace or old is None or not old.shapes
        if old is None or old.layout is not layout:
            old_shapes: Mapping[str, FamilyShape] = old.shapes if old else {}
            new_shapes = layout.shapes if whole else {**old_shapes, **layout.shapes}
            check_room(draft, old, sum(len(s.prefixes) for s in new_shapes.values()), self.series_limit)
            draft.state.index.replace(self.key.id, old_shapes, new_shapes)
            if not whole and old is not None:
                chunks = {**kept_chunks(old), **self._chunks(layout, draft.now)}
                return Group(
                    self.key, chunks, push_time=draft.now, failure_time=failure_time, ttl_seconds=ttl
                )
        return Group(
            self.key,
            self._chunks(layout) if self.native else None,
            layout=layout,
            values=self.values,
            push_time=draft.now,
            failure_time=failure_time,
            ttl_seconds=ttl,
        )

    def _chunks(self, layout: Layout, pushed_at: float | None = None) -> dict[str, Chunk]:
        native = self.native or {}
        return {
            name: Chunk(shape, fill(shape, self.values), native.get(name), pushed_at)
            for name, shape in layout.shapes.items()
        }


def kept_chunks(old: Group | None) -> dict[str, Chunk]:
    """Families that stay when others of their group are pushed: they are as old as they were."""
    if old is None:
        return {}
    return {
        name: chunk if chunk.pushed_at is not None else dataclasses.replace(chunk, pushed_at=old.push_time)
        for name, chunk in old.chunks.items()
    }


def check_alone(draft: Draft, key: GroupKey) -> None:
    """Refuse a new group that would be another's twin: its push times would stand twice on the page.

    Raises:
        Inconsistent: Without its empty labels it is another group, or an engine's own.
    """
    told = {name: value for name, value in key.labels if value}
    twin = draft.twin(key)
    if key.hollow and set(told) == {"job", "instance"} and told["job"] == ENGINE_JOB:
        twin = key.bare
    if twin is not None:
        raise Inconsistent(
            f"an empty label is no label to Prometheus: the group {key.id} would be the same as {twin}"
        )


def check_room(draft: Draft, old: Group | None, wanted: int, limit: int, computed: int = 0) -> None:
    """Refuse a group of `wanted` series, and as many more computed ones, if all would be over the limit.

    Raises:
        LimitReached: They would, and there are more of them than before.
    """
    more = wanted - (old.series if old else 0)
    stay = draft.computed + computed
    after = draft.series + more + stay
    if after > limit and max(more, computed) > 0:
        advice = "delete groups nobody pushes, or raise it"
        if stay:
            advice = (
                f"{stay} of them are of trades, breakers and shares, which stay when groups go: "
                f"raise it{', or delete groups nobody pushes' if draft.series else ''}"
            )
        raise LimitReached(f"{after} series after this push: DECK_MAX_SERIES is {limit}; {advice}")


def check_groups(draft: Draft, old: Group | None, limit: int) -> None:
    """Refuse a new group where there are as many as there may be series: each shows two times of its own.

    Raises:
        LimitReached: There are.
    """
    if old is None and draft.group_count >= limit:
        raise LimitReached(
            f"{draft.group_count + 1} groups after this push: DECK_MAX_SERIES is {limit}, for groups as for "
            "series; delete groups nobody pushes, or raise it"
        )


def forget_engine(draft: Draft, key: GroupKey) -> None:
    """Drop an engine's last values when its group was replaced or removed; trades and breakers stay."""
    if len(key.labels) != 2 or key.labels[1] != ("job", ENGINE_JOB):  # they are sorted by name
        return
    name, engine = key.labels[0]
    if name == "instance" and draft.engine(engine).pushed_at:
        draft.engines[engine] = None


@dataclass(slots=True)
class DeleteGroup(NoTrades):
    """Remove one group."""

    key: GroupKey

    def plan(self, draft: Draft) -> bool:
        """Whether there was one."""
        return remove_group(draft, self.key.id)


def remove_group(draft: Draft, gid: str) -> bool:
    """Remove a group if it is there, if only in the store."""
    old = draft.group(gid)
    if old is None:
        unreadable = gid in draft.state.unreadable
        if unreadable:
            draft.put_group(gid, None)
        return unreadable
    draft.state.index.replace(gid, old.shapes, {})
    draft.put_group(gid, None)
    forget_engine(draft, old.key)
    return True


@dataclass(slots=True)
class Wipe(NoTrades):
    """Remove every group."""

    def plan(self, draft: Draft) -> int:
        """How many there were."""
        gids = [*draft.group_ids(), *draft.state.unreadable]
        for gid in gids:
            remove_group(draft, gid)
        return len(gids)
