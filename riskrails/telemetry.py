"""Counts what riskrails decides, for Prometheus; needs prometheus-client.

Sizing itself stays pure: `Telemetry.watch(rails)` wraps it, and `push` sends the counters to the deck with
the Pushgateway API as job="riskrails".  Every label pair stands at 0 from the start: a counter that first
appears at 1 has not increased, for Prometheus, and the first HALTED would go unseen.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, push_to_gateway
from prometheus_client.exposition import default_handler
from prometheus_client.metrics_core import Metric

from riskrails.caps import CAPS, ROOMS
from riskrails.deck_token import deck_token
from riskrails.errors import RiskInputError
from riskrails.features import LiveFeatures
from riskrails.order import MODES, REASONS, Order
from riskrails.policy import Policy
from riskrails.rails import RiskRails

__all__ = ["JOB", "Telemetry", "WatchedRails", "utilization"]

JOB = "riskrails"
NO_CAP = "none"
"""The label of a decision that no cap made: a gate, bad data."""
BUCKETS = (5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 1e-2)
"""Seconds; a decision takes about 1e-5."""


def utilization(
    policy: Policy,
    order: Order,
    equity_usd: float,
    open_risk_sum_pct: float,
    exposure_total_usd: float,
    exposure_by_symbol: Mapping[str, float],
) -> dict[str, float]:
    """How much of each portfolio limit the book already uses, before the order; ratios, 1 = full or over.

    `exposure_symbol` is that of the fullest symbol, the others are the order's own.  Caps on a single order
    (risk, order_notional, liquidity, venue) have none: one of them binds every order, and that is no alarm.

    Args: as of the call that gave `order`, which must not have been refused for bad data.
    """
    sizes = {symbol: abs(usd) for symbol, usd in exposure_by_symbol.items()}
    gross = max(exposure_total_usd, sum(sizes.values()))
    own = sizes.get(order.symbol, 0.0)
    symbol_limit = max(0.0, policy.sym_max * equity_usd)

    def ratio(used: float, limit: float) -> float:
        return 0.0 if used <= 0.0 else 1.0 if used >= limit else used / limit

    return {
        "open_risk": ratio(open_risk_sum_pct, policy.h_max),
        "leverage": ratio(gross, gross + order.caps["leverage"]),
        "exposure_total": ratio(gross, max(0.0, policy.gross_max * equity_usd)),
        "exposure_symbol": ratio(max(sizes.values(), default=0.0), symbol_limit),
        "symbol_vol": ratio(own, own + order.caps.get("symbol_vol", 0.0))
        if "symbol_vol" in order.caps
        else 0.0,
    }


class _PushedRegistry(CollectorRegistry):
    """A registry without the `_created` series, which Prometheus would store for nothing."""

    def collect(self) -> Iterator[Metric]:
        for metric in super().collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


class Telemetry:
    """The counters of one engine.

    Args:
        registry: To register with; its own by default, because `push` sends a whole registry.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else _PushedRegistry()
        self.decisions = Counter(
            "riskrails_decisions_total",
            "Sizing decisions by mode and binding cap",
            ["mode", "binding"],
            registry=self.registry,
        )
        self.rejections = Counter(
            "riskrails_rejections_total",
            "Reasons for which orders got size 0",
            ["reason"],
            registry=self.registry,
        )
        self.caps = Gauge(
            "riskrails_cap_utilization_ratio",
            "Share of a portfolio limit in use before the last decision",
            ["cap"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "riskrails_decision_seconds",
            "Time of one sizing decision",
            buckets=BUCKETS,
            registry=self.registry,
        )
        for mode in MODES:
            for binding in (*CAPS, NO_CAP):
                self.decisions.labels(mode, binding)
        for reason in REASONS:
            self.rejections.labels(reason)
        for cap in ROOMS:
            self.caps.labels(cap)

    def observe(self, order: Order, seconds: float) -> None:
        """Count one decision."""
        self.decisions.labels(order.mode, order.binding or NO_CAP).inc()
        for reason in order.reasons:
            self.rejections.labels(reason).inc()
        self.seconds.observe(seconds)

    def observe_refusal(self, reason: str, seconds: float) -> None:
        """Count a skip that strict=True raised instead of returning."""
        self.decisions.labels("skip", NO_CAP).inc()
        self.rejections.labels(reason).inc()
        self.seconds.observe(seconds)

    def watch(self, rails: RiskRails, now: Callable[[], float] = time.perf_counter) -> WatchedRails:
        """The rails, each of whose decisions is counted and timed."""
        return WatchedRails(rails, self, now)

    def push(
        self,
        url: str | None = None,
        *,
        instance: str | None = None,
        token: str | None = None,
        timeout_seconds: float = 5.0,
    ) -> None:
        """Send everything to the deck, or to any Pushgateway, replacing what this engine sent before.

        Args:
            url: The exporter; DECK_URL, else http://localhost:8002.
            instance: The engine's id; DECK_ENGINE, else "default".
            token: With scope push; DECK_TOKEN, else the content of DECK_TOKEN_FILE, read at each push.
            timeout_seconds: Of the request.

        Raises:
            RiskInputError: E_DECK; the token cannot be read or sent.
            OSError: Not reachable, or refused (urllib.error.HTTPError); nothing is lost, counters go on.
        """
        push_to_gateway(
            url or os.environ.get("DECK_URL") or "http://localhost:8002",
            job=JOB,
            registry=self.registry,
            grouping_key={"instance": instance or os.environ.get("DECK_ENGINE") or "default"},
            timeout=timeout_seconds,
            handler=_handler(deck_token(token, os.environ)),
        )


def _handler(token: str | None) -> Callable[..., Callable[[], None]]:
    """prometheus-client's HTTP handler, with the deck's token where there is one."""

    def handle(
        url: str, method: str, timeout: float | None, headers: list[tuple[str, str]], data: bytes
    ) -> Callable[[], None]:
        more = [("Authorization", f"Bearer {token}")] if token else []
        return default_handler(url, method, timeout, [*headers, *more], data)

    return handle


class WatchedRails:
    """RiskRails behind a counter and a clock; everything else is the rails' own."""

    def __init__(self, rails: RiskRails, telemetry: Telemetry, now: Callable[[], float]) -> None:
        self.rails = rails
        self.telemetry = telemetry
        self._now = now

    def __getattr__(self, name: str) -> Any:
        """Setters and properties of the rails."""
        return getattr(self.rails, name)

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
        """`RiskRails.compute_order`, counted; what it raises is raised.

        Data that strict=True raises for is a skip with its reason; a broken contract is no decision.
        """
        began = self._now()
        try:
            order = self.rails.compute_order(
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
                strict=strict,
            )
        except RiskInputError as error:
            if error.code in REASONS:
                self.telemetry.observe_refusal(error.code, self._now() - began)
            raise
        self.telemetry.observe(order, self._now() - began)
        if order.caps:  # none were worked out from bad data
            used = utilization(
                self.rails.policy,
                order,
                float(equity_usd),
                float(open_risk_sum_pct),
                float(exposure_total_usd),
                {symbol: float(usd) for symbol, usd in exposure_by_symbol.items()},
            )
            for cap, ratio in used.items():
                self.telemetry.caps.labels(cap).set(ratio)
        return order
