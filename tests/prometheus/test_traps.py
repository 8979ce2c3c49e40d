"""The fifteen ways in which pushed gauges deceive, each shown harmless on the running stack.

Each test fails when its guard is taken away, be it in a rule, in prometheus.yml or in the exporter.
"""

from __future__ import annotations

import json
import re
import time
import urllib.request

import pytest

from exporter.catalogue import CATALOGUE
from riskrails.telemetry import Telemetry
from scripts.render import seconds
from tests.prometheus.live import HEALTHY, LiveStack, breaker, get, refused, send, until
from tests.prometheus.rulebook import ALERTS, RECORDS, ROOT, SOURCE, load

AT = 'job="trading_engine",instance="default"'


def test_trap_1_a_dead_engine_is_scraped_for_ever(stack: LiveStack) -> None:
    """Its last values stay, `up` is 1 and nothing is absent: only the age of the push tells."""
    stack.quiet()
    until("fresh", lambda: stack.query("job_instance:trading_equity_usd:fresh"))
    stack.engine.pause()
    until("stale", lambda: stack.firing("TradingEnginePushStale", severity="critical"))
    assert stack.value(f"trading_equity_usd{{{AT}}}") == HEALTHY["equity_usd"]
    assert stack.value('up{job="exporter"}') == 1
    assert stack.query('absent(push_time_seconds{job="trading_engine"})') == []
    for gated in (
        "job_instance:trading_equity_usd:fresh",
        "job_strategy:trading_strategy_pnl_usd:sum_fresh",
        "job:trading_drawdown_ratio:max",
    ):
        assert stack.query(gated) == []
    stack.engine.start()


def test_trap_2_a_restart_keeps_every_series(stack: LiveStack) -> None:
    """A firing alert does not resolve because the exporter forgot: killed and started, it shows the same."""
    stack.quiet()
    breaker(stack, "venue", tripped=True)
    until("open", lambda: stack.firing("TradingBreakerOpen", breaker="venue"))
    stack.engine.pause()
    wanted = re.compile(r"^(?:trading_|allocator_|push_time)\S* .*$", re.MULTILINE)
    before = wanted.findall(get(f"{stack.deck}/metrics"))
    stack.exporter.kill()
    stack.exporter.start()
    assert wanted.findall(get(f"{stack.deck}/metrics")) == before
    assert stack.status()["halted"]
    stack.engine.start()
    until("scraped again", lambda: stack.query('trading_breaker_open{breaker="venue"} == 1'))
    assert stack.firing("TradingBreakerOpen", breaker="venue")
    breaker(stack, "venue", tripped=False)


def test_trap_3_no_sample_carries_a_time(stack: LiveStack) -> None:
    """A stamped sample would be invisible after five minutes: none is shown and none is taken."""
    lines = [line for line in get(f"{stack.deck}/metrics").splitlines() if line and line[0] != "#"]
    assert [line for line in lines if not re.fullmatch(r"[^ {]+(\{.*\})? [^ ]+", line)] == []
    code, text = refused(f"{stack.deck}/metrics/job/stamped", "a 1 1700000000000\n")
    assert code == 400
    assert "timestamp" in text
    (job,) = [
        job for job in load(SOURCE / "prometheus.yml")["scrape_configs"] if job["job_name"] == "exporter"
    ]
    assert job["honor_timestamps"] is False


def test_trap_4_pushed_labels_are_kept(stack: LiveStack) -> None:
    """What was pushed as job and instance is found under them, not under exported_job."""
    stack.quiet()
    until("found", lambda: stack.query(f"trading_equity_usd{{{AT}}}"))
    assert stack.query('{exported_job!=""}') == []


@pytest.mark.parametrize(
    "body",
    [
        "up 1\n",
        "scrape_duration_seconds 1\n",
        'ALERTS{alertname="TradingBreakerOpen",alertstate="firing"} 1\n',
        "push_time_seconds 9e9\n",
        "push_failure_time_seconds 9e9\n",
        "job:trading_drawdown_ratio:max 0\n",
        'a{__name="x"} 1\n',
        "exporter_pushes_total 1\n",
        'trading_breaker_open{breaker="equity",source="engine"} 0\n',
        'allocator_risk_share_ratio{strategy="mine"} 1\n',
    ],
)
def test_trap_4_a_pusher_cannot_speak_for_others(stack: LiveStack, body: str) -> None:
    """With honor_labels a pusher could say `up`: names of Prometheus, rules and exporter are refused."""
    code, _ = refused(f"{stack.deck}/metrics/job/allocator/instance/spoof", body)
    assert code == 400
    shown = [line for line in get(f"{stack.deck}/metrics").splitlines() if "spoof" in line]
    assert [line for line in shown if not line.startswith(("push_time_seconds{", "push_failure_time_"))] == []


def test_trap_5_a_group_without_an_instance_has_none(stack: LiveStack) -> None:
    """It does not inherit the exporter's own address."""
    send(f"{stack.deck}/metrics/job/batch", "batch_rows 5\n", method="PUT")
    (found,) = until("scraped", lambda: stack.query("batch_rows"))
    assert "instance" not in found["metric"]
    assert found["metric"]["job"] == "batch"


def test_trap_6_counters_are_there_before_the_first_event(stack: LiveStack) -> None:
    """The first refusal of an engine just started is an increase, and fires."""
    telemetry = Telemetry()
    telemetry.push(stack.deck, instance="newborn")
    zero = 'riskrails_rejections_total{instance="newborn",reason="HALTED"}'
    until("zero is scraped", lambda: stack.value(zero) == 0)
    shown = {one["metric"]["breaker"] for one in stack.query("trading_breaker_trips_total")}
    assert shown >= {"equity", "venue", "daily_loss", "manual"}
    telemetry.rejections.labels("HALTED").inc()
    telemetry.push(stack.deck, instance="newborn")
    until("one refusal fires", lambda: stack.firing("RiskrailsHalt", instance="newborn"))


def test_trap_7_two_groups_cannot_show_one_series(stack: LiveStack) -> None:
    """The second push is refused, and the page is still one that Prometheus can read."""
    send(f"{stack.deck}/metrics/job/one/instance/a", 'shared{x="1"} 1\n', method="PUT")
    code, text = refused(f"{stack.deck}/metrics/job/one/instance/a/x/1", "shared 2\n")
    assert code == 400
    assert "shared" in text
    until("scraped", lambda: stack.value('shared{x="1"}') == 1)
    assert stack.value('up{job="exporter"}') == 1


def test_trap_8_a_trip_between_two_scrapes_is_seen(stack: LiveStack) -> None:
    """The gauge was never scraped at 1; the counter fires the alert."""
    stack.quiet()
    until("no alert from before", lambda: not stack.firing("TradingBreakerOpen", breaker="equity"))
    breaker(stack, "equity", tripped=True)
    breaker(stack, "equity", tripped=False)
    until("fires", lambda: stack.firing("TradingBreakerOpen", breaker="equity"))


def test_trap_9_panels_know_the_larger_of_push_and_scrape_interval() -> None:
    """Grafana's timeInterval is set, so that no panel draws the steps between two pushes."""
    (source,) = [
        one
        for path in (ROOT / "grafana" / "provisioning" / "datasources").glob("*.y*ml")
        for one in load(path)["datasources"]
        if one["type"] == "prometheus"
    ]
    assert source["jsonData"]["timeInterval"] == "${SCRAPE_INTERVAL}"
    compose = load(ROOT / "docker-compose.yml")["services"]["grafana"]["environment"]["SCRAPE_INTERVAL"]
    default = re.search(r":-(\w+)\}$", compose)
    interval = seconds(default[1] if default else compose)
    scrapes = load(SOURCE / "prometheus.yml")
    assert interval >= seconds(scrapes["global"]["scrape_interval"])


def test_trap_10_a_range_holds_four_scrapes() -> None:
    """Ranges are left-open in Prometheus 3: even the shortest one over the exporter holds four scrapes."""
    scrape = next(
        seconds(job["scrape_interval"])
        for job in load(SOURCE / "prometheus.yml")["scrape_configs"]
        if job["job_name"] == "exporter"
    )
    ranges = [found for rule in (*ALERTS, *RECORDS) for found in re.findall(r"\[(\w+)\]", rule["expr"])]
    assert min(map(seconds, ranges)) >= 4 * scrape


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", "text/plain; version=0.0.4"),
        ("text/plain;version=0.0.4", "text/plain; version=0.0.4"),
        ("application/openmetrics-text;version=1.0.0", "application/openmetrics-text; version=1.0.0"),
    ],
)
def test_trap_11_the_content_type_is_one_prometheus_3_takes(
    stack: LiveStack, accept: str, wanted: str
) -> None:
    """Without a proper Content-Type Prometheus 3 takes a target for down."""
    asked = urllib.request.Request(f"{stack.deck}/metrics", headers={"Accept": accept} if accept else {})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith(wanted)


def test_trap_12_bounds_and_quantiles_have_a_point(stack: LiveStack) -> None:
    """`le="1.0"` on every version, from the exporter's own and from pushed histograms."""
    send(
        f"{stack.deck}/metrics/job/bounds",
        '# TYPE h histogram\nh_bucket{le="1",role="5",zone="a"} 1\nh_bucket{le="+Inf",role="5",zone="a"} 1\n'
        'h_sum{role="5",zone="a"} 1\nh_count{role="5",zone="a"} 1\n',
        method="PUT",
    )
    # A label whose name only ends in `le` is nobody's bound.
    until("scraped", lambda: stack.query('h_bucket{le="1.0", role="5"}'))
    assert stack.query('{le=~"[0-9]+", job!~"prometheus|alertmanager"}') == []
    assert stack.query('{quantile=~"[0-9]+", job!~"prometheus|alertmanager"}') == []
    assert not [rule for rule in (*ALERTS, *RECORDS) if re.search(r"\ble\s*[=!]", rule["expr"])]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_trap_13_nan_is_refused(stack: LiveStack, number: str) -> None:
    """NaN compares as false and poisons sums: it is refused, and the last value stays."""
    stack.quiet()
    code, text = refused(f"{stack.deck}/metrics/push", f'{{"equity_usd": {number}}}')
    assert 400 <= code < 500
    assert json.loads(text)["error"]
    assert stack.value("job:trading_equity_usd:sum_fresh") == HEALTHY["equity_usd"]


def test_trap_14_no_breaker_open_is_zero_and_not_nothing(stack: LiveStack) -> None:
    """Every known breaker is shown closed, and its recorded state is a number."""
    stack.quiet()
    until(
        "all closed",
        lambda: (
            {
                one["metric"]["breaker"]: one["value"][1]
                for one in stack.query("job_breaker:trading_breaker_open:max")
            }.items()
            >= {"equity": "0", "venue": "0", "daily_loss": "0", "manual": "0"}.items()
        ),
    )
    assert stack.value("sum(trading_breaker_open == bool 1)") == 0


def test_trap_15_the_push_is_stamped_by_the_exporter(stack: LiveStack) -> None:
    """An engine whose clock is years off is as fresh as any other."""
    stack.quiet()
    before = time.time()
    send(f"{stack.deck}/metrics/push", {"engine": "skewed", "equity_usd": 1.0, "started_at": 9e8})
    after = time.time()
    stamp = re.search(
        r'^push_time_seconds\{instance="skewed",job="trading_engine"\} (\S+)$',
        get(f"{stack.deck}/metrics"),
        re.MULTILINE,
    )
    assert stamp is not None
    assert before <= float(stamp[1]) <= after
    send(f"{stack.deck}/metrics/job/trading_engine/instance/skewed", "", method="DELETE")


def test_every_catalogued_metric_of_the_deck_is_shown(stack: LiveStack) -> None:
    """What rules read is what the exporter shows, by the same names."""
    send(
        f"{stack.deck}/trades",
        {
            "trade_id": "t1",
            "ts": 1.0,
            "strategy": "scalp",
            "symbol": "X",
            "side": "buy",
            "qty": 1,
            "price": 1,
            "fee_usd": 0,
            "pnl_usd": 1,
        },
    )
    shown = set(re.findall(r"^# TYPE (\S+) ", get(f"{stack.deck}/metrics"), re.MULTILINE))
    missing = {entry.name for entry in CATALOGUE.values() if entry.owner in ("deck", "exporter")} - shown
    assert missing == set()
