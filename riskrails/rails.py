"""RiskRails: policy, venue rules and state held for compute_order; swapped whole, read once a call."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from riskrails.adapter import Desk, size_order
from riskrails.batch import size_orders
from riskrails.errors import PolicyError, RiskInputError, VenueRulesError
from riskrails.features import LiveFeatures
from riskrails.order import Order
from riskrails.orders import Orders
from riskrails.policy import Policy
from riskrails.state import EdgeStatistics, RiskState, StateSource, worst_of
from riskrails.venue import VenueRules

__all__ = ["RiskRails", "compute_order", "compute_orders", "default_rails"]


class RiskRails:
    """Sizes orders under one policy.

    Thread-safe for readers: each setter builds a new desk and swaps the reference, and a call reads the
    reference once, so that an order never mixes two states.

    Args:
        policy: Version 1 by default.
        venue_rules: Symbol → rules; for a symbol without rules nothing is rounded, with a warning.
        state: A snapshot, or a source that keeps one fresh (`riskrails.deck.DeckState`).  What the setters
            report beside a source is kept too, and the more cautious of both counts.

    Raises:
        RiskInputError: Anything that cannot be used; nothing is changed then.
    """

    def __init__(
        self,
        policy: Policy | None = None,
        venue_rules: Mapping[str, VenueRules] | None = None,
        state: RiskState | StateSource | None = None,
    ) -> None:
        if policy is not None and not isinstance(policy, Policy):
            raise PolicyError("policy", f"policy={policy!r}: want a Policy")
        self._policy = policy if policy is not None else Policy()
        self._venue_rules = _checked_rules(venue_rules or {})
        if state is not None and not isinstance(state, RiskState) and not hasattr(state, "snapshot"):
            raise RiskInputError("E_STATE", "state", f"state={state!r}: want a RiskState or a source of them")
        own = RiskState()
        self._source: StateSource | None = None
        if isinstance(state, RiskState):
            own = state
        elif state is not None:
            self._source = state
        self._desk = Desk(self._policy, self._venue_rules, own)
        self._merged: tuple[RiskState, Desk, Desk] | None = None
        self._lock = threading.Lock()

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._policy

    @property
    def venue_rules(self) -> Mapping[str, VenueRules]:
        """The venues' rules in force, by symbol."""
        return dict(self._venue_rules)

    @property
    def state(self) -> RiskState:
        """The snapshot in force, merged with the source's."""
        return self._desk.state if self._source is None else self._sourced(self._source).state

    def set_state(self, state: RiskState) -> None:
        """Swap the whole snapshot."""
        if not isinstance(state, RiskState):
            raise RiskInputError("E_STATE", "state", f"state={state!r}: want a RiskState")
        with self._lock:
            self._desk = self._desk.with_state(state)

    def _change(self, **fields: object) -> None:
        """Swap the snapshot for one with some fields changed; a refused value changes nothing."""
        with self._lock:
            self._desk = self._desk.with_state(replace(self._desk.state, **fields))  # type: ignore[arg-type]

    def set_risk_shares(
        self,
        shares: Mapping[str, float],
        *,
        age_seconds: float = 0.0,
        allocator_period_seconds: float | None = None,
    ) -> None:
        """Risk shares by strategy, ratios whose sum is at most 1, with their age."""
        fields: dict[str, object] = {"risk_shares": shares, "share_age_seconds": age_seconds}
        if allocator_period_seconds is not None:
            fields["allocator_period_seconds"] = allocator_period_seconds
        self._change(**fields)

    def set_account_state(
        self, drawdown_pct: float, *, daily_pnl_pct: float | None = None, age_seconds: float = 0.0
    ) -> None:
        """Drawdown from the peak and, where given, PnL of the day; fractions of equity, 0.12 for 12 %."""
        fields: dict[str, object] = {"drawdown_pct": drawdown_pct, "drawdown_age_seconds": age_seconds}
        if daily_pnl_pct is not None:
            fields["daily_pnl_pct"] = daily_pnl_pct
            fields["daily_pnl_age_seconds"] = age_seconds
        self._change(**fields)

    def set_breakers(self, breakers: Mapping[str, bool], *, age_seconds: float = 0.0) -> None:
        """Breakers by name, True = open = no new risk, with the age of the report."""
        self._change(breakers=breakers, breaker_age_seconds=age_seconds)

    def set_edge_statistics(self, edges: Mapping[str, EdgeStatistics]) -> None:
        """Records by strategy, for fractional Kelly where the policy enables it."""
        self._change(edges=edges)

    def set_venue_rules(self, venue_rules: Mapping[str, VenueRules]) -> None:
        """Rules by symbol, all of them: what is absent is unknown from now on."""
        rules = _checked_rules(venue_rules)
        with self._lock:
            self._desk = Desk(self._policy, rules, self._desk.state)
            self._venue_rules = rules

    def compute_order(
        self,
        strat_name: str,
        strat_type: str,
        base_tf: str,
        leverage_allowed: bool | float,
        live: LiveFeatures,
        equity_usd: float,
        open_risk_sum_pct: float,
        open_positions: int,
        exposure_total_usd: float,
        exposure_by_symbol: Mapping[str, float],
        regime_signal: str | float | None,
        *,
        strict: bool = False,
    ) -> Order:
        """How much may be opened now, and why not more.

        Args:
            strat_name: Whose risk share pays.
            strat_type: A row of the policy: scalp, momentum, trend, event.
            base_tf: Timeframe of atr_pct: 1m to 1d.
            leverage_allowed: True: the type's maximum; False or 0: 1x; a number: itself, up to the maximum.
            live: The market now.
            equity_usd: Account equity, unrealised PnL included.
            open_risk_sum_pct: Σ loss at the stops of open positions, fraction of equity.
            open_positions: How many are open.
            exposure_total_usd: Gross exposure.
            exposure_by_symbol: Exposure by symbol; shorts negative or positive alike.
            regime_signal: "stress", "neutral", "trend", or a number from −1 to 1; anything else is unknown.
            strict: Raise on bad data too, instead of skipping.

        Returns:
            An Order; size 0 with reasons where nothing may be opened.

        Raises:
            RiskInputError: The call breaks the contract; `.code` and `.field` say where.
        """
        return size_order(
            self._desk if self._source is None else self._sourced(self._source),
            strat_name,
            strat_type,
            base_tf,
            leverage_allowed,
            live,
            equity_usd,
            open_risk_sum_pct,
            open_positions,
            exposure_total_usd,
            exposure_by_symbol,
            regime_signal,
            strict,
        )

    def compute_orders(
        self,
        strat_name: Any,
        strat_type: Any,
        base_tf: Any,
        leverage_allowed: Any,
        live: Any,
        equity_usd: Any,
        open_risk_sum_pct: Any,
        open_positions: Any,
        exposure_total_usd: Any,
        exposure_by_symbol: Mapping[str, Any],
        regime_signal: Any,
        *,
        drawdown_pct: Any = None,
        risk_share: Any = None,
    ) -> Orders:
        """`compute_order` over rows: each argument is a column (array, list) or one value for all rows.

        Args:
            strat_name: As in compute_order; a text or a column of texts.
            strat_type: A text or a column of texts.
            base_tf: A text or a column of texts.
            leverage_allowed: One or a column.
            live: LiveFeatures whose attributes are columns, or a sequence of LiveFeatures.
            equity_usd: One or a column.
            open_risk_sum_pct: One or a column.
            open_positions: One or a column.
            exposure_total_usd: One or a column.
            exposure_by_symbol: Symbol → one amount or a column; a symbol not held is 0 there.
            regime_signal: One or a column.
            drawdown_pct: A column instead of the state's drawdown, for backtests; fractions.
            risk_share: A column instead of the state's shares, for backtests; fractions.

        Returns:
            Orders; `orders[i]` equals what compute_order gives for row i, to the last bit, bar its messages.

        Raises:
            RiskInputError: As compute_order, for any row; E_ROWS for columns of different lengths.
        """
        arguments = {
            "strat_name": strat_name,
            "strat_type": strat_type,
            "base_tf": base_tf,
            "leverage_allowed": leverage_allowed,
            "live": live,
            "equity_usd": equity_usd,
            "open_risk_sum_pct": open_risk_sum_pct,
            "open_positions": open_positions,
            "exposure_total_usd": exposure_total_usd,
            "exposure_by_symbol": exposure_by_symbol,
            "regime_signal": regime_signal,
            "drawdown_pct": drawdown_pct,
            "risk_share": risk_share,
        }
        return size_orders(self._desk if self._source is None else self._sourced(self._source), arguments)

    def _sourced(self, source: StateSource) -> Desk:
        """The desk on the more cautious of both states; rebuilt only when one of them is another object."""
        theirs, base, merged = source.snapshot(), self._desk, self._merged
        if merged is None or merged[0] is not theirs or merged[1] is not base:
            # One assignment of one tuple: threads that race here each leave a consistent one behind.
            merged = (theirs, base, base.with_state(worst_of(base.state, theirs)))
            self._merged = merged
        return merged[2]


def _checked_rules(venue_rules: object) -> dict[str, VenueRules]:
    if not isinstance(venue_rules, Mapping):
        raise VenueRulesError(
            "venue_rules", f"venue_rules={venue_rules!r}: want a mapping from symbol to VenueRules"
        )
    for symbol, rules in venue_rules.items():
        if not isinstance(rules, VenueRules):
            message = f"venue_rules[{symbol!r}]={rules!r}: want VenueRules"
            raise VenueRulesError(f"venue_rules[{symbol!r}]", message)
    return dict(venue_rules)


default_rails = RiskRails()
"""The default instance: policy version 1, no venue rules, nothing known of the account."""
compute_order = default_rails.compute_order
compute_orders = default_rails.compute_orders
