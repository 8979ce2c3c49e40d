"""Committed state → the page in OpenMetrics 1.0.

Pure.  The format is stricter than what clients may push, and one line that it forbids would cost the whole
page: a family that breaks a rule of its type stands there without one, as samples of unknown type.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from exporter.exposition import MergedFamily, OwnFamily, merged_families
from exporter.families import escape_value, series_prefix, shown_name
from exporter.index import CHILDREN
from exporter.state import State

__all__ = ["render_openmetrics"]

_WHOLE_BOUND = re.compile(rb'(?<=[{,])(le="-?[0-9]+)("\} )')
_WHOLE_QUANTILE = re.compile(rb'(?<=[{,])(quantile="-?[0-9]+)("\} )')
"""A point label as Go writes a whole number; it stands last, and no other label may have its name."""
_NEGATIVE_BOUND = re.compile(rb'[{,]le="-[^"]*"\} ')
_QUOTED_NAME = re.compile(rb'\A\{"(?:[^"\\]|\\.)*",?')
_LAST_LABEL = re.compile(rb',?le="[^"]*"\Z')
_QUANTILE = re.compile(rb'[{,]quantile="([^"]*)"\} ')
# A line's number is what follows its last blank; each of these looks at no byte twice.
_NEGATIVE = re.compile(rb' -[^ "}\n]*\n')
_NOT_A_NUMBER = re.compile(rb' \+?[nN][^ "}\n]*\n')
_NOT_WHOLE = re.compile(rb' (?![0-9]+\n)([^ "}\n]*)\n')
_LEGACY_LINE = re.compile(rb"[a-zA-Z_:][a-zA-Z0-9_:]*\{")


def render_openmetrics(state: State, own: Iterable[OwnFamily]) -> list[bytes]:
    """The page, in parts: joined, a large page would be in memory twice."""
    families = list(merged_families(state, own))
    typed, told = _typed(families)
    parts: list[bytes] = []
    for name, kind, help_text, bodies in families:
        if name in told:
            continue
        if name in typed:
            shown, lines = typed[name]
            parts += [_header(shown, kind, help_text), *lines]
        elif kind in CHILDREN:
            parts.append(_as_samples(b"".join(bodies)))
        else:
            parts += [_header(name, "gauge" if kind == "gauge" else "unknown", help_text), *bodies]
    parts.append(b"# EOF\n")
    return parts


def _header(name: str, kind: str, help_text: str | None) -> bytes:
    shown = shown_name(name)
    lines = f"# TYPE {shown} {kind}\n"
    if help_text:
        lines += f"# HELP {shown} {escape_value(help_text)}\n"
    return lines.encode()


def _typed(families: list[MergedFamily]) -> tuple[dict[str, tuple[str, list[bytes]]], set[str]]:
    """Families that may keep a type that has rules, with their lines; and those told among these lines.

    A type claims more names than its lines have: a counter its name without _total, and all but gauge
    histograms one with _created.  No name may be claimed twice.
    """
    others = {name: (kind, bodies) for name, kind, _, bodies in families}
    taken = {name + suffix for name, kind, *_ in families for suffix in ("", *CHILDREN.get(kind, ()))}
    typed: dict[str, tuple[str, list[bytes]]] = {}
    told: set[str] = set()
    for name, kind, _, bodies in families:
        base = name.removesuffix("_total") if kind == "counter" else name
        if kind not in ("counter", *CHILDREN) or not base or (kind == "counter" and base == name):
            continue
        claimed = set() if kind == "gaugehistogram" else {f"{base}_created"}
        if kind == "counter":
            claimed.add(base)
        created = others.get(f"{base}_created")
        found = None
        if claimed and created is not None and created[0] in ("gauge", "untyped"):
            # What prometheus_client tells beside each counter, histogram and summary, as a gauge.
            found = _with_created(name, kind, b"".join(bodies), b"".join(created[1]))
            if found is not None:
                claimed.discard(f"{base}_created")
        if claimed & taken:
            continue
        lines = _lawful(name, kind, bodies if found is None else [found])
        if lines is None:
            continue
        taken |= claimed
        typed[name] = (base, lines)
        if found is not None:
            told.add(f"{base}_created")
    return typed, told


def _lawful(name: str, kind: str, bodies: list[bytes]) -> list[bytes] | None:
    """The lines as the format wants them under their type; None if it forbids one of their numbers."""
    if kind == "counter":
        wrong = any(_NEGATIVE.search(body) or _NOT_A_NUMBER.search(body) for body in bodies)
        return None if wrong else bodies
    lines = b"".join(bodies)
    if kind == "histogram" and _NEGATIVE_BOUND.search(lines):
        lines = _without_sums(name, lines)
    if _NEGATIVE.search(lines):
        return None
    if kind == "summary":
        sums = (_start(f"{name}_sum"), _start(f"{name}_count"))
        if any(lines.startswith(sums, begin) for begin, _ in _numbers(_NOT_A_NUMBER, lines)):
            return None
        if not all(0 <= float(quantile) <= 1 for quantile in set(_QUANTILE.findall(lines))):
            return None
        return [_WHOLE_QUANTILE.sub(rb"\1.0\2", lines)]
    counts = tuple(_start(f"{name}_{part}") for part in ("bucket", "count", "gcount"))
    odd = (number for begin, number in _numbers(_NOT_WHOLE, lines) if lines.startswith(counts, begin))
    if _NOT_A_NUMBER.search(lines) or not all(float(number).is_integer() for number in odd):
        return None
    return [_WHOLE_BOUND.sub(rb"\1.0\2", lines)]


def _start(name: str) -> bytes:
    """How every line of this name begins."""
    return series_prefix(name, ())[:-2]


def _numbers(pattern: re.Pattern[bytes], lines: bytes) -> Iterator[tuple[int, bytes]]:
    """Where a line begins, and its number, for each whose number the pattern finds."""
    for found in pattern.finditer(lines):
        yield lines.rfind(b"\n", 0, found.start()) + 1, found[0].strip()


def _without_sums(name: str, lines: bytes) -> bytes:
    """Metrics with negative bounds without their sums: those may fall, and the format forbids it.

    It forbids a count without a sum too; the +Inf bucket is the count.
    """
    each = lines.splitlines(keepends=True)
    below = {_LAST_LABEL.sub(b"", _metric(line)) for line in each if _NEGATIVE_BOUND.search(line)}
    gone = (_start(f"{name}_sum"), _start(f"{name}_count"))
    return b"".join(line for line in each if not (line.startswith(gone) and _metric(line) in below))


def _with_created(name: str, kind: str, lines: bytes, created: bytes) -> bytes | None:
    """The lines, each metric's followed by the line that says when it was created.

    None if a creation time belongs to none of them.
    """
    if not _LEGACY_LINE.match(lines):
        return None
    times = {_labels(line): line for line in created.splitlines(keepends=True)}
    last = _start(name if kind == "counter" else f"{name}_count")
    merged: list[bytes] = []
    for line in lines.splitlines(keepends=True):
        merged.append(line)
        if line.startswith(last):
            merged.append(times.pop(_labels(line), b""))
    return None if times else b"".join(merged)


def _metric(line: bytes) -> bytes:
    """The labels without a name, which stands among them if it is not of the old alphabet."""
    return _QUOTED_NAME.sub(b"{", _labels(line))


def _labels(line: bytes) -> bytes:
    return line[line.index(b"{") : line.rindex(b"} ")]


_NAME_OF_LINE = re.compile(rb'\{?("(?:[^"\\]|\\.)*"|[^{ ]+)')


def _as_samples(lines: bytes) -> bytes:
    """The lines of a family as samples of unknown type, those of one name together."""
    by_name: dict[bytes, list[bytes]] = {}
    for line in lines.splitlines(keepends=True):
        found = _NAME_OF_LINE.match(line)
        name = found[1] if found else b""
        by_name.setdefault(name, [b"# TYPE %s unknown\n" % name]).append(line)
    return b"".join(line for of_name in by_name.values() for line in of_name)
