"""Two exporters on one real PostgreSQL: whatever one acknowledged, both know."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from scripts.native import (
    ROOT,
    Child,
    NativeError,
    allocator,
    exporter,
    find_postgres,
    find_program,
    free_port,
    prometheus,
)
from scripts.native_postgres import Postgres, running_postgres
from scripts.render import Ports, render_stack

pytestmark = pytest.mark.timeout(240)


@dataclass
class Replica:
    """One exporter process."""

    child: Child
    url: str

    def get(self, path: str, **params: str) -> Any:
        answer = requests.get(self.url + path, params=params, timeout=15)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, body: object, **headers: str) -> requests.Response:
        return requests.post(self.url + path, json=body, headers=headers, timeout=15)

    def scrape(self) -> dict[str, float]:
        """Every sample that engines pushed, in text order of its series."""
        text = requests.get(self.url + "/metrics", timeout=15).text
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
        return {
            series: float(value)
            for series, value in lines
            if not series.startswith(("exporter_", "process_", "python_", "pushgateway_"))
        }

    def ready(self) -> bool:
        try:
            return requests.get(self.url + "/-/ready", timeout=2).ok
        except requests.RequestException:
            return False


@dataclass
class Pair:
    """Both replicas and their database."""

    a: Replica
    b: Replica
    postgres: Postgres

    def both(self) -> tuple[Replica, Replica]:
        return self.a, self.b


def until(holds: Callable[[], object], what: str, seconds: float = 30.0) -> Any:
    """Wait until it holds; what it then is."""
    deadline = time.monotonic() + seconds
    while True:
        found = holds()
        if found:
            return found
        assert time.monotonic() < deadline, f"not in {seconds:g} s: {what}"
        time.sleep(0.02)


def replica(name: str, store_url: str, directory: Path) -> Replica:
    port = free_port()
    return Replica(exporter(port, store_url, directory / f"{name}.log"), f"http://127.0.0.1:{port}")


def trade(number: int, **other: Any) -> dict[str, Any]:
    return {
        "trade_id": f"t{number}",
        "ts": 1_700_000_000 + number,
        "strategy": "scalp",
        "symbol": "BTCUSD",
        "side": "buy",
        "qty": 1.0,
        "price": 100.0,
        "fee_usd": 0.1,
        "pnl_usd": 1.0,
        **other,
    }


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    try:
        find_postgres("initdb")
    except NativeError as error:
        pytest.skip(str(error))
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def pair(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Both start at once on a database that has no tables yet."""
    directory = tmp_path_factory.mktemp("replicas")
    pair = Pair(replica("a", postgres.url, directory), replica("b", postgres.url, directory), postgres)
    try:
        for one in pair.both():
            one.child.spawn()
        for one in pair.both():
            one.child.wait_ready()
        yield pair
    finally:
        for one in pair.both():
            one.child.stop()


@pytest.mark.parametrize("first", ["a", "b"])
def test_a_push_to_either_is_on_both_pages(pair: Pair, first: str) -> None:
    """Gauges of the deck API and of the Pushgateway API appear on the page of the replica not pushed to."""
    pushed, other = (pair.a, pair.b) if first == "a" else (pair.b, pair.a)
    equity = 1000.0 + len(first) + ord(first)
    assert pushed.post("/metrics/push", {"engine": first, "equity_usd": equity}).ok
    body = f"jobs_done_total {equity}\n"
    url = f"{pushed.url}/metrics/job/batch/instance/{first}"
    assert requests.post(url, data=body, timeout=10).ok
    series = f'trading_equity_usd{{instance="{first}",job="trading_engine"}}'
    until(lambda: other.scrape().get(series) == equity, "the equity on the other page")
    until(lambda: pushed.scrape() == other.scrape(), "both pages alike")
    assert other.scrape()[f'jobs_done_total{{instance="{first}",job="batch"}}'] == equity
    assert other.get("/status", engine=first)["metrics"]["equity_usd"]["value"] == equity


def test_a_deleted_group_leaves_both_pages(pair: Pair) -> None:
    """What is deleted at one replica is gone at the other."""
    path = "/metrics/job/ephemeral"
    assert requests.post(pair.a.url + path, data="leaving 1\n", timeout=10).ok
    until(lambda: 'leaving{instance="",job="ephemeral"}' in pair.b.scrape(), "the group on the other page")
    assert requests.delete(pair.b.url + path, timeout=10).status_code == 202
    until(lambda: 'leaving{instance="",job="ephemeral"}' not in pair.a.scrape(), "the group gone")


def test_shares_and_breakers_agree(pair: Pair) -> None:
    """Shares published at one and a breaker tripped at the other are in force at both."""
    assert pair.a.post("/allocator/weights", {"weights": {"scalp": 0.4, "carry": 0.6}}).ok
    assert pair.b.post("/breakers/venue", {"tripped": True, "reason": "the venue is away"}).ok
    for one in pair.both():
        until(lambda one=one: one.get("/status")["halted"], "halted")  # type: ignore[misc]
        until(lambda one=one: one.get("/status")["risk_share"] == {"scalp": 0.4, "carry": 0.6}, "shares")  # type: ignore[misc]
        assert one.get("/status")["breakers"]["venue"]["sources"] == ["operator"]
    assert pair.a.post("/breakers/venue", {"tripped": False, "reason": "it is back"}).ok
    until(lambda: not pair.b.get("/status")["halted"], "not halted")


def test_a_status_that_waits_sees_a_trip_at_the_other_replica(pair: Pair) -> None:
    """An engine that long-polls one replica hears of a breaker tripped at the other."""
    etag = requests.get(pair.a.url + "/status", timeout=10).headers["etag"]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(
            requests.get,
            pair.a.url + "/status",
            params={"wait": "20"},
            headers={"If-None-Match": etag},
            timeout=30,
        )
        assert pair.b.post("/breakers/manual", {"tripped": True, "reason": "drill"}).ok
        answer = waiting.result()
    assert answer.status_code == 200
    assert answer.json()["breakers"]["manual"]["open"]
    assert pair.b.post("/breakers/manual", {"tripped": False, "reason": "drill over"}).ok


def test_of_two_who_read_the_same_version_one_writes(pair: Pair) -> None:
    """A lost race for the shares is a 412, also when it is run at two replicas."""
    assert pair.a.post("/allocator/weights", {"weights": {"scalp": 1.0}}).ok
    for round_ in range(5):
        version = until(
            lambda: (
                (v := pair.a.get("/allocator/weights")["version"])
                == pair.b.get("/allocator/weights")["version"]
                and v
            ),
            "one version",
        )
        body = {"weights": {"scalp": 0.5 + round_ / 100}}
        match = {"If-Match": f'"{version}"'}
        with ThreadPoolExecutor(2) as pool:
            racing = [pool.submit(one.post, "/allocator/weights", body, **match) for one in pair.both()]
        assert sorted(one.result().status_code for one in racing) == [200, 412]


def test_no_trade_counts_twice(pair: Pair) -> None:
    """The same batches sent to both at once are accepted once between them, and both count them once."""
    before = sum(v for k, v in pair.a.scrape().items() if k.startswith("trading_trades_total"))
    batches = [[trade(n) for n in range(start, start + 10)] for start in range(0, 200, 10)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda job: job[0].post("/trades", job[1]).json(),
                [(one, batch) for batch in batches for one in (pair.a, pair.b, pair.a)],
            )
        )
    assert sum(answer["accepted"] for answer in answers) == 200
    assert sum(answer["duplicates"] for answer in answers) == 400
    for one in pair.both():
        until(
            lambda one=one: (  # type: ignore[misc]
                sum(v for k, v in one.scrape().items() if k.startswith("trading_trades_total"))
                == before + 200
            ),
            "200 trades on each page",
        )


def test_the_same_id_with_other_content_is_refused_at_the_other_replica(pair: Pair) -> None:
    """One id is one trade, wherever it is sent."""
    assert pair.a.post("/trades", trade(900)).json() == {"accepted": 1, "duplicates": 0}
    assert pair.b.post("/trades", trade(900)).json() == {"accepted": 0, "duplicates": 1}
    assert pair.b.post("/trades", trade(900, price=101.0)).status_code == 409


def read_all(one: Replica) -> list[str]:
    found: list[str] = []
    cursor = "0"
    while True:
        page = one.get("/trades", cursor=cursor, limit="1000")
        found += [row["trade_id"] for row in page["trades"]]
        if page["next_cursor"] is None:
            return found
        cursor = page["next_cursor"]


def test_a_killed_replica_loses_nothing(pair: Pair) -> None:
    """Of trades sent while a replica is killed each acknowledged one is kept, once; it comes back whole."""
    acknowledged: list[str] = []

    def send(number: int) -> None:
        one = pair.a if number % 2 else pair.b
        try:
            if one.post("/trades", trade(number)).ok:
                acknowledged.append(f"t{number}")
        except requests.ConnectionError:
            return  # killed before it answered: nothing was promised

    with ThreadPoolExecutor(4) as pool:
        sending = [pool.submit(send, number) for number in range(2000, 2300)]
        until(lambda: len(acknowledged) > 50, "some trades acknowledged")
        pair.a.child.kill()
        for one in sending:
            one.result()
    assert len(acknowledged) > 150  # the one that lived took all of its own
    kept = read_all(pair.b)
    assert set(acknowledged) <= set(kept)
    assert len(kept) == len(set(kept))
    pair.a.child.start()
    assert read_all(pair.a) == kept
    until(lambda: pair.a.scrape() == pair.b.scrape(), "both pages alike")


def test_a_database_that_dies_loses_nothing_that_was_acknowledged(pair: Pair) -> None:
    """Without its database a replica refuses pushes and is not ready; with it back all is there and works."""
    assert pair.a.post("/trades", trade(5000)).ok
    pair.postgres.crash()
    assert pair.a.post("/trades", trade(5001)).status_code == 503
    for one in pair.both():
        until(lambda one=one: not one.ready(), "not ready")  # type: ignore[misc]
    pair.postgres.start()
    for one in pair.both():
        until(one.ready, "ready again")
    assert "t5000" in read_all(pair.a)
    assert pair.a.post("/trades", trade(5001)).json()["accepted"] in (0, 1)  # 503 promises nothing
    assert pair.b.post("/trades", trade(5002)).json()["accepted"] == 1
    assert {"t5001", "t5002"} <= set(read_all(pair.b))
    until(lambda: pair.a.scrape() == pair.b.scrape(), "both pages alike")


@pytest.fixture(scope="module")
def proxy(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    """The proxy of docker-compose.scale.yml, its own file with loopback addresses for the names."""
    program = shutil.which("haproxy")
    if program is None:
        pytest.skip("haproxy is not installed (Debian: haproxy)")
    port = free_port()
    text = (ROOT / "deploy" / "haproxy.cfg").read_text()
    text = text.replace("bind :8002", f"bind 127.0.0.1:{port}").replace("resolvers docker", "", 1)
    for name, one in (("exporter_a", pair.a), ("exporter_b", pair.b)):
        text = text.replace(f"{name}:8002", one.url.removeprefix("http://"))
    directory = tmp_path_factory.mktemp("proxy")
    (directory / "haproxy.cfg").write_text(text[: text.index("resolvers docker")])
    argv = [program, "-W", "-db", "-f", str(directory / "haproxy.cfg")]
    child = Child("haproxy", argv, directory / "log", f"http://127.0.0.1:{port}/-/ready")
    with child.start():
        yield Replica(child, f"http://127.0.0.1:{port}")


def test_the_proxy_hides_the_death_of_a_replica(pair: Pair, proxy: Replica) -> None:
    """Once the proxy has noticed, every push goes to the one that lives; what was acknowledged is kept."""
    assert proxy.post("/trades", trade(7000)).json()["accepted"] == 1
    pair.b.child.kill()
    until(lambda: all(proxy.ready() for _ in range(4)), "the proxy answers each time")
    answers = [proxy.post("/trades", trade(number)) for number in range(7001, 7021)]
    assert [answer.status_code for answer in answers] == [200] * 20
    pair.b.child.start()
    assert {f"t{number}" for number in range(7000, 7021)} <= set(read_all(pair.b))


def test_the_allocator_decides_on_the_long_term_store(pair: Pair, tmp_path: Path) -> None:
    """Prometheus writes to VictoriaMetrics; the allocator asks that alone, under a path, and shares move."""
    ports = Ports(*(free_port() for _ in vars(Ports())))
    ports = dataclasses.replace(ports, exporter=int(pair.a.url.rpartition(":")[2]))
    try:
        program = find_program("victoria-metrics")
        config = render_stack(tmp_path / "stack", ports, interval_seconds=0.5).prometheus
        port = free_port()
        flags = {
            "httpListenAddr": f"127.0.0.1:{port}",
            "storageDataPath": tmp_path / "long-term",
            "search.latencyOffset": "0s",
        }
        victoria = Child(
            "victoria-metrics",
            [program, *(f"-{name}={value}" for name, value in flags.items())],
            tmp_path / "victoria.log",
            f"http://127.0.0.1:{port}/health",
        )
        scraper = prometheus(config, tmp_path / "tsdb", ports.prometheus, tmp_path / "prometheus.log")
    except NativeError as error:
        pytest.skip(str(error))
    text = yaml.safe_load(config.read_text())
    text["remote_write"] = [{"url": f"http://127.0.0.1:{port}/api/v1/write"}]
    config.write_text(yaml.safe_dump(text))
    decider = allocator(
        ports.allocator,
        pair.b.url,
        f"http://127.0.0.1:{port}/prometheus",
        tmp_path / "allocator.log",
        {"REFRESH_SEC": "1", "MIN_READINGS": "3", "DEAD_BAND": "0"},
    )
    equal = {"steady": 0.34, "losing": 0.33, "flat": 0.33}
    before = pair.a.post("/allocator/weights", {"weights": equal}).json()["version"]
    with victoria.start(), scraper.start(), decider.start():
        steps = itertools.count()

        def push() -> dict[str, Any] | None:
            step = next(steps)
            pnl = {"steady": 10.0 * step, "losing": -5.0 * step, "flat": 0.0}
            assert pair.a.post("/metrics/push", {"equity_usd": 1e5, "pnl_by_strategy": pnl}).ok
            found: dict[str, Any] = pair.a.get("/allocator/weights")
            return found if found["version"] >= before + 2 else None

        weights = until(push, "two new versions of the shares", 90.0)["weights"]
    assert set(weights) == set(equal)
    assert sum(weights.values()) == pytest.approx(1.0, abs=1e-9)
    assert weights["steady"] > weights["losing"]


def test_the_store_is_sound_after_all_this(pair: Pair) -> None:
    """The audit finds nothing: totals equal the trades, numbers have no gaps."""
    done = subprocess.run(
        [sys.executable, "-m", "exporter", "check"],
        env={"PATH": "/usr/bin:/bin", "DECK_STORE_URL": pair.postgres.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "the store is sound\n"), done.stderr
