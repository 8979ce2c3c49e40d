"""Remembered shapes of pushed bodies: a second push of the same lines costs its numbers only.

A pusher sends the same names, labels and comments each time.  The body is cut at its numbers; if the rest is
what this group sent before, the families, their merged labels and their place in the index are known, and
only the numbers are read.  A shape is remembered only if the cut found exactly the numbers that the parser
found, so a number in a comment is never taken for a sample.

What the state shows is known as long as it shows it, however much that is: DECK_MAX_SERIES bounds it.  What
is shown no longer, or not as it came (two bodies POSTed to one group in turn), is kept in a room of fixed
size.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from sys import getsizeof
from typing import Generic, TypeVar
from weakref import WeakValueDictionary, ref

from exporter.families import Chunk, FamilyShape, Parsed, compact_picks, fill, group_text, header, pick
from exporter.grouping import GroupKey, group_key, parse_labels

__all__ = ["Cut", "Layout", "LayoutMemo", "Pusher", "cut_body"]

_CUT = re.compile(rb"(?m)(^[^#\n \t][^\n]* )([^ \t\n]+)$")
_PLAIN = re.compile(rb"(?:-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?\n)*\Z")

LONG = 200
"""Lines beyond which a body is put together family by family (JC)."""

LAYOUTS_ROOM = 64 * 2**20
"""Bytes of layouts kept whether shown or not (JC): of 250,000 series, or of 6,000 groups of 14 families."""
BODIES_ROOM = 8 * 2**20
"""Bytes of parsed bodies (JC), some hundreds of 14 families: known to who pushes the lines of another."""
LARGEST_SHARE = 4
"""What takes more than this part of a room is not kept in it: it would drive out all others."""

_K = TypeVar("_K")
_V = TypeVar("_V")


@dataclass(slots=True, eq=False, weakref_slot=True)
class Layout:
    """The families of a body without their numbers; what they are never changes.

    Attributes:
        shapes: By name, in the body's order.
        counts: Slots that must be whole numbers.
        series: Number of sample lines.
        template: header, prefix, room for the number and a line feed for each line, the header empty but for
            the first of a family; None for a long body, where it would cost more memory than time.
        picks: Per line of the template the slot of its number.
        frame: Of the body, if it is remembered.
        url: The one it was last pushed to, if that is remembered.
    """

    shapes: Mapping[str, FamilyShape]
    counts: tuple[int, ...]
    series: int
    template: tuple[bytes, ...] | None
    picks: slice | tuple[int, ...]
    frame: Frame | None = None
    url: bytes | None = None

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

    @property
    def size(self) -> int:
        """Bytes it takes with its frame and its pusher; rather too many than too few."""
        size = 1500 + 3 * len(self.url or b"") + (self.frame.size if self.frame else 0)
        if self.template is not None:
            size += 8 * len(self.template) + sum(map(getsizeof, self.template[0::4]))
        for shape in self.shapes.values():
            lines = len(shape.prefixes)
            size += 300 + getsizeof(shape.name) + getsizeof(shape.help) + 8 * lines
            size += sum(map(getsizeof, shape.prefixes))
            if shape.keys is not shape.prefixes:
                size += 8 * len(shape.keys) + sum(map(getsizeof, shape.keys))
            if not isinstance(shape.picks, slice):
                size += 80 * lines  # each slot here, in the template's picks, and as a number
        return size


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

    @property
    def size(self) -> int:
        """Bytes it takes."""
        return getsizeof(self.tail) + sum(100 + getsizeof(piece) for piece, _ in self.pieces)

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


def _nothing() -> None:
    """The layout of who pushed nothing yet."""


@dataclass(slots=True, eq=False)
class Pusher:
    """A push URL: the group it names, and the body that came last, which nearly always comes again.

    Attributes:
        url: The part of the raw path behind `/metrics/`.
        last: The layout of the body whose head is `head`, unless it is forgotten.
    """

    url: bytes
    key: GroupKey
    head: bytes = b""
    last: Callable[[], Layout | None] = _nothing


class _Room(Generic[_K, _V]):
    """Values up to so many bytes in all; the oldest are let go first."""

    def __init__(self, size: int) -> None:
        self._size = self._left = size
        self._kept: OrderedDict[_K, tuple[_V, int]] = OrderedDict()

    def get(self, key: _K) -> _V | None:
        found = self._kept.get(key)
        return None if found is None else found[0]

    def keep(self, key: _K, value: _V, size: int) -> None:
        """Keep a value of this size, and no longer the oldest that it leaves no room."""
        kept = self._kept
        if key in kept:
            self._left += kept.pop(key)[1]
        if size * LARGEST_SHARE > self._size:
            return
        kept[key] = value, size
        self._left -= size
        while self._left < 0:
            _, (_, freed) = kept.popitem(last=False)
            self._left += freed


class LayoutMemo:
    """Groups by URL, families by head, layouts by group and head.

    Many groups push the same lines, so what a body means is remembered once for all of them.

    A URL is remembered with the layout that came by it, and one for each: neither a DELETE nor a push that
    was refused leaves a trace, nor do all the spellings of a group's name.

    Args:
        layouts_room: Bytes of layouts that are kept though no state shows them.
        bodies_room: Bytes of bodies whose meaning is kept for other groups.
    """

    def __init__(self, layouts_room: int = LAYOUTS_ROOM, bodies_room: int = BODIES_ROOM) -> None:
        self._pushers: dict[bytes, Pusher] = {}
        self._layouts: WeakValueDictionary[tuple[str, bytes], Layout] = WeakValueDictionary()
        self._kept: _Room[tuple[str, bytes], Layout] = _Room(layouts_room)
        self._parsed: _Room[bytes, tuple[Parsed, Frame]] = _Room(bodies_room)

    def pusher(self, url: bytes, *, utf8_names: bool = False) -> Pusher:
        """Who pushes to this part of a raw URL path: see `parse_labels`.

        Raises:
            Malformed: The path names no group.
        """
        known = self._pushers.get(url)
        return known or Pusher(url, group_key(parse_labels(url, utf8_names=utf8_names)))

    def numbers(self, pusher: Pusher, body: bytes) -> list[bytes] | None:
        """The numbers of a body that differs from the last of this group in plain numbers only."""
        layout = pusher.last()
        if layout is None or layout.frame is None:
            return None
        numbers = layout.frame.numbers(body)
        return numbers if numbers is not None and _are_whole(numbers, layout.counts) else None

    def layout(self, pusher: Pusher, cut: Cut) -> Layout | None:
        """The layout of such a body of this group, if it was pushed before and its numbers fit."""
        layout = pusher.last()
        if layout is None or pusher.head != cut.head:
            layout = self._layouts.get((pusher.key.id, cut.head))
            if layout is not None:
                self._came(pusher, cut.head, layout)
        return layout if layout is not None and cut.fits(layout.counts) else None

    def parsed(self, cut: Cut) -> Parsed | None:
        """What the body says, if any group pushed such a one before and its numbers fit."""
        found = self._parsed.get(cut.head)
        if found is None or not cut.fits(found[0].counts):
            return None
        known, _ = found
        return Parsed(known.families, cut.numbers, known.counts, known.has_timestamps)

    def remember(self, pusher: Pusher, body: bytes, cut: Cut | None, parsed: Parsed, layout: Layout) -> None:
        """Keep who pushed, and what the body means, if its numbers can be told apart without parsing."""
        if cut is None or cut.numbers != parsed.values or not body.endswith(b"\n"):
            self._came(pusher, b"", layout)
            return
        known = self._parsed.get(cut.head)
        if known is None:
            bare = Parsed(parsed.families, [], parsed.counts, parsed.has_timestamps)
            known = bare, Frame.of(body)
            self._parsed.keep(cut.head, known, _parsed_size(parsed, body) + known[1].size)
        layout.frame = known[1]
        self._layouts[pusher.key.id, cut.head] = layout
        self._came(pusher, cut.head, layout)
        self._kept.keep((pusher.key.id, cut.head), layout, layout.size)

    def _came(self, pusher: Pusher, head: bytes, layout: Layout) -> None:
        """Know the URL as long as there is this layout, and no other URL of it."""
        url = pusher.url
        pusher.head, pusher.last = head, ref(layout, partial(self._forget, url))
        if layout.url is not None and layout.url != url:
            self._pushers.pop(layout.url, None)
        layout.url = url
        self._pushers[url] = pusher

    def _forget(self, url: bytes, gone: Callable[[], Layout | None]) -> None:
        pusher = self._pushers.get(url)
        if pusher is not None and pusher.last is gone:
            del self._pushers[url]


def _parsed_size(parsed: Parsed, body: bytes) -> int:
    """Bytes a parsed body takes, rather too many than too few: counted one by one they would cost a parse."""
    texts = len(body) * (1 if body.isascii() else 4)
    return 500 + texts + 200 * len(parsed.values) + 200 * body.count(b"=") + 400 * len(parsed.families)
