from __future__ import annotations

import json
import math
import subprocess
from datetime import datetime

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from exporter.exposition import render_protobuf
from exporter.families import Chunk
from exporter.layout import LayoutMemo
from exporter.protobuf import PROTOBUF, new_family, read_delimited, write_delimited
from scripts.native import find_program
from tests.exporter.conftest import Starter
from tests.exporter.deck import START, Deck

JOB = "/metrics/job/j"
PROTO = {"Content-Type": PROTOBUF}
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


def check_pages(deck: Deck) -> None:
    """Both pages are what Prometheus reads: promtool for text, the reference parser for OpenMetrics."""
    page = deck.send("GET", "/metrics")
    assert page.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    promtool = subprocess.run(
        [find_program("promtool"), "check", "metrics"], input=page.body, capture_output=True, check=False
    )
    # Lint about names that others chose is status 3; a page that cannot be read is 1.
    assert promtool.returncode in (0, 3), promtool.stderr
    open_page = deck.send("GET", "/metrics", headers=OPENMETRICS)
    assert open_page.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert list(text_string_to_metric_families(open_page.text))


def message(kind: int, name: str, *labels: tuple[str, str]) -> bytes:
    family = new_family()
    family.name, family.type = name, kind
    metric = family.metric.add()
    for label, value in labels:
        metric.label.add(name=label, value=value)
    if kind == 1:
        metric.gauge.value = 1
    elif kind == 2:
        metric.summary.sample_count = 1
        metric.summary.quantile.add(quantile=0.5, value=1)
    else:
        metric.histogram.sample_count = 3
        metric.histogram.bucket.add(upper_bound=1, cumulative_count=2)
    return write_delimited([family])


def native(name: str = "n", **changed: object) -> bytes:
    """A native histogram that is right but for what is changed."""
    family = new_family()
    family.name, family.type = name, 4
    fields: dict[str, object] = {"sample_count": 6, "sample_sum": 10.5, "schema": 1, "zero_threshold": 0.001}
    fields |= {"zero_count": 1, "spans": [(0, 2)], "positive_delta": [2, 1], **changed}
    histogram = family.metric.add().histogram
    for offset, length in fields.pop("spans"):  # type: ignore[attr-defined]  # the mapping holds pairs here
        histogram.positive_span.add(offset=offset, length=length)
    for field, value in fields.items():
        if isinstance(value, list):
            getattr(histogram, field).extend(value)
        else:
            setattr(histogram, field, value)
    return write_delimited([family])


SPOILERS: dict[str, tuple[str, bytes, dict[str, str], str]] = {
    # what breaks a Pushgateway's page for everybody: path, body, headers, what the answer names
    "empty name": (JOB, message(1, ""), PROTO, "invalid metric name"),
    "name with a blank": (JOB, message(1, "a b"), PROTO, "invalid metric name"),
    "name with a line feed": (JOB, message(1, "a\nb"), PROTO, "invalid metric name"),
    "empty label name": (JOB, message(1, "m", ("", "x")), PROTO, "invalid label name"),
    "label name with a quote": (JOB, message(1, "m", ('a"', "x")), PROTO, "invalid label name"),
    "reserved label": (JOB, message(1, "m", ("__name__", "x")), PROTO, "reserved label name"),
    "name of no UTF-8": (JOB, message(1, "m").replace(b"\x01m", b"\x01\xff"), PROTO, "not UTF-8"),
    "label name of no UTF-8": (
        JOB,
        message(1, "m", ("a", "x")).replace(b"\x01a", b"\x01\xff"),
        PROTO,
        "not UTF-8",
    ),
    "label value of no UTF-8": (
        JOB,
        message(1, "m", ("a", "x")).replace(b"\x01x", b"\x01\xff"),
        PROTO,
        "not UTF-8",
    ),
    "native, spans without buckets": (JOB, native(spans=[(0, 5)]), PROTO, "its spans have 5"),
    "native, span before a span": (JOB, native(spans=[(0, 1), (-1, 1)]), PROTO, "begins before"),
    "native, more in the buckets": (JOB, native(sample_count=5), PROTO, "the count 5"),
    "native, negative bucket": (JOB, native(positive_delta=[-2, 1]), PROTO, "count -2"),
    "native, schema of no histogram": (JOB, native(schema=9), PROTO, "schema 9"),
    "native, custom bounds": (JOB, native(schema=-53), PROTO, "schema -53"),
    "native, negative float count": (
        JOB,
        native(sample_count=0, sample_count_float=1.5, positive_delta=[], positive_count=[-1.0, 1.0]),
        PROTO,
        "count -1",
    ),
    "label twice": (JOB, message(1, "m", ("a", "x"), ("a", "y")), PROTO, "two labels"),
    "le beside le": (JOB, message(4, "h", ("le", "x")), PROTO, '"le"'),
    "quantile beside quantile": (JOB, message(2, "s", ("quantile", "x")), PROTO, '"quantile"'),
    "le in the grouping key": (JOB + "/le/1", message(4, "h"), PROTO, '"le"'),
    "quantile in the grouping key": (JOB + "/quantile/1", message(2, "s"), PROTO, '"quantile"'),
    "le in the grouping key, text": (
        JOB + "/le/1",
        b'# TYPE h histogram\nh_bucket{le="1"} 1\nh_sum 1\nh_count 1\n',
        {},
        '"le"',
    ),
    "bound twice": (
        JOB,
        b'# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="1.0"} 1\nh_sum 1\nh_count 1\n',
        {},
        "two lines",
    ),
    "push time": (JOB, b"push_time_seconds 1\n", {}, "push_time_seconds"),
    "failure time": (JOB, b"push_failure_time_seconds 1\n", {}, "push_failure_time_seconds"),
    "up": (JOB, b"up 1\n", {}, '"up"'),
    "scrape": (JOB, b"scrape_duration_seconds 1\n", {}, "scrape_duration_seconds"),
    "alerts": (JOB, b'ALERTS{alertname="x"} 1\n', {}, "ALERTS"),
    "recording rule": (JOB, b"job:x:sum 1\n", {}, "colon"),
    "ours": (
        JOB,
        b"# TYPE trading_trades_total counter\ntrading_trades_total 5\n",
        {},
        "trading_trades_total",
    ),
    "ours by prefix": (JOB, b"exporter_anything 5\n", {}, "exporter_anything"),
    "base of our counter": (JOB, b"trading_trades 5\n", {}, "trading_trades_total"),
    "base of the rails' counter": (JOB, b"riskrails_decisions 5\n", {}, "riskrails_decisions_total"),
    "base of a process counter": (JOB, b"process_cpu_seconds 5\n", {}, "process_cpu_seconds_total"),
    "an engine's name, other type": (
        JOB,
        b"# TYPE trading_equity_usd counter\ntrading_equity_usd 1\n",
        {},
        "used with type gauge",
    ),
    "a line of an engine's summary": (JOB, b"trading_tick_latency_seconds_sum 1\n", {}, "collides"),
    "an engine's series": (
        "/metrics/job/trading_engine/instance/default",
        b"# TYPE trading_equity_usd gauge\ntrading_equity_usd 1\n",
        {},
        "POST /metrics/push",
    ),
    "an engine's series by body label": (
        "/metrics/job/trading_engine",
        b'# TYPE trading_strategy_pnl_usd gauge\ntrading_strategy_pnl_usd{instance="e",strategy="s"} 1\n',
        {},
        'instance="e"',
    ),
    "line of ours": (JOB, b"trading_trade_pnl_usd_sum 5\n", {}, "trading_trade_pnl_usd"),
    "unknown type": (JOB, message(1, "m").replace(b"\x18\x01", b"\x18\x09"), PROTO, "unknown type"),
    "not of its type": (JOB, message(1, "m").replace(b"\x18\x01", b"\x18\x04"), PROTO, "not a histogram"),
    "timestamp": (JOB, b"m 1 0\n", {}, "timestamps"),
    "duplicate series": (JOB, b"m 1\nm 1\n", {}, "collected before"),
    "duplicate across groups": ("/metrics/job/good/instance/i", b"# TYPE m gauge\nm 2\n", {}, "in the group"),
    "two types": ("/metrics/job/other", b"# TYPE m counter\nm 2\n", {}, "used with type gauge"),
    "long name": (JOB, b"a" * 1025 + b" 1\n", {}, "at most 1024"),
    "long value": (JOB, b'm2{a="' + b"x" * 65537 + b'"} 1\n', {}, "at most 65536"),
}


@pytest.mark.parametrize("name", SPOILERS)
def test_one_bad_push_spoils_nobodys_scrape(deck: Deck, name: str) -> None:
    """It is refused with a line that names the cause, and both pages stay valid and keep the others."""
    deck.send("PUT", "/metrics/job/good", b'# TYPE m gauge\nm{instance="i"} 1\n')
    path, body, headers, named = SPOILERS[name]
    answer = deck.send("PUT", path, body, headers)
    assert answer.status == 400
    assert answer.text.startswith("pushed metrics are invalid or inconsistent with existing metrics: ")
    assert named in answer.text
    assert deck.metrics()['m{instance="i",job="good"}'] == 1
    check_pages(deck)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'labels{labels="x"} 1\n', {}),
        (b"# TYPE x_total gauge\nx_total 1\n# TYPE x counter\nx 2\n", {}),
        (b"# TYPE x_total counter\nx_total 1\n# TYPE x gauge\nx 2\n", {}),
        (b'# TYPE g gaugehistogram\ng_bucket{le="1"} 1\ng_sum 1\ng_count 1\n', {}),
        (message(5, "g"), PROTO),
        (b"# TYPE c_total counter\nc_total -1\n# TYPE d_total counter\nd_total NaN\n", {}),
        (b'# TYPE s summary\ns{quantile="0.5"} -1.5\ns_sum -3\ns_count 2\n', {}),
        (b'# TYPE s summary\ns{quantile="0.5"} NaN\ns_sum NaN\ns_count 2\n', {}),
        (b'# TYPE h histogram\nh_bucket{le="1"} 1.5\nh_bucket{a="b",le="1"} 2\nh_sum -1\nh_count 2.5\n', {}),
        (b'# TYPE h histogram\nh_bucket{le="-1"} 1\nh_bucket{le="1"} 2\nh_sum NaN\nh_count 2\n', {}),
        (b'# TYPE h histogram\nh_count 2\nh_bucket{le="2"} 2\nh_bucket{le="1"} 1\n', {}),
        (native(), PROTO),
        (native(positive_delta=[2, 1], sample_count=9, sample_sum=math.nan), PROTO),
        (native(sample_count_float=6.5, zero_count_float=1.5, positive_count=[2.0, 3.0]), PROTO),
        (b"# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 1\n", {}),
        (b"# HELP m back\\\\slash and\\nline\nm NaN\nn +Inf\n", {}),
        (
            b'# TYPE s summary\ns{quantile="1"} 1\n# TYPE h histogram\nh_bucket{le="10"} 1\nh_count 1\n',
            {},
        ),
    ],
)
def test_odd_but_valid_pushes_leave_both_pages_valid(
    deck: Deck, body: bytes, headers: dict[str, str]
) -> None:
    """What is taken can be shown in either format, before and after a restart."""
    assert deck.send("PUT", JOB, body, headers).status == 200
    check_pages(deck)


PUSH = {
    "started_at": START,
    "equity_usd": 1,
    "pnl_24h": 1,
    "drawdown_pct": 1,
    "tick_p50_ms": 1,
    "tick_p95_ms": 1,
    "error_rate_pct": 1,
    "breaker": {"manual": True},
    "pnl_by_strategy": {"s": 1},
    "exposure_by_strategy": {"s": 1},
    "drawdown_pct_by_strategy": {"s": 1},
    "info": {"version": "1"},
}


@pytest.mark.parametrize("kind", ["gauge", "summary", "untyped"])
def test_no_gateway_push_blocks_an_engines_trip(deck: Deck, kind: str) -> None:
    """Whatever anybody pushes under the names an engine fills, the engine's own push is taken."""
    own = "/metrics/job/trading_engine/instance/default"
    paths = (
        "/metrics/job/evil",
        "/metrics/job/trading_engine",
        own,
        f"{own}/strategy/s",
        f"{own}/x@base64/=",
    )
    for path in paths:
        for name in ("trading_equity_usd", "trading_tick_latency_seconds", "trading_strategy_pnl_usd"):
            for suffix in ("", "_sum"):
                for labels in ("", '{instance="default"}', '{instance="default",strategy="s"}'):
                    body = f"# TYPE {name}{suffix} {kind}\n{name}{suffix}{labels} 1\n"
                    deck.send("POST", path, body.encode())
    assert deck.send("POST", "/metrics/push", PUSH).json == {"accepted": 12}
    assert deck.send("GET", "/status").json["breakers"]["manual"]["open"]
    check_pages(deck)


def test_other_clients_may_push_an_engines_names_under_their_own_job(deck: Deck) -> None:
    """The names and types of the catalogue are for all; only the engine's own series are the deck's."""
    body = b"# TYPE trading_equity_usd gauge\ntrading_equity_usd 1\n"
    assert deck.send("PUT", "/metrics/job/other/instance/default", body).status == 200
    assert deck.send("POST", "/metrics/push", PUSH).status == 200
    assert deck.metrics()['trading_equity_usd{instance="default",job="other"}'] == 1


def native_histogram() -> bytes:
    family = new_family()
    family.name, family.type = "n", 4
    histogram = family.metric.add().histogram
    histogram.sample_count, histogram.sample_sum, histogram.schema = 3, 6.5, 2
    histogram.zero_threshold, histogram.zero_count = 0.001, 1
    histogram.positive_span.add(offset=1, length=2)
    histogram.positive_delta.extend([1, 0])
    return write_delimited([family])


def test_a_native_histogram_survives_whole(make_deck: Starter) -> None:
    """Protobuf scrapes get it back span by span, also after a restart; text shows its count and sum."""
    deck = make_deck()
    assert deck.send("PUT", JOB, native_histogram(), PROTO).status == 200
    for _ in range(2):
        shown = deck.metrics()
        assert shown['n_count{instance="",job="j"}'] == 3
        assert shown['n_bucket{instance="",job="j",le="+Inf"}'] == 3
        page = deck.send("GET", "/metrics", headers={"Accept": PROTOBUF})
        assert page.headers["content-type"] == PROTOBUF
        families = {family.name: family for family in read_delimited(page.body)}
        metric = families["n"].metric[0]
        assert [(pair.name, pair.value) for pair in metric.label] == [("instance", ""), ("job", "j")]
        assert list(metric.histogram.positive_delta) == [1, 0]
        assert metric.histogram.zero_count == 1
        assert families["push_time_seconds"].metric[0].gauge.value == START
        deck = make_deck()


def test_native_buckets_are_shown_as_the_reference_shows_them(deck: Deck) -> None:
    """/api/v1/metrics has them with their ends, empty ones left out, the zero bucket in the middle."""
    family = new_family()
    family.name, family.type = "n", 4
    histogram = family.metric.add().histogram
    histogram.sample_count, histogram.sample_sum, histogram.schema = 10, 10.5, 0
    histogram.zero_threshold, histogram.zero_count = 0.25, 1
    histogram.positive_span.add(offset=0, length=2)
    histogram.positive_span.add(offset=1, length=1)
    histogram.positive_delta.extend([2, -2, 4])
    histogram.negative_span.add(offset=1, length=1)
    histogram.negative_delta.append(3)
    deck.send("PUT", JOB, write_delimited([family]), PROTO)
    group = json.loads(deck.send("GET", "/api/v1/metrics").body)["data"][0]
    # As Pushgateway 1.11.3 answers for this message.
    assert group["n"]["metrics"] == [
        {
            "labels": {"instance": "", "job": "j"},
            "buckets": [
                [1, "-2", "-1", "3"],
                [3, "-0.25", "0.25", "1"],
                [0, "0.5", "1", "2"],
                [0, "4", "8", "4"],
            ],
            "count": "10",
            "sum": "10.5",
        }
    ]


def test_a_float_histogram_keeps_its_fractions(deck: Deck) -> None:
    """Counts that are no whole numbers come back as they were."""
    family = new_family()
    family.name, family.type = "f", 4
    histogram = family.metric.add().histogram
    histogram.sample_count_float = 2.5
    histogram.bucket.add(upper_bound=1, cumulative_count_float=1.5)
    deck.send("PUT", JOB, write_delimited([family]), PROTO)
    assert deck.metrics()['f_bucket{instance="",job="j",le="1"}'] == 1.5
    found = {
        f.name: f for f in read_delimited(deck.send("GET", "/metrics", headers={"Accept": PROTOBUF}).body)
    }
    assert found["f"].metric[0].histogram.sample_count_float == 2.5


def counted(count: float) -> bytes:
    """A classic histogram with a float count, in protobuf."""
    family = new_family()
    family.name, family.type = "x", 4
    histogram = family.metric.add().histogram
    histogram.sample_count_float = count
    histogram.bucket.add(upper_bound=1, cumulative_count_float=0.5)
    return write_delimited([family])


GAUGES = b'# TYPE x gaugehistogram\nx_bucket{le="+Inf"} 3\nx_gsum 4\nx_gcount 3\n'


@pytest.mark.parametrize(
    ("first", "second", "headers", "status"),
    [
        (GAUGES, b"x_count 5\n", {}, 400),
        (GAUGES, b"x_sum 5\n", {}, 400),
        (b"x_count 5\n", GAUGES, {}, 400),
        (b"m 1\n", counted(-5.0), PROTO, 400),
        (b"m 1\n", counted(math.nan), PROTO, 200),
        (b"m 1\n", counted(math.inf), PROTO, 200),
        (b"m 1\n", counted(0.25), PROTO, 200),
    ],
)
def test_what_is_taken_is_there_after_a_restart(
    make_deck: Starter, first: bytes, second: bytes, headers: dict[str, str], status: int
) -> None:
    """What could not be read back from the store is refused, and the groups there stay as they were."""
    deck = make_deck()
    assert deck.send("POST", JOB, first).status == 200
    assert deck.send("POST", JOB, second, headers).status == status
    before = [line for line in deck.send("GET", "/metrics").text.splitlines() if 'job="j"' in line]
    assert any(line.startswith("x" if status == 200 else first.decode().split()[-2]) for line in before)
    deck = make_deck()
    after = [line for line in deck.send("GET", "/metrics").text.splitlines() if 'job="j"' in line]
    assert sorted(after) == sorted(before)
    assert deck.send("GET", "/api/v1/metrics").status == 200


def test_an_engines_push_leaves_others_families_their_time(deck: Deck) -> None:
    """What somebody pushed into an engine's group is not as young as the engine's own."""
    deck.send("POST", "/metrics/job/trading_engine/instance/default", b"foo 1\n")
    deck.tick(60)
    deck.send("POST", "/metrics/push", {"equity_usd": 5})
    (group,) = deck.send("GET", "/api/v1/metrics").json["data"]
    times = [
        datetime.fromisoformat(group[name]["time_stamp"]).timestamp() - START
        for name in ("foo", "trading_equity_usd")
    ]
    assert times == [0, 60]


def test_each_family_is_as_old_as_its_last_push(deck: Deck) -> None:
    """A POST of one family leaves the others their time, however they came."""
    deck.send("PUT", JOB, b"a 1\nb 1\n")
    for family in (b"c 1\n", b"b 2\n"):
        deck.tick(60)
        deck.send("POST", JOB, family)
    (group,) = deck.send("GET", "/api/v1/metrics").json["data"]
    minutes = [datetime.fromisoformat(group[name]["time_stamp"]).timestamp() - START for name in "abc"]
    assert minutes == [0, 120, 60]
    assert group["push_time_seconds"]["metrics"][0]["value"] == "1.70000012e+09"


def test_crlf_is_taken_if_the_operator_says_so(make_deck: Starter) -> None:
    """Refused with a hint by default; DECK_ACCEPT_CRLF=1 reads it."""
    refused = make_deck().send("PUT", JOB, b"# TYPE m gauge\r\nm 1\r\n")
    assert (refused.status, "DECK_ACCEPT_CRLF=1" in refused.text) == (400, True)
    deck = make_deck(DECK_ACCEPT_CRLF="1")
    assert deck.send("PUT", JOB, b"# TYPE m gauge\r\nm 1\r\n").status == 200
    assert deck.metrics()['m{instance="",job="j"}'] == 1


def test_utf8_names_are_taken_if_the_operator_says_so(make_deck: Starter) -> None:
    """Quoted names and U__ paths with DECK_UTF8_NAMES=1; 400 without."""
    body, path = b'{"my.metric","a.b"="x"} 1\n', "/metrics/job/j/U__x_2e_y/1"
    assert make_deck().send("PUT", JOB, body).status == 400
    deck = make_deck(DECK_UTF8_NAMES="1")
    assert deck.send("PUT", path, body).status == 200
    assert '{"my.metric","a.b"="x",instance="",job="j","x.y"="1"} 1' in deck.send("GET", "/metrics").text
    deck = make_deck(DECK_UTF8_NAMES="1")
    assert '{"my.metric","a.b"="x",instance="",job="j","x.y"="1"} 1' in deck.send("GET", "/metrics").text


def test_utf8_names_are_quoted_on_the_openmetrics_page(make_deck: Starter) -> None:
    """TYPE and HELP lines quote them too, or Prometheus reads nothing of the page."""
    deck = make_deck(DECK_UTF8_NAMES="1")
    body = (
        b'# HELP "a.b" what\n# TYPE "a.b" gauge\n{"a.b"} 1\n# TYPE "c.c_total" counter\n{"c.c_total"} 2\n'
        b'# TYPE "h.h" histogram\n{"h.h_bucket",le="1"} 1\n{"h.h_count"} 1\n'
        b'# TYPE "n.n" histogram\n{"n.n_bucket",le="-1"} 1\n{"n.n_sum"} -1\n{"n.n_count"} 1\n'
        b'# TYPE "f.f" histogram\n{"f.f_bucket",le="1"} 1.5\n{"f.f_count"} 1.5\n'
    )
    assert deck.send("PUT", JOB, body).status == 200
    page = deck.send("GET", "/metrics", headers=OPENMETRICS).text
    kinds = {family.name: family.type for family in text_string_to_metric_families(page)}
    assert kinds | {"a.b": "gauge", "c.c": "counter", "h.h": "histogram", "n.n": "histogram"} == kinds
    assert kinds["f.f_bucket"] == kinds["f.f_count"] == "unknown"


def test_a_known_shape_shows_new_numbers(deck: Deck) -> None:
    """The remembered layout of a body must not remember its numbers, nor take a comment's for them."""
    for number in (b"1", b"2.5", b"-3", b"1e3", b"NaN", b"7"):
        deck.send("PUT", JOB, b"# HELP m has 5\n# TYPE m gauge\nm " + number + b"\n")
        shown = deck.send("GET", "/metrics").text
        assert 'm{instance="",job="j"} ' + number.decode() + "\n" in shown
        assert "# HELP m has 5\n" in shown
    assert deck.send("PUT", JOB, b"# HELP m has 5\n# TYPE m gauge\nm 0x7\n").status == 400
    histogram = b'# TYPE h histogram\nh_bucket{le="+Inf"} %s\nh_sum 1\nh_count %s\n'
    assert deck.send("PUT", JOB, histogram % (b"3", b"3")).status == 200
    assert deck.send("PUT", JOB, histogram % (b"-3", b"-3")).status == 400


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_body_is_known_as_long_as_its_group_is_shown(deck: Deck, method: str) -> None:
    """The state alone keeps it, without room in the memo; a DELETE lets go of it."""
    memo = deck.app.service.memo = LayoutMemo(layouts_room=0, bodies_room=0)

    def is_known() -> bool:
        return memo.numbers(memo.pusher(b"job/j"), b"m 7\n") is not None

    known = []
    for send in ((method, b"m 1\n"), (method, b"m 2\n"), ("PUT", b"m\n"), ("DELETE", b"")):
        deck.send(send[0], JOB, send[1])
        known.append(is_known())
    assert known == [True, True, True, False]


@pytest.mark.parametrize(
    "body",
    [
        b"# TYPE h histogram\nh_count 1e30\n",
        b'# TYPE h histogram\nh_bucket{le="1"} 1e20\nh_count 1\n',
        b"# TYPE s summary\ns_count 1e30\n",
    ],
)
def test_a_count_beyond_64_bits_is_refused(deck: Deck, body: bytes) -> None:
    """It leaves no trace, and a protobuf scrape goes on."""
    answer = deck.send("PUT", JOB, body)
    assert (answer.status, "want at most 2^64 - 1" in answer.text) == (400, True)
    assert deck.send("GET", "/status").json["groups"] == 0
    assert deck.send("GET", "/metrics", headers={"Accept": PROTOBUF}).status == 200


def test_the_largest_counts_of_protobuf_come_back_after_a_restart(make_deck: Starter) -> None:
    """64 bits full, or a float beyond them: taken, stored, loaded and shown in every format."""
    full, beyond = new_family(), new_family()
    full.name, full.type = "s", 2
    full.metric.add().summary.sample_count = 2**64 - 1
    beyond.name, beyond.type = "h", 4
    beyond.metric.add().histogram.sample_count_float = 1e30
    deck = make_deck()
    assert deck.send("PUT", JOB, write_delimited([full, beyond]), PROTO).status == 200
    for _ in range(2):
        page = deck.send("GET", "/metrics", headers={"Accept": PROTOBUF})
        families = {family.name: family for family in read_delimited(page.body)}
        assert families["s"].metric[0].summary.sample_count == 2**64 - 1
        assert families["h"].metric[0].histogram.sample_count_float == 1e30
        deck = make_deck()


def test_a_family_protobuf_cannot_say_costs_no_other(deck: Deck) -> None:
    """The second line: what cannot be encoded is named and left out, the rest of the page stands."""
    deck.send("PUT", JOB, b"m 1\nn 1\n")
    group = next(iter(deck.app.service.state.groups.values()))
    chunk = group.chunks["m"]
    group.chunks["m"] = Chunk(chunk.shape, b"m{} no number\n")  # type: ignore[index]
    left_out: list[str] = []
    page = b"".join(render_protobuf(deck.app.service.state, [], left_out))
    assert [family.name for family in read_delimited(page)] == ["n"]
    assert left_out[0].startswith("m: ")


@pytest.mark.parametrize("digits", [b"1" * 4301, b"0" * 4301 + b"9223372036854775808", b"1e3", b"+", b""])
def test_a_timestamp_beyond_64_bits_is_a_parse_error(deck: Deck, digits: bytes) -> None:
    """However many digits it has: 400 in the reference's words, counted, and no trace of the push."""
    answer = deck.send("PUT", JOB, b"m 1 %s\n" % digits)
    line = f'text format parsing error in line 1: expected integer as timestamp, got "{digits.decode()}"\n'
    assert (answer.status, answer.text) == (400, line)
    shown = deck.metrics()
    assert shown['exporter_push_rejections_total{reason="parse_error"}'] == 1
    assert shown['exporter_pushes_total{api="gateway",outcome="rejected"}'] == 1
    assert shown["exporter_groups"] == 0


def test_a_refused_push_does_not_keep_a_group_alive(deck: Deck) -> None:
    """Its time runs from the last push that was taken; a group never pushed, from the last refusal."""
    deck.send("PUT", JOB, b"m 1\n", {"X-Group-TTL": "10"})
    deck.tick(8)
    assert deck.send("PUT", JOB, b"m 1 0\n").status == 400
    deck.tick(3)
    deck.run(deck.app.expire())
    assert deck.send("GET", "/status").json["groups"] == 0


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("/metrics/job/a", "/metrics/job/a/instance@base64/="),
        ("/metrics/job/e/k@base64/=", "/metrics/job/e"),
        ("/metrics/job/e/k@base64/=", "/metrics/job/e/l@base64/="),
    ],
)
def test_groups_that_differ_in_empty_labels_are_one(make_deck: Starter, first: str, second: str) -> None:
    """The second is refused with a line and no trace, also after a restart; without the first it is taken."""
    make_deck().send("PUT", first, b"")
    deck = make_deck()
    answer = deck.send("PUT", second, b"m 1\n")
    assert (answer.status, "an empty label is no label" in answer.text) == (400, True)
    assert deck.send("GET", "/status").json["groups"] == 1
    assert deck.send("PUT", first, b"m 1\n").status == 200
    deck.send("DELETE", first)
    assert deck.send("PUT", second, b"m 1\n").status == 200


def test_a_series_with_an_empty_label_is_the_series_without_it(deck: Deck) -> None:
    """Within a push and across groups."""
    assert deck.send("PUT", JOB, b'm{a=""} 1\nm 2\n').status == 400
    assert deck.send("PUT", JOB, b'# TYPE h histogram\nh_count{a=""} 1\nh_count 2\n').status == 400
    assert deck.send("PUT", "/metrics/job/good", b'm{x=""} 1\n').status == 200
    assert deck.send("PUT", "/metrics/job/good/x@base64/=/y/z", b"m 1\n").status == 200
