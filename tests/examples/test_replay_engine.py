"""The replay engine: its command line, its passes over the data, and whole runs against the real exporter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from examples.account import Account
from examples.derived import WINDOW
from examples.publisher import Publisher
from examples.replay_engine import Engine, SettingError, parse, passes, refresh_seconds
from examples.replay_engine import run as run_bars
from examples.trader import Trader
from riskrails import RiskRails
from riskrails.breakers import BreakerPolicy
from scripts import native
from tests.examples.bars import walk
from tests.fakes.recording_deck import RecordingDeck


def test_passes_stop_at_the_count_or_at_the_end_or_never() -> None:
    """By count over several passes; once; and where a pass starts it says so."""
    bars = walk(10)
    once = list(passes(bars, 4, None, loop=False))
    assert [bar for bar, _ in once] == bars[4:]
    assert [starts for _, starts in once] == [True, *[False] * 5]
    looped = list(passes(bars, 4, 14, loop=True))
    assert [bar for bar, _ in looped] == [*bars[4:], *bars[4:], *bars[4:6]]
    assert [index for index, (_, starts) in enumerate(looped) if starts] == [0, 6, 12]
    assert len(list(passes(bars, 4, 3, loop=False))) == 3


def test_without_bars_it_loops_and_with_bars_or_once_it_ends() -> None:
    """`python -m examples.replay_engine` alone, as the container runs it, goes on for ever."""
    assert parse([]).loop
    assert not parse(["--bars", "5"]).loop
    assert not parse(["--once"]).loop
    assert parse(["--bars", "5", "--loop"]).loop


@pytest.mark.parametrize(
    "wrong",
    [
        ["--bars", "0"],
        ["--bars", "x"],
        ["--interval-ms", "-1"],
        ["--interval-ms", "nan"],
        ["--equity", "0"],
        ["--loop", "--once"],
        ["--what"],
    ],
)
def test_a_wrong_command_line_is_refused_with_status_2(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """One line on stderr names the option."""
    with pytest.raises(SystemExit) as refused:
        parse(wrong)
    assert refused.value.code == 2
    assert wrong[0] in capsys.readouterr().err


@pytest.mark.parametrize("text", ["abc", "0", "-1", "nan", "inf"])
def test_a_period_of_the_allocator_that_cannot_be_is_refused(text: str) -> None:
    """The message names REFRESH_SEC, what came and what was wanted."""
    with pytest.raises(SettingError, match=f"^REFRESH_SEC={text}: want seconds above 0$"):
        refresh_seconds(text)


def test_the_allocators_period_is_ten_minutes_or_what_is_set() -> None:
    """REFRESH_SEC serves the engine as it does the allocator; empty is the default."""
    assert [refresh_seconds(text) for text in ("1", "", None)] == [1.0, 600.0, 600.0]


def test_a_wrong_variable_is_one_line_and_status_2(tmp_path: Path) -> None:
    """Nothing is begun, and nobody has to read a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "examples.replay_engine", "--bars", "3"],
        cwd=native.ROOT,
        env={**os.environ, "REFRESH_SEC": "abc", "DECK_SPOOL_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "replay_engine: REFRESH_SEC=abc: want seconds above 0\n"
    assert not any(tmp_path.iterdir())


def engine(deck: RecordingDeck, account: Account | None = None) -> Engine:
    """An engine on rails that know their account and shares, and on a deck that only remembers."""
    rails = RiskRails()
    rails.set_risk_shares(dict.fromkeys(("scalp", "momentum", "trend", "event"), 0.25))
    return Engine(Trader(rails, account or Account(100_000.0)), rails, Publisher(deck, "e", "r", 1.7e9))


def test_data_that_starts_over_carries_no_position_into_another_time() -> None:
    """At the end of a pass all is closed at its last price; PnL goes on, the window begins anew."""
    deck = RecordingDeck()
    one = engine(deck)
    bars = walk(WINDOW + 150, seed=3)
    run_bars(one, bars, WINDOW, 300, loop=True, interval_seconds=0.0, stop=threading.Event())
    assert one.bars == 300
    held = 0.0
    seam = None
    for trade in deck.trades:
        held += trade["qty"] * (1 if trade["side"] == "buy" else -1)
        if trade["ts"] == bars[-1].time:
            seam = held
    assert seam == pytest.approx(0.0, abs=1e-9), "flat when the last bar was over"
    one.finish()
    net = sum(trade.get("pnl_usd", 0.0) - trade["fee_usd"] for trade in deck.trades)
    assert one.summary()["pnl_usd"] == pytest.approx(net, abs=0.02)
    assert one.trader.account.equity_usd == pytest.approx(100_000.0 + net)


def test_a_stop_ends_the_run_after_the_bar_it_comes_in() -> None:
    """SIGTERM sets it; no bar is begun after that."""
    one = engine(RecordingDeck())
    stop = threading.Event()
    stop.set()
    run_bars(one, walk(WINDOW + 50), WINDOW, None, loop=True, interval_seconds=0.0, stop=stop)
    assert one.bars == 1


def test_an_open_equity_breaker_stops_new_risk_and_is_released_aloud_after_a_week(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The deck hears it open; the rails refuse; after the rest the peak is moved, with a line in the log."""
    deck = RecordingDeck()
    one = engine(
        deck, Account(100_000.0, BreakerPolicy(dd_trip=0.001, dd_release=0.0005, daily_loss_max=0.9))
    )
    bars = walk(WINDOW + 350, seed=5)
    run_bars(one, bars, WINDOW, None, loop=False, interval_seconds=0.0, stop=threading.Event())
    states = [push["breaker"]["equity"] for push in deck.pushes if "breaker" in push]
    first = states.index(True)
    assert one.trader.account.trips["equity"] >= 1
    assert one.trader.modes["reduce"] > 0
    opened_at = [trade["ts"] for trade in deck.trades if "pnl_usd" not in trade]
    tripped_at, released = bars[WINDOW + first].time, states.index(False, first)
    # What was decided in the hour before the trip is filled at the next open; later ones must wait.
    quiet = [ts for ts in opened_at if tripped_at < ts <= bars[WINDOW + released].time]
    assert quiet == []
    assert "breaker peak_moved: breaker=equity" in caplog.text


class Run:
    """Starts replay engines on one deck."""

    def __init__(self, url: str, root: Path) -> None:
        self.url = url
        self.root = root

    def start(self, engine: str, *args: str, **env: str) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-m",
            "examples.replay_engine",
            "--engine-id",
            engine,
            "--deck",
            self.url,
            *args,
        ]
        environ = {**os.environ, "DECK_SPOOL_DIR": str(self.root / "spool"), **env}
        return subprocess.Popen(
            command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __call__(self, engine: str, *args: str, **env: str) -> tuple[int, dict[str, Any], str]:
        """Run to the end: exit status, the summary, what stood on stderr."""
        with self.start(engine, *args, **env) as process:
            out, err = process.communicate(timeout=120)
        return process.returncode, json.loads(out) if out else {}, err

    def get(self, path: str, **params: str) -> Any:
        answer = requests.get(self.url + path, params=params, timeout=5)
        answer.raise_for_status()
        return answer.json()

    def trades(self, engine: str) -> list[dict[str, Any]]:
        found, cursor = [], None
        while True:
            page = self.get("/trades", limit="1000", **({"cursor": cursor} if cursor else {}))
            found += [trade for trade in page["trades"] if trade["engine"] == engine]
            cursor = page["next_cursor"]
            if not cursor:
                return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    root = tmp_path_factory.mktemp("replay")
    port = native.free_port()
    with native.exporter(port, f"sqlite:///{root}/deck.db", root / "exporter.log"):
        yield Run(f"http://127.0.0.1:{port}", root)


def test_a_run_tells_the_deck_everything_and_the_deck_agrees_with_its_summary(run: Run) -> None:
    """Trades, fees, PnL, equity, the rails' counters: the engine's last line and the deck say the same."""
    requests.post(
        run.url + "/allocator/weights",
        json={"weights": dict.fromkeys(("scalp", "momentum", "trend", "event"), 0.25), "reason": "test"},
        timeout=5,
    ).raise_for_status()
    status, summary, err = run("whole", "--bars", "300", "--interval-ms", "4")
    assert status == 0, err
    assert (summary["bars"], summary["delivered"]) == (300, True)
    trades = run.trades("whole")
    assert len(trades) == summary["trades"] > 20
    assert len({trade["trade_id"] for trade in trades}) == len(trades)
    assert sum(trade["fee_usd"] for trade in trades) == pytest.approx(summary["fees_usd"], abs=0.01)
    realised = sum(trade["pnl_usd"] or 0.0 for trade in trades)
    assert realised - summary["fees_usd"] == pytest.approx(summary["pnl_usd"], abs=0.02), (
        "all is closed at the end"
    )
    deck = run.get("/status", engine="whole")
    assert deck["metrics"]["equity_usd"]["value"] == pytest.approx(summary["equity_usd"], abs=0.01)
    assert deck["pnl_by_strategy"] == pytest.approx(summary["pnl_by_strategy"], abs=0.01)
    assert sum(summary["pnl_by_strategy"].values()) == pytest.approx(summary["pnl_usd"], abs=0.05)
    assert deck["info"]["mode"] == "replay"
    assert summary["risk_share"] == {"event": 0.25, "momentum": 0.25, "scalp": 0.25, "trend": 0.25}
    assert summary["orders"]["taker"] > 10
    lines = requests.get(run.url + "/metrics", timeout=5).text.splitlines()
    counted = [line for line in lines if line.startswith("riskrails_decisions_total") and '"whole"' in line]
    assert all('job="riskrails"' in line for line in counted)
    assert sum(float(line.split()[-1]) for line in counted) == sum(summary["orders"].values())


def test_sigterm_closes_the_positions_and_delivers(run: Run) -> None:
    """A graceful end: nothing is left open, the summary is printed, the status is 0."""
    process = run.start("graceful", "--interval-ms", "2")
    with process:
        while not run.trades("graceful"):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    summary = json.loads(out)
    assert summary["delivered"]
    trades = run.trades("graceful")
    assert len(trades) == summary["trades"]
    opened = sum(trade["qty"] * (1 if trade["side"] == "buy" else -1) for trade in trades)
    assert opened == pytest.approx(0.0, abs=1e-9)
    assert "Traceback" not in err


def test_an_engine_that_never_found_its_deck_opens_nothing_and_says_so(tmp_path: Path) -> None:
    """No deck, no breaker state: the rails refuse from the first order on; the run ends, status 3."""
    away = Run(f"http://127.0.0.1:{native.free_port()}", tmp_path)
    status, summary, err = away("away", "--bars", "300", "--interval-ms", "0")
    assert (status, summary["delivered"], summary["trades"]) == (3, False, 0)
    assert set(summary["orders"]) == {"reduce"}
    assert "the deck does not take pushes" in err
    assert "Traceback" not in err


def test_a_deck_killed_in_mid_run_gets_every_trade_once_when_it_is_back(tmp_path: Path) -> None:
    """Trading goes on with the last risk shares, trades wait on disk, and all are there in the end."""
    port = native.free_port()
    run = Run(f"http://127.0.0.1:{port}", tmp_path)
    deck = native.exporter(port, f"sqlite:///{tmp_path}/deck.db", tmp_path / "exporter.log")
    with deck, run.start("survivor", "--bars", "900", "--interval-ms", "8") as process:
        while len(run.trades("survivor")) < 5:
            assert process.poll() is None
        deck.kill()
        waiting = tmp_path / "spool"
        while sum(path.stat().st_size for path in waiting.glob("*/*.log")) < 2000:
            assert process.poll() is None, "it goes on trading without its deck"
        deck.start()
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        summary = json.loads(out)
        trades = run.trades("survivor")
        assert [trade["trade_id"][-6:] for trade in trades] == [
            f"{number:06d}" for number in range(1, summary["trades"] + 1)
        ]
        assert summary["client"]["spooled"] > 0
        assert summary["client"]["dropped"] == 0


@pytest.mark.parametrize(
    ("env", "message"),
    [({"DECK_TOKEN_FILE": "/nowhere"}, "DECK_TOKEN_FILE"), ({"DECK_SPOOL_DIR": "/proc/spool"}, "spool")],
)
def test_settings_that_cannot_work_end_the_start_with_one_line(
    run: Run, env: dict[str, str], message: str
) -> None:
    """Status 2 and a sentence, not a traceback."""
    status, summary, err = run("broken", "--bars", "5", **env)
    assert (status, summary) == (2, {})
    assert err.startswith("replay_engine: ")
    assert message in err
    assert len(err.splitlines()) == 1


def test_where_the_users_directory_cannot_be_written_trades_wait_in_a_temporary_one(
    run: Run, tmp_path: Path
) -> None:
    """A container with a read-only root still runs the replay, and says where its trades are."""
    env = {"DECK_SPOOL_DIR": "", "XDG_STATE_HOME": "/proc/nowhere", "TMPDIR": str(tmp_path)}
    status, summary, err = run("homeless", "--bars", "20", "--interval-ms", "1", **env)
    assert status == 0, err
    assert summary["delivered"]
    assert f"trades wait in {tmp_path}" in err
    assert "set DECK_SPOOL_DIR" in err


def test_a_start_outside_the_data_or_a_wrong_address_ends_the_start_with_one_line(run: Run) -> None:
    """As above, for the command line."""
    for wrong in (["--start", "2030-01-01"], ["--start", "soon"], ["--deck", "localhost:8002"]):
        status, _, err = run("broken", "--bars", "5", *wrong)
        assert status == 2
        assert len(err.splitlines()) == 1
