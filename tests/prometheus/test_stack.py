"""From a push to a halted engine and to a message, through the real servers."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator

import pytest

from riskrails import LiveFeatures, RiskRails
from riskrails.deck import DeckState
from riskrails.telemetry import Telemetry, WatchedRails
from scripts import native
from scripts.drill import Drill, DrillError, Http, Stack
from tests.prometheus.live import HEALTHY, SHARES, LiveStack, breaker, get, refused, send, until
from tests.prometheus.rulebook import ALERT_NAMES, names_in
from tests.prometheus.test_rules import FOREIGN, known_names
from tests.prometheus.test_runbooks import RUNBOOKS, queries


def order_mode(rails: WatchedRails) -> str:
    live = LiveFeatures("BTC-USD", 50000.0, 0.009, 1.0, 5e6, 5e6, 0.0, 0.1, 0.0, 0.9)
    order = rails.compute_order(
        strat_name="scalp",
        strat_type="momentum",
        base_tf="1h",
        leverage_allowed=True,
        live=live,
        equity_usd=100000.0,
        open_risk_sum_pct=0.0,
        open_positions=0,
        exposure_total_usd=0.0,
        exposure_by_symbol={},
        regime_signal="trend",
    )
    return str(order.mode)


def test_an_engine_breaker_halts_and_pages_and_is_over_when_released(stack: LiveStack) -> None:
    """Push equity=true → alert → webhook → halted → reduce → release → resolved; all receivers hear of it."""
    stack.quiet()
    telemetry = Telemetry()
    with DeckState(stack.deck, interval_seconds=0.2) as deck:
        rails = telemetry.watch(RiskRails(state=deck))
        until("orders pass", lambda: order_mode(rails) not in ("reduce", "skip"))
        telemetry.push(stack.deck)
        calls = "alertmanager_notifications_total{integration='webhook'}"
        before = stack.value(calls) or 0.0
        stack.engine.state["breaker"] = {"equity": True}
        until(
            "alert fires", lambda: stack.firing("TradingBreakerOpen", breaker="equity", severity="critical")
        )
        until("Alertmanager calls the webhooks", lambda: (stack.value(calls) or 0.0) > before)
        until("halted", lambda: stack.status()["halted"])
        assert stack.status()["breakers"]["equity"]["sources"] == ["engine"]
        until("orders only reduce", lambda: order_mode(rails) == "reduce")
        telemetry.push(stack.deck)
        until("the refusal pages", lambda: stack.firing("RiskrailsHalt", severity="critical"))
        for way in ("slack", "discord", "telegram", "webhook", "email"):
            until(f"{way} hears of it", lambda way=way: stack.receivers.heard(way, "TradingBreakerOpen"))  # type: ignore[misc]

        stack.engine.state["breaker"] = {"equity": False}
        until("not halted", lambda: not stack.status()["halted"])
        until("orders pass again", lambda: order_mode(rails) not in ("reduce", "skip"))
        until("alert is over", lambda: not stack.firing("TradingBreakerOpen", breaker="equity"))
        until("resolved", lambda: not stack.alerts(alertname="TradingBreakerOpen", breaker="equity"))
        for way in ("slack", "discord", "telegram", "email"):
            until(f"{way} hears of its end", lambda way=way: stack.receivers.heard(way, "RESOLVED", "equity"))  # type: ignore[misc]


def test_a_promql_alert_halts_the_engine_until_it_resolves(stack: LiveStack) -> None:
    """A mapped alert holds its breaker as source alert, is told as such, and lets go by itself: no loop."""
    stack.quiet()
    stack.engine.state["pnl_24h"] = -5000.0
    until("alert fires", lambda: stack.firing("TradingDailyLoss", severity="critical"))
    until("halted", lambda: stack.status()["halted"])
    assert stack.status()["breakers"]["daily_loss"]["sources"] == ["alert"]
    until("the trip pages", lambda: stack.firing("TradingBreakerOpen", breaker="daily_loss"))
    stack.engine.heal()
    until("released by the resolve", lambda: not stack.status()["halted"])
    until("nothing holds it", lambda: not stack.query('trading_breaker_open{breaker="daily_loss"} == 1'))


def test_an_alert_with_the_label_halts_and_the_page_lasts_as_long(stack: LiveStack) -> None:
    """A user's alert that names a breaker holds it and is paged; its end is the end, and nothing loops."""
    stack.quiet()
    mine = {"alertname": "MyVenueDown", "breaker": "venue", "severity": "warning"}
    hour = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    send(f"{stack.alertmanager}/api/v2/alerts", [{"labels": mine, "endsAt": hour}])
    until("held", lambda: stack.status()["breakers"]["venue"]["sources"] == ["alert"])
    until("paged", lambda: stack.alerts(alertname="TradingBreakerOpen", breaker="venue"))
    # Past the minute in which its counter alone would tell of the trip.
    trips = 'increase(trading_breaker_trips_total{breaker="venue"}[3s])'
    until("no trip of late", lambda: stack.value(trips) == 0)
    assert stack.query('ALERTS{alertname="TradingBreakerOpen", breaker="venue", severity="critical"}')
    send(f"{stack.alertmanager}/api/v2/alerts", [{"labels": mine, "endsAt": "2020-01-01T00:00:00Z"}])
    until("released", lambda: not stack.status()["halted"])
    until("over", lambda: not stack.firing("TradingBreakerOpen", breaker="venue"))
    assert not stack.status()["halted"]


SICK = {
    # what an engine pushes that is ill in every way, and what must fire
    "drawdown_pct": 12.0,
    "tick_p95_ms": 2000.0,
    "error_rate_pct": 9.0,
}


@pytest.fixture(scope="module")
def sick(stack: LiveStack) -> Iterator[LiveStack]:
    stack.quiet()
    for _ in range(5):
        breaker(stack, "venue", tripped=True)
        breaker(stack, "venue", tripped=False)
    stack.engine.state |= SICK
    send(f"{stack.deck}/allocator/weights", {"weights": {"scalp": 0.6, "trend": 0.2, "ghost": 0.1}})
    yield stack
    stack.quiet()


@pytest.mark.parametrize(
    ("alert", "severity"),
    [
        ("TradingDrawdown", "warning"),
        ("TradingDrawdown", "critical"),
        ("TradingTickLatencyHigh", "warning"),
        ("TradingTickLatencyHigh", "critical"),
        ("TradingErrorRatioHigh", "warning"),
        ("TradingErrorRatioHigh", "critical"),
        ("TradingBreakerFlapping", "warning"),
        ("TradingStrategySilent", "warning"),
        ("AllocatorSharesNotNormalised", "critical"),
        ("Watchdog", "none"),
    ],
)
def test_real_pushes_fire_the_alert(sick: LiveStack, alert: str, severity: str) -> None:
    """What an ill engine pushes fires each alert, and it reaches Alertmanager."""
    until(f"{alert} fires", lambda: sick.firing(alert, severity=severity))
    until(f"{alert} arrives", lambda: sick.alerts(alertname=alert, severity=severity))


def test_a_jump_of_equity_fires(sick: LiveStack) -> None:
    """It is seen for as long as the window looks back, so it is made here and not with the lasting ills."""
    sick.engine.state["equity_usd"] *= 1.5
    until("fires", lambda: sick.firing("TradingEquityJump", severity="warning"))
    until("arrives", lambda: sick.alerts(alertname="TradingEquityJump"))


def test_refused_pushes_fire_while_they_come(stack: LiveStack) -> None:
    """More than half of the pushes refused pages; the rest of what is shown stays as it was."""

    def refuse_some_and_look() -> bool:
        for _ in range(10):
            refused(f"{stack.deck}/metrics/push", {"equity_usd": "many"})
        return stack.firing("ExporterRejectingPushes", severity="critical")

    until("refusals fire", refuse_some_and_look)


def test_the_critical_form_mutes_the_milder_one(sick: LiveStack) -> None:
    """Of two forms of one alert, one message goes out."""
    until(
        "muted",
        lambda: [
            one
            for one in sick.alerts(alertname="TradingDrawdown", severity="warning")
            if one["status"]["inhibitedBy"]
        ],
    )
    (critical,) = sick.alerts(alertname="TradingDrawdown", severity="critical")
    assert critical["status"]["inhibitedBy"] == []


def test_a_refused_push_is_told(stack: LiveStack) -> None:
    """A push that contradicts another group leaves the old values and a failure time."""
    stack.quiet()
    stack.engine.pause()
    send(f"{stack.deck}/metrics/push", HEALTHY)
    code, _ = refused(
        f"{stack.deck}/metrics/job/trading_engine/instance/default", "trading_thing 1 1700000000000\n"
    )
    assert code == 400
    until("refusal fires", lambda: stack.firing("TradingEnginePushRejected"))
    stack.engine.start()
    until("refusal is over", lambda: not stack.firing("TradingEnginePushRejected"))


def test_an_engine_that_stops_is_stale_then_absent(stack: LiveStack) -> None:
    """Silence is late, then gone; a deleted group is absent; the first push ends it."""
    stack.quiet()
    stack.engine.pause()
    until("late", lambda: stack.firing("TradingEnginePushStale", severity="warning"))
    until("gone", lambda: stack.firing("TradingEnginePushStale", severity="critical"))
    send(f"{stack.deck}/metrics/job/trading_engine/instance/default", "", method="DELETE")
    until("absent", lambda: stack.firing("TradingEngineAbsent"))
    stack.engine.start()
    until(
        "back", lambda: not stack.firing("TradingEngineAbsent") and not stack.firing("TradingEnginePushStale")
    )


def test_without_the_exporter_one_alert_speaks_for_all(stack: LiveStack) -> None:
    """Killed, ExporterDown fires and mutes what was firing of the engine; started again all is as before."""
    stack.quiet()
    stack.engine.state["drawdown_pct"] = 12.0
    until("drawdown", lambda: stack.alerts(alertname="TradingDrawdown", severity="critical"))
    trips = stack.value('trading_breaker_trips_total{breaker="equity"}')
    stack.exporter.kill()
    until("down", lambda: stack.firing("ExporterDown"))
    until("muted", lambda: [one for one in stack.alerts(component="engine") if one["status"]["inhibitedBy"]])
    assert all(one["status"]["inhibitedBy"] for one in stack.alerts(component="engine"))
    (down,) = stack.alerts(alertname="ExporterDown")
    assert down["status"]["inhibitedBy"] == []
    stack.exporter.start()
    until("up", lambda: not stack.firing("ExporterDown"))
    until("scraped", lambda: stack.query('trading_breaker_trips_total{breaker="equity"}'))
    assert stack.value('trading_breaker_trips_total{breaker="equity"}') == trips
    assert stack.status()["risk_share"] == SHARES
    stack.quiet()


def test_the_switch_hears_the_watchdog(stack: LiveStack) -> None:
    """The dead man's switch is called while all is well."""
    until("a call", lambda: stack.receivers.heard("deadman", "Watchdog"))


def test_a_drill_on_the_running_stack_passes_and_a_second_is_refused(stack: LiveStack) -> None:
    """The drill sees the halt, the alert and each receiver; it refuses while its alert still fires."""
    stack.quiet()

    said: list[str] = []
    addresses = Stack(stack.deck, stack.prometheus, stack.alertmanager)
    drill = Drill(
        Http(stack.deck, None), addresses, "manual", now=time.monotonic, sleep=time.sleep, say=said.append
    )
    assert drill.run(), said
    assert [line for line in said if "message through telegram" in line]
    assert not stack.status()["halted"]
    until("Prometheus sees it closed", lambda: not stack.query('trading_breaker_open{breaker="manual"} == 1'))
    with pytest.raises(DrillError, match="still fires"):
        drill.run()
    assert not stack.status()["halted"]


def test_a_drill_fails_where_a_receiver_never_answers(stack: LiveStack) -> None:
    """Alertmanager has sent the message and waits: nobody was paged, and the drill says so."""
    stack.quiet()
    until("no alert from before", lambda: not stack.alerts(alertname="TradingBreakerOpen", breaker="equity"))
    said: list[str] = []
    addresses = Stack(stack.deck, stack.prometheus, stack.alertmanager)
    drill = Drill(
        Http(stack.deck, None),
        addresses,
        "equity",
        now=time.monotonic,
        sleep=time.sleep,
        say=said.append,
        step_seconds=20,
    )
    stack.receivers.deaf.add("discord")
    try:
        assert not drill.run(), said
    finally:
        stack.receivers.deaf.clear()
    assert [line for line in said if "NOT within" in line] == [
        line for line in said if "message through discord" in line
    ]
    assert not stack.status()["halted"]


@pytest.mark.parametrize("name", ALERT_NAMES)
def test_the_queries_of_a_runbook_run(stack: LiveStack, name: str) -> None:
    """Each query parses and runs on a real Prometheus, without a warning or an info."""
    for expr in queries(RUNBOOKS / f"{name}.md"):
        answer = stack.ask(expr)
        assert answer["status"] == "success", answer
        assert not answer.get("warnings"), (expr, answer)
        assert not answer.get("infos"), (expr, answer)


@pytest.mark.parametrize("name", ALERT_NAMES)
def test_a_query_of_a_runbook_answers_where_its_metrics_have_data(stack: LiveStack, name: str) -> None:
    """No query comes back empty because its labels do not meet; one that compares may."""
    for expr in queries(RUNBOOKS / f"{name}.md"):
        compares = re.search(r"[<>]|==|\b(?:unless|and|offset|absent)\b", re.sub(r"\{[^}]*\}", "", expr))
        selects = re.search(r"\{", expr)
        if not compares and not selects and all(stack.query(metric) for metric in names_in(expr)):
            until(f"an answer to {expr}", lambda expr=expr: stack.query(expr), 30)  # type: ignore[misc]


def test_the_metrics_of_a_runbook_exist(stack: LiveStack) -> None:
    """A runbook asks for nothing that neither the catalogue nor a live server has."""
    live = set(json.loads(get(f"{stack.prometheus}/api/v1/label/__name__/values"))["data"])
    asked = {
        one for name in ALERT_NAMES for expr in queries(RUNBOOKS / f"{name}.md") for one in names_in(expr)
    }
    assert asked - known_names() - live == set()


def test_what_prometheus_and_alertmanager_say_of_themselves_exists(stack: LiveStack) -> None:
    """The foreign metrics that rules use are on the live servers."""
    pages = get(f"{stack.prometheus}/metrics") + get(f"{stack.alertmanager}/metrics")
    shown = set(re.findall(r"^# TYPE (\S+) ", pages, re.MULTILINE)) | {
        "up",
        "ALERTS",
        "scrape_duration_seconds",
    }
    assert FOREIGN - shown == set()


def test_every_rule_evaluates_without_error_or_warning(stack: LiveStack) -> None:
    """On live data no rule is unhealthy."""
    groups = json.loads(get(f"{stack.prometheus}/api/v1/rules"))["data"]["groups"]
    bad = [
        (rule["name"], rule.get("lastError"))
        for group in groups
        for rule in group["rules"]
        if rule["health"] != "ok"
    ]
    assert bad == []


@pytest.mark.parametrize("service", ["exporter", "allocator"])
def test_the_live_metrics_pass_promtool(stack: LiveStack, service: str) -> None:
    """Names, types, units and help of both services are as Prometheus wants them."""
    page = get(f"http://127.0.0.1:{getattr(stack.ports, service)}/metrics")
    done = subprocess.run(
        [native.find_program("promtool"), "check", "metrics"],
        input=page,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
