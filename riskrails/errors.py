"""What goes wrong in riskrails, and whose fault it is.

    RiskInputError(ValueError)    the caller's: an argument no order can be sized from; mend the call
    ├── PolicyError               a cell of the policy table; the engine must not start with it
    └── VenueRulesError           a venue's step, tick or limit; fix the instrument's definition
    DeckError(RuntimeError)       the exporter's: /status is unreachable or makes no sense; the snapshot ages
                                  and, past its limit, every order is refused as HALTED

Bad *data* (a NaN price, a crossed book) is none of these: it gives an order of size 0 with a reason code,
so that an engine's loop survives it.  `strict=True` turns those codes into RiskInputError too.
"""

from __future__ import annotations

__all__ = ["DeckError", "PolicyError", "RiskInputError", "VenueRulesError"]


class RiskInputError(ValueError):
    """An argument breaks the contract: `code` says which rule, `field` which argument.

    The caller mends the call; nothing was changed by it and the previous state stays in force.
    """

    def __init__(self, code: str, field: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.field = field
        self.message = message

    def __reduce__(self) -> tuple[type[RiskInputError], tuple[str, str, str]]:
        """Survive pickling, so that a worker process can hand the error to its parent."""
        return type(self), (self.code, self.field, self.message)


class PolicyError(RiskInputError):
    """A policy cell holds what no order can be sized from; `field` names it, as in `strategies.scalp.k`."""

    def __init__(self, field: str, message: str, code: str = "E_POLICY") -> None:
        super().__init__(code, field, message)

    def __reduce__(self) -> tuple[type[PolicyError], tuple[str, str, str]]:
        """Survive pickling; the argument order differs from the base."""
        return type(self), (self.field, self.message, self.code)


class VenueRulesError(PolicyError):
    """A venue's step, tick, multiplier or limit is not usable; `field` names it."""

    def __init__(self, field: str, message: str, code: str = "E_VENUE_RULES") -> None:
        super().__init__(field, message, code)


class DeckError(RuntimeError):
    """The exporter cannot be reached or answers nonsense; the snapshot is kept and grows old."""
