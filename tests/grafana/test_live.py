"""Every query of every dashboard runs on a real Prometheus fed by the real parts, without a complaint."""

from __future__ import annotations

import time

import pytest

from tests.grafana import boards
from tests.grafana.asking import Reply, ask, has_numbers, label_values
from tests.grafana.stack import Stack, running

ALL = {"engine": ".*", "strategy": ".*"}
ONE = {"engine": "default", "strategy": "momentum"}
TARGETS = [target for uid in boards.UIDS for target in boards.targets(uid)]
EMPTY_WHEN_ALL_IS_WELL = {
    # What has nothing to show unless something is wrong.
    "ops-pipeline / Notifications from Alertmanager": "no receiver is set up in the demo",
    "trading-risk / Rejections by reason": "an engine may have no order refused",
}
SIGNS = [
    "max by (strategy) (allocator_score)",
    "job_instance:push_time_seconds:age",
    "sum(job_instance_strategy:trading_strategy_pnl_usd:fresh)",
    "sum(rate(riskrails_decisions_total[15s])) > 0",
    "sum(increase(trading_trades_total[1d])) > 2",
    'sum(increase(trading_trades_total{result="win"}[1d])) > 0',
    'sum(increase(trading_trades_total{result="loss"}[1d])) > 0',
    'count(ALERTS{alertname="Watchdog",alertstate="firing"})',
]
"""The loop has closed: pushed, scraped, allocated, sized, traded, watched."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with running(tmp_path_factory.mktemp("stack"), SIGNS) as started:
        yield started


def answered(stack: Stack, target: boards.Target, variables: dict[str, str]) -> Reply:
    return ask(stack.prometheus, target.expr, variables, instant=target.instant, end=stack.now)


@pytest.mark.parametrize("variables", [ALL, ONE], ids=["all", "one"])
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.where)
def test_a_query_runs_without_error_warning_or_info(stack, target, variables):
    """With all values or with one chosen, Prometheus answers each query and has nothing to remark."""
    found = answered(stack, target, variables)
    assert (found.status, found.complaints) == ("success", [])


def must_show() -> list[boards.Target]:
    """The queries that show something while the demo runs well."""
    return [
        target
        for target in TARGETS
        if target.panel["type"] != "annotation"
        and not any(target.where.startswith(name) for name in EMPTY_WHEN_ALL_IS_WELL)
    ]


@pytest.mark.parametrize("target", must_show(), ids=lambda target: target.where)
def test_a_panel_is_not_empty_in_the_demo(stack, target):
    """Each of these has at least one number: a renamed metric or label shows here."""
    assert has_numbers(answered(stack, target, ALL).series)


@pytest.mark.parametrize("uid", boards.UIDS)
def test_variables_offer_values(stack, uid):
    """Each variable of a dashboard finds the engine and the strategies that run."""
    for variable in boards.variables(boards.dashboard(uid)).values():
        if variable["type"] == "query":
            values, complaints = label_values(stack.prometheus, variable["query"]["query"], ALL)
            assert complaints == []
            assert values, variable["name"]


def test_a_repeated_badge_has_both_its_values(stack):
    """PnL and risk share of one strategy stand side by side for each strategy that the variable offers."""
    board = boards.dashboard("trading-strategies")
    query = boards.variables(board)["strategy"]["query"]["query"]
    strategies, _ = label_values(stack.prometheus, query, ALL)
    badge = [target for target in boards.targets("trading-strategies") if target.panel.get("repeat")]
    assert len(badge) == 2
    for strategy in strategies:
        for target in badge:
            assert has_numbers(answered(stack, target, {"engine": ".*", "strategy": strategy}).series), (
                strategy
            )


def test_an_operators_trip_is_on_the_timelines(stack):
    """The breaker tripped and released by hand was first open and then closed, on both dashboards."""
    for uid in ("trading-overview", "trading-risk"):
        [timeline] = [one for one in boards.targets(uid) if one.panel["type"] == "state-timeline"]
        [manual] = [
            one for one in answered(stack, timeline, ALL).series if one["metric"] == {"breaker": "manual"}
        ]
        states = [value for _, value in manual["values"]]
        assert "1" in states
        assert states[-1] == "0"


def test_a_query_that_is_wrong_is_noticed(stack):
    """The harness itself sees a parse error, an unknown variable and an empty answer."""
    for wrong in ("sum(", "rate(up[$__no_such])"):
        found = ask(stack.prometheus, wrong, ALL, instant=True, end=time.time())
        assert found.status == "error"
        assert found.complaints
    assert not has_numbers(ask(stack.prometheus, "no_such_metric", ALL, instant=True, end=time.time()).series)
