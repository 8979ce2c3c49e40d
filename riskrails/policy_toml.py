"""A policy as TOML: only the cells that differ from version 1 need to stand in the file.

    version = 2
    r_max = 0.008

    [strategies.momentum]
    k = 2.5

    [timeframes.6h]
    minutes = 360
    atr_ref = 0.026
    atr_max = 0.25

Give it a version of your own, 2 or above: every order carries it, and changed cells under version 1 are
refused.  A misspelt cell is refused with the nearest name, a
number out of range with its cell and limits.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from riskrails.errors import PolicyError
from riskrails.policy import Policy
from riskrails.tables import StrategyRow, TimeframeRow

__all__ = ["load_policy", "policy_from_toml", "policy_to_toml"]


def load_policy(path: str | Path) -> Policy:
    """A policy from a TOML file.

    Raises:
        PolicyError: Not TOML, or a cell that will not do.
        OSError: The file cannot be read.
    """
    return policy_from_toml(Path(path).read_text(encoding="utf-8"))


def policy_from_toml(text: str) -> Policy:
    """A policy from TOML; what is absent is version 1's.

    Raises:
        PolicyError: Not TOML, or a cell that will not do; `field` is the cell, as in `strategies.scalp.k`.
            `version`: Cells differ from version 1 and the file has no version of its own.
    """
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError("policy", f"not TOML: {error}") from error
    default = Policy()
    known = [field.name for field in fields(Policy)]
    for name in given:
        _known(name, name, known)
    values: dict[str, Any] = dict(given)
    if "timeframes" in given:
        values["timeframes"] = _rows("timeframes", given["timeframes"], default.timeframes, TimeframeRow)
    if "strategies" in given:
        values["strategies"] = _rows("strategies", given["strategies"], default.strategies, StrategyRow)
    policy = Policy(**values)
    changed = _changed_cell(policy, default)
    if changed is not None and policy.version == default.version:
        message = (
            f"version={policy.version}: {changed} is not version {default.version}'s, so want a version of "
            "your own, 2 or above"
        )
        raise PolicyError("version", message)
    return policy


def _changed_cell(policy: Policy, default: Policy) -> str | None:
    """The first cell, or row, in which the two differ."""
    for field in fields(Policy):
        ours, theirs = getattr(policy, field.name), getattr(default, field.name)
        if field.name == "version" or ours == theirs:
            continue
        if not isinstance(ours, Mapping):
            return field.name
        for name, row in ours.items():
            if name not in theirs:
                return f"{field.name}.{name}"
            for column, cell in row._asdict().items():
                if cell != getattr(theirs[name], column):
                    return f"{field.name}.{name}.{column}"
    return None


def _known(cell: str, name: str, known: Collection[str]) -> None:
    """Refuse a name that is none, with the nearest one that is."""
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else f": want one of {', '.join(known)}"
        raise PolicyError(cell, f"{cell}: no such cell{hint}")


def _rows(
    table: str,
    given: object,
    default: Mapping[str, Any],
    kind: type[TimeframeRow] | type[StrategyRow],
) -> dict[str, Any]:
    """The default rows with the given cells changed, and new rows where every cell is given."""
    if not isinstance(given, dict):
        raise PolicyError(table, f"{table}={given!r}: want a table of rows, as [{table}.name]")
    rows = dict(default)
    for name, cells in given.items():
        where = f"{table}.{name}"
        if not isinstance(cells, dict):
            raise PolicyError(where, f"{where}={cells!r}: want a table of cells, as [{where}]")
        for column in cells:
            _known(f"{where}.{column}", column, kind._fields)
        if name in rows:
            rows[name] = rows[name]._replace(**cells)
            continue
        for column in kind._fields:
            if column not in cells:
                known = ", ".join(default)
                message = f"{where}.{column} is missing: {name} is none of {known}, so want every cell of it"
                raise PolicyError(f"{where}.{column}", message)
        rows[name] = kind(**cells)
    return rows


def policy_to_toml(policy: Policy) -> str:
    """The whole policy as TOML, to start a file from.

    `policy_from_toml` reads it back equal, unless its cells differ from version 1 and its version does not.
    """
    lines = []
    for field in fields(policy):
        value = getattr(policy, field.name)
        if not isinstance(value, Mapping):
            lines.append(f"{field.name} = {_toml(value)}")
    for table in ("timeframes", "strategies"):
        for name, row in getattr(policy, table).items():
            lines += ["", f"[{table}.{name}]"]
            lines += [f"{column} = {_toml(value)}" for column, value in row._asdict().items()]
    return "\n".join(lines) + "\n"


def _toml(value: bool | float) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "inf" if value == math.inf else repr(value)
