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

from exporter.families import Chunk, FamilyShape, Parsed, compact_picks, fill, group_text, header, pick
from exporter.grouping import GroupKey, group_key, parse_labels

__all__ = ["Cut", "Layout", "LayoutMemo", "Pusher", "cut_body"]

_CUT = re.compile(rb"(?m)(^[^#\n \t][^\n]* )([^ \t\n]+)$")
_PLAIN = re.compile(rb"(?:-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?\n)*\Z")

LONG = 200
"""Lines beyond which a body is put together family by family (JC)."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The families of a body without their numbers.

    Attributes:
        shapes: By name, in the body's order.
        counts: Slots that must be whole numbers.
        series: Number of sample lines.
        template: header, prefix, room for the number and a line feed for each line, the header empty but for
            the first of a family; None for a long body, where it would cost more memory than time.
        picks: Per line of the template the slot of its number.
    """

    shapes: Mapping[str, FamilyShape]
    counts: tuple[int, ...]
    series: int
    template: tuple[bytes, ...] | None
    picks: slice | tuple[int, ...]

    @classmethod
    def of(cls, parsed: Parsed, shapes: Mapping[str, FamilyShape]) -> Layout:
        """The layout of a parsed body whose families have these shapes."""
        series = sum(len(shape.prefixes) for shape in shapes.values())
        if series > LONG:
            return cls(shapes, parsed.counts, series, None, ())
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
        return cls(shapes, parsed.counts, series, tuple(template), compact_picks(picks))

    def text(self, values: list[bytes]) -> bytes:
        """All families with these numbers, with their HELP and TYPE lines."""
        if self.template is None:
            return group_text([Chunk(shape, fill(shape, values)) for shape in self.shapes.values()])
        lines = list(self.template)
        lines[2::4] = pick(self.picks, values)
        return b"".join(lines)

    def fill(self, values: list[bytes]) -> dict[str, Chunk]:
        """Each family with these numbers."""
        return {name: Chunk(shape, fill(shape, values)) for name, shape in self.shapes.items()}


@dataclass(frozen=True, slots=True)
class Cut:
    """A body cut at its numbers.

    Attributes:
        head: Digest of all that is no number.
        numbers: In order.
        plain: Every number is a plain decimal, to be shown as it came.
    """

    head: bytes
    numbers: list[bytes]
    plain: bool

    def fits(self, counts: tuple[int, ...]) -> bool:
        """Whether the numbers may stand where these slots want whole ones."""
        return self.plain and _are_whole(self.numbers, counts)


@dataclass(frozen=True, slots=True)
class Frame:
    """A body without its numbers.

    Attributes:
        pieces: What stands before each number, and how long it is; `tail` what stands after the last.
    """

    pieces: tuple[tuple[bytes, int], ...]
    tail: bytes

    @classmethod
    def of(cls, body: bytes) -> Frame:
        """The frame of a body."""
        parts = _CUT.split(body)
        pieces = map(bytes.__add__, parts[0::3], parts[1::3])
        return cls(tuple((piece, len(piece)) for piece in pieces), parts[-1])

    def numbers(self, body: bytes) -> list[bytes] | None:
        """The numbers of a body in this frame, if all are plain decimals: those `cut_body` would find."""
        numbers: list[bytes] = []
        at = 0
        for piece, length in self.pieces:
            if not body.startswith(piece, at):
                return None
            at += length
            end = body.find(b"\n", at)
            numbers.append(body[at:end])
            at = end
        return numbers if body[at:] == self.tail and _are_plain(numbers) else None


def cut_body(body: bytes) -> Cut:
    """Tell numbers from all else, without understanding either."""
    pieces = _CUT.split(body)
    numbers = pieces[2::3]
    # 0xff and 0xfe cannot be in a body that parsed, they are no UTF-8; but in one that nobody has parsed yet.
    # With as many numbers there are as many joints, so a body with such bytes of its own has another head.
    head = b"%d\xfe" % len(numbers) + b"\xff".join(pieces[0::3]) + b"\xfe" + b"\xff".join(pieces[1::3])
    return Cut(blake2b(head, digest_size=16).digest(), numbers, _are_plain(numbers))


def _are_whole(numbers: list[bytes], slots: tuple[int, ...]) -> bool:
    return all(numbers[slot].isdigit() for slot in slots)


def _are_plain(numbers: list[bytes]) -> bool:
    return bool(numbers) and _PLAIN.match(b"\n".join(numbers) + b"\n") is not None


@dataclass(slots=True, eq=False)
class Pusher:
    """A push URL: the group it names, and the body that came last, which nearly always comes again.

    Attributes:
        layout: Of the body whose head is `head`; `frame` likewise, if it is remembered.
    """

    key: GroupKey
    head: bytes = b""
    layout: Layout | None = None
    frame: Frame | None = None


class LayoutMemo:
    """Groups by URL, families by head, layouts by group and head; the oldest are forgotten first.

    Many groups push the same lines, so what a body means is remembered once for all of them.

    Args:
        capacity: How many URLs and layouts are kept; of families a tenth.
    """

    def __init__(self, capacity: int = 50_000) -> None:
        self._capacity = capacity
        self._pushers: OrderedDict[bytes, Pusher] = OrderedDict()
        self._layouts: OrderedDict[tuple[str, bytes], Layout] = OrderedDict()
        self._parsed: OrderedDict[bytes, tuple[Parsed, Frame]] = OrderedDict()

    def pusher(self, path: bytes, *, utf8_names: bool = False) -> Pusher:
        """Who pushes to this part of a raw URL path: see `parse_labels`.

        Raises:
            Malformed: The path names no group.
        """
        known = self._pushers.get(path)
        if known is None:
            known = Pusher(group_key(parse_labels(path, utf8_names=utf8_names)))
            self._pushers[path] = known
            if len(self._pushers) > self._capacity:
                self._pushers.popitem(last=False)
        return known

    def numbers(self, pusher: Pusher, body: bytes) -> list[bytes] | None:
        """The numbers of a body that differs from the last of this group in plain numbers only."""
        frame, layout = pusher.frame, pusher.layout
        if frame is None or layout is None:
            return None
        numbers = frame.numbers(body)
        return numbers if numbers is not None and _are_whole(numbers, layout.counts) else None

    def layout(self, pusher: Pusher, cut: Cut) -> Layout | None:
        """The layout of such a body of this group, if it was pushed before and its numbers fit."""
        layout = pusher.layout
        if pusher.head != cut.head:
            layout = self._layouts.get((pusher.key.id, cut.head))
            if layout is not None:
                known = self._parsed.get(cut.head)
                pusher.head, pusher.layout, pusher.frame = cut.head, layout, known[1] if known else None
        return layout if layout is not None and cut.fits(layout.counts) else None

    def parsed(self, cut: Cut) -> Parsed | None:
        """What the body says, if any group pushed such a one before and its numbers fit."""
        found = self._parsed.get(cut.head)
        if found is None or not cut.fits(found[0].counts):
            return None
        known, _ = found
        return Parsed(known.families, cut.numbers, known.counts, known.has_timestamps)

    def remember(self, pusher: Pusher, body: bytes, cut: Cut, parsed: Parsed, layout: Layout) -> None:
        """Keep what a body means, if its numbers can be told apart without parsing."""
        if cut.numbers != parsed.values or not body.endswith(b"\n"):
            return
        self._layouts[pusher.key.id, cut.head] = layout
        if len(self._layouts) > self._capacity:
            self._layouts.popitem(last=False)
        known = self._parsed.get(cut.head)
        if known is None:
            bare = Parsed(parsed.families, [], parsed.counts, parsed.has_timestamps)
            known = self._parsed[cut.head] = bare, Frame.of(body)
            if len(self._parsed) > self._capacity // 10:
                self._parsed.popitem(last=False)
        pusher.head, pusher.layout, pusher.frame = cut.head, layout, known[1]
