"""`python -m allocator` as a process: command line, signals, and the whole loop with real ends."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from allocator.__main__ import main
from allocator.queries import EQUITY
from scripts import native
from scripts.render import Ports, render_stack
from tests.allocator.backfill import backfilled_prometheus
from tests.fakes.metrics import series

PNL = "job_strategy:trading_strategy_pnl_usd:sum_fresh"
ROOT = Path(__file__).resolve().parents[2]


def run(*args: str, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "allocator", *args],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **settings},
        timeout=60,
        check=False,
    )


def test_a_bad_setting_stops_the_start_in_one_line(tmp_path):
    """Variable, value and range, no traceback, status 2."""
    ended = run("--once", cwd=tmp_path, MAX_SHARE="1.4")
    assert (ended.returncode, ended.stderr) == (2, "allocator: MAX_SHARE=1.4: want above 0, at most 1\n")


def test_a_misspelt_line_of_env_stops_the_start(tmp_path):
    """Nobody trades on a setting that was never read."""
    (tmp_path / ".env").write_text("MAX_SHAER=0.4\n")
    ended = run("--once", cwd=tmp_path)
    assert ended.returncode == 2
    assert "did you mean MAX_SHARE?" in ended.stderr


def test_a_port_in_use_is_one_line(tmp_path):
    """Who runs two on one port reads which, and what to set."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = run(cwd=tmp_path, ALLOCATOR_PORT=port)
    assert ended.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("how", ["--once", "--dry-run"])
def test_without_a_prometheus_it_ends_with_status_one(how, tmp_path):
    """Three tries, then the reason, no traceback."""
    nobody = f"http://127.0.0.1:{native.free_port()}"
    ended = run(how, cwd=tmp_path, PROMETHEUS_URL=nobody, DECK_URL=nobody)
    assert ended.returncode == 1
    assert "refused" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A day of history in a real Prometheus, in which `trend` loses steadily, and a real exporter."""
    directory = tmp_path_factory.mktemp("recorded")
    rng = random.Random(3)
    end, rows = time.time() // 600 * 600, 144
    pnl: dict[str, list[float]] = {}
    for name, drift in (("event", 0.0), ("momentum", 0.0), ("scalp", 0.0), ("trend", -80.0)):
        total = 0.0
        pnl[name] = []
        for _ in range(rows):
            total += rng.gauss(drift, 50.0)
            pnl[name].append(total)
    past = {
        PNL: [series(values, end, 600.0, job="e", strategy=name) for name, values in pnl.items()],
        EQUITY: [series([100_000.0] * rows, end, 600.0, job="e")],
    }
    child, url = backfilled_prometheus(past, directory)
    port = native.free_port()
    deck = native.exporter(port, f"sqlite:///{directory / 'deck.db'}", directory / "deck.log")
    with child, deck:
        yield {"PROMETHEUS_URL": url, "DECK_URL": f"http://127.0.0.1:{port}"}


def test_a_dry_run_prints_the_table_and_publishes_nothing(recorded, tmp_path):
    """Who would get how much, and why; the deck is as it was."""
    ended = run("--dry-run", cwd=tmp_path, **recorded)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[0].startswith("strategy")
    (trend,) = (line for line in lines if line.startswith("trend"))
    assert "at MIN_SHARE 0.05, loses against the others" in trend
    assert "would publish: turnover" in ended.stdout
    assert requests.get(recorded["DECK_URL"] + "/allocator/weights", timeout=5).json()["weights"] == {}


def test_once_publishes_what_the_dry_run_said(recorded, tmp_path):
    """One decision: shares in force, a line in JSON for machines, status 0; again, nothing changes."""
    ended = run("--once", cwd=tmp_path, DECK_LOG_FORMAT="json", **recorded)
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stderr.splitlines()[-1])
    assert told["event"] == "shares published"
    document = requests.get(recorded["DECK_URL"] + "/allocator/weights", timeout=5).json()
    assert document["weights"]["trend"] == 0.05
    assert "loses against the others" in document["reason"]
    again = run("--once", cwd=tmp_path, DECK_LOG_FORMAT="json", **recorded)
    assert json.loads(again.stderr.splitlines()[-1])["event"] == "shares held"
    after = requests.get(recorded["DECK_URL"] + "/allocator/weights", timeout=5).json()
    assert after["version"] == document["version"]


def test_a_backtest_on_recorded_history(recorded, tmp_path):
    """The day is walked, printed and drawn; the loser's share ends at the floor."""
    begin = str(time.time() - 12 * 3600)
    ended = run(
        "backtest", "--from", begin, "--to", str(time.time()), "--plot", "out.png", "--cost-bps", "5",
        cwd=tmp_path, **recorded,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "72 rows of 600 s" in ended.stdout
    (trend,) = (line.split() for line in ended.stdout.splitlines() if line.startswith("trend"))
    assert trend[3] == "0.0500"
    assert (tmp_path / "out.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([], "want --from and --to, or --csv FILE"),
        (["--from", "soon", "--to", "0"], "'soon' is no time"),
        (["--from", "10", "--to", "5"], "want a from before the to"),
        (["--csv", "none.csv"], "none.csv"),
        (["--csv", "x", "--plot", "out.gif"], "ends in .png or .html"),
        (["--csv", "x", "--plot", "none/out.png"], "--plot none/out.png: none is no directory"),
        (["--csv", "x", "--plot", "taken.png"], "--plot taken.png: cannot be written"),
        (["--csv", "x", "--step", "-1"], "want seconds above 0"),
        (["--csv", "x", "--cost-bps", "nan"], "want 0 to 10000"),
    ],
)
def test_a_wrong_backtest_is_told(args, says, tmp_path, monkeypatch, capsys):
    """One line, status 2 like any bad setting, before anything is read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken.png").mkdir()
    assert main(["backtest", *args]) == 2
    told = capsys.readouterr().err
    assert says in told
    assert len(told.splitlines()) == 1


def test_a_plot_without_matplotlib_is_told_before_the_replay(tmp_path, monkeypatch, capsys):
    """Where the extra `plot` is missing, as in the image, one line says what to install before the replay."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "matplotlib" else found(name, *rest)
    )
    assert main(["backtest", "--csv", "not-read.csv", "--plot", str(tmp_path / "out.png")]) == 2
    told = capsys.readouterr().err
    assert "install the extra `plot`" in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize("option", ["--once", "--dry-run"])
def test_a_backtest_refuses_what_is_the_daemons(option, capsys):
    """An option that would be ignored is told instead."""
    with pytest.raises(SystemExit) as ended:
        main([option, "backtest", "--csv", "x"])
    assert ended.value.code == 2
    assert f"{option}: not with backtest" in capsys.readouterr().err


@dataclass
class Engine:
    """Pushes equity and PnL every tenth of a second until it is stopped; `trend` loses."""

    url: str
    pnl: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("event", "momentum", "scalp", "trend"), 0.0)
    )
    started_at: float = field(default_factory=time.time)
    stopped: threading.Event = field(default_factory=threading.Event)
    refused: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = random.Random(11)
        self._thread = threading.Thread(target=self._push)
        self._thread.start()

    def restart(self) -> None:
        """Count anew, as after a crash."""
        self.started_at = time.time()
        self.pnl.update(dict.fromkeys(self.pnl, 0.0))

    def stop(self) -> None:
        self.stopped.set()
        self._thread.join()

    def _push(self) -> None:
        while not self.stopped.wait(0.1):
            for name in self.pnl:
                self.pnl[name] += self._rng.gauss(-30.0 if name == "trend" else 0.0, 10.0)
            body = {"equity_usd": 100_000.0, "pnl_by_strategy": self.pnl, "started_at": self.started_at}
            try:
                answer = requests.post(self.url + "/metrics/push", json=body, timeout=5)
            except requests.RequestException as error:
                self.refused.append(str(error))  # the exporter is away for a while in these tests
                continue
            if answer.status_code >= 400:
                self.refused.append(answer.text)


def until(holds: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"after {seconds:g} s not yet: {what}")
        time.sleep(0.1)


class Stack:
    """Exporter, Prometheus with the committed rules, allocator: all real, half a second a turn."""

    def __init__(self, directory: Path) -> None:
        self.ports = Ports(*(native.free_port() for _ in range(5)))
        rendered = render_stack(directory / "conf", self.ports, interval_seconds=0.5)
        self.deck_url = f"http://127.0.0.1:{self.ports.exporter}"
        self.exporter = native.exporter(
            self.ports.exporter, f"sqlite:///{directory / 'deck.db'}", directory / "exporter.log"
        )
        self.prometheus = native.prometheus(
            rendered.prometheus, directory / "tsdb", self.ports.prometheus, directory / "prometheus.log"
        )
        self.allocator = native.allocator(
            self.ports.allocator,
            self.deck_url,
            f"http://127.0.0.1:{self.ports.prometheus}",
            directory / "allocator.log",
            {"REFRESH_SEC": "0.5", "STALE_AFTER_SEC": "5", "DECK_LOG_FORMAT": "json"},
        )

    @property
    def shares(self) -> dict[str, float]:
        answer = requests.get(self.deck_url + "/allocator/weights", timeout=5).json()
        return dict(answer["weights"])

    @property
    def log(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.allocator.log.read_text().splitlines()]

    def metric(self, name: str) -> float:
        page = requests.get(f"http://127.0.0.1:{self.ports.allocator}/metrics", timeout=5).text
        (line,) = (line for line in page.splitlines() if line.startswith(name + " "))
        return float(line.rpartition(" ")[2])

    def told(self, since: int, **wanted: object) -> bool:
        return any(wanted.items() <= entry.items() for entry in self.log[since:])

    def restart(self, child: native.Child) -> None:
        child.process = None
        child.start()


def test_the_loop_with_real_ends(tmp_path):
    """A steady loser ends at MIN_SHARE, with the why in the log; whatever dies, shares hold."""
    stack = Stack(tmp_path)
    with stack.exporter, stack.prometheus, stack.allocator:
        engine = Engine(stack.deck_url)
        try:
            live(stack, engine)
        finally:
            engine.stop()
    assert stack.allocator.process is not None
    assert stack.allocator.process.returncode == 0
    assert stack.log[-1]["event"] == "stopped"


def live(stack: Stack, engine: Engine) -> None:
    until(lambda: stack.shares.get("trend") == 0.05, "trend at MIN_SHARE")
    published = [entry for entry in stack.log if entry["event"] == "shares published"]
    assert "trend" in str(published[-1]["reason"])
    assert "at MIN_SHARE 0.05, loses against the others (t=-" in str(published[-1]["reason"])
    assert requests.get(f"http://127.0.0.1:{stack.ports.allocator}/-/ready", timeout=5).status_code == 200
    assert stack.metric("allocator_weights_frozen") == 0

    # The equity breaker freezes, and lets go.
    mark = len(stack.log)
    trip(stack, tripped=True)
    until(lambda: stack.told(mark, guard="breaker", result="skipped"), "frozen by the breaker")
    assert stack.metric("allocator_weights_frozen") == 1
    trip(stack, tripped=False)
    until(lambda: stack.metric("allocator_weights_frozen") == 0, "released")

    # Killed, and back: shares hold meanwhile, and the loser stays where it was.
    stack.allocator.kill()
    held = stack.shares
    stack.restart(stack.allocator)
    mark = len(stack.log)
    until(lambda: stack.told(mark, result="success"), "a decision after the kill")
    assert held["trend"] == stack.shares["trend"] == 0.05

    # Prometheus away: kept, told, counted; back: decided again.
    stack.prometheus.stop()
    mark, held = len(stack.log), stack.shares
    until(lambda: stack.told(mark, guard="query", result="skipped"), "kept without Prometheus")
    assert stack.shares == held
    assert stack.metric("allocator_weights_frozen") == 1
    stack.restart(stack.prometheus)
    mark = len(stack.log)
    until(lambda: stack.told(mark, result="success"), "a decision after Prometheus is back")

    # The exporter away: a guard, not an end; back with the shares it had.
    stack.exporter.stop()
    mark = len(stack.log)
    until(lambda: stack.told(mark, guard="deck", result="skipped"), "shares kept without the exporter")
    stack.restart(stack.exporter)
    until(lambda: stack.metric("allocator_weights_frozen") == 0, "a decision after the exporter is back")
    assert stack.shares["trend"] == 0.05

    # The engine restarts and counts from zero: a missing row, no loss for the others and no gain for trend.
    mark = len(stack.log)
    engine.restart()
    until(lambda: stack.told(mark, guard="reset", result="skipped"), "a named reset")
    assert stack.shares["trend"] == 0.05


def trip(stack: Stack, *, tripped: bool) -> None:
    requests.post(
        f"{stack.deck_url}/breakers/equity", json={"tripped": tripped, "reason": "test"}, timeout=5
    ).raise_for_status()


def test_sigterm_ends_it_gracefully_while_it_waits_or_retries(tmp_path):
    """Told to stop in the middle of its retries it stops at once, with status 0."""
    nobody = f"http://127.0.0.1:{native.free_port()}"
    child = native.allocator(native.free_port(), nobody, nobody, tmp_path / "log")
    with child:
        until(lambda: "trying again" in child.log.read_text(), "a retry")
        os.kill(child.pid, signal.SIGTERM)
        assert child.process is not None
        assert child.process.wait(10) == 0
    assert "stopped" in child.log.read_text()


def test_the_help_says_both_defaults_of_the_step(capsys):
    """From Prometheus a row is a REFRESH_SEC long, from a file as long as its lines are apart."""
    with pytest.raises(SystemExit):
        main(["backtest", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "seconds between rows (REFRESH_SEC; with --csv the usual distance of its lines)" in said
