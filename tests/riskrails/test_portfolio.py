"""Invariant 15: whatever orders are accepted and fed back, the portfolio's caps hold."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from riskrails import LiveFeatures, Order, RiskRails, RiskState, VenueRules
from tests.riskrails.strategies import POLICY, numbers

EQUITY = 100_000.0
SHARES = {"scalp": 0.15, "momentum": 0.35, "trend": 0.3, "event": 0.2}
SYMBOLS = ("BTC-USD", "ETH-USD", "SOL-USD", "XRP-USD")
HAIR = 1e-9


class Book(RuleBasedStateMachine):
    """An engine that opens what it is allowed, closes at will, and asks again with what it holds."""

    def __init__(self) -> None:
        super().__init__()
        rules = {
            "BTC-USD": VenueRules(qty_step="0.001"),
            "ETH-USD": VenueRules(qty_step="0.01", price_tick="0.05"),
        }
        self.rails = RiskRails(POLICY, rules, RiskState(risk_shares=SHARES, breaker_age_seconds=0.0))
        self.held: list[Order] = []
        self.halted = False
        self.drawdown = 0.0

    @initialize(drawdown=numbers(0.0, 0.1))
    def start(self, drawdown: float) -> None:
        self.drawdown = drawdown
        self.rails.set_account_state(drawdown)

    def exposures(self) -> dict[str, float]:
        by_symbol: dict[str, float] = {}
        for order in self.held:
            by_symbol[order.symbol] = by_symbol.get(order.symbol, 0.0) + order.size_usd
        return by_symbol

    def open_risk(self) -> float:
        return sum(order.risk_usd for order in self.held) / EQUITY

    @rule(
        kind=st.sampled_from(list(SHARES)),
        tf=st.sampled_from(["5m", "1h", "4h"]),
        symbol=st.sampled_from(SYMBOLS),
        price=numbers(1.0, 5e4),
        volatility=numbers(0.3, 1.5),
        liquid=numbers(0.5, 1.0),
        lever=st.sampled_from([True, False, 2]),
    )
    def ask(
        self, kind: str, tf: str, symbol: str, price: float, volatility: float, liquid: float, lever: Any
    ) -> None:
        atr = POLICY.timeframes[tf].atr_ref * volatility
        by_symbol = self.exposures()
        order = self.rails.compute_order(
            strat_name=kind,
            strat_type=kind,
            base_tf=tf,
            leverage_allowed=lever,
            live=LiveFeatures(symbol, price, atr, 1.0, 1e7, 1e7, 0.0, 0.0, 0.0, liquid),
            equity_usd=EQUITY,
            open_risk_sum_pct=self.open_risk(),
            open_positions=len(self.held),
            exposure_total_usd=sum(by_symbol.values()),
            exposure_by_symbol=by_symbol,
            regime_signal="trend",
        )
        if self.halted:
            assert order.size_usd == 0.0
            assert "HALTED" in order.reasons
        if order.size_usd > 0.0:
            gross = sum(by_symbol.values()) + order.size_usd
            most = POLICY.strategies[kind].lev_max
            allowed = most if lever is True else min(most, float(lever) or 1.0)
            assert gross <= allowed * EQUITY * (1 + HAIR)
            self.held.append(order)

    @rule(which=st.integers(0, 7))
    def close(self, which: int) -> None:
        if self.held:
            self.held.pop(which % len(self.held))

    @rule(halted=st.booleans())
    def flip_breaker(self, halted: bool) -> None:
        self.halted = halted
        self.rails.set_breakers({"manual": halted})

    @invariant()
    def caps_hold(self) -> None:
        """Gross and symbol exposure, open risk and positions are inside the policy at every moment."""
        by_symbol = self.exposures()
        assert sum(by_symbol.values()) <= POLICY.gross_max * EQUITY * (1 + HAIR)
        for usd in by_symbol.values():
            assert usd <= POLICY.sym_max * EQUITY * (1 + HAIR)
        assert self.open_risk() <= POLICY.h_max * (1 + HAIR)
        assert len(self.held) <= POLICY.max_positions


Book.TestCase.settings = settings(max_examples=min(60, settings().max_examples), stateful_step_count=40)
TestBook = Book.TestCase
TestBook.__doc__ = "Invariant 15: any sequence of accepted orders keeps all portfolio caps."
