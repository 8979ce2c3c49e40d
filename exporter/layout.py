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
from hashlib import blake2b

from exporter.families import Chunk, FamilyShape, Parsed, compact_picks, fill, header, pick

__all__ = ["Layout", "LayoutMemo"]

_CUT = re.compile(rb"(?m)(^[^#\n \t][^\n]* )([^ \t\n]+)$")
_PLAIN = re.compile(rb"(?:-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?\n)*\Z")


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The families of a body without their numbers.

    Attributes:
        shapes: By name, in the body's order.
        counts: Slots that must be whole numbers.
        series: Number of sample lines.
        template: header, prefix, room for the number and a line feed for each line, the header empty but for
            the first of a family.
        picks: Per line the slot of its number.
    """

    shapes: Mapping[str, FamilyShape]
    counts: tuple[int, ...]
    series: int
    template: tuple[bytes, ...]
    picks: slice | tuple[int, ...]

    @classmethod
    def of(cls, parsed: Parsed, shapes: Mapping[str, FamilyShape]) -> Layout:
        """The layout of a parsed body whose families have these shapes."""
        template: list[bytes] = []
        picks: list[int] = []
        for shape in shapes.values():
            head = header(shape.name, shape.kind, shape.help)
            for prefix in shape.prefixes:
                template += (head, prefix, b"", b"\n")
                head = b""
            picks += (
                range(shape.picks.start, shape.picks.stop) if isinstance(shape.picks, slice) else shape.picks
            )
        return cls(shapes, parsed.counts, len(picks), tuple(template), compact_picks(picks))

    def text(self, values: list[bytes]) -> bytes:
        """All families with these numbers, with their HELP and TYPE lines."""
        lines = list(self.template)
        lines[2::4] = pick(self.picks, values)
        return b"".join(lines)

    def fill(self, values: list[bytes]) -> dict[str, Chunk]:
        """Each family with these numbers."""
        return {name: Chunk(shape, fill(shape, values)) for name, shape in self.shapes.items()}


class LayoutMemo:
    """Layouts by group and by body without its numbers, the oldest forgotten first.

    Args:
        capacity: How many are kept.
    """

    def __init__(self, capacity: int = 50_000) -> None:
        self._capacity = capacity
        self._known: OrderedDict[bytes, Layout] = OrderedDict()

    def recall(self, group: str, body: bytes) -> tuple[Layout, list[bytes]] | None:
        """The layout of a body of this group and its numbers, if every number is a plain decimal."""
        pieces = _CUT.split(body)
        layout = self._known.get(_key(group, pieces))
        numbers = pieces[2::3]
        if layout is None or not _PLAIN.match(b"\n".join(numbers) + b"\n"):
            return None
        for slot in layout.counts:
            if not numbers[slot].isdigit():
                return None
        return layout, numbers

    def remember(self, group: str, body: bytes, parsed: Parsed, layout: Layout) -> None:
        """Keep the layout of a body that was parsed, if its numbers can be told apart without parsing."""
        pieces = _CUT.split(body)
        if pieces[2::3] != parsed.values or not body.endswith(b"\n"):
            return
        self._known[_key(group, pieces)] = layout
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)


def _key(group: str, pieces: list[bytes]) -> bytes:
    # 0xff and 0xfe cannot be in a body that parsed: they are no UTF-8.
    parts = (group.encode(), b"\xfe", b"\xff".join(pieces[0::3]), b"\xfe", b"\xff".join(pieces[1::3]))
    return blake2b(b"".join(parts), digest_size=16).digest()
