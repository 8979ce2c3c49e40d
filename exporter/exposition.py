"""Committed state → the page Prometheus scrapes.

Pure.  Every family of every group is bytes already; a scrape joins them under one header a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from exporter.families import header, series_prefix
from exporter.protobuf import encode_families, read_delimited, write_delimited
from exporter.state import Group, State
from exporter.textformat import parse_text

__all__ = [
    "MergedFamily",
    "OwnFamily",
    "merged_families",
    "push_times",
    "render_protobuf",
    "render_text",
]

OwnFamily = tuple[str, str, str, bytes]
"""(name, type, help, sample lines) of a family this service produces itself."""
MergedFamily = tuple[str, str, str | None, list[bytes]]
"""(name, type, help, sample lines of each group) of a family as it is shown."""


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
    for name, kind, help_text, bodies in merged_families(state, own):
        if kind != "gaugehistogram":  # unknown to the format: its lines stand as untyped samples
            parts.append(header(name, kind, help_text))
        parts.extend(bodies)
    return parts


def render_protobuf(state: State, own: Iterable[OwnFamily], left_out: list[str]) -> list[bytes]:
    """The page as length-delimited protobuf, native histograms included.

    Args:
        state: What is committed.
        own: What this service adds.
        left_out: Takes the families that cannot be said in protobuf: one of them must not cost all others.
    """
    messages: list[Any] = []
    for name, kind, help_text, bodies in merged_families(state, own):
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


def merged_families(state: State, own: Iterable[OwnFamily]) -> Iterator[MergedFamily]:
    """Every family of the page, by name."""
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
