"""The OpenAPI page: complete, and no request made from it makes the service fail."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exporter.errors import CallerError
from exporter.messages import read_breaker, read_metrics, read_trades, read_weights
from scripts.native import exporter, free_port
from tests.exporter.deck import TRADE, Deck, start
from tests.exporter.test_docs_page import EVERY

WHOLE: dict[str, tuple[Callable[[bytes], Any], dict[str, Any]]] = {
    "MetricsIn": (read_metrics, {"equity_usd": 1.0}),
    "TradeIn": (read_trades, TRADE),
    "WeightsIn": (read_weights, {"weights": {"a": 0.5}}),
    "BreakerIn": (read_breaker, {"tripped": True, "reason": "x"}),
}
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance"
)


def test_no_request_from_the_page_is_a_server_error(tmp_path: Path) -> None:
    """Schemathesis makes requests from the page, valid and not: every answer is one the page announces."""
    port = free_port()
    with exporter(port, f"sqlite:///{tmp_path}/deck.db", tmp_path / "exporter.log"):
        page = f"http://127.0.0.1:{port}/openapi.json"
        with urllib.request.urlopen(page, timeout=10) as answer:
            described = {
                (method.upper(), path)
                for path, operations in json.load(answer)["paths"].items()
                for method in operations
            }
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", page, "--checks", CHECKS, "--no-color"),
                *("--generation-deterministic", "--max-examples", "10", "--phases", "coverage,fuzzing"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=250,
            check=False,
        )
    assert described == EVERY
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "Tested: 24" in done.stdout


def edges(schema: dict[str, Any]) -> list[tuple[Any, bool]]:
    """Values at the bounds of a field and just beyond them, and whether each is inside."""
    found: list[tuple[Any, bool]] = []
    for word, step in (("minimum", -1), ("maximum", 1)):
        if word in schema:
            bound = float(schema[word])
            found += [(bound, True), (bound + step * max(abs(bound) * 1e-6, 1e-6), False)]
    if "exclusiveMinimum" in schema:
        found += [(float(schema["exclusiveMinimum"]), False), (schema["exclusiveMinimum"] + 1e-6, True)]
    if "maxLength" in schema:
        found += [("x" * schema["maxLength"], True), ("x" * (schema["maxLength"] + 1), False)]
    if "minLength" in schema:
        found += [("", False), ("x", True)]
    return found


@pytest.mark.parametrize("name", WHOLE)
def test_the_bounds_on_the_page_are_those_that_are_checked(tmp_path: Path, name: str) -> None:
    """At each bound a value is taken, just beyond it the field is refused by name."""
    read, whole = WHOLE[name]
    loop = asyncio.new_event_loop()
    deck: Deck = start(tmp_path, loop)
    page = deck.send("GET", "/openapi.json").json
    deck.run(deck.app.stop())
    loop.close()
    checked = 0
    for field, schema in page["components"]["schemas"][name]["properties"].items():
        cases = [({field: value}, field, good) for value, good in edges(schema)]
        for shape in schema.get("anyOf", [schema]):
            inner = shape.get("additionalProperties")
            if isinstance(inner, dict):
                cases += [({field: {"a": value}}, f"{field}.a", good) for value, good in edges(inner)]
                values = {"boolean": True}
                of = values.get(inner.get("type", ""), 0.5)
                cases += [
                    ({field: {key: of}}, f"{field}.{key}", ok) for key, ok in edges(shape["propertyNames"])
                ]
        for change, path, good in cases:
            body = json.dumps({**whole, **change}).encode()
            checked += 1
            if good:
                read(body)
                continue
            with pytest.raises(CallerError) as refused:
                read(body)
            assert refused.value.field == path
    assert checked > 4
