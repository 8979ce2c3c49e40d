"""Circuit breakers of an engine: latched, measured from the peak, released by hand or by time.

Pure: `now` comes in, a new Breakers goes out.  An engine keeps one, feeds it its equity, and hands what is
open to `RiskRails.set_breakers` and to the deck; `to_dict` survives a restart, so that one forgives nothing.

Four breakers always exist:

    equity      equity, unrealised PnL included, fell from its peak by dd_trip
    daily_loss  equity fell since the day's start (UTC) by daily_loss_max
    venue       the venue's error ratio reached error_trip
    manual      a person

An open breaker stays open while its cause lasts.  When the cause has withdrawn behind the release level, not
merely below the trip level, it closes by hand, or by itself after its cooldown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self, overload

from riskrails.errors import RiskInputError
from riskrails.features import MAX_USD, as_number

__all__ = ["BREAKERS", "BreakerEvent", "BreakerPolicy", "Breakers", "Latch"]

BREAKERS = ("equity", "venue", "daily_loss", "manual")
DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When breakers trip and what lets them close.

    Attributes:
        dd_trip: Drawdown from the peak that trips `equity`, fraction; the sizing's dd_max.
        dd_release: Drawdown at which it may close, fraction, below dd_trip.
        equity_cooldown_seconds: After which it closes by itself below dd_release; infinity: only by hand.
        daily_loss_max: Loss since the day's start that trips `daily_loss`, fraction; it closes next day.
        error_trip: Error ratio that trips `venue`.
        error_release: Error ratio at which it may close, below error_trip.
        venue_cooldown_seconds: After which it closes by itself at or below error_release.

    Raises:
        RiskInputError: E_BREAKER_POLICY, with the field.
    """

    dd_trip: float = 0.20
    dd_release: float = 0.15
    equity_cooldown_seconds: float = math.inf
    daily_loss_max: float = 0.03
    error_trip: float = 0.05
    error_release: float = 0.01
    venue_cooldown_seconds: float = 300.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            seconds = item.name.endswith("_seconds")
            most, unit = (math.inf, "seconds") if seconds else (1.0, "a fraction, 0.05 for 5 %")
            if not 0.0 <= as_number(value) <= most or (value == 0 and not item.name.endswith("release")):
                message = f"{item.name}={value!r}: want {unit}, above 0"
                raise RiskInputError("E_BREAKER_POLICY", item.name, message)
        for low, high in (("dd_release", "dd_trip"), ("error_release", "error_trip")):
            if not getattr(self, low) < getattr(self, high):
                message = f"{low}={getattr(self, low)!r}, {high}={getattr(self, high)!r}: want {low} < {high}"
                raise RiskInputError("E_BREAKER_POLICY", low, message)


@dataclass(frozen=True, slots=True)
class Latch:
    """One open breaker: since when, why, whether a person opened it, and until when if they said so."""

    since: float
    reason: str
    by_hand: bool = False
    until: float | None = None


@dataclass(frozen=True, slots=True)
class BreakerEvent:
    """One change, for the log: what happened to which breaker, when and why."""

    at: float
    breaker: str
    change: str
    """tripped, released, or peak_moved."""
    reason: str


@dataclass(frozen=True)
class Breakers:
    """The state of all breakers; immutable, each change gives another one and the events that led to it.

    Attributes:
        policy: Levels.
        peak_usd: Highest equity seen; None before the first.
        equity_usd: Last equity seen.
        day: UTC day of the last observation, days since 1970.
        day_start_usd: Equity that the day's loss is measured from.
        error_ratio: Last error ratio of the venue.
        last_seen: Time of the last observation, seconds since 1970.
        latches: The open breakers.
        events: What the step that made this object changed.
    """

    policy: BreakerPolicy = field(default_factory=BreakerPolicy)
    peak_usd: float | None = None
    equity_usd: float | None = None
    day: int | None = None
    day_start_usd: float | None = None
    error_ratio: float = 0.0
    last_seen: float = -math.inf
    latches: Mapping[str, Latch] = field(default_factory=dict)
    events: tuple[BreakerEvent, ...] = ()

    @property
    def drawdown_pct(self) -> float:
        """Loss from the peak, fraction of the peak, from 0 to 1; 0 before the first observation."""
        if self.peak_usd is None or self.equity_usd is None:
            return 0.0
        return min(1.0, max(0.0, (self.peak_usd - self.equity_usd) / self.peak_usd))

    @property
    def daily_pnl_pct(self) -> float:
        """Gain since the day's start, fraction of the equity it started with, at least −1."""
        if self.day_start_usd is None or self.equity_usd is None:
            return 0.0
        return max(-1.0, (self.equity_usd - self.day_start_usd) / self.day_start_usd)

    def is_open(self) -> dict[str, bool]:
        """Every breaker by name: what `RiskRails.set_breakers` and the deck's push take."""
        return {name: name in self.latches for name in BREAKERS}

    def observe(self, equity_usd: float, now: float, *, error_ratio: float = 0.0) -> Self:
        """Take equity and the venue's error ratio in; trip what must trip, close what may close.

        Args:
            equity_usd: Unrealised PnL included.
            now: Seconds since 1970; an earlier time than the last is taken for the last.
            error_ratio: Share of the venue's requests that failed, fraction.

        Raises:
            RiskInputError: E_EQUITY, E_ERROR_RATIO, E_NOW; nothing is changed.
        """
        equity = as_number(equity_usd)
        if not -MAX_USD <= equity <= MAX_USD:
            raise RiskInputError(
                "E_EQUITY", "equity_usd", f"equity_usd={equity_usd!r}: want a finite number of USD"
            )
        errors = as_number(error_ratio)
        if not 0.0 <= errors <= 1.0:
            message = f"error_ratio={error_ratio!r}: want a fraction from 0 to 1, 0.05 for 5 %"
            raise RiskInputError("E_ERROR_RATIO", "error_ratio", message)
        now = max(_time(now), self.last_seen)
        peak, start, day = self.peak_usd, self.day_start_usd, int(now // DAY_SECONDS)
        if peak is None or start is None:
            if equity <= 0.0:
                message = f"equity_usd={equity_usd!r}: want above 0 USD at the first observation"
                raise RiskInputError("E_EQUITY", "equity_usd", message)
            # A peak that a person set before the first observation stands.
            peak, start = equity if peak is None else peak, equity
        if self.day is not None and day > self.day and self.equity_usd is not None:
            # From the last equity of the day before: a loss over midnight belongs to the new day.
            start = self.equity_usd if self.equity_usd > 0.0 else start
        seen = replace(
            self,
            peak_usd=max(peak, equity),
            equity_usd=equity,
            day=day,
            day_start_usd=start,
            error_ratio=errors,
            last_seen=now,
            events=(),
        )
        return seen._close_in_time(now, new_day=self.day is not None and day > self.day)._trip_on_cause(now)

    def trip(self, name: str, reason: str, now: float, *, ttl_seconds: float | None = None) -> Self:
        """Open a breaker by hand; with a ttl it closes by itself then, if its cause allows.

        Raises:
            RiskInputError: E_BREAKER, E_REASON, E_NOW, E_TTL.
        """
        _known(name)
        _reasoned(reason)
        until = None
        if ttl_seconds is not None:
            if not 0.0 < as_number(ttl_seconds) < math.inf:
                raise RiskInputError(
                    "E_TTL", "ttl_seconds", f"ttl_seconds={ttl_seconds!r}: want seconds above 0"
                )
            until = _time(now) + ttl_seconds
        since, held = _time(now), self.latches.get(name)
        if held is not None:
            # A person adds to what holds the breaker open and never shortens it.
            since = held.since
            until = None if held.until is None or until is None else max(held.until, until)
        latch = Latch(since, reason, by_hand=True, until=until)
        return self._with(name, latch, BreakerEvent(_time(now), name, "tripped", reason))

    def release(self, name: str, reason: str, now: float) -> Self:
        """Close a breaker by hand.

        Raises:
            RiskInputError: E_STILL_TRIPPED while its cause has not withdrawn behind the release level;
                E_CLOSED if it is not open; E_BREAKER, E_REASON, E_NOW.
        """
        _known(name)
        _reasoned(reason)
        if name not in self.latches:
            raise RiskInputError("E_CLOSED", name, f"breaker {name} is not open")
        lasting = self._lasting_cause(name)
        if lasting is not None:
            raise RiskInputError("E_STILL_TRIPPED", name, f"breaker {name} stays open: {lasting}")
        return self._with(name, None, BreakerEvent(_time(now), name, "released", reason))

    def rebase_peak(self, peak_usd: float, reason: str, now: float) -> Self:
        """Move the peak, aloud: after a withdrawal, or a loss a person has accepted.  It closes nothing.

        Raises:
            RiskInputError: E_PEAK, below the present equity or not above 0; E_REASON, E_NOW.
        """
        _reasoned(reason)
        peak, equity = as_number(peak_usd), self.equity_usd
        if not 0.0 < peak <= MAX_USD or (equity is not None and peak < equity):
            message = f"peak_usd={peak_usd!r}: want USD above 0 and not below the equity {equity!r}"
            raise RiskInputError("E_PEAK", "peak_usd", message)
        text = f"{self.peak_usd!r} -> {peak!r}: {reason}"
        return replace(self, peak_usd=peak, events=(BreakerEvent(_time(now), "equity", "peak_moved", text),))

    def _lasting_cause(self, name: str) -> str | None:
        """Why a breaker may not close yet, None if it may."""
        policy = self.policy
        if name == "equity" and self.drawdown_pct > policy.dd_release:
            level = f"want at most {policy.dd_release:.2%}, or rebase_peak with a reason"
            return f"drawdown {self.drawdown_pct:.2%}: {level}"
        if name == "daily_loss" and self.daily_pnl_pct <= -policy.daily_loss_max:
            level = f"want above −{policy.daily_loss_max:.2%}, or the next day"
            return f"PnL of the day {self.daily_pnl_pct:.2%}: {level}"
        if name == "venue" and self.error_ratio > policy.error_release:
            return f"error ratio {self.error_ratio:.2%}: want at most {policy.error_release:.2%}"
        return None

    def _close_in_time(self, now: float, *, new_day: bool) -> Self:
        """Close what time and a withdrawn cause allow."""
        state = self
        cooldowns = {
            "equity": self.policy.equity_cooldown_seconds,
            "venue": self.policy.venue_cooldown_seconds,
        }
        for name, latch in self.latches.items():
            cooled = now >= latch.since + cooldowns.get(name, math.inf)
            if latch.by_hand:
                cooled = latch.until is not None and now >= latch.until
            elif name == "daily_loss":
                cooled = new_day
            if cooled and state._lasting_cause(name) is None:
                state = state._with(name, None, BreakerEvent(now, name, "released", "time"))
        return state

    def _trip_on_cause(self, now: float) -> Self:
        """Open what its cause demands."""
        policy, state = self.policy, self
        causes = (
            ("equity", self.drawdown_pct >= policy.dd_trip, f"drawdown {self.drawdown_pct:.2%}"),
            (
                "daily_loss",
                self.daily_pnl_pct <= -policy.daily_loss_max,
                f"PnL of the day {self.daily_pnl_pct:.2%}",
            ),
            ("venue", self.error_ratio >= policy.error_trip, f"error ratio {self.error_ratio:.2%}"),
        )
        for name, present, reason in causes:
            if present and name not in state.latches:
                state = state._with(name, Latch(now, reason), BreakerEvent(now, name, "tripped", reason))
        return state

    def _with(self, name: str, latch: Latch | None, event: BreakerEvent) -> Self:
        latches = {other: kept for other, kept in self.latches.items() if other != name}
        if latch is not None:
            latches[name] = latch
        return replace(self, latches=latches, events=(*self.events, event))

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; what `from_dict` reads after a restart.  Levels are settings and not part of it."""
        return {
            "peak_usd": self.peak_usd,
            "equity_usd": self.equity_usd,
            "day": self.day,
            "day_start_usd": self.day_start_usd,
            "error_ratio": self.error_ratio,
            "last_seen": None if self.last_seen == -math.inf else self.last_seen,
            "latches": {
                name: {
                    "since": latch.since,
                    "reason": latch.reason,
                    "by_hand": latch.by_hand,
                    "until": latch.until,
                }
                for name, latch in self.latches.items()
            },
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], policy: BreakerPolicy | None = None) -> Self:
        """Back from `to_dict`.

        Raises:
            RiskInputError: E_SAVED, a field is missing, of another kind or out of range; a guess could forget
                a breaker.
        """
        try:
            latches = {name: _saved_latch(name, latch) for name, latch in plain["latches"].items()}
            last, day = plain["last_seen"], plain["day"]
            fresh = last is None  # only then may amounts be unknown: a forgotten peak forgives its drawdown
            seen = -math.inf if last is None else _saved("last_seen", last, *_TIMES)
            if (day is None) != fresh or (
                not fresh and (isinstance(day, bool) or day != seen // DAY_SECONDS)
            ):
                raise _not_saved("day", day, f"the UTC day of last_seen={last!r}")
            return cls(
                policy=policy or BreakerPolicy(),
                peak_usd=_saved("peak_usd", plain["peak_usd"], *_ABOVE_ZERO, optional=fresh),
                equity_usd=_saved("equity_usd", plain["equity_usd"], *_AMOUNT, optional=fresh),
                day=None if day is None else int(day),
                day_start_usd=_saved("day_start_usd", plain["day_start_usd"], *_ABOVE_ZERO, optional=fresh),
                error_ratio=_saved("error_ratio", plain["error_ratio"], 0.0, 1.0, "a fraction from 0 to 1"),
                last_seen=seen,
                latches=latches,
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise RiskInputError("E_SAVED", "saved", f"not a saved Breakers: {error!r}") from error


_FINITE = math.nextafter(math.inf, 0.0)
_TIMES = (-_FINITE, _FINITE, "finite seconds since 1970")
_AMOUNT = (-MAX_USD, MAX_USD, "a finite number of USD")
_ABOVE_ZERO = (math.nextafter(0.0, 1.0), MAX_USD, "a finite number of USD above 0")


def _not_saved(name: str, value: object, wanted: str) -> RiskInputError:
    return RiskInputError("E_SAVED", name, f"{name}={value!r}: want {wanted}")


@overload
def _saved(name: str, value: object, low: float, high: float, wanted: str) -> float: ...
@overload
def _saved(
    name: str, value: object, low: float, high: float, wanted: str, *, optional: bool
) -> float | None: ...
def _saved(
    name: str, value: object, low: float, high: float, wanted: str, *, optional: bool = False
) -> float | None:
    """A saved number within its range: a NaN peak compares false with everything and would never trip."""
    if value is None and optional:
        return None
    number = as_number(value)
    if not low <= number <= high:
        raise _not_saved(name, value, wanted)
    return number


def _saved_latch(name: str, latch: Mapping[str, Any]) -> Latch:
    if name not in BREAKERS:
        raise _not_saved(f"latches.{name}", latch, f"one of {', '.join(BREAKERS)}")
    where, reason, by_hand = f"latches.{name}", latch["reason"], latch["by_hand"]
    if not isinstance(reason, str):
        raise _not_saved(f"{where}.reason", reason, "a text")
    if not isinstance(by_hand, bool):
        raise _not_saved(f"{where}.by_hand", by_hand, "true or false")
    since = _saved(f"{where}.since", latch["since"], *_TIMES)
    return Latch(since, reason, by_hand, _saved(f"{where}.until", latch["until"], *_TIMES, optional=True))


def _time(now: float) -> float:
    seconds = as_number(now)
    if not -math.inf < seconds < math.inf:
        raise RiskInputError("E_NOW", "now", f"now={now!r}: want seconds since 1970")
    return seconds


def _known(name: str) -> None:
    if name not in BREAKERS:
        raise RiskInputError("E_BREAKER", "name", f"breaker {name!r}: want one of {', '.join(BREAKERS)}")


def _reasoned(reason: str) -> None:
    if not isinstance(reason, str) or not reason.strip():
        raise RiskInputError(
            "E_REASON", "reason", f"reason={reason!r}: want a sentence; the log will show it"
        )
