"""What an order needs to know beyond the call: risk shares, drawdown, breakers, edge; one immutable snapshot.

Pure: ages are numbers that came in, no clock is read here.  What feeds a snapshot (riskrails.deck, an
engine's own account loop) keeps the ages honest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from types import MappingProxyType
from typing import Protocol

from riskrails.errors import RiskInputError
from riskrails.features import as_number
from riskrails.policy import Policy

__all__ = ["EdgeStatistics", "RiskState", "StateSource", "View", "kelly_limit", "view_of", "worst_of"]


@dataclass(frozen=True, slots=True)
class EdgeStatistics:
    """A strategy's record, for fractional Kelly.

    Attributes:
        trades: Closed trades.
        wins: How many of them made money.
        average_win: Mean of the winners, in any unit, at least 0.
        average_loss: Mean of the losers' absolute value, the same unit, at least 0.

    Raises:
        RiskInputError: E_EDGE, with the field.
    """

    trades: int
    wins: int
    average_win: float
    average_loss: float

    def __post_init__(self) -> None:
        for name in ("trades", "wins"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise RiskInputError("E_EDGE", name, f"{name}={value!r}: want a whole number of at least 0")
        if self.wins > self.trades:
            raise RiskInputError(
                "E_EDGE", "wins", f"wins={self.wins}, trades={self.trades}: want wins ≤ trades"
            )
        for name in ("average_win", "average_loss"):
            value = getattr(self, name)
            if not 0.0 <= as_number(value) < math.inf:
                raise RiskInputError("E_EDGE", name, f"{name}={value!r}: want a finite amount of at least 0")


def kelly_limit(edge: EdgeStatistics, *, fraction: float, min_trades: int, confidence: float) -> float | None:
    """Fractional Kelly on a cautious win rate: the largest risk per trade, fraction of equity.

    The win rate is Wilson's one-sided lower bound, so that a short lucky record earns little.

    Args:
        edge: The strategy's record.
        fraction: Share of full Kelly, 0.25.
        min_trades: With fewer there is no answer.
        confidence: Of the bound, 0.95.

    Returns:
        A fraction of equity, 0 where the cautious edge is none; None with too few trades.

    Source: Kelly (1956), Bell System Technical Journal 35; Wilson (1927), JASA 22.
    """
    n = edge.trades
    if n < min_trades:
        return None
    z = NormalDist().inv_cdf(confidence)
    rate = edge.wins / n
    spread = z * math.sqrt(rate * (1.0 - rate) / n + z * z / (4.0 * n * n))
    p = max(0.0, (rate + z * z / (2.0 * n) - spread) / (1.0 + z * z / n))
    win, loss = float(edge.average_win), float(edge.average_loss)
    if win <= 0.0:
        return 0.0
    return fraction * max(0.0, p - (1.0 - p) * loss / win)


@dataclass(frozen=True)
class RiskState:
    """One snapshot; swapped whole, never changed.

    Attributes:
        risk_shares: Strategy → share of the risk budget, ratios whose sum is at most 1.
        share_age_seconds: How old they are.
        allocator_period_seconds: How often the allocator decides.
        drawdown_pct: Loss from the peak of equity, fraction of the peak, unrealised PnL included.
        drawdown_age_seconds: How old it is; infinity: it should be known and is not; None: nobody feeds it.
        daily_pnl_pct: PnL since the day's start, fraction of equity, negative for a loss.
        breakers: Name → open.
        breaker_age_seconds: How old they are; None: no breaker feed is attached at all.
        edges: Strategy → record.
        daily_pnl_age_seconds: How old the day's PnL is; None: nobody says.  Too old it warns and does not
            halt, for an engine may well push none; its last value counts on.

    Raises:
        RiskInputError: With a code, the field, what came and what was wanted.
    """

    risk_shares: Mapping[str, float] = field(default_factory=dict)
    share_age_seconds: float = 0.0
    allocator_period_seconds: float = 600.0
    drawdown_pct: float = 0.0
    drawdown_age_seconds: float | None = None
    daily_pnl_pct: float = 0.0
    breakers: Mapping[str, bool] = field(default_factory=dict)
    breaker_age_seconds: float | None = None
    edges: Mapping[str, EdgeStatistics] = field(default_factory=dict)
    daily_pnl_age_seconds: float | None = None

    def __post_init__(self) -> None:
        shares: dict[str, float] = {}
        for name, share in _mapping("risk_shares", "E_RISK_SHARE", self.risk_shares).items():
            number = as_number(share)
            if not 0.0 <= number <= 1.0:
                message = f"risk_shares[{name!r}]={share!r}: want a share from 0 to 1, 0.25 for 25 %"
                raise RiskInputError("E_RISK_SHARE", f"risk_shares[{name!r}]", message)
            shares[name] = number
        if math.fsum(shares.values()) > 1.0 + 1e-9:
            message = f"risk_shares sum to {math.fsum(shares.values())!r}: want at most 1"
            raise RiskInputError("E_RISK_SHARE", "risk_shares", message)
        breakers: dict[str, bool] = {}
        for name, is_open in _mapping("breakers", "E_BREAKERS", self.breakers).items():
            if not isinstance(is_open, bool):
                message = f"breakers[{name!r}]={is_open!r}: want True (open, trading halted) or False"
                raise RiskInputError("E_BREAKERS", f"breakers[{name!r}]", message)
            breakers[name] = is_open
        edges = dict(_mapping("edges", "E_EDGE", self.edges))
        for name, edge in edges.items():
            if not isinstance(edge, EdgeStatistics):
                raise RiskInputError(
                    "E_EDGE", f"edges[{name!r}]", f"edges[{name!r}]={edge!r}: want EdgeStatistics"
                )
        dd = as_number(self.drawdown_pct)
        if not 0.0 <= dd <= 1.0:
            message = (
                f"drawdown_pct={self.drawdown_pct!r}: want a fraction of the peak from 0 to 1, 0.12 for 12 %"
            )
            raise RiskInputError("E_DRAWDOWN", "drawdown_pct", message)
        day = as_number(self.daily_pnl_pct)
        if not -1.0 <= day < math.inf:
            message = f"daily_pnl_pct={self.daily_pnl_pct!r}: want a fraction of equity, −0.02 for −2 %"
            raise RiskInputError("E_DAILY_PNL", "daily_pnl_pct", message)
        ages = ("share_age_seconds", "drawdown_age_seconds", "breaker_age_seconds", "daily_pnl_age_seconds")
        for name in ages:
            age = getattr(self, name)
            optional = name != "share_age_seconds"
            if not (age is None and optional) and not as_number(age) >= 0.0:
                raise RiskInputError("E_AGE", name, f"{name}={age!r}: want seconds of at least 0")
        if not 0.0 < as_number(self.allocator_period_seconds) < math.inf:
            message = f"allocator_period_seconds={self.allocator_period_seconds!r}: want seconds above 0"
            raise RiskInputError("E_AGE", "allocator_period_seconds", message)
        for name, value in (
            ("risk_shares", MappingProxyType(shares)),
            ("breakers", MappingProxyType(breakers)),
            ("edges", MappingProxyType(edges)),
            ("drawdown_pct", dd),
            ("daily_pnl_pct", day),
        ):
            object.__setattr__(self, name, value)


def _mapping(name: str, code: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise RiskInputError(code, name, f"{name}={value!r}: want a mapping from name to value")
    for key in value:
        if not isinstance(key, str) or not key:
            raise RiskInputError(code, name, f"{name}: key {key!r}: want a non-empty text")
    return value


class StateSource(Protocol):
    """Something that keeps a snapshot fresh."""

    def snapshot(self) -> RiskState:
        """The newest state, its ages as of now; cheap, thread-safe, the same object while nothing changed."""
        ...


def worst_of(ours: RiskState, theirs: RiskState) -> RiskState:
    """The more cautious of two views of one account: an engine's own and the deck's.

    Breakers open in either are open; the deeper drawdown and daily loss count, each as old as its younger
    report.  Shares and edges come from whichever has them, `theirs` first: the allocator's are there.
    """
    names = dict.fromkeys([*ours.breakers, *theirs.breakers])
    ages = [age for age in (ours.breaker_age_seconds, theirs.breaker_age_seconds) if age is not None]
    reports = [age for age in (ours.drawdown_age_seconds, theirs.drawdown_age_seconds) if age is not None]
    days = [age for age in (ours.daily_pnl_age_seconds, theirs.daily_pnl_age_seconds) if age is not None]
    shares = theirs if theirs.risk_shares or not ours.risk_shares else ours
    return RiskState(
        risk_shares=shares.risk_shares,
        share_age_seconds=shares.share_age_seconds,
        allocator_period_seconds=shares.allocator_period_seconds,
        drawdown_pct=max(ours.drawdown_pct, theirs.drawdown_pct),
        drawdown_age_seconds=min(reports) if reports else None,
        daily_pnl_pct=min(ours.daily_pnl_pct, theirs.daily_pnl_pct),
        breakers={n: ours.breakers.get(n, False) or theirs.breakers.get(n, False) for n in names},
        breaker_age_seconds=max(ages) if ages else None,
        edges={**ours.edges, **theirs.edges},
        daily_pnl_age_seconds=min(days) if days else None,
    )


@dataclass(frozen=True, slots=True)
class View:
    """A snapshot judged against a policy: what one call reads."""

    halted: bool
    drawdown: float
    in_drawdown: bool
    shares: Mapping[str, float]
    missing_share: float
    kelly: Mapping[str, float]
    stale_shares: bool
    warnings: tuple[str, ...]
    halt_message: str


def view_of(state: RiskState, policy: Policy) -> View:
    """Apply the policy's ages and limits to a snapshot."""
    why = [f"breaker {name} is open" for name, is_open in state.breakers.items() if is_open]
    age = state.breaker_age_seconds
    if age is not None and age > policy.breaker_max_age_seconds:
        why.append(f"breaker state is {age:g} s old: want at most {policy.breaker_max_age_seconds:g} s")
    report = state.drawdown_age_seconds
    if report is not None and report > policy.drawdown_max_age_seconds:
        why.append(f"drawdown is {report:g} s old: want at most {policy.drawdown_max_age_seconds:g} s")
    day = state.daily_pnl_age_seconds
    if state.daily_pnl_pct <= -policy.daily_loss_max:
        why.append(
            f"daily PnL {state.daily_pnl_pct:.2%} has reached the limit of −{policy.daily_loss_max:.2%}"
        )
    shares, missing = dict(state.risk_shares), policy.min_share
    stale = (
        bool(shares) and state.share_age_seconds > policy.share_max_periods * state.allocator_period_seconds
    )
    if stale:
        equal = 1.0 / len(shares)
        shares = {name: min(share, equal) for name, share in shares.items()}
        missing = min(missing, equal)
    kelly: dict[str, float] = {}
    if policy.kelly_enabled:
        for name, edge in state.edges.items():
            limit_ = kelly_limit(
                edge,
                fraction=policy.kelly_fraction,
                min_trades=policy.kelly_min_trades,
                confidence=policy.kelly_confidence,
            )
            if limit_ is not None:
                kelly[name] = limit_
    warnings = (
        *(("SHARES_STALE",) if stale else ()),
        *(("BREAKERS_UNKNOWN",) if age is None else ()),
        *(("DRAWDOWN_UNKNOWN",) if report is None else ()),
        *(("DAILY_PNL_UNKNOWN",) if day is not None and day > policy.drawdown_max_age_seconds else ()),
    )
    return View(
        halted=bool(why),
        drawdown=state.drawdown_pct,
        in_drawdown=state.drawdown_pct >= policy.dd_max,
        shares=shares,
        missing_share=missing,
        kelly=kelly,
        stale_shares=stale,
        warnings=warnings,
        halt_message="; ".join(why),
    )
