"""Pure: the gauges that wait to be pushed, at most one value each.

The newest value of a gauge replaces the one that waits, so the outbox is as large as the engine has gauges,
however long the deck is away.  One thing must not be lost to that: a breaker that trips and releases between
two pushes.  Its steps are kept in order, as many as STEPS, so the deck counts the trip.

The caller guards it with a lock; `merge` is what a tick pays for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["STEPS", "Outbox", "Push"]

STEPS: Final = 64
"""Breaker steps kept while the deck is away; beyond it the oldest pair of steps gives way."""

MAPS: Final = frozenset({"pnl_by_strategy", "exposure_by_strategy", "drawdown_pct_by_strategy", "info"})


PLAIN: Final = frozenset({float, int, bool, str})
"""Asked first: an abstract class costs as much as all the rest."""


@dataclass(frozen=True, slots=True)
class Push:
    """One body of `POST /metrics/push` to be, and the engine it is about."""

    engine: str | None
    fields: dict[str, Any]


class Outbox:
    """Gauges by engine, newest wins; breakers by engine, step by step."""

    def __init__(self) -> None:
        self.coalesced = 0
        """Values that a newer one replaced before they were sent."""
        self.lost_steps = 0
        """Breaker steps that gave way because there were more than STEPS."""
        self._gauges: dict[str | None, dict[str, Any]] = {}
        self._steps: dict[str | None, list[dict[str, Any]]] = {}

    def __bool__(self) -> bool:
        return bool(self._gauges or self._steps)

    def merge(self, engine: str | None, fields: Mapping[str, Any]) -> None:
        """Take a push; what it names replaces what waits, the rest stays.  Maps are copied."""
        gauges = self._gauges.get(engine)
        if gauges is None:
            gauges = self._gauges[engine] = {}
        for name, value in fields.items():
            if type(value) is not dict:
                value = _as_dict(value)  # noqa: PLW2901 - a map of another kind is taken as a dict
            if type(value) is dict:
                if name == "breaker":
                    self._step(engine, dict(value))
                    continue
                if name in MAPS:
                    waiting = gauges.get(name)
                    if type(waiting) is dict:
                        self.coalesced += 1
                        waiting.update(value)
                    else:
                        gauges[name] = dict(value)
                    continue
            if name in gauges:
                self.coalesced += 1
            gauges[name] = value

    def _step(self, engine: str | None, states: dict[str, Any]) -> None:
        steps = self._steps.setdefault(engine, [])
        if steps:
            latest = steps[-1]
            for name, state in states.items():
                if latest.get(name, state) is not state:
                    break
            else:
                latest.update(states)
                return
        steps.append(states)
        if len(steps) > STEPS:
            # The first two fold into one: the last state of each breaker, and the newest steps, stay.
            steps[:2] = [{**steps[0], **steps[1]}]
            self.lost_steps += 1

    def take(self) -> list[Push]:
        """Everything that waits, as pushes in the order to send them; the outbox is empty afterwards."""
        pushes: list[Push] = []
        for engine in {**self._gauges, **self._steps}:
            steps = self._steps.get(engine, [])
            gauges = self._gauges.get(engine, {})
            if steps and "breaker" in gauges:  # no map: it is sent by itself, for its refusal
                pushes.append(Push(engine, {"breaker": gauges.pop("breaker")}))
            pushes += [Push(engine, {"breaker": step}) for step in steps[:-1]]
            last = {"breaker": steps[-1]} if steps else {}
            fields = {**gauges, **last}
            if fields:
                pushes.append(Push(engine, fields))
        self._gauges, self._steps = {}, {}
        return pushes

    def put_back(self, pushes: list[Push]) -> None:
        """Return pushes that could not be sent: older than all that came since, so those win."""
        newer = self.take()
        coalesced = self.coalesced
        for push in [*pushes, *newer]:
            self.merge(push.engine, push.fields)
        self.coalesced = coalesced


def _as_dict(value: Any) -> Any:
    """A map as a dict, or the value itself: also of a map that cannot be read, for the sender to refuse."""
    if type(value) in PLAIN:
        return value
    try:
        return dict(value) if isinstance(value, Mapping) else value
    except Exception:  # noqa: BLE001 - whatever a foreign mapping raises; a tick must not meet it
        return value
