"""Committed state → the page Prometheus scrapes.

Pure.  Every family of every group is bytes already; a scrape joins them under one header a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from exporter.families import escape_value, header, series_prefix, shown_name
from exporter.protobuf import PROTOBUF, encode_families, is_protobuf, read_delimited, write_delimited
from exporter.state import Group, State
from exporter.textformat import parse_text

__all__ = [
    "OPENMETRICS",
    "TEXT",
    "OwnFamily",
    "negotiate",
    "push_times",
    "render_openmetrics",
    "render_protobuf",
    "render_text",
]

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

OwnFamily = tuple[str, str, str, bytes]
"""(name, type, help, sample lines) of a family this service produces itself."""


def push_times(groups: Iterable[Group]) -> tuple[bytes, bytes]:
    """Sample lines of push_time_seconds and push_failure_time_seconds."""
    times, failures = [], []
    for group in groups:
        labels = sorted({"instance": "", **dict(group.key.labels)}.items())
        prefix = series_prefix("push_time_seconds", labels).decode()
        times.append(f"{prefix}{group.push_time!r}\n")
        failures.append(f"push_failure{prefix[4:]}{group.failure_time!r}\n")
    return "".join(times).encode(), "".join(failures).encode()


def render_text(state: State, own: Iterable[OwnFamily]) -> list[bytes]:
    """The page in text 0.0.4, in parts: joined, a large page would be in memory twice."""
    parts: list[bytes] = []
    for name, kind, help_text, bodies in _merged(state, own):
        if kind != "gaugehistogram":  # unknown to the format: its lines stand as untyped samples
            parts.append(header(name, kind, help_text))
        parts.extend(bodies)
    return parts


_WHOLE_BOUND = re.compile(rb'(?<=[{,])((?:le|quantile)="-?[0-9]+)("[,}])')


_NEGATIVE_BOUND = re.compile(rb'[{,]le="-')


def _without_sums(name: str, lines: bytes) -> bytes:
    """A histogram's buckets alone: with negative observations its sum may fall, and OpenMetrics forbids it.

    It forbids a count without a sum too; the +Inf bucket is the count.
    """
    gone = tuple(series_prefix(f"{name}_{part}", ())[:-2] for part in ("sum", "count"))
    return b"".join(line for line in lines.splitlines(keepends=True) if not line.startswith(gone))


_NOT_COUNTED = re.compile(rb'\} (?:-|\+?[nN])[^"\n]*\n')
"""A line whose number is negative or none, which nothing that counts may be."""
_NOT_SUMMED = re.compile(rb'_(?:sum|count)[{"].*\} \+?[nN][^"\n]*\n|\} -[^"\n]*\n')
"""The same of a summary, whose quantiles may be NaN."""
_ODD_BUCKET = re.compile(rb'_bucket[{"].*\} (?![0-9]+\n)([^"\n]*)\n')
"""A bucket's count that is not written as a whole number."""


def _has_forbidden_numbers(kind: str, lines: bytes) -> bool:
    """Whether OpenMetrics forbids these numbers to their type: one such line would cost the whole page."""
    if kind == "counter":
        return bool(_NOT_COUNTED.search(lines))
    if kind == "summary":
        return bool(_NOT_SUMMED.search(lines))
    if kind not in ("histogram", "gaugehistogram"):
        return False
    odd = (float(number) for number in _ODD_BUCKET.findall(lines))
    return bool(_NOT_COUNTED.search(lines)) or not all(number.is_integer() for number in odd)


_NAME_OF_LINE = re.compile(rb'\{?("(?:[^"\\]|\\.)*"|[^{ ]+)')


def _as_samples(lines: bytes) -> bytes:
    """The lines of a family as samples of unknown type, those of one name together."""
    by_name: dict[bytes, list[bytes]] = {}
    for line in lines.splitlines(keepends=True):
        found = _NAME_OF_LINE.match(line)
        name = found[1] if found else b""
        by_name.setdefault(name, [b"# TYPE %s unknown\n" % name]).append(line)
    return b"".join(line for of_name in by_name.values() for line in of_name)


def render_openmetrics(state: State, own: Iterable[OwnFamily]) -> list[bytes]:
    """The page in OpenMetrics 1.0."""
    families = list(_merged(state, own))
    names = {name for name, *_ in families}
    parts: list[bytes] = []
    for name, kind, help_text, bodies in families:
        shown, om_kind = name, "unknown" if kind == "untyped" else kind
        if kind == "counter":
            shown = name.removesuffix("_total")
            if shown == name or shown in names or any(_has_forbidden_numbers(kind, body) for body in bodies):
                # OpenMetrics has no counter without _total, and no two families of one name.
                shown, om_kind = name, "unknown"
        shown = shown_name(shown)
        lines = f"# TYPE {shown} {om_kind}\n"
        if help_text:
            lines += f"# HELP {shown} " + escape_value(help_text) + "\n"
        if kind not in ("histogram", "summary", "gaugehistogram"):
            parts.append(lines.encode())
            parts.extend(bodies)
            continue
        joined = b"".join(bodies)
        typed = _WHOLE_BOUND.sub(rb"\1.0\2", joined)
        if kind == "histogram" and _NEGATIVE_BOUND.search(typed):
            typed = _without_sums(name, typed)
        # Without a type the lines may stand as they are.
        untyped = _has_forbidden_numbers(kind, typed)
        parts += [_as_samples(joined)] if untyped else [lines.encode(), typed]
    parts.append(b"# EOF\n")
    return parts


def render_protobuf(state: State, own: Iterable[OwnFamily], left_out: list[str]) -> list[bytes]:
    """The page as length-delimited protobuf, native histograms included.

    Args:
        state: What is committed.
        own: What this service adds.
        left_out: Takes the families that cannot be said in protobuf: one of them must not cost all others.
    """
    messages: list[Any] = []
    for name, kind, help_text, bodies in _merged(state, own):
        try:
            messages += _family_messages(state, name, kind, help_text, bodies)
        except ValueError as error:  # the parser's errors are ValueErrors too
            left_out.append(f"{name}: {error}")
    return [write_delimited(messages)]


def _family_messages(
    state: State, name: str, kind: str, help_text: str | None, bodies: list[bytes]
) -> list[Any]:
    family = state.visible.get(name)
    chunks = [state.groups[gid].chunks[name] for gid in family.shapes] if family else []
    native = [chunk for chunk in chunks if chunk.native is not None]
    plain = [chunk.body for chunk in chunks if chunk.native is None] + bodies[len(chunks) :]
    parsed = parse_text(header(name, kind, help_text) + b"".join(plain), utf8_names=True)
    found = list(encode_families(parsed))
    for chunk in native:
        for message in read_delimited(chunk.native or b""):
            if not found:
                found.append(message)
            else:
                found[0].metric.extend(message.metric)
    return found


def negotiate(accept: bytes) -> str:
    """The content type to answer with: the one the scraper likes best of those we have.

    >>> negotiate(b"application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2") == OPENMETRICS
    True
    >>> negotiate(b"text/html, */*;q=0.1") == negotiate(b"") == TEXT
    True
    >>> negotiate(b"application/openmetrics-text;q=0") == TEXT
    True
    """
    offers: list[tuple[float, str]] = []
    for part in accept.decode("latin-1").split(","):
        media, *parameters = (text.strip().lower() for text in part.split(";"))
        given = dict(p.replace(" ", "").split("=", 1) for p in parameters if "=" in p)
        try:
            quality = float(given.get("q", "1"))
        except ValueError:
            continue
        if quality <= 0:  # a refusal
            continue
        if media == "application/openmetrics-text" and given.get("version", "1.0.0") in ("1.0.0", "0.0.1"):
            offers.append((quality, OPENMETRICS))
        elif is_protobuf(part.strip().encode()):
            offers.append((quality, PROTOBUF))
        elif media == "text/plain" and given.get("version", "0.0.4") == "0.0.4":
            offers.append((quality, TEXT))
    return max(offers, key=lambda offer: offer[0])[1] if offers else TEXT


def _merged(state: State, own: Iterable[OwnFamily]) -> Iterable[tuple[str, str, str | None, list[bytes]]]:
    ours = {name: (kind, help_text, body) for name, kind, help_text, body in own}
    for name in sorted(state.visible.keys() | ours.keys()):
        bodies: list[bytes] = []
        kind, help_text = "untyped", None
        family = state.visible.get(name)
        if family is not None:
            kind, help_text = family.kind, family.help
            bodies = state.bodies(name)
        if name in ours:
            kind, help_text, body = ours[name]
            bodies.append(body)
        yield name, kind, help_text, bodies
