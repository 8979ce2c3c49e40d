"""Remembered shapes of pushed bodies: a second push of the same lines costs its numbers only.

A pusher sends the same names, labels and comments each time.  The body is cut at its numbers; if the rest is
what this group sent before, the families, their merged labels and their place in the index are known, and
only the numbers are read.  A shape is remembered only if the cut found exactly the numbers that the parser
found, so a number in a comment is never taken for a sample.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from exporter.families import Chunk, FamilyShape, Parsed, fill

__all__ = ["Layout", "LayoutMemo"]

_CUT = re.compile(rb"(?m)(^[^#\n \t][^\n]* )([^ \t\n]+)$")
_PLAIN = re.compile(rb"(?:-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?\n)*\Z")


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Shapes of the families of a body by name, and the slots that must be whole numbers."""

    shapes: Mapping[str, FamilyShape]
    counts: tuple[int, ...]
    series: int

    def fill(self, values: list[bytes]) -> dict[str, Chunk]:
        """The families with these numbers."""
        return {name: Chunk(shape, fill(shape, values)) for name, shape in self.shapes.items()}


class LayoutMemo:
    """Layouts by group and by body without its numbers, the least recently used forgotten first.

    Args:
        capacity: Bytes of remembered bodies.
    """

    def __init__(self, capacity: int = 64 * 2**20) -> None:
        self._capacity = capacity
        self._size = 0
        self._known: OrderedDict[tuple[str, bytes], Layout] = OrderedDict()

    def recall(self, group: str, body: bytes) -> tuple[Layout, list[bytes]] | None:
        """The layout of a body of this group and its numbers, if every number is a plain decimal."""
        pieces = _CUT.split(body)
        numbers = pieces[2::3]
        layout = self._known.get((group, _head(pieces)))
        if layout is None or not _PLAIN.match(b"\n".join(numbers) + b"\n"):
            return None
        for slot in layout.counts:
            if not numbers[slot].isdigit():
                return None
        return layout, numbers

    def remember(self, group: str, body: bytes, parsed: Parsed, shapes: Mapping[str, FamilyShape]) -> Layout:
        """Keep the layout of a body that was parsed; it is returned, kept or not."""
        layout = Layout(shapes, parsed.counts, sum(len(shape.prefixes) for shape in shapes.values()))
        pieces = _CUT.split(body)
        if pieces[2::3] != parsed.values or not body.endswith(b"\n"):
            return layout
        head = _head(pieces)
        key = (group, head)
        if key not in self._known and len(head) <= self._capacity // 8:
            self._known[key] = layout
            self._size += len(head)
            while self._size > self._capacity:
                self._size -= len(self._known.popitem(last=False)[0][1])
        return layout


def _head(pieces: list[bytes]) -> bytes:
    # The separator cannot be in a body that parsed: it is no UTF-8.
    return b"\xff".join(pieces[0::3]) + b"\xfe" + b"\xff".join(pieces[1::3])
