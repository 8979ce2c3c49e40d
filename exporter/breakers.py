"""Breakers: three sources hold one open, each lets go of its own hold only.

Pure.  A breaker is open while any source holds it.  A hold with an end lets go at that time by itself.
"""

from __future__ import annotations

import msgspec

from exporter.records import BreakerDoc, Hold

__all__ = ["expire", "hold", "release", "release_alert"]


def _changed(before: BreakerDoc, holds: dict[str, Hold], now: float) -> BreakerDoc:
    opened, closed = bool(holds) and not before.holds, not holds and bool(before.holds)
    return msgspec.structs.replace(
        before,
        holds=holds,
        trips=before.trips + opened,
        changed_at=now if opened or closed else before.changed_at,
    )


def hold(
    doc: BreakerDoc,
    source: str,
    reason: str,
    now: float,
    *,
    until: float | None = None,
    key: str | None = None,
    latched: bool = False,
) -> BreakerDoc:
    """The breaker with a hold by `source`; a second one keeps the first's time."""
    known = doc.holds.get(source)
    keys = known.keys if known else ()
    if key is not None and key not in keys:
        keys = (*keys, key)
    new = Hold(
        since=known.since if known else now,
        reason=reason,
        until=until,
        keys=keys,
        latched=latched or (known.latched if known else False),
    )
    return _changed(doc, {**doc.holds, source: new}, now)


def release(doc: BreakerDoc, source: str, now: float) -> BreakerDoc:
    """The breaker without the hold of `source`, if it had one."""
    return _changed(doc, {name: kept for name, kept in doc.holds.items() if name != source}, now)


def release_alert(doc: BreakerDoc, key: str, now: float) -> BreakerDoc:
    """The breaker after one alert resolved: released with the last alert, unless it is latched."""
    known = doc.holds.get("alert")
    if known is None or key not in known.keys:
        return doc
    keys = tuple(other for other in known.keys if other != key)
    if keys or known.latched:
        return msgspec.structs.replace(
            doc, holds={**doc.holds, "alert": msgspec.structs.replace(known, keys=keys)}
        )
    return release(doc, "alert", now)


def expire(doc: BreakerDoc, now: float) -> tuple[BreakerDoc, list[str]]:
    """The breaker without holds whose end has come, and the sources that let go."""
    gone = [source for source, kept in doc.holds.items() if kept.until is not None and kept.until <= now]
    for source in gone:
        doc = release(doc, source, now)
    return doc, gone
