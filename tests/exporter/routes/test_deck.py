from __future__ import annotations

import gzip
import json
from urllib.parse import quote

import cramjam
import pytest
import sqlalchemy as sa
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from exporter.errors import StoreRefused
from exporter.records import Totals
from exporter.sql_store import SqlStore
from tests.exporter.conftest import Starter
from tests.exporter.deck import START, Deck

TRADE = {
    "trade_id": "t1",
    "ts": START,
    "strategy": "scalp",
    "symbol": "BTC-USD",
    "side": "buy",
    "qty": 2.0,
    "price": 100.0,
    "fee_usd": 0.5,
    "pnl_usd": 3.0,
}
PUSH = {
    "equity_usd": 100000,
    "pnl_24h": 5,
    "drawdown_pct": 5,
    "tick_p50_ms": 3,
    "tick_p95_ms": 9,
    "error_rate_pct": 1,
    "breaker": {"equity": False},
    "pnl_by_strategy": {"scalp": 12.5, "trend": 3},
}
AT = 'instance="default",job="trading_engine"'


def test_a_push_becomes_metrics_in_base_units(deck: Deck) -> None:
    """Percent and milliseconds leave as ratios and seconds, in the engine's group."""
    assert deck.send("POST", "/metrics/push", PUSH).json == {"accepted": 9}
    shown = deck.metrics()
    assert shown[f"trading_equity_usd{{{AT}}}"] == 100000
    assert shown[f"trading_drawdown_ratio{{{AT}}}"] == 0.05
    assert shown[f'trading_tick_latency_seconds{{{AT},quantile="0.95"}}'] == 0.009
    assert shown[f"trading_error_ratio{{{AT}}}"] == 0.01
    assert shown[f'trading_strategy_pnl_usd{{{AT},strategy="scalp"}}'] == 12.5
    assert shown[f"push_time_seconds{{{AT}}}"] == START


def test_what_a_push_leaves_out_keeps_its_last_value(deck: Deck) -> None:
    """Absent fields and absent strategies stay, each with its own age."""
    deck.send("POST", "/metrics/push", PUSH)
    deck.tick(5)
    deck.send("POST", "/metrics/push", {"equity_usd": 1, "pnl_by_strategy": {"scalp": 1}})
    status = deck.send("GET", "/status").json
    assert status["metrics"]["equity_usd"] == {"value": 1.0, "age_seconds": 0.0}
    assert status["metrics"]["pnl_24h"] == {"value": 5.0, "age_seconds": 5.0}
    assert status["pnl_by_strategy"] == {"scalp": 1.0, "trend": 3.0}


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"{", 400, None),
        (b"{}", 422, None),
        (b'{"equity_usd": NaN}', 422, "equity_usd"),
        (b'{"equity_usd": 1e999}', 422, "equity_usd"),
        (b'{"equity_usd": "1"}', 422, "equity_usd"),
        (b'{"drawdown_pct": 101}', 422, "drawdown_pct"),
        (b'{"pnl_by_strategy": {"a": true}}', 422, "pnl_by_strategy.a"),
        (b'{"pnl_by_strategy": {"": 1}}', 422, "pnl_by_strategy."),
        (b'{"eqity_usd": 1}', 422, "eqity_usd"),
        (b'{"started_at": "soon"}', 422, "started_at"),
        (b'{"started_at": 1700000000000}', 422, "started_at"),
        (b'{"info": {"mode": "dry"}}', 422, "info.mode"),
    ],
)
def test_a_refused_push_names_the_field_and_changes_nothing(
    deck: Deck, body: bytes, status: int, field: str | None
) -> None:
    """Nothing of a refused request is applied."""
    deck.send("POST", "/metrics/push", {"equity_usd": 7})
    answer = deck.send("POST", "/metrics/push", body)
    assert (answer.status, answer.json["field"]) == (status, field)
    assert set(answer.json) == {"error", "detail", "field"}
    assert deck.send("GET", "/status").json["metrics"] == {"equity_usd": {"value": 7.0, "age_seconds": 0.0}}


def test_a_trade_counts_once(deck: Deck) -> None:
    """The same trade again is a duplicate; the same id with other content is a conflict."""
    assert deck.send("POST", "/trades", TRADE).json == {"accepted": 1, "duplicates": 0}
    other = {**TRADE, "trade_id": "t2", "fee_usd": -0.25, "pnl_usd": -1.0}
    assert deck.send("POST", "/trades", [TRADE, other]).json == {"accepted": 1, "duplicates": 1}
    refused = deck.send("POST", "/trades", {"trades": [{**TRADE, "trade_id": "t3"}, {**TRADE, "qty": 9}]})
    assert (refused.status, refused.json["field"]) == (409, "trades[1].trade_id")
    shown = deck.metrics()
    at = AT + ',strategy="scalp"'
    assert (
        shown[
            'trading_trades_total{instance="default",job="trading_engine",result="win",side="buy",strategy="scalp"}'
        ]
        == 1
    )
    assert shown[f"trading_trade_volume_usd_total{{{at}}}"] == 400
    assert shown[f"trading_fees_usd_total{{{at}}}"] == 0.5
    assert shown[f"trading_rebates_usd_total{{{at}}}"] == 0.25
    assert shown[f"trading_realized_profit_usd_total{{{at}}}"] == 3
    assert shown[f"trading_realized_loss_usd_total{{{at}}}"] == 1
    assert shown[f"trading_trade_pnl_usd_count{{{at}}}"] == 2


def test_counters_start_at_zero_for_each_known_strategy(deck: Deck) -> None:
    """A strategy with a PnL or a share has every trade counter before its first trade."""
    deck.send("POST", "/metrics/push", {"pnl_by_strategy": {"scalp": 0}})
    deck.send("POST", "/allocator/weights", {"weights": {"trend": 0.5}})
    shown = deck.metrics()
    for strategy in ("scalp", "trend"):
        zeros = [v for k, v in shown.items() if k.startswith("trading_trades_total") and f'"{strategy}"' in k]
        assert zeros == [0.0] * 8


def test_trades_are_read_back_page_by_page(deck: Deck) -> None:
    """A cursor walks all trades once; CSV has the same rows."""
    deck.send("POST", "/trades", [{**TRADE, "trade_id": str(i), "ts": START + i} for i in range(5)])
    seen, path = [], "/trades?limit=2"
    while True:
        page = deck.send("GET", path).json
        seen += [trade["trade_id"] for trade in page["trades"]]
        if page["next_cursor"] is None:
            break
        path = f"/trades?limit=2&cursor={page['next_cursor']}"
    assert seen == ["0", "1", "2", "3", "4"]
    rows = deck.send("GET", f"/trades?since={START + 3}", headers={"Accept": "text/csv"}).text.splitlines()
    assert [row.split(",")[0] for row in rows] == ["trade_id", "3", "4"]


def test_everything_is_there_after_a_restart(make_deck: Starter) -> None:
    """Trades, totals, values, weights, breakers and groups come back from the store."""
    deck = make_deck()
    deck.send("POST", "/metrics/push", {**PUSH, "breaker": {"equity": True}})
    deck.send("POST", "/trades", TRADE)
    deck.send("POST", "/allocator/weights", {"weights": {"scalp": 0.25}})
    deck.send("PUT", "/metrics/job/batch/a/b", b"# TYPE m counter\nm 1\n")
    before = {
        k: v for k, v in deck.metrics().items() if not k.startswith(("exporter_", "process_", "pushgateway_"))
    }
    status = deck.send("GET", "/status").json
    deck = make_deck()
    after = {
        k: v for k, v in deck.metrics().items() if not k.startswith(("exporter_", "process_", "pushgateway_"))
    }
    assert after == before
    assert deck.send("GET", "/status").json == status
    assert deck.send("POST", "/trades", TRADE).json == {"accepted": 0, "duplicates": 1}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"qty": 1e200, "price": 1e108}, "qty"),
        ({"qty": 1.1e15}, "qty"),
        ({"price": 1.1e15}, "price"),
        ({"qty": 1e10, "price": 1e9}, "qty"),
        ({"fee_usd": -1.1e15}, "fee_usd"),
        ({"pnl_usd": 1.1e15}, "pnl_usd"),
    ],
)
def test_an_amount_no_market_has_is_refused(deck: Deck, change: dict[str, float], field: str) -> None:
    """422 names the field and the most that is taken; nothing is recorded."""
    answer = deck.send("POST", "/trades", [TRADE, {**TRADE, "trade_id": "t2", **change}])
    assert (answer.status, answer.json["error"], answer.json["field"]) == (
        422,
        "out_of_range",
        f"trades[1].{field}",
    )
    assert "1e+1" in answer.json["detail"]
    assert deck.send("GET", "/trades").json["trades"] == []


def test_totals_that_would_have_no_end_are_refused(deck: Deck) -> None:
    """Whatever the totals were, a trade that makes one infinite is refused and the store still loads."""
    key = ("default", "scalp")
    deck.app.service.state.totals[key] = Totals(volume_usd=1.797e308)
    deck.app.service.state.totals["default", "trend"] = Totals(volume_usd=float("inf"))
    assert deck.send("POST", "/trades", TRADE).status == 200
    answer = deck.send("POST", "/trades", {**TRADE, "strategy": "trend", "trade_id": "t2"})
    assert (answer.status, answer.json["field"]) == (422, "trades")
    assert "volume_usd of trend" in answer.json["detail"]


def test_a_store_with_a_total_that_is_null_is_refused_and_not_a_traceback(make_deck: Starter) -> None:
    """The start says which row, and touches nothing."""
    deck = make_deck()
    deck.send("POST", "/trades", TRADE)
    store = deck.app.service.reader
    assert isinstance(store, SqlStore)
    with store.engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE deck_documents SET doc = '{\"volume_usd\": null}' WHERE kind = 'totals'")
        )
    with pytest.raises(StoreRefused, match="totals document"):
        store.load()
    assert any("totals document" in line for line in store.check())


def test_a_losing_trade_leaves_the_openmetrics_page_valid(deck: Deck) -> None:
    """Bounds are floats in both formats; a sum that may fall, and its count, stand in the text page only."""
    deck.send("POST", "/trades", [TRADE, {**TRADE, "trade_id": "t2", "pnl_usd": -70.0}])
    page = deck.send("GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    families = {family.name: family for family in text_string_to_metric_families(page.text)}
    buckets = families["trading_trade_pnl_usd"].samples
    assert {sample.name for sample in buckets} == {"trading_trade_pnl_usd_bucket"}
    shown = deck.metrics()
    assert {sample.labels["le"]: sample.value for sample in buckets} == {
        name.split('le="')[1].split('"')[0]: value
        for name, value in shown.items()
        if "pnl_usd_bucket" in name
    }
    assert (buckets[2].labels["le"], buckets[-1].labels["le"], buckets[-1].value) == ("-100.0", "+Inf", 2.0)
    assert shown[f'trading_trade_pnl_usd_sum{{{AT},strategy="scalp"}}'] == -67.0


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1_700_000_000.123456789, "2023-11-14T22:13:20.123456789Z"),
        (1_700_000_000.999999999, "2023-11-14T23:13:20.999999999+01:00"),
        (1_700_000_000.1234565, "2023-11-14T22:13:20,1234565"),
        (1_700_000_000.5, "2023-11-14T22:13:20.500000000Z"),
    ],
)
def test_a_time_is_the_same_as_number_and_as_text(deck: Deck, number: float, text: str) -> None:
    """To the nanosecond, so that a trade that is sent again in the other form is the same trade."""
    assert deck.send("POST", "/trades", {**TRADE, "ts": number}).json["accepted"] == 1
    assert deck.send("POST", "/trades", {**TRADE, "ts": text}).json == {"accepted": 0, "duplicates": 1}


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "snappy", "identity"])
def test_a_body_may_be_compressed(deck: Deck, encoding: str) -> None:
    """As a push to the gateway may."""
    body = json.dumps(TRADE).encode()
    packed = {"gzip": gzip.compress, "snappy": lambda raw: bytes(cramjam.snappy.compress(raw))}
    sent = packed.get(encoding.lower(), bytes)(body)
    answer = deck.send("POST", "/trades", sent, {"Content-Encoding": encoding})
    assert (answer.status, answer.json) == (200, {"accepted": 1, "duplicates": 0})


@pytest.mark.parametrize(
    ("encoding", "body", "status", "error"),
    [
        ("br", b"{}", 422, "invalid"),
        ("gzip", b"{}", 400, "malformed"),
        ("gzip", gzip.compress(b" " * 2000), 413, "too_large"),
    ],
)
def test_a_body_in_no_encoding_of_ours_is_refused(
    make_deck: Starter, encoding: str, body: bytes, status: int, error: str
) -> None:
    """The answer names the encoding, or what is wrong with what came."""
    deck = make_deck(DECK_MAX_BODY_BYTES="1000")
    answer = deck.send("POST", "/trades", body, {"Content-Encoding": encoding})
    assert (answer.status, answer.json["error"]) == (status, error)


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/metrics/push", {"engine": "*", "equity_usd": 1}, "engine"),
        ("POST", "/metrics/push?engine=*", {"equity_usd": 1}, "engine"),
        ("POST", "/metrics/push?engine=a", {"engine": "default", "equity_usd": 1}, "engine"),
        ("POST", "/metrics/push?who=a", {"equity_usd": 1}, "who"),
        ("POST", "/trades", {**TRADE, "engine": "*"}, "engine"),
        ("POST", "/trades?engine=a", [TRADE, {**TRADE, "engine": "b"}], "trades[1].engine"),
        ("POST", "/trades?who=a", TRADE, "who"),
        ("POST", "/allocator/weights?engine=a", {"weights": {"s": 0.5}}, "engine"),
        ("POST", "/alerts?engine=a", {"version": "4", "alerts": []}, "engine"),
        ("POST", "/breakers/manual?engine=*", {"tripped": True, "reason": "r"}, "engine"),
        ("GET", "/status?engine=*", None, "engine"),
        ("GET", "/breakers?engine=*", None, "engine"),
        ("GET", "/trades?engine=*", None, "engine"),
    ],
)
def test_an_engine_is_named_once_and_is_one(
    deck: Deck, method: str, path: str, body: object, field: str
) -> None:
    """The name that means all is refused; so is one that contradicts another, and what nobody reads."""
    answer = deck.send(method, path, body)
    assert (answer.status, answer.json["field"]) == (422, field)
    status = deck.send("GET", "/status").json
    assert (status["metrics"], status["engines"], status["halted"]) == ({}, ["default"], False)


@pytest.mark.parametrize("name", ["", "a%00b", "a%0Ab", "x" * 129])
def test_a_name_of_the_query_is_checked_like_any_other(deck: Deck, name: str) -> None:
    """No database is asked for what no name can be; the answer tells the argument."""
    for path, field in (("/trades", "strategy"), ("/trades", "engine"), ("/breakers/history", "breaker")):
        answer = deck.send("GET", f"{path}?{field}={name}")
        assert (answer.status, answer.json["field"]) == (422, field)


def test_the_query_chooses_the_engine(deck: Deck) -> None:
    """It stands for every value and trade that names none."""
    assert deck.send("POST", "/metrics/push?engine=zz", {"equity_usd": 1}).status == 200
    assert deck.send("POST", "/metrics/push?engine=zz", {"engine": "zz", "equity_usd": 2}).status == 200
    for body in (TRADE, [{**TRADE, "trade_id": "t2"}], {"trades": [{**TRADE, "trade_id": "t3"}]}):
        assert deck.send("POST", "/trades?engine=zz", body).json["accepted"] == 1
    assert deck.send("GET", "/status").json["metrics"] == {}
    assert deck.send("GET", "/status?engine=zz").json["metrics"]["equity_usd"]["value"] == 2
    assert {trade["engine"] for trade in deck.send("GET", "/trades").json["trades"]} == {"zz"}


def test_an_engines_group_may_have_a_time_to_live(deck: Deck) -> None:
    """X-Group-TTL counts here as on the gateway: kept by later pushes, and over when they stop."""
    assert deck.send("POST", "/metrics/push", PUSH, {"X-Group-TTL": "10"}).status == 200
    deck.tick(8)
    deck.send("POST", "/metrics/push", {"equity_usd": 1})
    deck.tick(8)
    deck.run(deck.app.expire())
    assert deck.send("GET", "/status").json["groups"] == 1
    deck.tick(3)
    deck.run(deck.app.expire())
    assert deck.send("GET", "/status").json["metrics"] == {}
    refused = deck.send("POST", "/metrics/push", PUSH, {"X-Group-TTL": "soon"})
    assert (refused.status, refused.json["field"]) == (422, "X-Group-TTL")


def test_engines_strategies_and_breakers_count_in_the_limit(make_deck: Starter) -> None:
    """What they add to the page is counted, and refused beyond the limit whatever route brings it."""
    deck = make_deck(DECK_MAX_SERIES="100")
    assert deck.send("GET", "/status").json["series"] == 0
    assert deck.send("POST", "/trades", TRADE).status == 200
    deck.send("POST", "/allocator/weights", {"weights": {"scalp": 0.1}})
    page = deck.send("GET", "/metrics").text.splitlines()
    own = ("trading_trade", "trading_fees", "trading_rebates", "trading_realized", "allocator_risk")
    assert deck.metrics()["exporter_series"] == len([line for line in page if line.startswith(own)])
    many = {f"s{i}": 0.001 for i in range(5)}
    answers = [
        deck.send("POST", "/trades", [{**TRADE, "trade_id": s, "strategy": s} for s in many]),
        deck.send("POST", "/allocator/weights", {"weights": many}),
        deck.send("POST", "/metrics/push", {"pnl_by_strategy": many}),
        deck.send("POST", "/metrics/push", {"breaker": {f"b{i}": True for i in range(20)}}),
        deck.send("PUT", "/metrics/job/j", "".join(f"m{i} 1\n" for i in range(90)).encode()),
    ]
    assert [answer.status for answer in answers] == [429] * 5
    assert all("DECK_MAX_SERIES is 100" in answer.text for answer in answers)
    assert deck.send("GET", "/status").json["pnl_by_strategy"] == {}
    before = deck.metrics()["exporter_series"]
    for i in range(10):
        deck.send("POST", "/metrics/push", {"engine": f"e{i}", "equity_usd": 1})
    assert before < deck.metrics()["exporter_series"] <= 100
    assert deck.send("POST", "/trades", {**TRADE, "trade_id": "t9"}).status == 200
    deck.send("POST", "/breakers/odd", {"tripped": True, "reason": "a trip is never refused for room"})
    counted = deck.metrics()["exporter_series"]
    deck = make_deck(DECK_MAX_SERIES="100")
    assert deck.metrics()["exporter_series"] == counted
    assert deck.send("GET", "/status").json["breakers"]["odd"]["open"]


def test_one_push_has_its_own_limit(make_deck: Starter) -> None:
    """413 names it, for values and for the strategies of trades; known strategies cost nothing."""
    deck = make_deck(DECK_MAX_SERIES_PER_PUSH="30")
    trades = [{**TRADE, "trade_id": s, "strategy": s} for s in "ab"]
    answers = [
        deck.send("POST", "/metrics/push", {"pnl_by_strategy": {f"s{i}": 1 for i in range(31)}}),
        deck.send("POST", "/trades", trades),
    ]
    assert [answer.status for answer in answers] == [413, 413]
    assert all("DECK_MAX_SERIES_PER_PUSH is 30" in answer.text for answer in answers)
    for trade in trades:
        assert deck.send("POST", "/trades", trade).status == 200
    assert deck.send("POST", "/trades", trades).json == {"accepted": 0, "duplicates": 2}


@pytest.mark.parametrize("since", ["2023-11-14T22:13:20+00:00", "2023-11-14T23:13:20.000+0100"])
def test_a_plus_sign_of_the_query_is_one(deck: Deck, since: str) -> None:
    """`+00:00` written as it is arrives as a space, and means what was written."""
    deck.send("POST", "/trades", [{**TRADE, "ts": START - 1}, {**TRADE, "trade_id": "t2"}])
    for written in (since, since.replace("+", "%2B")):
        answer = deck.send("GET", f"/trades?since={written}")
        assert [trade["trade_id"] for trade in answer.json["trades"]] == ["t2"], answer.text


@pytest.mark.parametrize("limit", ["1_0", "%201", "+1", "1.0", "\u0661", ""])
def test_a_whole_number_is_digits(deck: Deck, limit: str) -> None:
    """What Python would read as a number and nobody else does is refused by name."""
    answer = deck.send("GET", f"/trades?limit={quote(limit, safe='%+')}")
    assert (answer.status, answer.json["field"]) == (422, "limit")
