from __future__ import annotations

from collections.abc import Callable

import pytest

from exporter.errors import CallerError, Invalid, Malformed
from exporter.messages import read_alerts, read_breaker, read_metrics, read_trades, read_weights

Read = Callable[[bytes], object]
ALERT = b'{"version":"4","alerts":[{"status":"firing","labels":{"a":"b","c":1}}]}'
TRADE = b'{"trade_id":"a","ts":1,"strategy":"s","symbol":"x","side":"buy","qty":NaN,"price":1,"fee_usd":0}'


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
        (read_metrics, b'{"equity":1}', "equity", "is no field here"),
        (read_weights, b'{"weights":{"scalp":"x"}}', "weights.scalp", 'is "x": want a number'),
        (read_weights, b'{"weights":{"a":0,"scalp":1e999}}', "weights.scalp", "is Infinity: want a finite"),
        (read_weights, b'{"weights":{"a":"x","a":1}}', "weights", ""),
        (read_weights, b"{}", "weights", "is missing"),
        (read_breaker, b'{"tripped":1,"reason":"x"}', "tripped", "is 1: want true or false"),
        (read_alerts, ALERT, "alerts[0].labels.c", "is 1: want text"),
        (read_trades, b"[" + TRADE + b"]", "trades[0].qty", "is NaN: want a finite number"),
        (read_trades, b'{"trades":[' + TRADE + b"]}", "trades[0].qty", "is NaN: want a finite number"),
        (read_trades, b'[{"ts":[]}]', "trades[0].ts", "is a list: want a number or text"),
        (read_trades, b"[{}]", "trades[0].trade_id", "is missing"),
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


def test_one_wrong_value_among_many_is_found() -> None:
    """By halving: a request of the largest size is answered as quickly as a small one."""
    many = b",".join(b'"s%d":0' % i for i in range(20_000))
    with pytest.raises(CallerError) as refused:
        read_weights(b'{"weights":{' + many + b',"z":"' + b"q" * 1000 + b'"}}')
    assert refused.value.field == "weights.z"
    assert len(refused.value.detail) < 120
