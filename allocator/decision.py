"""Pure: from an observation and the shares in force to what is done, and why.

The same `decide` serves the daemon, a dry run and the backtest.  Knows no clock, logger or network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np

from allocator.history import PAUSE_ROWS, Observation, Outcome
from allocator.policy import Assessment, assess, share_bounds
from allocator.simplex import project

__all__ = [
    "Action",
    "Decision",
    "InForce",
    "Limits",
    "StrategyView",
    "decide",
    "next_shares",
]

_ROUNDING = 1e-9
CONFIRM_PERIODS = 1.5
"""Shares older than this are confirmed by a hold: every second refresh, since whoever reads the shares gives
up on them after three periods, and a decision may come most of a period late."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The knobs of a decision; docs/allocator.md says what each does."""

    min_share: float = 0.05
    max_share: float = 0.55
    exploration: float = 0.08
    ema_alpha: float = 0.35
    max_step: float = 0.10
    dead_band: float = 0.005
    min_readings: int = 12
    refresh_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class InForce:
    """What the exporter says is in force.

    Attributes:
        version: Of the shares; sent back as If-Match.
        shares: Share by strategy; empty where none was ever published.
        as_of: Row that the allocator decided these from; None where somebody else wrote them.
        breaker_open: The exporter shows the equity breaker open.
        age_seconds: Since they were written, by the exporter's clock; None where it does not say.
    """

    version: int
    shares: Mapping[str, float]
    as_of: float | None = None
    breaker_open: bool = False
    age_seconds: float | None = field(default=None, compare=False)  # the same shares a moment later


class Action(Enum):
    """What is done with a decision."""

    PUBLISH = "publish"
    HOLD = "hold"  # decided, and what is in force is good enough
    CONFIRM = "confirm"  # the same, and it is written again, so that nobody takes it for abandoned
    SKIP = "skip"  # a guard forbids to decide


@dataclass(frozen=True, slots=True)
class StrategyView:
    """One strategy in a decision.

    Attributes:
        name: Strategy.
        in_force: Share before; None if it had none.
        target: Share the policy wants.
        share: Share after this decision.
        raw_share: Share before the bounds.
        score, score_ema, bonus: Of the policy; NaN for a strategy that left.
        evidence: t-value of its normalised PnL against the others'.
        readings: Effective number of readings.
        volatility: Of a row's return, after shrinking.
        outcome: What its newest cell is.
        why: In words.
    """

    name: str
    in_force: float | None
    target: float
    share: float
    raw_share: float
    score: float
    score_ema: float
    bonus: float
    evidence: float
    readings: float
    volatility: float
    outcome: Outcome
    why: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done, and why.

    Attributes:
        action: Publish, hold, confirm or skip.
        guard: Short name of the guard that keeps the shares; empty without one.
        reason: In words.
        as_of: Row it was decided from, epoch seconds.
        shares: Share by strategy once this is done.
        turnover: Half the L1 change that publishing makes, ratio; 0 unless published.
        views: Strategy by strategy, those that left last.
        gate: Part of the dispersion between strategies that is not noise.
        frozen: A guard keeps the shares.
        relaxed: MIN_SHARE and MAX_SHARE cannot hold for so many strategies.
        all_negative: Every strategy's mean return is below zero.
    """

    action: Action
    guard: str
    reason: str
    as_of: float
    shares: Mapping[str, float]
    turnover: float = 0.0
    views: tuple[StrategyView, ...] = ()
    gate: float = 0.0
    frozen: bool = False
    relaxed: bool = False
    all_negative: bool = False


def decide(seen: Observation, held: InForce, limits: Limits, *, again: bool = False) -> Decision:
    """What to do with the shares in force.

    Args:
        seen: History up to now.
        held: Shares in force.
        limits: Bounds and knobs.
        again: Decide even if the shares in force were decided from this very row.

    Returns:
        The decision; a guard that forbids one keeps the shares and says why.
    """
    guard = _guard(seen, held)
    if guard is not None:
        return _skip(seen, held, *guard)
    member = seen.absent_rows < PAUSE_ROWS
    names = [name for name, stays in zip(seen.strategies, member, strict=True) if stays]
    if seen.readings < limits.min_readings:
        return _too_few(seen, held, names, limits)
    found = assess(
        seen.returns[:, member],
        limits.min_share,
        limits.max_share,
        ema_alpha=limits.ema_alpha,
        exploration=limits.exploration,
        refresh_seconds=limits.refresh_seconds,
    )
    target = dict(zip(names, found.shares.tolist(), strict=True))
    bounds = share_bounds(len(names), limits.min_share, limits.max_share)
    start = _start(held.shares, names, bounds)
    shares = next_shares(held.shares, start, target, limits.max_step)
    gone = {name: 0.0 for name, share in held.shares.items() if name not in target and share > 0.0}
    target, start, shares = target | gone, start | gone, shares | gone
    wanted, turnover = _turnover(held.shares, target), _turnover(held.shares, shares)
    held_as_they_are = Decision(
        Action.HOLD,
        "",
        "the shares in force are the target",
        as_of=seen.as_of,
        shares=held.shares,
        views=_views(seen, held, names, found, target, shares, limits),
        gate=found.gate,
        relaxed=found.relaxed,
        all_negative=bool(((found.mean < 0.0) & (found.readings > 0.0)).all()),
    )
    if held.as_of is not None and not again and seen.as_of == held.as_of:
        return replace(held_as_they_are, reason="this row was decided before; the next is due")
    if wanted < limits.dead_band and _in_order(held.shares, start, target):
        reason = f"turnover {wanted:.4f} is inside the dead band of {limits.dead_band:g}"
        return _confirmed(replace(held_as_they_are, reason=reason), held, limits)
    if turnover < _ROUNDING:
        return _confirmed(held_as_they_are, held, limits)
    return replace(
        held_as_they_are,
        action=Action.PUBLISH,
        reason=f"turnover {turnover:.4f}",
        shares=shares,
        turnover=turnover,
    )


def next_shares(
    held: Mapping[str, float], start: Mapping[str, float], target: Mapping[str, float], max_step: float
) -> dict[str, float]:
    """From where a move starts towards the target, no share further than `max_step` from what is held.

    The whole move is scaled, so that a mixture of two share vectors inside the bounds stays inside them and
    keeps its sum.  A share that getting to the start alone took further moves no further.

    Args:
        held: Shares in force.
        start: Shares inside the bounds, sum 1, of the target's strategies; empty where none has a share yet,
            and the target it is.
        target: Shares inside the bounds, sum 1.
        max_step: Ratio.
    """
    if not start:
        return dict(target)
    part = 1.0
    for name, share in target.items():
        way, gone = share - start[name], start[name] - held.get(name, 0.0)
        if way != 0.0:
            room = max(max_step, abs(gone)) - (gone if way > 0.0 else -gone)
            part = min(part, room / abs(way))
    if part >= 1.0:
        return dict(target)
    return {name: (1.0 - part) * start[name] + part * share for name, share in target.items()}


def _start(held: Mapping[str, float], names: Sequence[str], bounds: tuple[float, float]) -> dict[str, float]:
    """The shares held, of these strategies, brought to sum 1 inside the bounds; empty if none has one."""
    having = np.array([held.get(name, 0.0) for name in names])
    if not having.any():
        return {}
    return dict(zip(names, project(having, *bounds).tolist(), strict=True))


def _guard(seen: Observation, held: InForce) -> tuple[str, str] | None:
    """Name and words of the guard that forbids to decide; None if none does."""
    if seen.breaker_open or held.breaker_open:
        return "breaker", "the equity breaker is open"
    if held.shares and not any(share > 0.0 for share in held.shares.values()):
        return Outcome.NO_CAPITAL.label, "every share in force is zero, and only a hand can have written that"
    if held.as_of is not None and seen.as_of < held.as_of:
        return (
            Outcome.CLOCK_STEP.label,
            f"the newest row is {held.as_of - seen.as_of:g} s older than the one in force was decided from",
        )
    newest = seen.newest
    if not newest:
        return Outcome.NONE.label, Outcome.NONE.meaning
    if (seen.absent_rows >= PAUSE_ROWS).all():
        return Outcome.NONE.label, f"no strategy had PnL for {PAUSE_ROWS} refreshes"
    if seen.returns.shape[0] > 0 and Outcome.ONE not in newest:
        # The commonest outcome speaks for all; ties go to the first strategy.
        speaks = max(dict.fromkeys(newest), key=newest.count)
        return speaks.label, f"no strategy has a new reading: {speaks.meaning}"
    return None


def _confirmed(hold: Decision, held: InForce, limits: Limits) -> Decision:
    """A hold, written again where the shares in force are getting old."""
    if held.age_seconds is None or held.age_seconds <= CONFIRM_PERIODS * limits.refresh_seconds:
        return hold
    return replace(hold, action=Action.CONFIRM, reason=f"confirmed as they are: {hold.reason}")


def _skip(seen: Observation, held: InForce, guard: str, words: str) -> Decision:
    """Keep what is in force."""
    return Decision(
        Action.SKIP,
        guard,
        f"shares are kept: {words}",
        as_of=seen.as_of,
        shares=held.shares,
        views=_bare_views(seen, held, held.shares),
        frozen=True,
    )


def _too_few(seen: Observation, held: InForce, names: list[str], limits: Limits) -> Decision:
    """Keep what is in force; a deck without any share gets equal ones, which rest on no reading."""
    words = f"{seen.readings} readings, {limits.min_readings} wanted"
    if held.shares:
        return _skip(seen, held, "few", words)
    shares = {name: 1.0 / len(names) for name in names}
    return Decision(
        Action.PUBLISH,
        "few",
        f"equal shares to begin with: {words}",
        as_of=seen.as_of,
        shares=shares,
        turnover=_turnover(held.shares, shares),
        views=_bare_views(seen, held, shares),
        frozen=True,
    )


def _turnover(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """Half the L1 distance of two share vectors."""
    return 0.5 * sum(
        abs(after.get(name, 0.0) - before.get(name, 0.0)) for name in before.keys() | after.keys()
    )


def _in_order(held: Mapping[str, float], start: Mapping[str, float], target: Mapping[str, float]) -> bool:
    """Whether the shares held sum to one inside the bounds, and the same strategies have one as in target."""
    having = {name for name, share in held.items() if share > 0.0}
    wanted = {name for name, share in target.items() if share > 0.0}
    return having == wanted and all(abs(start.get(name, 0.0) - held[name]) <= 1e-6 for name in having)


def _bare_views(seen: Observation, held: InForce, shares: Mapping[str, float]) -> tuple[StrategyView, ...]:
    """Views where the policy was not asked."""
    nan = float("nan")
    outcomes = dict(zip(seen.strategies, seen.newest, strict=True))
    names = [*seen.strategies, *sorted(held.shares.keys() - outcomes.keys())]
    views = []
    for name in names:
        share = shares.get(name, 0.0)
        outcome = outcomes.get(name, Outcome.NONE)
        views.append(
            StrategyView(
                name, held.shares.get(name), share, share, nan, nan, nan, nan, nan, nan, nan,
                outcome, outcome.meaning,
            )
        )  # fmt: skip
    return tuple(views)


def _views(
    seen: Observation,
    held: InForce,
    names: list[str],
    found: Assessment,
    target: Mapping[str, float],
    shares: Mapping[str, float],
    limits: Limits,
) -> tuple[StrategyView, ...]:
    """What the policy thought of each, in its column order; strategies that left stand last."""
    outcomes = dict(zip(seen.strategies, seen.newest, strict=True))
    absent = dict(zip(seen.strategies, seen.absent_rows.tolist(), strict=True))
    low, high = share_bounds(len(names), limits.min_share, limits.max_share)
    typical = float(np.median(found.volatility))
    views = [
        StrategyView(
            name=name,
            in_force=held.shares.get(name),
            target=target[name],
            share=shares[name],
            raw_share=float(found.raw_shares[column]),
            score=float(found.score[column]),
            score_ema=float(found.score_ema[column]),
            bonus=float(found.bonus[column]),
            evidence=float(found.evidence[column]),
            readings=float(found.readings[column]),
            volatility=float(found.volatility[column]),
            outcome=outcomes[name],
            why=_why(found, column, target[name], shares[name], low, high, typical, outcomes[name]),
        )
        for column, name in enumerate(names)
    ]
    nan = float("nan")
    for name in sorted(target.keys() - set(names)):
        rows = absent.get(name)
        words = "it left: no PnL in the window" if rows is None else f"it left: no PnL for {rows} refreshes"
        views.append(
            StrategyView(
                name, held.shares.get(name), 0.0, shares[name], nan, nan, nan, nan, nan, nan, nan,
                Outcome.DISAPPEARED, words,
            )
        )  # fmt: skip
    return tuple(views)


def _why(
    found: Assessment,
    column: int,
    target: float,
    share: float,
    low: float,
    high: float,
    typical: float,
    outcome: Outcome,
) -> str:
    """The parts of a strategy's score in words, the strongest first."""
    t, readings = float(found.evidence[column]), float(found.readings[column])
    tilt = found.gate * t
    words: list[str] = []
    if found.relaxed:
        return "equal shares: the bounds leave no choice"
    if target == low < high:
        words.append(f"at MIN_SHARE {low:g}")
    elif target == high > low:
        words.append(f"at MAX_SHARE {high:g}")
    if readings < 1.0:
        words.append("new: starts near parity")
    elif tilt >= 0.5:
        words.append(f"earns more than the others (t={t:+.1f})")
    elif tilt <= -0.5:
        loses = "loses against" if found.mean[column] < 0.0 else "earns less than"
        words.append(f"{loses} the others (t={t:+.1f})")
    else:
        words.append(f"no better or worse than the others (t={t:+.1f})")
    ratio = float(found.volatility[column]) / typical if typical > 0.0 else 1.0
    if not 2 / 3 < ratio < 3 / 2:
        words.append(f"{ratio:.2g} times the usual risk")
    if abs(target - share) > _ROUNDING:
        words.append(f"on the way to {target:.3f}")
    if outcome is not Outcome.ONE:
        words.append(outcome.meaning)
    return ", ".join(words)
