"""Metric families as pushed, and as kept: the model between the parsers and the exposition.

Pure.  A parsed body is families whose metrics hold *slots*, indexes into one list of number texts.  Names,
labels and order thus stand apart from values, and a second push of the same shape needs new values only
(see layout.py).  A FamilyShape is a family with its grouping labels merged in and its lines made ready,
each a prefix waiting for a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

from exporter.errors import Inconsistent, TooLarge
from exporter.golang import go_float

__all__ = [
    "CONSTANT_ZERO",
    "Chunk",
    "Family",
    "FamilyShape",
    "Metric",
    "Parsed",
    "check_family",
    "compact_picks",
    "compile_family",
    "count_labels",
    "count_lines",
    "escape_help",
    "escape_value",
    "fill",
    "group_text",
    "header",
    "pick",
    "shown_name",
    "too_many_series",
]

_Key = TypeVar("_Key", str, bytes)

CONSTANT_ZERO = -1
"""Slot of a line that the format wants and the push did not bring."""

_POINT_LABELS = {"summary": "quantile", "histogram": "le", "gaugehistogram": "le"}
"""The label that tells the lines of one metric apart."""
KINDS = ("counter", "gauge", "summary", "histogram", "untyped", "gaugehistogram")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of a family.

    Attributes:
        labels: As pushed, without `le` or `quantile` of the lines of a histogram or summary.
        value: Slot of the number of a counter, gauge or untyped metric.
        points: (upper bound or quantile, slot) of a histogram or summary, in the order pushed.
        sum: Slot of the sum; `count` likewise; CONSTANT_ZERO where the push had none.
    """

    labels: tuple[tuple[str, str], ...]
    value: int = CONSTANT_ZERO
    points: tuple[tuple[float, int], ...] = ()
    sum: int = CONSTANT_ZERO
    count: int = CONSTANT_ZERO


@dataclass(frozen=True, slots=True)
class Family:
    """One metric family of a push."""

    name: str
    kind: str
    help: str | None
    metrics: tuple[Metric, ...]


@dataclass(frozen=True, slots=True)
class Parsed:
    """A pushed body: families, and the numbers their slots point at, as text.

    Attributes:
        counts: Slots that must hold a whole number of at least zero.
        has_timestamps: A sample had one; such a push is refused after it was read.
        native: Per family the protobuf message, where text cannot say all of it.
    """

    families: tuple[Family, ...]
    values: list[bytes]
    counts: tuple[int, ...] = ()
    has_timestamps: bool = False
    native: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class FamilyShape:
    """A family of one group with everything but its numbers.

    Attributes:
        prefixes: Per exposed line `name{labels} `.
        picks: Per exposed line the slot of its number; a slice where the slots follow each other.
        keys: Identity of each metric, unique over all groups.
    """

    name: str
    kind: str
    help: str | None
    prefixes: tuple[bytes, ...]
    picks: slice | tuple[int, ...]
    keys: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """A family of one group, ready to be joined into a scrape; immutable.

    Attributes:
        body: The sample lines, each with its line feed.
        native: The length-delimited protobuf message, for families with more than text can say.
        pushed_at: When a POST brought it; None is when its whole group was pushed.
    """

    shape: FamilyShape
    body: bytes
    native: bytes | None = None
    pushed_at: float | None = None


def escape_value(text: str) -> str:
    """A label value as the text formats write it."""
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def escape_help(text: str) -> str:
    """A help text as text 0.0.4 writes it."""
    return text.replace("\\", r"\\").replace("\n", r"\n")


def shown_name(name: str) -> str:
    """A name as HELP and TYPE lines write it: in quotes, if it is not of the old alphabet."""
    return name if _LEGACY_NAME.match(name) else f'"{escape_value(name)}"'


LONG_HEADER = 300
"""Characters of a name and its help text, beyond which their lines are made anew each time (JC)."""


def header(name: str, kind: str, help_text: str | None) -> bytes:
    """HELP and TYPE lines of a family in text 0.0.4."""
    is_long = len(name) + len(help_text or "") > LONG_HEADER
    return (_header if is_long else _kept_header)(name, kind, help_text)


def _header(name: str, kind: str, help_text: str | None) -> bytes:
    shown = shown_name(name)
    lines = f"# HELP {shown} {escape_help(help_text)}\n" if help_text else ""
    return f"{lines}# TYPE {shown} {kind}\n".encode()


_kept_header = lru_cache(maxsize=20_000)(_header)


_LEGACY_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
_LEGACY_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")


def series_prefix(name: str, labels: Iterable[tuple[str, str]]) -> bytes:
    """`name{labels} ` of a sample line; names that are not of the old alphabet are quoted."""
    pairs = [
        f'{k if _LEGACY_LABEL.match(k) else chr(34) + escape_value(k) + chr(34)}="{escape_value(v)}"'
        for k, v in labels
    ]
    if not _LEGACY_NAME.match(name):
        pairs.insert(0, f'"{escape_value(name)}"')
        name = ""
    return f"{name}{{{','.join(pairs)}}} ".encode()


MAX_NAME = 1024
MAX_LABEL_VALUE = 64 * 1024
"""Bytes of one name and of one label value (JC): beyond them lies a mistake, not a label."""


def check_family(family: Family, *, utf8_names: bool = False) -> None:
    """Refuse names and labels that would spoil the page for everybody.

    The text parser lets no such name through; protobuf can bring anything.

    Raises:
        Inconsistent: A name is empty, too long, reserved or of another alphabet; a value is too long.
    """
    _check_name("metric", family.name, family.name, _LEGACY_NAME, utf8_names=utf8_names)
    for metric in family.metrics:
        for name, value in metric.labels:
            _check_name("label", name, family.name, _LEGACY_LABEL, utf8_names=utf8_names)
            if name.startswith("__"):
                raise Inconsistent(f'metric "{family.name}" has the reserved label name "{name}"')
            if len(value) > MAX_LABEL_VALUE:
                raise Inconsistent(
                    f'the label "{name}" of "{family.name}" has {len(value)} characters: '
                    f"want at most {MAX_LABEL_VALUE}"
                )


def _check_name(what: str, name: str, family: str, alphabet: re.Pattern[str], *, utf8_names: bool) -> None:
    if not name or not (utf8_names or alphabet.match(name)):
        raise Inconsistent(f'invalid {what} name "{name}" in the family "{family}"')
    if len(name) > MAX_NAME:
        raise Inconsistent(f"a {what} name has {len(name)} characters: want at most {MAX_NAME}")


def too_many_series(limit: float) -> TooLarge:
    """The error of a push beyond its limit."""
    return TooLarge(f"more than {limit} series in one push: DECK_MAX_SERIES_PER_PUSH is {limit}")


def count_lines(family: Family) -> int:
    """How many lines `compile_family` makes of it."""
    return sum(_lines_of(family.kind, metric) for metric in family.metrics)


def count_labels(family: Family) -> int:
    """Characters of labels of its own in the lines that `compile_family` makes of it."""
    return sum(
        _lines_of(family.kind, metric) * sum(len(name) + len(value) for name, value in metric.labels)
        for metric in family.metrics
    )


def _lines_of(kind: str, metric: Metric) -> int:
    if kind not in _POINT_LABELS:
        return 1
    return len(metric.points) + 2 + (kind != "summary" and not _has_infinite(metric.points))


def _has_infinite(points: Iterable[tuple[float, int]]) -> bool:
    return any(math.isinf(bound) and bound > 0 for bound, _ in points)


def compile_family(family: Family, grouping: Sequence[tuple[str, str]]) -> FamilyShape:
    """Merge the grouping labels in and make the lines ready.

    The grouping key overwrites labels of the body; a metric without instance gets an empty one, or
    Prometheus would give it the exporter's own.

    Raises:
        Inconsistent: A label of the grouping key is the one that tells the lines of this kind apart, a line
            would be there twice, or a metric would.
    """
    name, kind = family.name, family.kind
    overwrite = dict(grouping)
    point_label = _POINT_LABELS.get(kind)
    prefixes: list[bytes] = []
    picks: list[int] = []
    keys: list[bytes] = []
    hollow = False
    if point_label in overwrite:
        raise Inconsistent(
            f'{kind} "{name}" in a group with the label "{point_label}": its lines need that label themselves'
        )
    for metric in family.metrics:
        merged = {"instance": "", **dict(metric.labels), **overwrite}
        labels = sorted(merged.items())
        # To Prometheus an empty label is no label; instance alone is always written, empty or not.
        told = [(k, v) for k, v in labels if v or k == "instance"]
        hollow = hollow or len(told) != len(labels)
        if point_label is None:
            prefixes.append(series_prefix(name, labels))
            picks.append(metric.value)
            keys.append(prefixes[-1] if len(told) == len(labels) else series_prefix(name, told))
            continue
        if point_label in merged:
            raise Inconsistent(f'{kind} "{name}" has the label "{point_label}" beside its own {point_label}')
        _append_points(family, metric, point_label, labels, prefixes, picks)
        keys.append(prefixes[-1] if len(told) == len(labels) else series_prefix(f"{name}_count", told))
    twice = _first_twice(keys)
    if twice is not None:
        raise Inconsistent(
            f'collected metric "{name}" {twice.decode().strip()} was collected before '
            "with the same name and label values"
        )
    lines = tuple(prefixes)
    identities = lines if point_label is None and not hollow else tuple(keys)
    return FamilyShape(name, kind, family.help, lines, compact_picks(picks), identities)


def _first_twice(keys: Sequence[_Key]) -> _Key | None:
    """The first that was there before; a file sent twice in one body comes here with all of them."""
    if len(set(keys)) == len(keys):  # as nearly always, and quicker told
        return None
    seen: set[_Key] = set()
    for key in keys:
        if key in seen:
            return key
        seen.add(key)
    return None


def _append_points(
    family: Family,
    metric: Metric,
    point_label: str,
    labels: list[tuple[str, str]],
    prefixes: list[bytes],
    picks: list[int],
) -> None:
    histogram = point_label == "le"
    # Readers of OpenMetrics want the buckets of a histogram from below, whatever the order they came in.
    points = sorted(metric.points, key=lambda point: point[0]) if histogram else list(metric.points)
    if histogram and not _has_infinite(points):
        points.append((math.inf, metric.count))
    texts = [go_float(bound) for bound, _ in points]
    twice = _first_twice(texts)
    if twice is not None:
        raise Inconsistent(f'{family.kind} "{family.name}" has two lines with {point_label}="{twice}"')
    # The reference writes the point label last whatever its name, and so do we.
    for text, (_, slot) in zip(texts, points, strict=True):
        prefixes.append(
            series_prefix(family.name + ("_bucket" if histogram else ""), [*labels, (point_label, text)])
        )
        picks.append(slot)
    gauge = "g" if family.kind == "gaugehistogram" else ""
    prefixes.append(series_prefix(f"{family.name}_{gauge}sum", labels))
    picks.append(metric.sum)
    prefixes.append(series_prefix(f"{family.name}_{gauge}count", labels))
    picks.append(metric.count)


def compact_picks(picks: list[int]) -> slice | tuple[int, ...]:
    """Slots as a slice, if they follow each other."""
    if picks and picks[0] >= 0 and picks == list(range(picks[0], picks[0] + len(picks))):
        return slice(picks[0], picks[0] + len(picks))
    return tuple(picks)


def pick(picks: slice | tuple[int, ...], values: list[bytes]) -> list[bytes]:
    """The numbers of these slots."""
    if isinstance(picks, slice):
        return values[picks]
    return [values[slot] if slot >= 0 else b"0" for slot in picks]


def group_text(chunks: Iterable[Chunk]) -> bytes:
    """Families with their HELP and TYPE lines."""
    parts: list[bytes] = []
    for chunk in chunks:
        parts += (header(chunk.shape.name, chunk.shape.kind, chunk.shape.help), chunk.body)
    return b"".join(parts)


def fill(shape: FamilyShape, values: list[bytes]) -> bytes:
    """The sample lines of a shape with these numbers."""
    numbers = pick(shape.picks, values)
    lines: list[bytes] = [b"\n"] * (3 * len(numbers))
    lines[0::3] = shape.prefixes
    lines[1::3] = numbers
    return b"".join(lines)
