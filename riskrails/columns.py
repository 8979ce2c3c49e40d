"""Columns of a batch: scalars, arrays and sequences in, float arrays and codes out, judged as in one call.

Pure.  A column's odd values (None, text, booleans, masked ones) become NaN, so that a batch refuses what a
call refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from riskrails.errors import RiskInputError
from riskrails.features import FEATURES, LiveFeatures, as_number
from riskrails.policy import REGIMES
from riskrails.refusals import allowed_leverage, whole_positions

__all__ = [
    "Floats",
    "Texts",
    "fractions",
    "leverages",
    "live_columns",
    "numbers",
    "positions",
    "regimes",
    "row_count",
    "texts",
]

Floats = NDArray[np.float64]
Texts = tuple[list[str], NDArray[np.intp] | None]
"""Distinct texts, and per row which of them; None: the first for every row."""

MOST_POSITIONS = 2**63 - 1
"""Counts beyond an int64 stand as this one; no policy allows as many."""
_REGIME_NUMBER = dict(zip(REGIMES, (-1.0, 0.0, 1.0), strict=True))


def _is_column(value: Any) -> bool:
    return isinstance(value, (np.ndarray, list, tuple)) or (
        hasattr(value, "__array__") and getattr(value, "ndim", 0) > 0
    )


def row_count(columns: Iterable[object]) -> int:
    """The common length of the columns; scalars fit any length, and only scalars make one row.

    Raises:
        RiskInputError: E_ROWS, two lengths differ or a column is not one-dimensional.
    """
    length: int | None = None
    for column in columns:
        if not _is_column(column):
            continue
        shape = np.shape(column) if hasattr(column, "__array__") else (len(column),)  # type: ignore[arg-type]
        if len(shape) != 1:
            raise RiskInputError("E_ROWS", "rows", f"a column has shape {shape}: want one dimension")
        if length is not None and shape[0] != length:
            message = f"columns have {length} and {shape[0]} rows: want one length, or scalars"
            raise RiskInputError("E_ROWS", "rows", message)
        length = shape[0]
    return 1 if length is None else length


def numbers(value: object, rows: int) -> Floats:
    """A float column; what is no number becomes NaN."""
    if not _is_column(value):
        return np.full(rows, as_number(value))
    if isinstance(value, np.ma.MaskedArray) and value.dtype.kind in "iuf":
        return np.ascontiguousarray(
            np.ma.filled(value.astype(np.float64), np.nan)
        )  # masked: nothing is known
    array = value if isinstance(value, np.ndarray) else None
    if array is None and hasattr(value, "__array__"):
        array = np.asarray(value)
    if array is not None and array.dtype.kind in "iuf":
        return np.ascontiguousarray(array, dtype=np.float64)
    items: Iterable[object] = value if array is None else array.tolist()  # type: ignore[assignment]
    return np.fromiter((as_number(item) for item in items), dtype=np.float64, count=rows)


def texts(value: object, rows: int, check: Callable[[object], None]) -> Texts:
    """A text column as codes.

    Args:
        value: A text or a column of texts.
        rows: How many.
        check: Raises for a value that will not do; called once per distinct value.
    """
    if not _is_column(value):
        check(value)
        return [str(value)], None
    items: list[Any] = value.tolist() if isinstance(value, np.ndarray) else list(value)  # type: ignore[call-overload]
    seen: dict[Any, int] = {}
    codes = np.empty(rows, dtype=np.intp)
    for row, item in enumerate(items):
        code = seen.get(item) if isinstance(item, str) else None
        if code is None:
            check(item)
            code = seen[item] = len(seen)
        codes[row] = code
    return list(seen) or [""], codes


def leverages(value: Any, rows: int) -> Floats:
    """Leverage permissions as numbers; infinity for True."""
    if not _is_column(value):
        return np.full(rows, allowed_leverage(value))
    items = value.tolist() if isinstance(value, np.ndarray) else value
    return np.fromiter((allowed_leverage(item) for item in items), np.float64, count=rows)


def positions(value: Any, rows: int) -> NDArray[np.int64]:
    """Counts of open positions."""
    if not _is_column(value):
        return np.full(rows, min(whole_positions(value), MOST_POSITIONS), dtype=np.int64)
    plain = isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray)
    if plain and value.dtype.kind == "i" and (rows == 0 or value.min() >= 0):
        return np.asarray(value, dtype=np.int64)
    items = value.tolist() if isinstance(value, np.ndarray) else value
    counts = (min(whole_positions(item), MOST_POSITIONS) for item in items)
    return np.fromiter(counts, np.int64, count=rows)


def regimes(value: Any, rows: int) -> Floats:
    """Regime signals as numbers from −1 to 1; NaN where unknown."""
    if not _is_column(value):
        column = np.full(rows, _REGIME_NUMBER[value] if value in REGIMES else as_number(value))
    elif isinstance(value, np.ndarray) and value.dtype.kind in "iuf":
        column = numbers(value, rows)
    else:
        items = value.tolist() if isinstance(value, np.ndarray) else value
        column = np.fromiter(
            (
                _REGIME_NUMBER.get(item, np.nan) if isinstance(item, str) else as_number(item)
                for item in items
            ),
            np.float64,
            count=rows,
        )
    return np.where(np.abs(column) <= 1.0, column, np.nan)


def fractions(name: str, value: object, rows: int) -> Floats:
    """A column of fractions of the account's state.

    Raises:
        RiskInputError: E_STATE, a value outside [0, 1].
    """
    column = numbers(value, rows)
    bad = ~((column >= 0.0) & (column <= 1.0))
    if bad.any():
        row = int(np.argmax(bad))
        message = f"{name}[{row}]={column[row]!r}: want a fraction from 0 to 1, 0.12 for 12 %"
        raise RiskInputError("E_STATE", f"{name}[{row}]", message)
    return column


def live_columns(live: object) -> Any:
    """LiveFeatures of columns: as it came, or put together from a sequence of rows."""
    if isinstance(live, Sequence) and not isinstance(live, (str, bytes)):
        for row, item in enumerate(live):
            for name in ("symbol", *FEATURES):
                if not hasattr(item, name):
                    message = f"live[{row}]={item!r} has no attribute {name}: want LiveFeatures"
                    raise RiskInputError("E_LIVE_FIELD", f"live[{row}].{name}", message)
        return LiveFeatures(*([getattr(item, name) for item in live] for name in ("symbol", *FEATURES)))  # type: ignore[arg-type]
    return live


def mapping_columns(value: Mapping[str, object], rows: int) -> dict[str, Floats]:
    """Exposure columns by symbol, in the order of the mapping: sums are made in that order, as in a call."""
    return {name: numbers(column, rows) for name, column in value.items()}
