"""Many answers: the columns of a batch, each row of which is the Order a single call would have given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from riskrails.caps import CAPS
from riskrails.columns import Floats, Texts
from riskrails.order import MODES, NO_CODES, REASONS, WARNINGS, Codes, Order, make_order

__all__ = ["Orders", "bits", "names"]

Bits = NDArray[np.uint64]


def bits(codes: tuple[str, ...]) -> dict[str, np.uint64]:
    """A bit per code, in the order in which an Order lists them."""
    return {code: np.uint64(1 << place) for place, code in enumerate(codes)}


def names(codes: tuple[str, ...], mask: int) -> Codes:
    """The codes whose bits are set.

    >>> names(("a", "b", "c"), 0b101)
    ('a', 'c')
    """
    return Codes(code for place, code in enumerate(codes) if mask >> place & 1)


@dataclass(frozen=True, eq=False)
class Orders:
    """The columns of `compute_orders`; `orders[i]` is row i as an Order, `orders["size_usd"]` a column.

    Attributes:
        mode_code: Index into MODES.
        binding_code: Index into CAPS, −1 for none.
        reason_bits, warning_bits: Bit i stands for REASONS[i], WARNINGS[i].
        stop_price_long, stop_price_short: NaN where there is none.
        cost_bps, caps, multipliers: Columns by name; a cap that does not apply is infinite.
        bad_data: Rows refused before anything was worked out.

    The rest as in Order.
    """

    strat_name: Texts
    symbol: Texts
    mode_code: NDArray[np.uint8]
    size_usd: Floats
    qty: Floats
    stop_pct: Floats
    stop_price_long: Floats
    stop_price_short: Floats
    leverage: Floats
    risk_usd: Floats
    risk_pct: Floats
    loss_per_usd: Floats
    cost_bps: dict[str, Floats]
    caps: dict[str, Floats]
    binding_code: NDArray[np.int8]
    multipliers: dict[str, Floats]
    reason_bits: Bits
    warning_bits: Bits
    slices: NDArray[np.int64]
    reduce_usd: Floats
    bad_data: NDArray[np.bool_]
    policy_version: int

    def __len__(self) -> int:
        return len(self.size_usd)

    def __iter__(self) -> Iterator[Order]:
        return (self.row(i) for i in range(len(self)))

    def __getitem__(self, key: int | str) -> Any:
        """Row `key` as an Order, or the column of that name."""
        if isinstance(key, str):
            if key not in Order.__dataclass_fields__ and key not in type(self).__dataclass_fields__:
                raise KeyError(key)
            column = getattr(self, key)
            return [list(codes) for codes in column] if key in {"reasons", "warnings"} else column
        return self.row(range(len(self))[key])

    @property
    def mode(self) -> NDArray[np.str_]:
        """Each row's mode."""
        return np.array(MODES)[self.mode_code]

    @property
    def binding(self) -> NDArray[np.object_]:
        """Each row's binding cap, None where none decided."""
        return np.array([*CAPS, None], dtype=object)[self.binding_code]

    @property
    def reasons(self) -> list[Codes]:
        """Each row's reasons."""
        return [names(REASONS, int(mask)) for mask in self.reason_bits]

    @property
    def warnings(self) -> list[Codes]:
        """Each row's warnings."""
        return [names(WARNINGS, int(mask)) for mask in self.warning_bits]

    def row(self, i: int) -> Order:
        """Row i as the Order a single call gives; without its messages."""
        bad = bool(self.bad_data[i])
        return make_order(
            {
                "strat_name": _text(self.strat_name, i),
                "symbol": _text(self.symbol, i),
                "mode": MODES[self.mode_code[i]],
                "size_usd": float(self.size_usd[i]),
                "qty": float(self.qty[i]),
                "stop_pct": float(self.stop_pct[i]),
                "stop_price_long": None if bad else float(self.stop_price_long[i]),
                "stop_price_short": None if bad else float(self.stop_price_short[i]),
                "leverage": float(self.leverage[i]),
                "risk_usd": float(self.risk_usd[i]),
                "risk_pct": float(self.risk_pct[i]),
                "loss_per_usd": float(self.loss_per_usd[i]),
                "cost_bps": {} if bad else {name: float(column[i]) for name, column in self.cost_bps.items()},
                "caps": {}
                if bad
                else {name: float(cap[i]) for name, cap in self.caps.items() if cap[i] != np.inf},
                "binding": CAPS[self.binding_code[i]] if self.binding_code[i] >= 0 else None,
                "multipliers": {} if bad else {n: float(column[i]) for n, column in self.multipliers.items()},
                "reasons": names(REASONS, int(self.reason_bits[i])),
                "warnings": names(WARNINGS, int(self.warning_bits[i])),
                "slices": int(self.slices[i]),
                "reduce_usd": float(self.reduce_usd[i]),
                "policy_version": self.policy_version,
                "messages": NO_CODES,
            }
        )


def _text(column: Texts, row: int) -> str:
    values, codes = column
    return values[0 if codes is None else codes[row]]
