"""What a venue accepts: steps, ticks, limits, fees; and rounding that never rounds up.

Pure.  Quantities are floored in Decimal, on the decimal numbers a person typed: floor(size / (price ×
multiplier) / step).  Where the binary quotient lies clear of a whole number the binary floor is the same, and
faster; only the few that lie within rounding of one are worked out in Decimal.
"""

from __future__ import annotations

import decimal
import math
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Self

from riskrails.errors import VenueRulesError
from riskrails.features import as_number
from riskrails.policy import Policy

__all__ = [
    "SAFE_STEPS",
    "Step",
    "Venue",
    "VenueRules",
    "floor_steps",
    "floor_steps_exact",
    "round_stop",
    "steps_to_number",
]

SAFE_STEPS = 1e12
"""Below this many steps a binary quotient's error is small against one step."""
CLEAR = 4e-15
"""Relative error bound of a binary quotient of four numbers, twice over."""
UNIQUE = 10**15
"""Decimals of 15 digits and fewer survive the trip through a float."""

# Its own context: the engine's may round, trap or clamp as it likes.  100 digits hold every product here.
_EXACT = decimal.Context(prec=100, rounding=decimal.ROUND_FLOOR, Emin=-9999, Emax=9999, traps=[])


@dataclass(frozen=True, slots=True)
class Step:
    """A step or tick as an exact decimal, mantissa / scale or mantissa × 10^n."""

    exact: Decimal
    number: float
    mantissa: int
    scale: int

    @classmethod
    def of(cls, name: str, value: object) -> Self:
        """Read a step from text, Decimal, int or float (by its shortest decimal).

        Raises:
            VenueRulesError: Not a number from 1e-18 to 1e12 of at most 18 digits.
        """
        wanted = "want a number from 1e-18 to 1e12 with at most 18 digits, as '0.001'"
        text = repr(value) if type(value) is float else str(value)
        try:
            exact = Decimal(text)
        except decimal.InvalidOperation as error:
            raise VenueRulesError(name, f"{name}={value!r}: {wanted}") from error
        if (
            isinstance(value, bool)
            or not exact.is_finite()
            or not Decimal("1e-18") <= exact <= Decimal("1e12")
        ):
            raise VenueRulesError(name, f"{name}={value!r}: {wanted}")
        sign_digits_exponent = exact.normalize().as_tuple()
        exponent = sign_digits_exponent.exponent
        if not isinstance(exponent, int) or len(sign_digits_exponent.digits) > 18:
            raise VenueRulesError(name, f"{name}={value!r}: {wanted}")
        mantissa = int("".join(map(str, sign_digits_exponent.digits)))
        if exponent > 0:
            mantissa *= 10**exponent
        return cls(exact, float(exact), mantissa, 10 ** max(0, -exponent))


@dataclass(frozen=True)
class VenueRules:
    """One instrument's rules at its venue; None: not known, or no such limit.

    Attributes:
        qty_step: Quantities are multiples of it.
        price_tick: Prices are multiples of it.
        min_qty, max_qty: Bounds of a quantity.
        min_notional, max_notional: Bounds of an order, USD.
        multiplier: USD of exposure per unit of quantity and dollar of price.
        fee_taker_bps, fee_maker_bps: Instead of the policy's; a maker fee may be negative.
        maintenance_margin: Instead of the policy's, fraction.

    Raises:
        VenueRulesError: A rule no order could be held to; the message names it.
    """

    qty_step: Decimal | str | float | None = None
    price_tick: Decimal | str | float | None = None
    min_qty: float = 0.0
    max_qty: float = math.inf
    min_notional: float = 0.0
    max_notional: float = math.inf
    multiplier: float = 1.0
    fee_taker_bps: float | None = None
    fee_maker_bps: float | None = None
    maintenance_margin: float | None = None
    step: Step | None = field(init=False, repr=False, compare=False)
    tick: Step | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "step", None if self.qty_step is None else Step.of("qty_step", self.qty_step)
        )
        object.__setattr__(
            self, "tick", None if self.price_tick is None else Step.of("price_tick", self.price_tick)
        )
        for name, low, high, unit in (
            ("min_qty", 0.0, 1e15, "units"),
            ("max_qty", 0.0, math.inf, "units"),
            ("min_notional", 0.0, 1e15, "USD"),
            ("max_notional", 0.0, math.inf, "USD"),
            ("multiplier", 1e-9, 1e9, "a factor"),
            ("fee_taker_bps", 0.0, 1000.0, "basis points a side"),
            ("fee_maker_bps", -1000.0, 1000.0, "basis points a side"),
            ("maintenance_margin", 0.0, 0.5, "a fraction"),
        ):
            value = getattr(self, name)
            if value is None and name in {"fee_taker_bps", "fee_maker_bps", "maintenance_margin"}:
                continue
            number = as_number(value)
            if not low <= number <= high:
                raise VenueRulesError(name, f"{name}={value!r}: want {unit} from {low:g} to {high:g}")
            object.__setattr__(self, name, number)
        for low_name, high_name in (("min_qty", "max_qty"), ("min_notional", "max_notional")):
            if getattr(self, low_name) > getattr(self, high_name):
                came = f"{low_name}={getattr(self, low_name):g}, {high_name}={getattr(self, high_name):g}"
                raise VenueRulesError(low_name, f"{came}: want {low_name} ≤ {high_name}")


def _decimal(value: float) -> Decimal:
    """The decimal a person would have typed for this float."""
    return Decimal(repr(float(value)))


def floor_steps_exact(amount: float, price: float, multiplier: float, step: Decimal) -> int:
    """floor(amount / (price × multiplier) / step), exactly, on the shortest decimals of the floats.

    >>> floor_steps_exact(0.3, 1.0, 1.0, Decimal("0.1"))
    3
    """
    unit = _EXACT.multiply(_EXACT.multiply(_decimal(price), _decimal(multiplier)), step)
    return int(_EXACT.divide_int(_decimal(amount), unit))


def floor_steps(amount: float, price: float, multiplier: float, step: Step) -> int:
    """As `floor_steps_exact`, in binary where that provably gives the same whole number."""
    quotient = amount / (price * multiplier * step.number)
    if quotient < SAFE_STEPS:
        whole = int(quotient)
        rest = quotient - whole
        margin = CLEAR * quotient
        if margin < rest < 1.0 - margin:
            return whole
    return floor_steps_exact(amount, price, multiplier, step.exact)


def steps_to_number(steps: int, step: Step) -> float:
    """`steps` × step as the nearest float; the division of whole numbers rounds once.

    >>> steps_to_number(3, Step.of("step", "0.1"))
    0.3
    """
    return steps * step.mantissa / step.scale


def round_stop(price: float, tick: Step, *, up: bool) -> float:
    """A stop price on the tick grid: up for a long's stop, down for a short's, so toward the entry.

    >>> tick = Step.of("tick", "0.5")
    >>> round_stop(98.2, tick, up=True), round_stop(101.8, tick, up=False)
    (98.5, 101.5)
    """
    quotient = price / tick.number
    if quotient < SAFE_STEPS:
        steps = int(quotient)
        rest = quotient - steps
        margin = CLEAR * quotient
        if margin < rest < 1.0 - margin:
            return steps_to_number(steps + 1 if up else steps, tick)
        nearest = steps if rest < 0.5 else steps + 1
        if nearest * tick.mantissa < UNIQUE:
            # Of decimals this short only one rounds to a float, so floats compare as the decimals do.
            on_grid = steps_to_number(nearest, tick)
            if on_grid == price:
                return price
            if up:
                return on_grid if on_grid > price else steps_to_number(nearest + 1, tick)
            return on_grid if on_grid < price else steps_to_number(nearest - 1, tick)
    steps = floor_steps_exact(price, 1.0, 1.0, tick.exact)
    if up and _EXACT.multiply(Decimal(steps), tick.exact) < _decimal(price):
        steps += 1
    return steps_to_number(steps, tick)


@dataclass(frozen=True, slots=True)
class Venue:
    """One instrument's rules with the policy's defaults filled in: what a call reads."""

    step: Step | None
    tick: Step | None
    min_qty: float
    max_qty: float
    min_notional: float
    max_notional: float
    multiplier: float
    fee_taker_bps: float
    fee_maker_bps: float
    maintenance_margin: float

    @classmethod
    def of(cls, rules: VenueRules, policy: Policy) -> Self:
        """Fill the policy's fees, margin and minimum in."""
        taker = policy.fee_taker_bps if rules.fee_taker_bps is None else rules.fee_taker_bps
        maker = policy.fee_maker_bps if rules.fee_maker_bps is None else rules.fee_maker_bps
        margin = policy.maintenance_margin if rules.maintenance_margin is None else rules.maintenance_margin
        return cls(
            step=rules.step,
            tick=rules.tick,
            min_qty=rules.min_qty,
            max_qty=rules.max_qty,
            min_notional=max(float(policy.min_notional), rules.min_notional),
            max_notional=rules.max_notional,
            multiplier=rules.multiplier,
            fee_taker_bps=float(taker),
            fee_maker_bps=float(maker),
            maintenance_margin=float(margin),
        )
