"""The module's functions: one waiting client, with the settings as they are at each call."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter import deck_metrics
from exporter.deck_metrics import (
    DeckAuthError,
    DeckClosedError,
    DeckError,
    DeckInputError,
    DeckRefusedError,
    DeckUnavailableError,
    SpoolError,
)
from tests.exporter.test_deck_sender import ids, trade
from tests.fakes.http_deck import StandInDeck


@pytest.fixture
def deck(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInDeck]:
    with StandInDeck() as running:
        monkeypatch.setenv("DECK_URL", running.url)
        for name in ("DECK_TOKEN", "DECK_TOKEN_FILE", "DECK_ENGINE"):
            monkeypatch.delenv(name, raising=False)
        yield running
    if deck_metrics._default is not None:
        deck_metrics._default[1].close()
        deck_metrics._default = None


def test_importing_the_client_loads_requests_and_nothing_heavier() -> None:
    """An engine does not pay for the server."""
    script = (
        "import sys, exporter.deck_metrics\n"
        "heavy = {'fastapi', 'starlette', 'sqlalchemy', 'pydantic', 'uvicorn', 'msgspec', 'numpy', 'alembic',"
        " 'prometheus_client', 'structlog', 'dotenv', 'httpx', 'google.protobuf'}\n"
        "print(sorted(heavy & set(sys.modules)), 'requests' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.split("\n")[0] == "[] True"


def test_the_module_pushes_every_metric_under_its_wire_name(deck: StandInDeck) -> None:
    """Keyword by keyword, as the deck's JSON calls them."""
    fields: dict[str, Any] = {
        "equity_usd": 1e5,
        "pnl_24h": -20.5,
        "drawdown_pct": 1.5,
        "tick_p50_ms": 0.5,
        "tick_p95_ms": 2.0,
        "error_rate_pct": 0.0,
        "breaker": {"equity": False},
        "pnl_by_strategy": {"scalp": 1.0},
        "exposure_by_strategy": {"scalp": 5e3},
        "drawdown_pct_by_strategy": {"scalp": 2.0},
        "info": {"version": "1", "mode": "live", "quote": "USD"},
        "started_at": 1.7e9,
        "engine": "a",
    }
    assert deck_metrics.push_metrics(**fields) == {"accepted": len(fields)}
    assert deck.pushes == [fields]
    assert set(inspect.signature(deck_metrics.push_metrics).parameters) == set(fields)


def test_the_module_pushes_pnl_and_trades_and_reads_weights_and_status(deck: StandInDeck) -> None:
    """The rest of the module's functions, each with the deck's own answer."""
    assert deck_metrics.push_strategy_pnl({"scalp": 12.5}) == {"accepted": 1}
    assert deck.pushes == [{"pnl_by_strategy": {"scalp": 12.5}}]
    assert deck_metrics.push_trade(**trade(0)) == {"accepted": 1, "duplicates": 0}
    assert deck_metrics.push_trade(trade(0)) == {"accepted": 0, "duplicates": 1}
    assert deck_metrics.push_trades([trade(1), trade(2)]) == {"accepted": 2, "duplicates": 0}
    assert deck_metrics.push_trades([]) == {"accepted": 0, "duplicates": 0}
    assert list(deck.trades) == ids(range(3))
    assert deck_metrics.get_weights()["weights"] == {"scalp": 0.25}
    assert deck_metrics.get_status()["halted"] is False
    deck_metrics.get_status(engine="a")
    assert deck.seen[-1].path == "/status?engine=a"


def test_the_module_follows_its_settings_when_they_change(
    deck: StandInDeck, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """DECK_TOKEN, DECK_TOKEN_FILE and DECK_ENGINE are read at each call, DECK_TOKEN first."""
    deck_metrics.push_metrics(equity_usd=1.0)
    assert "Authorization" not in deck.seen[-1].headers
    (tmp_path / "token").write_text("from-file\n")
    monkeypatch.setenv("DECK_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("DECK_ENGINE", "alpha")
    deck_metrics.push_metrics(equity_usd=1.0)
    assert deck.seen[-1].headers["Authorization"] == "Bearer from-file"
    assert deck.pushes[-1] == {"equity_usd": 1.0, "engine": "alpha"}
    monkeypatch.setenv("DECK_TOKEN", "from-env")
    deck_metrics.push_metrics(equity_usd=1.0)
    assert deck.seen[-1].headers["Authorization"] == "Bearer from-env"


def test_settings_that_change_close_nothing_under_another_threads_call(
    deck: StandInDeck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that has the old client in hand still gets its push through."""
    old = deck_metrics._client()
    monkeypatch.setenv("DECK_ENGINE", "alpha")
    assert deck_metrics.push_metrics(equity_usd=1.0) == {"accepted": 2}
    assert old.push_metrics(equity_usd=2.0) == {"accepted": 1}


def test_every_error_of_the_client_is_a_deck_error() -> None:
    """One except clause is enough for an engine that only wants to go on."""
    for kind in (
        DeckInputError,
        DeckAuthError,
        DeckRefusedError,
        DeckUnavailableError,
        DeckClosedError,
        SpoolError,
    ):
        assert issubclass(kind, DeckError)
    assert issubclass(DeckInputError, ValueError)
    assert issubclass(SpoolError, OSError)
