"""Consistency of all pushed families, kept rather than re-checked.

Pure.  The index knows each name's type and owners and each series' group, so a push is checked against its
own families only; the cost does not grow with the number of groups.  Changes are logged until a batch is
committed, so that a failed commit leaves no trace.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from exporter.errors import Inconsistent
from exporter.families import FamilyShape

__all__ = ["CHILDREN", "Index"]

CHILDREN = {
    "summary": ("_sum", "_count"),
    "histogram": ("_sum", "_count", "_bucket"),
    # Readers of text take the first two for its own as well.
    "gaugehistogram": ("_sum", "_count", "_gsum", "_gcount", "_bucket"),
}
"""Names that a family's lines have beside its own, by type."""


class Index:
    """Names and series of all groups.

    Args:
        own: Name to type of what this service itself exposes; a push may add series to these, of that type.
    """

    def __init__(self, own: Mapping[str, str] | None = None) -> None:
        self._own = dict(own or {})
        self._kinds: dict[str, str] = {}
        self._owners: dict[str, int] = {}
        self._series: dict[bytes, str] = {}
        self._undo: list[Callable[[], None]] = []
        self._logging = True

    def mark(self) -> int:
        """A point to roll back to."""
        return len(self._undo)

    def rollback(self, mark: int) -> None:
        """Undo everything since the mark."""
        while len(self._undo) > mark:
            self._undo.pop()()

    def commit(self, mark: int) -> None:
        """Forget how to undo what was done since the mark."""
        del self._undo[mark:]

    def replace(self, group: str, old: Mapping[str, FamilyShape], new: Mapping[str, FamilyShape]) -> None:
        """Let a group's families become `new`; all or nothing.

        Raises:
            Inconsistent: A name has another type elsewhere, collides with lines of a histogram or summary,
                or a series is another group's.
        """
        mark = self.mark()
        try:
            for name, shape in old.items():
                if new.get(name) is not shape:
                    self._remove(shape)
            for name, shape in new.items():
                if old.get(name) is not shape:
                    self._add(group, shape)
        except Inconsistent:
            self.rollback(mark)
            raise

    def kind_of(self, name: str) -> str | None:
        """Type under which a name is known."""
        return self._own.get(name) or self._kinds.get(name)

    def _remove(self, shape: FamilyShape) -> None:
        owners, name, kind = self._owners[shape.name] - 1, shape.name, shape.kind
        if owners:
            self._owners[name] = owners
        else:
            del self._owners[name]
            del self._kinds[name]
        series = self._series
        taken = {key: series.pop(key) for key in shape.keys}

        def undo() -> None:
            self._owners[name] = owners + 1
            self._kinds[name] = kind
            series.update(taken)

        self._undo.append(undo)

    def _add(self, group: str, shape: FamilyShape) -> None:
        name, kind, series = shape.name, shape.kind, self._series
        known = self.kind_of(name)
        if known is not None and known != kind:
            raise Inconsistent(
                f'collected metric "{name}" has type {kind} but the name is already used with type {known}'
            )
        self._check_suffixes(name, kind)
        for key in shape.keys:
            if key in series:
                raise Inconsistent(
                    f'collected metric "{name}" {key.decode().strip()} was collected before with the same '
                    f"name and label values, in the group {series[key]}"
                )
        owners = self._owners.get(name, 0)
        self._owners[name] = owners + 1
        self._kinds[name] = kind
        series.update(dict.fromkeys(shape.keys, group))

        def undo() -> None:
            if owners:
                self._owners[name] = owners
            else:
                del self._owners[name]
                del self._kinds[name]
            for key in shape.keys:
                del series[key]

        self._undo.append(undo)

    def _check_suffixes(self, name: str, kind: str) -> None:
        for suffix in ("_sum", "_count", "_bucket", "_gsum", "_gcount"):
            if name.endswith(suffix):
                parent = name[: -len(suffix)]
                parent_kind = self.kind_of(parent)
                if parent_kind is not None and suffix in CHILDREN.get(parent_kind, ()):
                    raise Inconsistent(
                        f'collected metric named "{name}" collides with previously collected '
                        f'{parent_kind} named "{parent}"'
                    )
        for suffix in CHILDREN.get(kind, ()):
            if self.kind_of(name + suffix) is not None:
                raise Inconsistent(
                    f'collected {kind} named "{name}" collides with previously collected metric named '
                    f'"{name}{suffix}"'
                )
