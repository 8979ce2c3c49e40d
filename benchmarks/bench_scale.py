"""What one machine carries: pushes on each kind of store, how soon replicas agree, what many series cost."""

from __future__ import annotations

import http.client
import json
import os
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from scripts.native import Child, exporter, find_program, free_port
from scripts.native_postgres import running_postgres

SECONDS = 5
CONNECTIONS = 16
BODY = {
    "equity_usd": 1e5,
    "pnl_24h": 10.0,
    "drawdown_pct": 1.0,
    "tick_p50_ms": 1.0,
    "tick_p95_ms": 2.0,
    "error_rate_pct": 0.0,
    "pnl_by_strategy": {f"s{n}": float(n) for n in range(4)},
    "exposure_by_strategy": {f"s{n}": float(n) for n in range(4)},
}
"""14 samples, as an engine pushes."""


def start(name: str, url: str, directory: Path) -> Child:
    return exporter(free_port(), url, directory / f"{name}.log", {"DECK_LOG_LEVEL": "warning"}).start()


def base(child: Child) -> str:
    assert child.ready_url is not None
    return child.ready_url.removesuffix("/-/ready")


def load(urls: list[str], directory: Path) -> tuple[float, float]:
    """Pushes a second over all `urls`, and the worst p99 in milliseconds."""
    script = directory / "push.lua"
    script.write_text(
        f"wrk.method='POST' wrk.body='{json.dumps(BODY)}' wrk.headers['Content-Type']='application/json'\n"
        "done=function(s,l,r) print(string.format('RATE %f P99 %f BAD %d', s.requests/s.duration*1e6, "
        "l:percentile(99)/1000, s.errors.status+s.errors.connect+s.errors.read+s.errors.timeout)) end\n"
    )
    running = [
        subprocess.Popen(
            [
                find_program("wrk"),
                "-t1",
                f"-c{CONNECTIONS // len(urls)}",
                f"-d{SECONDS}s",
                "-s",
                str(script),
                url + "/metrics/push",
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for url in urls
    ]
    found = []
    for one in running:
        said = one.communicate(timeout=SECONDS * 6)[0]
        match = re.search(r"RATE (\S+) P99 (\S+) BAD (\d+)", said)
        assert match, said
        assert match[3] == "0", said
        found.append((float(match[1]), float(match[2])))
    return sum(rate for rate, _ in found), max(p99 for _, p99 in found)


def agreement(first: str, second: str, rounds: int = 100) -> list[float]:
    """Milliseconds from a push's answer at one replica until it is on the other's page."""
    took = []
    one, two = (http.client.HTTPConnection(urlsplit(url).netloc, timeout=10) for url in (first, second))
    for number in range(rounds):
        one.request("POST", "/metrics/push", json.dumps({"engine": "agree", "equity_usd": float(number + 1)}))
        assert one.getresponse().read()
        began = time.perf_counter()
        wanted = float(number + 1)
        while True:
            two.request("GET", "/status?engine=agree")
            metrics = json.loads(two.getresponse().read())["metrics"]
            if metrics.get("equity_usd", {}).get("value") == wanted:
                break
        took.append((time.perf_counter() - began) * 1e3)
    return took


def many_series(url: str, pid: int, series: int) -> tuple[float, float, float]:
    """Seconds of a scrape of so many series, its megabytes, and the process's resident megabytes."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    each = 5000
    for group in range(series // each):
        body = "".join(f'load{{n="{number}"}} {number}\n' for number in range(each))
        connection.request("PUT", f"/metrics/job/load/instance/{group}", body)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
    times = []
    for _ in range(5):
        began = time.perf_counter()
        connection.request("GET", "/metrics")
        size = len(connection.getresponse().read())
        times.append(time.perf_counter() - began)
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return statistics.median(times), size / 1e6, resident / 1e6


def main() -> None:
    with tempfile.TemporaryDirectory() as name, running_postgres() as postgres:
        directory = Path(name)
        print(f"{'pushes of 14 samples, 16 connections':<44}{'a second':>10}{'p99 ms':>10}")
        with start("sqlite", f"sqlite:///{directory}/deck.db", directory) as child:
            rate, p99 = load([base(child)], directory)
            print(f"{'one exporter, SQLite':<44}{rate:>10.0f}{p99:>10.1f}")
            for series in (10_000, 100_000):
                seconds, size, resident = many_series(base(child), child.pid, series)
                print(
                    f"scrape of {series:,} series: {seconds * 1e3:.0f} ms, {size:.1f} MB; "
                    f"resident {resident:.0f} MB"
                )
        with start("a", postgres.url, directory) as one:
            rate, p99 = load([base(one)], directory)
            print(f"{'one exporter, PostgreSQL':<44}{rate:>10.0f}{p99:>10.1f}")
            with start("b", postgres.url, directory) as two:
                rate, p99 = load([base(one), base(two)], directory)
                print(f"{'two exporters, one PostgreSQL, 8 each':<44}{rate:>10.0f}{p99:>10.1f}")
                took = sorted(agreement(base(one), base(two)))
                print(
                    f"push at one, seen at the other: median {statistics.median(took):.0f} ms, "
                    f"p95 {took[int(len(took) * 0.95)]:.0f} ms, worst {took[-1]:.0f} ms"
                )


if __name__ == "__main__":
    main()
