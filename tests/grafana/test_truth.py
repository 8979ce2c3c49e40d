"""What the Deck says of an engine that runs, is silent or halted, and of rules that nobody evaluates.

Promtool evaluates the Deck's own queries, with our recording rules, on series written down here.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.native import find_program
from tests.grafana import boards
from tests.grafana.asking import filled

RULES = boards.ROOT / "prometheus" / "rules" / "recording.yml"
VARIABLES = {"engine": ".*", "strategy": ".*", "__rate_interval": "1m"}
ENGINE = 'job="trading_engine",instance="default"'
WATCHDOG = 'ALERTS{alertname="Watchdog",alertstate="firing",severity="none"}'
HALTED = 'riskrails_rejections_total{job="riskrails",instance="default",reason="HALTED"}'
RUNNING, SILENT = "2m", "5m"
"""When the engine below still pushes, and when its last push is three minutes old."""


def engine(*, venue: str = "0x40") -> dict[str, str]:
    """An engine that pushes each 15 s until 2m and then no more; its gauges stay in the exposition."""
    return {
        f"push_time_seconds{{{ENGINE}}}": "15+15x7 120x30",
        f"trading_equity_usd{{{ENGINE}}}": "100000x40",
        f"trading_pnl_24h_usd{{{ENGINE}}}": "-1500x40",
        f"trading_drawdown_ratio{{{ENGINE}}}": "0.03x40",
        f'trading_breaker_open{{{ENGINE},breaker="equity",source="engine"}}': "0x40",
        f'trading_breaker_open{{{ENGINE},breaker="venue",source="engine"}}': venue,
        f'trading_breaker_open{{{ENGINE},breaker="venue",source="operator"}}': "0x40",
        f'trading_strategy_pnl_usd{{{ENGINE},strategy="scalp"}}': "12.5x40",
        f'trading_strategy_drawdown_ratio{{{ENGINE},strategy="scalp"}}': "0.01x40",
        'allocator_risk_share_ratio{strategy="scalp"}': "0.25x40",
    }


def query(title: str, ref_id: str = "A", *, kind: str | None = None) -> str:
    """The query of one of the Deck's panels."""
    [panel] = [
        one
        for one in boards.panels(boards.dashboard("trading-overview"))
        if one["title"] == title and (kind is None or one["type"] == kind)
    ]
    [expr] = [target["expr"] for target in panel["targets"] if target["refId"] == ref_id]
    return filled(expr, VARIABLES)


def check(
    tmp_path: Path, series: dict[str, str], at: str, wanted: dict[str, list[tuple[str, float]]]
) -> None:
    """Fail unless each query of `wanted` gives exactly these series and values at the time `at`."""
    tests: dict[str, Any] = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [
                    {
                        "expr": expr,
                        "eval_time": at,
                        "exp_samples": [{"labels": labels, "value": value} for labels, value in samples],
                    }
                    for expr, samples in wanted.items()
                ],
            }
        ],
    }
    path = tmp_path / "truth.yml"
    path.write_text(yaml.safe_dump(tests), encoding="utf-8")
    ran = subprocess.run(
        [find_program("promtool"), "test", "rules", str(path)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


GATED = {
    # title: what it shows while the engine of `engine()` runs
    "Equity, USD": [("{}", 100000.0)],
    "PnL 24 h": [("{}", -1500.0)],
    "PnL / equity": [("{}", -0.015)],
    "Drawdown": [("{}", 0.03)],
    "Open breakers": [("{}", 0.0)],
    "Rails": [("{}", 0.0)],
}


def test_a_running_engine_is_shown(tmp_path):
    """While it pushes, the top row shows its numbers and every breaker is closed."""
    wanted = {query(title): samples for title, samples in GATED.items()}
    wanted[query("Breakers", kind="stat")] = [('{breaker="equity"}', 0.0), ('{breaker="venue"}', 0.0)]
    wanted[query("Strategy deck")] = [('{strategy="scalp"}', 12.5)]
    check(tmp_path, engine(), RUNNING, wanted)


def test_a_silent_engine_is_not_shown_as_healthy(tmp_path):
    """Three minutes after its last push nothing of it is left, though its gauges are still scraped."""
    wanted: dict[str, list[tuple[str, float]]] = {query(title): [] for title in GATED}
    wanted[query("Breakers", kind="stat")] = []
    wanted[query("Breakers", kind="state-timeline")] = []
    wanted[query("Push age")] = [("{}", 180.0)]
    check(tmp_path, engine(), SILENT, wanted)


def test_an_open_breaker_is_shown_even_when_its_engine_is_gone(tmp_path):
    """A dead engine does not close its breakers: the one left open stays red, the others are unknown."""
    wanted = {
        query("Rails"): [("{}", 1.0)],
        query("Open breakers"): [("{}", 1.0)],
        query("Breakers", kind="stat"): [('{breaker="venue"}', 1.0)],
    }
    check(tmp_path, engine(venue="0x4 1x36"), SILENT, wanted)
    wanted[query("Breakers", kind="stat")] = [('{breaker="equity"}', 0.0), ('{breaker="venue"}', 1.0)]
    check(tmp_path, engine(venue="0x4 1x36"), RUNNING, wanted)


def test_refused_orders_halt_the_rails_without_a_breaker(tmp_path):
    """Orders refused because what is known of the breakers is too old are HALTED on the Deck."""
    refusing = {**engine(), HALTED: "0x3 1+1x36"}
    check(tmp_path, refusing, RUNNING, {query("Rails"): [("{}", 1.0)], query("Open breakers"): [("{}", 0.0)]})
    once = {**engine(), HALTED: "7x40"}
    check(tmp_path, once, RUNNING, {query("Rails"): [("{}", 0.0)]})


def test_no_alert_is_zero_only_while_rules_are_evaluated(tmp_path):
    """Without the Watchdog the count of alerts is unknown; with it, zero is zero and one is one."""
    critical, warning = query("Firing alerts", "A"), query("Firing alerts", "B")
    check(tmp_path, engine(), RUNNING, {critical: [], warning: []})
    watched = {**engine(), WATCHDOG: "1x40"}
    check(tmp_path, watched, RUNNING, {critical: [("{}", 0.0)], warning: [("{}", 0.0)]})
    firing = {**watched, 'ALERTS{alertname="x",alertstate="firing",severity="critical"}': "1x40"}
    check(tmp_path, firing, RUNNING, {critical: [("{}", 1.0)], warning: [("{}", 0.0)]})
    pending = {**watched, 'ALERTS{alertname="x",alertstate="pending",severity="critical"}': "1x40"}
    check(tmp_path, pending, RUNNING, {critical: [("{}", 0.0)]})


def test_no_equity_gives_no_return(tmp_path):
    """PnL per equity of zero or less is no number, so it is not shown."""
    broke = {**engine(), f"trading_equity_usd{{{ENGINE}}}": "0x40"}
    check(tmp_path, broke, RUNNING, {query("PnL / equity"): []})


def test_the_check_fails_on_a_wrong_number(tmp_path):
    """The verdict of promtool reaches the test."""
    with pytest.raises(AssertionError, match="FAILED"):
        check(tmp_path, engine(), RUNNING, {query("Equity, USD"): [("{}", 1.0)]})


def test_one_engine_can_be_chosen(tmp_path):
    """The variable Engine narrows each panel of the top row to that engine."""
    other = {
        name.replace("default", "other"): values for name, values in engine().items() if "default" in name
    }
    both = {**engine(), **other}
    expr = boards.targets("trading-overview")[0].expr
    check(tmp_path, both, RUNNING, {filled(expr, VARIABLES): [("{}", 200000.0)]})
    check(tmp_path, both, RUNNING, {filled(expr, {**VARIABLES, "engine": "other"}): [("{}", 100000.0)]})
    assert json.dumps(expr).count("$engine") == 1
