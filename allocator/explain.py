"""Pure: a decision as one log line and as a table for people."""

from __future__ import annotations

import math
from collections.abc import Sequence

from allocator.decision import Action, Decision, StrategyView

__all__ = ["LONGEST_REASON", "one_line", "shares_line", "table"]

_NAMED = 12
"""Strategies named in a log line and in the reason sent with the shares; the rest are counted."""

LONGEST_REASON = 1000
"""Characters of a reason that the exporter takes."""


def shares_line(decision: Decision) -> str:
    """Who got how much: `scalp=0.5500 trend=0.0500`, largest first, the small ones counted."""
    ordered = sorted(decision.shares.items(), key=lambda item: (-item[1], item[0]))
    named = _ends(ordered)
    text = " ".join(f"{name}={share:.4f}" for name, share in named)
    return text + _rest(len(ordered) - len(named))


def one_line(decision: Decision, longest: int | None = None) -> str:
    """Why, strategy by strategy, the largest move first; a guard's or a confirmation's reason alone.

    Args:
        decision: What is told.
        longest: Characters at most; what does not fit is counted.
    """
    if decision.action in (Action.SKIP, Action.CONFIRM) or decision.guard:
        return decision.reason[:longest]
    ordered = sorted(decision.views, key=lambda view: (-abs(_move(view)), view.name))
    text, told = decision.reason, 0
    for view in ordered[:_NAMED]:
        part = f"; {view.name} {_move(view):+.3f} to {view.share:.3f}: {view.why}"
        if longest is not None and len(text) + len(part) + len(_rest(len(ordered))) > longest:
            break
        text, told = text + part, told + 1
    return text + _rest(len(ordered) - told)


def table(decision: Decision) -> str:
    """The shares that would be published, and why, as text in columns."""
    head = (
        "strategy",
        "in force",
        "target",
        "would be",
        "move",
        "t",
        "readings",
        "volatility",
        "score",
        "why",
    )
    rows = [head, *(_cells(view) for view in decision.views)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head) - 1)]
    lines = []
    for row in rows:
        first = row[0].ljust(widths[0])
        middle = [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:], strict=True)]
        lines.append("  ".join([first, *middle, row[-1]]).rstrip())
    verdict = {
        Action.PUBLISH: "would publish",
        Action.HOLD: "would publish nothing",
        Action.CONFIRM: "would publish the shares in force again",
        Action.SKIP: "would publish nothing",
    }[decision.action]
    notes = [f"{verdict}: {decision.reason}", f"signal part of the dispersion: {decision.gate:.3f}"]
    if decision.relaxed:
        notes.append("MIN_SHARE and MAX_SHARE leave no choice for so many strategies")
    if decision.all_negative:
        notes.append("every strategy loses; shares say who loses least")
    return "\n".join([*lines, "", *notes])


def _cells(view: StrategyView) -> tuple[str, ...]:
    return (
        view.name,
        "-" if view.in_force is None else f"{view.in_force:.4f}",
        f"{view.target:.4f}",
        f"{view.share:.4f}",
        f"{_move(view):+.4f}",
        _number(view.evidence, "+.2f"),
        _number(view.readings, ".0f"),
        _number(view.volatility, ".3g"),
        _number(view.score_ema, ".3f"),
        view.why,
    )


def _number(value: float, form: str) -> str:
    return "-" if math.isnan(value) else format(value, form)


def _move(view: StrategyView) -> float:
    return view.share - (view.in_force or 0.0)


def _ends(ordered: Sequence[tuple[str, float]]) -> Sequence[tuple[str, float]]:
    """The first and the last few of a long list."""
    if len(ordered) <= _NAMED:
        return ordered
    return [*ordered[: _NAMED // 2], *ordered[-_NAMED // 2 :]]


def _rest(count: int) -> str:
    return f" and {count} more" if count > 0 else ""
