"""What was acknowledged is there, whatever happens to the process or the disk."""

from __future__ import annotations

import http.client
import json
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from exporter.sql_store import SqlStore
from scripts.native import free_port
from tests.exporter.deck import TRADE
from tests.exporter.nursery import Nursling, call

KILLS = 20
WRITERS = 8


class Writer(threading.Thread):
    """Pushes ever higher numbers and ever new trades, repeats what got no answer, remembers the answers."""

    def __init__(self, number: int, port: int) -> None:
        super().__init__(daemon=True)
        self.number, self.port = number, port
        self.pushed = self.sent = 0
        self.trades: list[str] = []
        self.stopping = threading.Event()
        self.refused: list[tuple[int, bytes]] = []

    def run(self) -> None:
        n = 0
        while not self.stopping.is_set():
            n += 1
            self.until_answered("PUT", f"/metrics/job/w{self.number}", b"# TYPE m gauge\nm %d\n" % n, n)
            trade = f"{self.number}-{n}"
            body = {
                "trade_id": trade,
                "ts": 1_700_000_000 + n,
                "strategy": f"s{self.number % 2}",
                "symbol": "BTC-USD",
                "side": "buy",
                "qty": 1,
                "price": 10,
                "fee_usd": 0.5,
                "pnl_usd": 1,
            }
            if self.until_answered("POST", "/trades", json.dumps(body).encode(), n):
                self.trades.append(trade)

    def until_answered(self, method: str, path: str, body: bytes, n: int) -> bool:
        """Send until there is an answer: a client that was cut off cannot know whether it was heard."""
        while not self.stopping.is_set():
            if method == "PUT":
                self.sent = n
            try:
                status, text = call(self.port, method, path, body)
            except (OSError, http.client.HTTPException):
                time.sleep(0.005)
                continue
            if status != 200:
                self.refused.append((status, text))
                return False
            if method == "PUT":
                self.pushed = n
            return True
        return False


def test_nothing_acknowledged_is_lost_or_counted_twice_by_kills(tmp_path: Path) -> None:
    """Killed twenty times under eight writers: every answered push and trade is there, each trade once."""
    exporter = Nursling(free_port(), tmp_path)
    exporter.start()
    writers = [Writer(i, exporter.port) for i in range(WRITERS)]
    for writer in writers:
        writer.start()
    moments = random.Random(7)
    try:
        for _ in range(KILLS):
            time.sleep(moments.uniform(0.02, 0.25))
            exporter.kill()
            acknowledged = [writer.pushed for writer in writers]
            exporter.start()
            shown = exporter.samples()
            for writer, least in zip(writers, acknowledged, strict=True):
                have = shown.get(f'm{{instance="",job="w{writer.number}"}}', 0.0)
                assert least <= have <= writer.sent
    finally:
        for writer in writers:
            writer.stopping.set()
        for writer in writers:
            writer.join()
    known: list[str] = []
    cursor: str | None = "0"
    while cursor is not None:
        page = json.loads(exporter.call("GET", f"/trades?limit=10000&cursor={cursor}")[1])
        known += [trade["trade_id"] for trade in page["trades"]]
        cursor = page["next_cursor"]
    counted = sum(v for k, v in exporter.samples().items() if k.startswith("trading_trades_total"))
    exporter.stop()
    assert not [refused for writer in writers for refused in writer.refused]
    assert len(known) == len(set(known)) == counted
    assert {trade for writer in writers for trade in writer.trades} <= set(known)
    assert sum(len(writer.trades) for writer in writers) > KILLS
    store = SqlStore(f"sqlite:///{tmp_path}/deck.db")
    assert store.check() == []
    store.close()


def test_a_full_disk_refuses_and_loses_nothing(tmp_path: Path) -> None:
    """No room: 503, the old state stays and is still shown; with room again the service goes on."""
    exporter = Nursling(free_port(), tmp_path)
    exporter.start()
    assert exporter.call("PUT", "/metrics/job/a", b"m 1\n")[0] == 200
    unlimited = resource.prlimit(exporter.pid, resource.RLIMIT_FSIZE)
    # Neither for the log, which is longer than that already, nor to move it into the database.
    resource.prlimit(exporter.pid, resource.RLIMIT_FSIZE, (20_000, unlimited[1]))
    big = b"".join(b'x{i="%d"} 1\n' % i for i in range(500))
    status, line = exporter.call("PUT", "/metrics/job/b", big)
    assert status == 503
    assert b"nothing was applied" in line
    assert exporter.call("POST", "/metrics/push", {"equity_usd": 5})[0] == 503
    shown = exporter.samples()
    assert shown['m{instance="",job="a"}'] == 1
    assert not [name for name in shown if 'job="b"' in name or name.startswith("trading_equity")]
    assert shown["exporter_store_commit_failures_total"] >= 2
    resource.prlimit(exporter.pid, resource.RLIMIT_FSIZE, unlimited)
    assert exporter.call("PUT", "/metrics/job/b", big)[0] == 200
    exporter.kill()
    exporter.start()
    assert sum('job="b"' in name and name.startswith("x{") for name in exporter.samples()) == 500
    exporter.stop()
    store = SqlStore(f"sqlite:///{tmp_path}/deck.db")
    assert store.check() == []
    store.close()


def test_a_log_that_took_all_the_room_is_moved_to_its_place(tmp_path: Path) -> None:
    """A small disk is not full for ever: with room for the database the next push is taken."""
    exporter = Nursling(free_port(), tmp_path)
    exporter.start()
    assert exporter.call("PUT", "/metrics/job/a", b"m 1\n")[0] == 200
    size = (tmp_path / "deck.db-wal").stat().st_size
    resource.prlimit(exporter.pid, resource.RLIMIT_FSIZE, (size + 2000, resource.RLIM_INFINITY))
    body = b"".join(b'x{i="%d"} 1\n' % i for i in range(100))
    assert [exporter.call("PUT", "/metrics/job/b", body)[0] for _ in range(3)] == [503, 200, 200]
    assert exporter.call("POST", "/trades", TRADE)[0] == 200
    exporter.kill()
    exporter.start()
    assert sum('job="b"' in name and name.startswith("x{") for name in exporter.samples()) == 100
    exporter.stop()
    store = SqlStore(f"sqlite:///{tmp_path}/deck.db")
    assert store.check() == []
    store.close()


def run(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"DECK_STORE_URL": url, "DECK_PORT": "0", "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [sys.executable, "-m", "exporter", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def database(tmp_path: Path) -> Path:
    path = tmp_path / "deck.db"
    SqlStore(f"sqlite:///{path}").close()
    return path


@pytest.mark.parametrize("kind", ["no database", "torn page", "newer", "journal"])
def test_a_store_that_is_not_right_stops_the_start_and_stays_untouched(tmp_path: Path, kind: str) -> None:
    """One clear line, status 1, and not a byte of the file changed."""
    path = database(tmp_path)
    if kind == "no database":
        path.write_bytes(b"this is not a database, but it may be somebody's work" * 100)
    elif kind == "torn page":
        content = bytearray(path.read_bytes())
        content[4096:8192] = b"\xaa" * 4096
        path.write_bytes(bytes(content))
    elif kind == "journal":
        with sqlite3.connect(path) as connection:
            connection.execute("INSERT INTO push_journal VALUES (1, 0, CAST('m' AS BLOB))")
        connection.close()
    else:
        shutil.move(path, tmp_path / "old.db")
        shutil.copy(tmp_path / "old.db", path)
        connection = sqlite3.connect(path)
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
        connection.close()
    before = path.read_bytes()
    ended = run(f"sqlite:///{path}")
    assert ended.returncode == 1
    assert ended.stderr.strip().splitlines()[-1].startswith("exporter: ")
    assert "Traceback" not in ended.stderr
    assert path.read_bytes() == before


def test_a_second_exporter_on_the_same_file_is_refused(tmp_path: Path) -> None:
    """SQLite has one writer; the second start says so."""
    path = database(tmp_path)
    store = SqlStore(f"sqlite:///{path}")
    ended = run(f"sqlite:///{path}")
    store.close()
    assert ended.returncode == 1
    assert "in use by another exporter" in ended.stderr


def test_check_prints_what_is_wrong(tmp_path: Path) -> None:
    """`python -m exporter check` audits without serving: sound is 0, a finding is 1."""
    path = database(tmp_path)
    assert run(f"sqlite:///{path}", "check").stdout == "the store is sound\n"
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO weights (version, doc, revision) VALUES (5, '{}', 0)")
    connection.commit()
    connection.close()
    ended = run(f"sqlite:///{path}", "check")
    assert ended.returncode == 1
    assert "weights: 1 rows numbered up to 5: one is missing" in ended.stdout
