"""DeckState and Telemetry against the real exporter: what one end says the other understands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from exporter.catalogue import CATALOGUE
from exporter.deck_metrics import DeckClient
from riskrails import RiskRails
from riskrails.deck import DeckState
from riskrails.errors import DeckError
from riskrails.telemetry import Telemetry
from scripts.native import exporter, free_port
from tests.riskrails.desk import call, size

TOKEN = "rails-test"


@pytest.fixture(scope="module")
def deck_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real exporter that asks for a token on every route."""
    home: Path = tmp_path_factory.mktemp("deck")
    port = free_port()
    env = {"DECK_TOKEN": TOKEN, "DECK_READ_AUTH": "1"}
    with exporter(port, f"sqlite:///{home}/deck.db", home / "exporter.log", env):
        yield f"http://127.0.0.1:{port}"


def post(url: str, path: str, body: object) -> None:
    answer = requests.post(url + path, json=body, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10)
    assert answer.ok, answer.text


def test_the_deck_feeds_the_rails(deck_url: str) -> None:
    """Empty: refused. Drawdown and shares pushed: the worked example. A breaker: refused meanwhile."""
    deck = DeckState(deck_url, token=TOKEN)
    rails = RiskRails(state=deck)
    deck.refresh()
    assert size(rails).reasons == ("HALTED",), "nobody has pushed a drawdown yet"

    with DeckClient(deck_url, token=TOKEN) as client:
        client.push_metrics(equity_usd=100_000.0, drawdown_pct=12.0, breaker={"equity": False})
    post(deck_url, "/allocator/weights", {"weights": {"momentum": 0.25, "trend": 0.5}})
    deck.refresh()
    state = deck.snapshot()
    assert dict(state.risk_shares) == {"momentum": 0.25, "trend": 0.5}
    assert {"equity", "venue", "daily_loss", "manual"} <= set(state.breakers)
    assert round(size(rails).size_usd) == 11_672

    post(deck_url, "/breakers/manual", {"tripped": True, "reason": "drill"})
    deck.refresh()
    assert size(rails).reasons == ("HALTED",)
    post(deck_url, "/breakers/manual", {"tripped": False, "reason": "drill over"})
    deck.refresh()
    assert round(size(rails).size_usd) == 11_672

    before = deck.fetches_total
    deck.refresh()
    assert (deck.fetches_total, deck.last_error) == (before + 1, None)


def test_a_days_loss_pushed_to_the_deck_halts(deck_url: str) -> None:
    """An engine that pushes `pnl_24h` and reports nothing by itself is halted at its tenth lost."""
    deck = DeckState(deck_url, token=TOKEN, engine="lost")
    rails = RiskRails(state=deck)
    with DeckClient(deck_url, token=TOKEN, engine="lost") as client:
        client.push_metrics(equity_usd=100_000.0, drawdown_pct=1.0)
        deck.refresh()
        order = size(rails)
        assert order.size_usd > 0
        assert "DAILY_PNL_UNKNOWN" in order.warnings
        client.push_metrics(equity_usd=100_000.0, pnl_24h=-10_000.0, drawdown_pct=1.0)
    deck.refresh()
    order = size(rails)
    assert (order.mode, order.reasons) == ("reduce", ("HALTED",))
    assert "daily PnL -9.09%" in order.messages[0]


def test_without_the_token_the_deck_says_no(deck_url: str) -> None:
    """A wrong token is an error that names the status, and orders stay refused."""
    deck = DeckState(deck_url, token="wrong")
    with pytest.raises(DeckError, match="401"):
        deck.refresh()
    assert size(RiskRails(state=deck)).reasons == ("HALTED",)


def test_a_token_in_a_file_opens_the_deck(
    deck_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DECK_TOKEN_FILE in the environment, as docs/deploy.md has it, serves the state and the counters."""
    file = tmp_path / "deck_token_engine"
    file.write_text(TOKEN + "\n")
    monkeypatch.delenv("DECK_TOKEN", raising=False)
    monkeypatch.setenv("DECK_TOKEN_FILE", str(file))
    deck = DeckState(deck_url)
    deck.refresh()
    assert deck.last_error is None
    Telemetry().push(deck_url, instance="by-file")


def test_what_is_counted_arrives_as_catalogued(deck_url: str) -> None:
    """Each riskrails_* family of the catalogue is exposed with its type, and the decision stands in it."""
    telemetry = Telemetry()
    telemetry.watch(RiskRails()).compute_order(**call())
    telemetry.push(deck_url, instance="live", token=TOKEN)
    answer = requests.get(deck_url + "/metrics", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10)
    families = {
        family.name: family
        for family in text_string_to_metric_families(answer.text)
        if family.name.startswith("riskrails_")
    }
    wanted = {entry.name: entry.kind for entry in CATALOGUE.values() if entry.name.startswith("riskrails_")}
    assert {name.removesuffix("_total"): kind for name, kind in wanted.items()} == {
        name: family.type for name, family in families.items()
    }
    counted = {
        (sample.labels["mode"], sample.labels["binding"]): sample.value
        for sample in families["riskrails_decisions"].samples
        if sample.labels["instance"] == "live"
    }
    assert counted["taker", "risk"] == 1
    assert sum(counted.values()) == 1
    assert {sample.labels["job"] for sample in families["riskrails_decisions"].samples} == {"riskrails"}


def test_all_of_an_engine_go_by_one_name(deck_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """DECK_ENGINE names it to the client, to the rails and to their telemetry alike."""
    monkeypatch.setenv("DECK_ENGINE", "second")
    monkeypatch.setenv("DECK_TOKEN", TOKEN)
    with DeckClient(deck_url) as client:
        client.push_metrics(equity_usd=100_000.0, drawdown_pct=7.0)
    deck = DeckState(deck_url)
    deck.refresh()
    assert deck.snapshot().drawdown_pct == 0.07
    telemetry = Telemetry()
    telemetry.watch(RiskRails()).compute_order(**call())
    telemetry.push(deck_url)
    page = requests.get(deck_url + "/metrics", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10).text
    assert 'riskrails_decisions_total{binding="' in page
    assert 'instance="second",job="riskrails"' in page
