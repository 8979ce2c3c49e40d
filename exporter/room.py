"""How many series a request would add beside those it pushes.

Pure.  An engine, a strategy and a breaker each bring series that the deck computes; without a count of them a
stream of new names would grow the page without end.  An operator's and an alert's trip are counted, and never
refused for room.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from exporter.records import EVERY_ENGINE
from exporter.state import BREAKER_SERIES, TOTALS_SERIES, Draft

__all__ = ["computed_growth"]


def computed_growth(
    draft: Draft,
    engines: Collection[str],
    strategies: Iterable[tuple[str, str]],
    breakers: Collection[str] = (),
) -> int:
    """Series that these engines, (engine, strategy) pairs and breakers add, as far as they are new."""
    new_engines = {engine for engine in engines if draft.breaker(engine, "manual") is None}
    new_breakers = {name for name in breakers if draft.breaker(EVERY_ENGINE, name) is None}
    pairs = {pair for pair in strategies if draft.total(pair) is None}
    for engine in new_engines:
        pairs |= {(engine, s) for s in draft.current_weights.weights if draft.total((engine, s)) is None}
    more = TOTALS_SERIES * len(pairs)
    if new_engines:
        more += BREAKER_SERIES * len(new_engines) * len(draft.breaker_names() | new_breakers)
    if new_breakers:
        more += BREAKER_SERIES * len(new_breakers) * len(draft.engine_names())
    return more
