"""The client against the real exporter: kills, restarts, tokens, refusals."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from exporter.deck_metrics import DeckAuthError, DeckClient, DeckRefusedError
from scripts import native
from tests.exporter.test_deck_sender import SOON, ids, trade


class RealDeck:
    """One exporter with its own store, to be killed and started again on the same port."""

    def __init__(self, root: Path, **env: str) -> None:
        self.root = root
        self.port = native.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.child = native.exporter(self.port, f"sqlite:///{root}/deck.db", root / "exporter.log", env)

    def trades(self, client: DeckClient) -> list[dict[str, Any]]:
        """Every trade the deck has, in the order in which it took them."""
        found: list[dict[str, Any]] = []
        cursor = None
        while True:
            params = {"limit": "500", **({"cursor": cursor} if cursor else {})}
            page = client._http.call("GET", "/trades", params=params)
            found += [each for each in page["trades"] if each["engine"] == (client.engine or "default")]
            cursor = page["next_cursor"]
            if not cursor:
                return found

    def rejections(self) -> float:
        """Pushes it has refused, for whatever reason."""
        lines = requests.get(self.url + "/metrics", timeout=5).text.splitlines()
        return sum(float(x.split()[-1]) for x in lines if x.startswith("exporter_push_rejections_total"))


@pytest.fixture(scope="module")
def deck(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealDeck]:
    """One exporter for the file: each test is an engine of its own on it."""
    real = RealDeck(tmp_path_factory.mktemp("deck"))
    with real.child:
        yield real


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)[:60]


@pytest.fixture
def client(deck: RealDeck, engine: str, tmp_path: Path) -> Iterator[DeckClient]:
    settings: dict[str, Any] = {"engine": engine, "background": True, "spool_dir": tmp_path / "spool"}
    with DeckClient(deck.url, interval_seconds=0.0, **settings) as made:
        yield made


def test_what_was_pushed_is_what_the_deck_shows(deck: RealDeck, client: DeckClient) -> None:
    """Gauges with their values, PnL by strategy, a trade read back as it was given."""
    client.push_metrics(
        equity_usd=101_000.0, drawdown_pct=1.5, pnl_by_strategy={"scalp": -3.5}, started_at=1.7e9
    )
    client.push_trade(trade(0, pnl_usd=4.25))
    assert client.flush(SOON)
    status = client.get_status()
    assert status["metrics"]["equity_usd"]["value"] == 101_000.0
    assert status["metrics"]["drawdown_pct"]["value"] == 1.5
    assert status["pnl_by_strategy"] == {"scalp": -3.5}
    (found,) = deck.trades(client)
    assert {name: found[name] for name in trade(0)} == trade(0)
    assert found["pnl_usd"] == 4.25
    assert client.get_weights()["weights"] == {}


def test_every_trade_arrives_once_and_in_order_though_the_deck_is_killed_three_times(
    deck: RealDeck, client: DeckClient
) -> None:
    """Kill -9 between and under the pushes; what it acknowledged it has, what it did not is sent again."""
    for life in range(3):
        for number in range(life * 300, life * 300 + 150):
            client.push_trade(trade(number))
        if life != 1:
            assert client.flush(SOON)
        deck.child.kill()
        for number in range(life * 300 + 150, life * 300 + 300):
            client.push_trade(trade(number))
        deck.child.start()
    assert client.flush(SOON)
    found = [each["trade_id"] for each in deck.trades(client)]
    assert found == ids(range(900))
    counters = client.counters
    assert (counters.pending, counters.dropped, counters.dead_lettered) == (0, 0, 0)


def test_a_killed_engines_spool_is_delivered_by_the_next_process(
    deck: RealDeck, engine: str, tmp_path: Path
) -> None:
    """The engine dies by kill -9 while the deck is down; both come back; every trade is there once."""
    deck.child.kill()
    script = (
        "import os, signal, sys; from exporter.deck_metrics import DeckClient\n"
        "from tests.exporter.test_deck_sender import trade\n"
        "client = DeckClient(sys.argv[1], background=True, spool_dir=sys.argv[2], engine=sys.argv[3])\n"
        "for n in range(700): client.push_trade(trade(n))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    place = str(tmp_path / "spool")
    ended = subprocess.run([sys.executable, "-c", script, deck.url, place, engine], check=False)
    assert ended.returncode == -signal.SIGKILL
    deck.child.start()
    with DeckClient(deck.url, background=True, spool_dir=place, engine=engine) as client:
        assert client.flush(SOON)
        assert [each["trade_id"] for each in deck.trades(client)] == ids(range(700))


def test_a_refused_trade_is_set_aside_and_the_rest_counts(deck: RealDeck, client: DeckClient) -> None:
    """A price of −1 (422) and a known id with other content (409) do not stop their batch."""
    client.push_trade(trade(0))
    assert client.flush(SOON)
    client.push_trades([trade(1), trade(2, price=-1.0), trade(0, price=1.0), trade(3)])
    assert client.flush(SOON)
    assert [each["trade_id"] for each in deck.trades(client)] == ids([0, 1, 3])
    assert client.counters.dead_lettered == 2
    assert client.dead_letters is not None
    letters = client.dead_letters.read_text()
    assert '"status": 422' in letters
    assert '"status": 409' in letters


def test_a_trip_shorter_than_a_push_is_counted(deck: RealDeck, client: DeckClient) -> None:
    """Tripped and released within one tick: the deck's trip counter moves, the breaker is closed."""
    client.push_metrics(breaker={"equity": False})
    client.push_metrics(breaker={"equity": True})
    client.push_metrics(breaker={"equity": False})
    assert client.flush(SOON)
    breaker = client.get_status()["breakers"]["equity"]
    assert (breaker["open"], breaker["trips"]) == (False, 1)


def test_a_nan_is_told_to_the_deck_and_holds_back_no_breaker(deck: RealDeck, client: DeckClient) -> None:
    """The breaker is open on the deck, and its rejection counter, which the alerts watch, has moved."""
    before = deck.rejections()
    client.push_metrics(equity_usd=float("nan"), breaker={"equity": True})
    assert client.flush(SOON)
    assert client.get_status()["halted"] is True
    assert deck.rejections() - before == 1.0
    assert client.counters.refused == 1


def test_tokens_are_checked_by_the_deck_and_told_apart_by_the_client(tmp_path: Path) -> None:
    """No token or a wrong one: 401. One without the scope: 403. The right one: accepted."""
    tokens = tmp_path / "tokens"
    lines = [
        f"{hashlib.sha256(secret.encode()).hexdigest()} {scope} {name}"
        for secret, scope, name in (
            ("push-secret-0123456789", "push", "engine"),
            ("read-secret-0123456789", "read", "eye"),
        )
    ]
    tokens.write_text("\n".join(lines) + "\n")
    tokens.chmod(0o600)
    deck = RealDeck(tmp_path, DECK_TOKENS_FILE=str(tokens))
    with deck.child:
        for token, status in (("", 401), ("wrong", 401), ("read-secret-0123456789", 403)):
            with DeckClient(deck.url, token) as waiting, pytest.raises(DeckAuthError) as refused:
                waiting.push_metrics(equity_usd=1.0)
            assert refused.value.status == status
        with DeckClient(deck.url, "push-secret-0123456789") as waiting:
            assert waiting.push_metrics(equity_usd=1.0) == {"accepted": 1}


def test_a_waiting_client_raises_the_decks_own_words(deck: RealDeck, engine: str) -> None:
    """error, detail and field, as the exporter gives them."""
    with DeckClient(deck.url, engine=engine) as waiting:
        with pytest.raises(DeckRefusedError) as refused:
            waiting.push_metrics(drawdown_pct=500.0)
        assert (refused.value.status, refused.value.field) == (422, "drawdown_pct")
        assert "want 0 to 100" in refused.value.detail
        assert waiting.push_trade(trade(0)) == {"accepted": 1, "duplicates": 0}
        assert waiting.push_trade(trade(0)) == {"accepted": 0, "duplicates": 1}


def test_the_newcomers_hook_puts_an_engine_on_the_deck(deck: RealDeck, engine: str, tmp_path: Path) -> None:
    """examples/metrics_hook.py, as it is, with its settings in the environment; a second copy is harmless."""
    script = (
        "import subprocess, sys\n"
        "from examples import metrics_hook as hook\n"
        "hook.on_tick(101.0, 0.5, {'scalp': 1.0}, -2.0)\n"
        "hook.on_fill('h1', 1.7e9, 'scalp', 'ETH-USD', 'buy', 0.5, 3700.0, 0.9)\n"
        "hook.on_fill('h2', 1.8e9, 'scalp', 'ETH-USD', 'sell', 0.5, 3800.0, 0.9, pnl_usd=50.0)\n"
        "subprocess.run([sys.executable, '-c', 'import examples.metrics_hook'], check=True)\n"
    )
    env = {
        **os.environ,
        "DECK_URL": deck.url,
        "DECK_SPOOL_DIR": str(tmp_path / "hook"),
        "DECK_ENGINE": engine,
    }
    subprocess.run([sys.executable, "-c", script], check=True, env=env)
    with DeckClient(deck.url, engine=engine) as waiting:
        status = waiting.get_status()
        assert status["pnl_by_strategy"] == {"scalp": 1.0}
        assert status["metrics"]["pnl_24h"]["value"] == -2.0
        opened, closed = deck.trades(waiting)
        assert (opened["trade_id"], opened["symbol"], opened.get("pnl_usd")) == ("h1", "ETH-USD", None)
        assert (closed["trade_id"], closed["symbol"], closed["pnl_usd"]) == ("h2", "ETH-USD", 50.0)
        page = requests.get(f"{deck.url}/metrics", timeout=10).text
        assert f'trading_engine_start_timestamp_seconds{{instance="{engine}"' in page
