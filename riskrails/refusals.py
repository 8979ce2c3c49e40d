"""What a refusal says: the codes' sentences, and the checks of arguments that no order can be sized without.

Pure, and off the fast path: nothing here runs for an order that passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

from riskrails.cells import Cell
from riskrails.errors import RiskInputError
from riskrails.features import FEATURES, as_number
from riskrails.order import NO_CODES, Codes, Order, make_order
from riskrails.policy import Policy
from riskrails.state import View

__all__ = [
    "STRICT",
    "allowed_leverage",
    "contract_error",
    "reason_messages",
    "refused",
    "strict_field",
    "whole_positions",
]

STRICT = frozenset({"NO_EQUITY", "ZERO_ATR", "NO_LIQUIDITY"})
"""Gates that stand in the table of bad input too: with strict=True they raise, as bad data does."""


def strict_field(code: str, seen: Mapping[str, Any]) -> str:
    """The input that a code of STRICT is about, by its plain name as bad data has it."""
    if code == "NO_EQUITY":
        return "equity_usd"
    if code == "ZERO_ATR":
        return "atr_pct"
    return "depth10bps_usd" if seen["depth"] == 0.0 else "vol1m_usd"


def allowed_leverage(value: object) -> float:
    """A leverage permission as a number: False or 0 gives 1; True is the caller's business.

    Raises:
        RiskInputError: E_LEVERAGE.
    """
    number = as_number(value)
    if type(value).__name__ in {"bool", "bool_"}:  # numpy's too
        return math.inf if value else 1.0
    if not 0.0 <= number < math.inf:
        message = f"leverage_allowed={value!r}: want True, False or a number of at least 0, 2.5 for 2.5x"
        raise RiskInputError("E_LEVERAGE", "leverage_allowed", message)
    return number if number > 0.0 else 1.0


def whole_positions(value: object) -> int:
    """The count of open positions as an int; numpy's integers pass, True, 3.0 and arrays do not.

    Raises:
        RiskInputError: E_OPEN_POSITIONS.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 0:
        message = f"open_positions={value!r}: want a whole number of at least 0"
        raise RiskInputError("E_OPEN_POSITIONS", "open_positions", message)
    return int(value)


def contract_error(
    policy: Policy, strat_name: object, strat_type: object, base_tf: object, live: object, by_symbol: object
) -> RiskInputError | None:
    """The first argument that breaks the contract, None if none of these does."""
    if not isinstance(strat_name, str) or not strat_name:
        message = f"strat_name={strat_name!r}: want a non-empty text"
        return RiskInputError("E_STRAT_NAME", "strat_name", message)
    if not isinstance(strat_type, str) or strat_type not in policy.strategies:
        message = f"strat_type={strat_type!r}: want one of {', '.join(policy.strategies)}"
        return RiskInputError("E_STRAT_TYPE", "strat_type", message)
    if not isinstance(base_tf, str) or base_tf not in policy.timeframes:
        message = f"base_tf={base_tf!r}: want one of {', '.join(policy.timeframes)}"
        return RiskInputError("E_BASE_TF", "base_tf", message)
    if live is None:
        return RiskInputError("E_LIVE_FIELD", "live", "live=None: want LiveFeatures or an object like it")
    for name in ("symbol", *FEATURES):
        if not hasattr(live, name):
            message = f"live={live!r} has no attribute {name}: want LiveFeatures or an object like it"
            return RiskInputError("E_LIVE_FIELD", f"live.{name}", message)
    symbol = live.symbol  # type: ignore[attr-defined]  # looked for above
    if not isinstance(symbol, str) or not symbol:
        return RiskInputError("E_LIVE_FIELD", "live.symbol", f"live.symbol={symbol!r}: want a non-empty text")
    if not isinstance(by_symbol, Mapping):
        message = f"exposure_by_symbol={by_symbol!r}: want a mapping from symbol to USD"
        return RiskInputError("E_EXPOSURE_MAP", "exposure_by_symbol", message)
    return None


def refused(
    policy: Policy,
    strat_name: str,
    symbol: str,
    reasons: Sequence[str],
    messages: Sequence[str],
) -> Order:
    """The order for data that cannot be sized: nothing was worked out, so nothing is shown."""
    return make_order(
        {
            "strat_name": strat_name,
            "symbol": symbol,
            "mode": "skip",
            "size_usd": 0.0,
            "qty": 0.0,
            "stop_pct": 0.0,
            "stop_price_long": None,
            "stop_price_short": None,
            "leverage": 1.0,
            "risk_usd": 0.0,
            "risk_pct": 0.0,
            "loss_per_usd": 0.0,
            "cost_bps": {},
            "caps": {},
            "binding": None,
            "multipliers": {},
            "reasons": Codes(reasons),
            "warnings": NO_CODES,
            "slices": 0,
            "reduce_usd": 0.0,
            "policy_version": policy.version,
            "messages": Codes(messages),
        }
    )


def reason_messages(
    reasons: Sequence[str], policy: Policy, cell: Cell, view: View, seen: Mapping[str, Any]
) -> Codes:
    """One sentence per code: field, what came, what was wanted.

    Args:
        reasons: Codes of gates, stop, multipliers and caps.
        policy: Limits.
        cell: Constants of the type and timeframe.
        view: The state judged.
        seen: The numbers of the call, by name.
    """
    texts: dict[str, Callable[[], str]] = {
        "HALTED": lambda: f"halted: {view.halt_message}",
        "DRAWDOWN": lambda: f"drawdown {view.drawdown:.2%}: want below {policy.dd_max:.2%}",
        "NO_EQUITY": lambda: f"equity_usd={seen['equity_usd']!r}: want above 0 USD",
        "ZERO_ATR": lambda: "atr_pct=0: want above 0; a market that does not move gives no stop",
        "NO_LIQUIDITY": lambda: (
            f"depth10bps_usd={seen['depth']!r}, vol1m_usd={seen['volume']!r}: want both above 0 USD"
        ),
        "MAX_POSITIONS": lambda: f"open_positions={seen['positions']!r}: want below {policy.max_positions}",
        "SPREAD_WIDE": lambda: (
            f"spread_bps={seen['spread_bps']!r}: want at most {cell.max_spread_bps:g} for {cell.kind}"
        ),
        "LIQ_SCORE_LOW": lambda: f"liq_score={seen['liq_score']!r}: want at least {policy.liq_score_min:g}",
        "EVENT_GATE": lambda: (
            f"event_heat={seen['event_heat']!r}: want below {policy.event_heat_max:g} for {cell.kind}"
        ),
        "VELOCITY_GATE": lambda: (
            f"velocity={seen['velocity']!r}: want below {policy.velocity_max:g} standard deviations a minute "
            f"either way for {cell.kind}"
        ),
        "FUNDING_EXTREME": lambda: (
            f"funding={seen['funding']!r}: want below {policy.funding_max:g} per 8 h either way for a "
            f"hold of {cell.funding_periods * 8:g} h"
        ),
        "STOP_TOO_WIDE": lambda: (
            f"stop {seen['stop']:.3%} of price: want at most {cell.stop_ceiling:.3%} on {cell.tf}; "
            "it is never clamped, a clamped stop sits inside the noise"
        ),
        "SCALED_OUT": lambda: (
            f"multipliers leave {seen['m']:.3f} of the risk: want at least {policy.m_min:g}"
        ),
        "NEGATIVE_EDGE": lambda: f"no edge of {seen['strat_name']} is left at the cautious win rate",
        "HEAT_FULL": lambda: _heat_message(policy, seen["open_risk"]),
        "LEVERAGE_FULL": lambda: (
            f"exposure {seen['exposure']:,.2f} USD: want room below {seen['leverage']:g}x equity "
            f"= {seen['leverage'] * seen['equity']:,.2f} USD"
        ),
        "TOTAL_EXPOSURE_FULL": lambda: (
            f"exposure {seen['exposure']:,.2f} USD: want room below {policy.gross_max:g}x equity "
            f"= {policy.gross_max * seen['equity']:,.2f} USD"
        ),
        "SYMBOL_EXPOSURE_FULL": lambda: (
            f"exposure of {seen['symbol']} {seen['own']:,.2f} USD: want room below {policy.sym_max:g}x "
            f"equity = {policy.sym_max * seen['equity']:,.2f} USD"
        ),
        "SYMBOL_VOL_FULL": lambda: (
            f"exposure of {seen['symbol']} {seen['own']:,.2f} USD: want room for its volatility below "
            f"{policy.tau_sym:.0%} of equity a year"
        ),
        "BELOW_MIN_NOTIONAL": lambda: _small_message(seen),
        "TICK_TOO_COARSE": lambda: (
            "the stop rounds onto the entry: want a price tick finer than the stop distance"
        ),
    }
    return Codes(texts[code]() for code in reasons)


def _heat_message(policy: Policy, open_risk: float) -> str:
    text = f"open_risk_sum_pct={open_risk!r}: want room below {policy.h_max:g} of equity"
    if open_risk > 3.0 * policy.h_max:
        text += "; want a fraction, 0.03 for 3 %, or is this percent?"
    return text


def _small_message(seen: Mapping[str, Any]) -> str:
    """Why the size is too small: what the caps leave, or what one step of the venue costs."""
    left, unit, step = seen["size"], seen["unit"], seen["step"]
    wanted = f"want at least {seen['min_notional']:g} USD and a quantity of at least {seen['min_qty']:g}"
    if step is not None and left >= seen["min_notional"] and left / unit >= seen["min_qty"]:
        cost = f"one quantity step of {step.number:g} costs {step.number * unit:,.8g} USD"
        return f"the caps leave {left:,.8g} USD and {cost}: {wanted} in whole steps"
    return f"the caps leave {left:,.8g} USD: {wanted}"
