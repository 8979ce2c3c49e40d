"""Telemetry: every pair from zero, every decision counted, nothing pushed that Prometheus would not want."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from riskrails import RiskInputError
from riskrails.caps import CAPS, ROOMS
from riskrails.order import MODES, REASONS
from riskrails.telemetry import Telemetry, utilization
from tests.riskrails.desk import call, rails, size


def samples(registry: CollectorRegistry) -> dict[tuple[str, tuple[str, ...]], float]:
    text = generate_latest(registry).decode()
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_label_pair_stands_at_zero_from_the_start() -> None:
    """All modes with all caps and none, all reasons, all portfolio caps: 0 before the first decision."""
    seen = samples(Telemetry().registry)
    for mode in MODES:
        for binding in (*CAPS, "none"):
            assert seen["riskrails_decisions_total", (binding, mode)] == 0
    for reason in REASONS:
        assert seen["riskrails_rejections_total", (reason,)] == 0
    for cap in ROOMS:
        assert seen["riskrails_cap_utilization_ratio", (cap,)] == 0
    assert seen["riskrails_decision_seconds_count", ()] == 0
    assert not any(name.endswith("_created") for name, _ in seen)


def test_a_decision_is_counted_and_timed_once() -> None:
    """One sized order, one refused: their pairs, the reason and the time are counted."""
    telemetry, ticks = Telemetry(), iter([0.0, 2e-5, 1.0, 1.0 + 3e-5])
    desk = telemetry.watch(rails(), now=lambda: next(ticks))
    assert desk.compute_order(**call()) == size()
    desk.set_breakers({"manual": True})
    desk.compute_order(**call())
    seen = samples(telemetry.registry)
    assert seen["riskrails_decisions_total", ("risk", "taker")] == 1
    assert seen["riskrails_decisions_total", ("none", "reduce")] == 1
    assert seen["riskrails_rejections_total", ("HALTED",)] == 1
    assert seen["riskrails_decision_seconds_sum", ()] == pytest.approx(5e-5)
    assert sum(value for (name, _), value in seen.items() if name == "riskrails_decisions_total") == 2


def test_bad_data_is_counted_and_moves_no_gauge() -> None:
    """A NaN price counts as BAD_PRICE; the utilisation keeps what was last known."""
    telemetry = Telemetry()
    desk = telemetry.watch(rails())
    desk.compute_order(**call(open_risk_sum_pct=0.03))
    desk.compute_order(**call(price=float("nan"), open_risk_sum_pct=0.0))
    seen = samples(telemetry.registry)
    assert seen["riskrails_rejections_total", ("BAD_PRICE",)] == 1
    assert seen["riskrails_cap_utilization_ratio", ("open_risk",)] == pytest.approx(0.5)


def test_a_broken_contract_raises_and_is_no_decision() -> None:
    """RiskInputError passes through uncounted."""
    telemetry = Telemetry()
    with pytest.raises(RiskInputError):
        telemetry.watch(rails()).compute_order(**call(base_tf="7m"))
    assert samples(telemetry.registry)["riskrails_decision_seconds_count", ()] == 0


@pytest.mark.parametrize(
    ("bad", "code"), [({"price": None}, "BAD_PRICE"), ({"vol1m_usd": 0.0}, "NO_LIQUIDITY")]
)
def test_data_refused_by_raising_is_counted(bad: dict[str, Any], code: str) -> None:
    """With strict=True bad data raises, and is a skip with its reason and time all the same."""
    telemetry, ticks = Telemetry(), iter([0.0, 3e-5])
    with pytest.raises(RiskInputError, match=code):
        telemetry.watch(rails(), now=lambda: next(ticks)).compute_order(**call(**bad, strict=True))
    seen = samples(telemetry.registry)
    assert seen["riskrails_decisions_total", ("none", "skip")] == 1
    assert seen["riskrails_rejections_total", (code,)] == 1
    assert seen["riskrails_decision_seconds_sum", ()] == pytest.approx(3e-5)


def test_utilization_is_the_books_share_of_each_limit() -> None:
    """Half of a limit is .5, full and over are 1, and the fullest symbol counts."""
    book: dict[str, Any] = {"open_risk_sum_pct": 0.045, "exposure_total_usd": 100_000.0}
    symbols = {"BTC-USD": -15_000.0, "ETH-USD": 60_000.0}
    order = size(**book, exposure_by_symbol=symbols)
    used = utilization(rails().policy, order, 100_000.0, 0.045, 100_000.0, symbols)
    assert used["open_risk"] == pytest.approx(0.75)
    assert used["leverage"] == pytest.approx(1 / 3)
    assert used["exposure_total"] == pytest.approx(0.5)
    assert used["exposure_symbol"] == pytest.approx(0.8)
    assert used["symbol_vol"] == pytest.approx(15_000 / 44_518.108, rel=1e-6)
    assert set(used) == set(ROOMS)
    full = utilization(rails().policy, size(equity_usd=-1.0), -1.0, 0.9, 10.0, {"ETH-USD": 10.0})
    assert (full["open_risk"], full["exposure_total"], full["exposure_symbol"]) == (1.0, 1.0, 1.0)
    empty = utilization(rails().policy, size(atr_pct=0.0), 1e5, 0.0, 0.0, {})
    assert set(empty.values()) == {0.0}


class _Gateway(BaseHTTPRequestHandler):
    """Remembers what was pushed."""

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.pushed.append((self.path, self.headers["Authorization"], body))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        """Keep the test's output clean."""


def test_push_replaces_the_engines_group() -> None:
    """PUT /metrics/job/riskrails/instance/<engine> with the token and every family."""
    with HTTPServer(("127.0.0.1", 0), _Gateway) as server:
        server.pushed = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        telemetry = Telemetry()
        telemetry.watch(rails()).compute_order(**call())
        telemetry.push(f"http://127.0.0.1:{server.server_address[1]}", instance="e1", token="secret")
        server.shutdown()
        thread.join()
        ((path, authorization, body),) = server.pushed  # type: ignore[attr-defined]
    assert path == "/metrics/job/riskrails/instance/e1"
    assert authorization == "Bearer secret"
    assert b'riskrails_decisions_total{binding="risk",mode="taker"} 1.0' in body
    assert b"_created" not in body


def test_a_deck_that_is_away_is_an_oserror() -> None:
    """A failed push raises what the caller can catch, and counting goes on."""
    telemetry = Telemetry()
    with pytest.raises(OSError, match="refused"):
        telemetry.push("http://127.0.0.1:9", timeout_seconds=0.5)
    telemetry.observe(size(), 1e-5)
    assert samples(telemetry.registry)["riskrails_decision_seconds_count", ()] == 1
