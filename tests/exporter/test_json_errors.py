from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter import messages
from exporter.errors import CallerError, Invalid, Malformed
from exporter.json_errors import reader
from exporter.messages import (
    MetricsIn,
    WeightsIn,
    read_alerts,
    read_breaker,
    read_metrics,
    read_trades,
    read_weights,
)

Read = Callable[[bytes], object]
ALERT = b'{"version":"4","alerts":[{"status":"firing","labels":{"a":"b","c":1}}]}'
TRADE = b'{"trade_id":"a","ts":1,"strategy":"s","symbol":"x","side":"buy","qty":NaN,"price":1,"fee_usd":0}'
TWICE = TRADE.replace(b"NaN", b'1,"qty":2')


@pytest.mark.parametrize(
    ("read", "body", "field", "detail"),
    [
        (read_metrics, b'{"equity_usd":NaN}', "equity_usd", "is NaN: want a finite number"),
        (read_metrics, b'{"equity_usd":-Infinity}', "equity_usd", "is -Infinity: want a finite number"),
        (read_metrics, b'{"pnl_24h":1e999}', "pnl_24h", "is Infinity: want a finite number"),
        (read_metrics, b'{"pnl_by_strategy":{"a":NaN}}', "pnl_by_strategy.a", "is NaN: want a finite number"),
        (read_metrics, b'{"pnl_by_strategy":{"b":1,"a":"x"}}', "pnl_by_strategy.a", 'is "x": want a number'),
        (read_metrics, b'{"pnl_by_strategy":{"b.c[0]":[]}}', "pnl_by_strategy.b.c[0]", "is a list: want"),
        (read_metrics, b'{"breaker":{"a":false,"b":1}}', "breaker.b", "is 1: want true or false"),
        (read_metrics, b'{"equity_usd":"x"}', "equity_usd", 'is "x": want a number or null'),
        (read_metrics, b'{"equity":1}', "equity", "is no field here: want engine, started_at, equity_usd, "),
        (read_metrics, b'{"info":{"x":1}}', "info.x", "is no field here: want version, mode, quote"),
        (read_metrics, b'{"info":{"mode":"x"}}', "info.mode", 'is "x": want live or paper or replay'),
        (read_metrics, b'{"pnl_24h":1' + b"0" * 400 + b"}", "pnl_24h", "larger than any number here: want a"),
        (
            read_metrics,
            b'{"pnl_24h":1' + b"0" * 5000 + b"}",
            "pnl_24h",
            "larger than any number here: want a",
        ),
        (read_metrics, b'{"pnl_24h":1,"pnl_24h":2}', "pnl_24h", "is there twice: want it once"),
        (read_weights, b'{"weights":{"scalp":"x"}}', "weights.scalp", 'is "x": want a number'),
        (read_weights, b'{"weights":{"a":0,"scalp":1e999}}', "weights.scalp", "is Infinity: want a finite"),
        (read_weights, b'{"weights":{"a":"x","a":1}}', "weights", ""),
        (read_weights, b"{}", "weights", "is missing: want an object"),
        (read_weights, b'{"weights":{"a":0.1,"a":0.9}}', "weights.a", "is there twice: want it once"),
        (read_weights, b'{"weights":{"a":1.0000000001}}', "weights.a", "is 1.0000000001: want 0 to 1"),
        (read_weights, b'{"weights":{"a":1,"b":2e-9}}', "weights", "sum to 1.000000002: want at most 1"),
        (read_breaker, b'{"tripped":false,"reason":"x","tripped":true}', "tripped", "is there twice"),
        (read_breaker, b'{"reason":"x"}', "tripped", "is missing: want true or false"),
        (read_breaker, b'{"tripped":1,"reason":"x"}', "tripped", "is 1: want true or false"),
        (read_alerts, ALERT, "alerts[0].labels.c", "is 1: want text"),
        (read_alerts, ALERT.replace(b"firing", b"lost"), "alerts[0].status", "want firing or resolved"),
        (read_alerts, b'{"version":"3","alerts":[]}', "version", 'is "3": want 4'),
        (read_trades, b"[" + TRADE + b"]", "trades[0].qty", "is NaN: want a finite number"),
        (read_trades, b'{"trades":[' + TRADE + b"]}", "trades[0].qty", "is NaN: want a finite number"),
        (read_trades, b'[{"ts":[]}]', "trades[0].ts", "is a list: want a number or text"),
        (read_trades, b"[{}]", "trades[0].trade_id", "is missing: want text"),
        (read_trades, b'[{"trade_id":"a"}]', "trades[0].ts", "is missing: want a number or text"),
        (
            read_trades,
            TRADE.replace(b"NaN", b"1").replace(b"buy", b"BUY"),
            "side",
            'is "BUY": want buy or sell',
        ),
        (read_trades, b"[" + TWICE + b"]", "trades[0].qty", "is there twice: want it once"),
        (read_trades, b'{"trades":[' + TWICE + b"]}", "trades[0].qty", "is there twice: want it once"),
        (read_trades, TRADE.replace(b"NaN", b"0"), "qty", "is 0: want more than 0"),
        (read_trades, b"[" + TRADE.replace(b"NaN", b"0") + b"]", "trades[0].qty", "is 0: want more than 0"),
    ],
)
def test_the_field_what_came_and_what_was_wanted(read: Read, body: bytes, field: str, detail: str) -> None:
    """One spelling of a path whoever finds the fault, with the keys of mappings in it."""
    with pytest.raises(Invalid) as refused:
        read(body)
    assert refused.value.field == field
    assert detail in refused.value.detail


@pytest.mark.parametrize("read", [read_metrics, read_trades, read_weights, read_breaker, read_alerts])
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000,
        b'{"trades":' + b"[" * 100_000,
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"",
        b"nan",
        b"\xff",
        b'{"a":1',
        b'{"equity_usd":NaN,',
    ],
    ids=lambda body: str(body[:12]),
)
def test_what_is_not_json_is_malformed(read: Read, body: bytes) -> None:
    """However deep, cut off or odd: 400, never an error of ours."""
    with pytest.raises(Malformed, match="the body is not JSON"):
        read(body)


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999"])
def test_the_reader_alone_takes_no_number_that_is_not_finite(number: bytes) -> None:
    """JSON has none: whatever the shape, none comes out of the reader, checked further or not."""
    with pytest.raises(Invalid, match="want a finite number"):
        reader(dict[str, float])(b'{"a":' + number + b"}")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_the_checks_behind_the_reader_take_none_either(
    number: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that let one through would find the ranges closed, the endless ones too."""
    monkeypatch.setattr(messages, "_read_metrics_json", lambda _: MetricsIn(equity_usd=number))
    with pytest.raises(Invalid, match=r"equity_usd is -?(nan|inf): want a finite number"):
        read_metrics(b"")
    monkeypatch.setattr(messages, "_read_metrics_json", lambda _: MetricsIn(pnl_by_strategy={"a": number}))
    with pytest.raises(Invalid, match=r"pnl_by_strategy of a is -?(nan|inf): want a finite number"):
        read_metrics(b"")
    monkeypatch.setattr(
        messages, "_read_weights_json", lambda _: WeightsIn(weights={"a": 0.5}, scores={"a": number})
    )
    with pytest.raises(Invalid, match=r"score of a is -?(nan|inf): want a finite number"):
        read_weights(b"")


def test_one_wrong_value_among_many_is_found() -> None:
    """By halving: a request of the largest size is answered as quickly as a small one."""
    many = b",".join(b'"s%d":0' % i for i in range(20_000))
    with pytest.raises(CallerError) as refused:
        read_weights(b'{"weights":{' + many + b',"z":"' + b"q" * 1000 + b'"}}')
    assert refused.value.field == "weights.z"
    assert len(refused.value.detail) < 120


@pytest.mark.parametrize(
    "strange",
    [b"1" + b"0" * 5000, b'"a\\"b\\":1"', b"1e999", b'{"b":{}}', b'"\\ud83d\\ude00"', b'"a\\u0000b"'],
    ids=lambda strange: str(strange[:12]),
)
def test_what_nobody_reads_may_be_any_json(strange: bytes) -> None:
    """Alertmanager's webhook may grow fields; none of them is a fault, whatever it holds."""
    assert read_alerts(b'{"version":"4","new":' + strange + b',"alerts":[]}').alerts == []


def test_a_key_and_a_text_that_looks_like_it_are_two() -> None:
    """Only keys of one object count: not its neighbour's, not what stands in a text."""
    request = read_weights(b'{"weights":{"a":0.1,"\\"a\\":":0.2},"scores":{"a":1},"reason":"\\"a\\":"}')
    assert request.weights == {"a": 0.1, '"a":': 0.2}


WHOLE = (
    b'{"equity_usd":1.5e3,"breaker":{"equity":false},"pnl_by_strategy":{"a":null},"info":{"mode":"live"}}',
    b'{"trades":[' + TRADE.replace(b"NaN", b"1") + b"]}",
    b'{"weights":{"a":0.1,"b":0.2},"scores":{},"reason":"\xc3\xa9"}',
    b'{"tripped":true,"reason":"x","ttl_sec":5}',
    b'{"version":"4","new":{"x":[1,{"a":"\\"b\\":"}]},"alerts":[{"status":"firing","labels":{"a":"b"}}]}',
)
PIECES = (
    *(b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\", b"\\ud800", b"NaN", b"1e999", b"-", b"\x00", b"\xff"),
    *(b"\xef\xbb\xbf", b'"a":1,', b"null", b"\xed\xa0\x80", b".5", b"9" * 5000),
)


@given(
    st.sampled_from([read_metrics, read_trades, read_weights, read_breaker, read_alerts]),
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 6), st.sampled_from(PIECES)), max_size=4),
)
def test_whatever_comes_is_read_or_refused(
    read: Read, body: bytes, changes: list[tuple[int, int, bytes]]
) -> None:
    """Damaged here and there, a request is the caller's fault in words, never a fault of ours."""
    for at, cut, piece in changes:
        body = body[:at] + piece + body[at + cut :]
    try:
        read(body)
    except CallerError as refused:
        assert refused.status in (400, 422)
        assert refused.detail


@pytest.mark.parametrize("half", ["\\ud800", "\\uDFFF", "\\ud800x"])
def test_half_a_character_is_called_so(half: str) -> None:
    """Not a body that ends too early, which sends people looking for what cut it."""
    body = f'{{"tripped": true, "reason": "{half}"}}'.encode()
    with pytest.raises(Malformed, match=r"\\u[dD][89fF]\w\w is half of a character"):
        read_breaker(body)
    whole = rb'{"tripped": true, "reason": "\ud83d\ude00"}'
    assert read_breaker(whole).reason == "\U0001f600"
