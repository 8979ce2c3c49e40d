"""What the demo sees of the running loop, and the summary it prints: reads only what a user could read.

Everything comes from the exporter's API and from PromQL, never from files or logs, so a summary with
figures in it is itself the proof that both answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import requests

TIMEOUT_SECONDS = 2.0
MOVED = 0.01
"""Turnover from equal shares, half the L1 distance, from which shares count as moved; twice the dead band."""


@dataclass
class Observer:
    """Reads the exporter and Prometheus, and keeps what was seen."""

    deck_url: str
    prometheus_url: str
    alerts_seen: set[str] = field(default_factory=set)
    last_status: dict[str, Any] = field(default_factory=dict)
    session: requests.Session = field(default_factory=requests.Session)

    def _get(self, url: str, **params: str) -> Any:
        answer = self.session.get(url, params=params, timeout=TIMEOUT_SECONDS)
        answer.raise_for_status()
        return answer.json()

    def look(self) -> str:
        """One line on where the loop stands; says so when a part does not answer."""
        try:
            self.last_status = self._get(f"{self.deck_url}/status")
        except requests.RequestException:
            return "the exporter does not answer"
        try:
            alerts = self._get(f"{self.prometheus_url}/api/v1/alerts")["data"]["alerts"]
            firing = sorted(
                {a["labels"]["alertname"] for a in alerts if a["state"] == "firing"} - {"Watchdog"}
            )
            self.alerts_seen |= {a["labels"]["alertname"] for a in alerts if a["state"] == "firing"}
            alert_text = ", ".join(firing) or "none"
        except requests.RequestException:
            alert_text = "Prometheus does not answer"
        status = self.last_status
        equity = status["metrics"].get("equity_usd", {}).get("value")
        shares = " ".join(f"{name} {share:.3f}" for name, share in sorted(status["risk_share"].items()))
        tripped = [name for name, breaker in status["breakers"].items() if breaker["open"]]
        return (
            f"equity {'-' if equity is None else f'{equity:,.2f}'} USD | shares {shares or '-'} | "
            f"breakers open: {', '.join(tripped) or 'none'} | alerts: {alert_text}"
        )

    def query(self, promql: str) -> dict[tuple[str, ...], float]:
        """Instant query: label values (sorted by label name) to value; empty when nothing matches.

        Raises:
            requests.RequestException: Prometheus does not answer or refuses the query.
        """
        result = self._get(f"{self.prometheus_url}/api/v1/query", query=promql)["data"]["result"]
        return {
            tuple(str(v) for k, v in sorted(row["metric"].items()) if k != "__name__"): float(row["value"][1])
            for row in result
        }

    def first_and_last_shares(self) -> list[dict[str, Any]]:
        """The first set of risk shares that was published and the newest; empty when none was.

        Two rows, however long the run: the history is paged, and versions count from 1 without a gap, so the
        newest one's is also how many there are.
        """
        url = f"{self.deck_url}/allocator/weights/history"
        newest = self._get(url, limit="1")["history"]
        return [*self._get(url, before="2")["history"], *newest] if newest else []


@dataclass(frozen=True)
class Summary:
    """What one run of the demo did."""

    pushes: int
    trades: int
    scrapes: int
    allocator_runs: dict[str, int]
    pnl_by_strategy: dict[str, float]
    first_shares: dict[str, float]
    last_shares: dict[str, float]
    versions: int
    decisions: dict[str, int]
    alerts: tuple[str, ...]
    queries_answered: int
    queries: int

    @property
    def turnover(self) -> float:
        """Half the L1 distance between equal shares and the last ones."""
        n = len(self.last_shares)
        return sum(abs(share - 1 / n) for share in self.last_shares.values()) / 2 if n else 0.0

    def failures(self) -> list[str]:
        """What keeps the loop from counting as closed, in words; empty when it closed."""
        found = []
        if self.queries_answered < self.queries:
            found.append(f"only {self.queries_answered} of {self.queries} PromQL queries had an answer")
        if self.trades <= 0:
            found.append("no trade was counted")
        if self.allocator_runs.get("success", 0) <= 0:
            found.append("the allocator never published")
        if self.turnover < MOVED:
            found.append(
                f"risk shares did not move away from equal (turnover {self.turnover:.4f}, want {MOVED})"
            )
        return found

    def table(self) -> str:
        """The summary as a person reads it."""
        runs = ", ".join(f"{count} {result}" for result, count in sorted(self.allocator_runs.items()))
        modes = ", ".join(f"{count} {mode}" for mode, count in sorted(self.decisions.items()) if count)
        rows = [
            ("pushes accepted", f"{self.pushes:,}"),
            ("trades counted", f"{self.trades:,}"),
            ("scrapes", f"{self.scrapes:,}"),
            ("PromQL queries answered", f"{self.queries_answered} of {self.queries}"),
            ("allocator runs", runs or "none"),
            ("risk share versions", f"{self.versions}"),
            ("riskrails decisions", modes or "none"),
            ("alerts seen", ", ".join(self.alerts) or "none"),
        ]
        lines = [f"  {name:<26}{value}" for name, value in rows]
        lines.append(f"\n  {'strategy':<12}{'PnL, USD':>14}{'share at start':>17}{'share at end':>15}")
        unknown = float("nan")
        lines += [
            f"  {name:<12}{self.pnl_by_strategy.get(name, unknown):>14,.2f}"
            f"{self.first_shares.get(name, unknown):>17.4f}{share:>15.4f}"
            for name, share in sorted(self.last_shares.items())
        ]
        return "\n".join(lines)


QUERIES = {
    "pushes": 'sum(exporter_pushes_total{outcome="accepted"})',
    "trades": "sum(trading_trades_total)",
    "scrapes": "sum(count_over_time(up[1d]))",
    "runs": "sum by (result) (allocator_runs_total)",
    "pnl": "sum by (strategy) (trading_strategy_pnl_usd)",
    "decisions": "sum by (mode) (riskrails_decisions_total)",
}


def summarise(observer: Observer) -> Summary:
    """Ask both services for what the run did; an unanswered query counts against it, and is not zero."""
    answers: dict[str, dict[tuple[str, ...], float]] = {}
    for name, promql in QUERIES.items():
        try:
            answer = observer.query(promql)
        except requests.RequestException:
            continue
        if answer:
            answers[name] = answer
    try:
        shares = observer.first_and_last_shares()
    except requests.RequestException:
        shares = []

    def total(name: str) -> int:
        return round(sum(answers.get(name, {}).values()))

    def by_label(name: str) -> dict[str, float]:
        return {key[0]: value for key, value in answers.get(name, {}).items() if key}

    return Summary(
        pushes=total("pushes"),
        trades=total("trades"),
        scrapes=total("scrapes"),
        allocator_runs={key: round(value) for key, value in by_label("runs").items()},
        pnl_by_strategy=by_label("pnl"),
        first_shares=dict(shares[0]["weights"]) if shares else {},
        last_shares=dict(shares[-1]["weights"]) if shares else {},
        versions=int(shares[-1]["version"]) if shares else 0,
        decisions={key: round(value) for key, value in by_label("decisions").items()},
        alerts=tuple(sorted(observer.alerts_seen)),
        queries_answered=len(answers),
        queries=len(QUERIES),
    )
