"""Pushes and scrapes of the exporter beside Debian's prometheus-pushgateway, in one run.

Pushes: wrk, 16 connections, a body of 14 samples whose numbers change from push to push, spread over so many
groups that exist already.  Ours answers after the commit is on the disk (DECK_DURABILITY=power); the peer's
answers come from memory.  There is a server for each number of groups, and they are pressed in turn, round
after round, so that what disturbs the machine for a while disturbs all of them.  Medians are printed; a ratio
is the median of the rounds' ratios.  All run on the same cores as wrk, so look at the ratios, and at the
processor time a push costs, which neighbours disturb less.

Scrapes: 100,000 series in 100 groups, text, as Prometheus fetches them, one push before each.
"""

from __future__ import annotations

import http.client
import os
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.native import Child, exporter, find_program, free_port

SECONDS = int(os.environ.get("BENCH_SECONDS", "1"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "12"))
CONNECTIONS = 16
GROUPS = (1, 100, 1_000, 10_000)
PEER_GROUPS = (1, 100, 1_000)
"""Beyond these it takes minutes to make the groups: each push re-checks all of them."""
SCRAPE_GROUPS, SCRAPE_SERIES = 100, 1_000

LUA = """
local bodies = {}
for n = 1, 64 do
  local lines = {}
  for i = 0, 13 do
    lines[#lines + 1] = string.format(
      '# HELP metric_%d A gauge.\\n# TYPE metric_%d gauge\\nmetric_%d{strategy="s%d"} %d.%d\\n',
      i, i, i, i, n * 31 + i, (n * 7 + i) % 10)
  end
  bodies[n] = table.concat(lines)
end
local groups, k = tonumber(os.getenv('BENCH_GROUPS')), 0
function request()
  k = k + 1
  return wrk.format('PUT', '/metrics/job/bench/instance/i' .. ((k * 7919) % groups), nil, bodies[k % 64 + 1])
end
"""


def body(number: int) -> bytes:
    return b"".join(
        b'# HELP metric_%d A gauge.\n# TYPE metric_%d gauge\nmetric_%d{strategy="s%d"} %d\n'
        % (i, i, i, i, number)
        for i in range(14)
    )


@dataclass
class Server:
    name: str
    port: int
    child: Child

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mib(self) -> float:
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", status)
        assert found is not None
        return int(found[1]) / 1024

    def settle(self) -> None:
        """Wait until it has done what wrk left behind, lest it do so in somebody else's round."""
        before, now = -1.0, self.cpu_seconds()
        while now > before:
            time.sleep(0.2)
            before, now = now, self.cpu_seconds()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)


@contextmanager
def servers() -> Iterator[list[Server]]:
    """A fresh exporter and a fresh Pushgateway."""
    with tempfile.TemporaryDirectory(prefix="deckrails-bench-") as at:
        ours, theirs = free_port(), free_port()
        deck = exporter(
            ours, f"sqlite:///{at}/deck.db", Path(at) / "exporter.log", {"DECK_LOG_LEVEL": "warning"}
        )
        peer = Child(
            "pushgateway",
            [
                *(find_program("pushgateway"), "--persistence.file=", "--log.level=error"),
                f"--web.listen-address=127.0.0.1:{theirs}",
            ],
            Path(at) / "pushgateway.log",
            f"http://127.0.0.1:{theirs}/-/ready",
        )
        with deck, peer:
            yield [Server("exporter", ours, deck), Server("pushgateway", theirs, peer)]


def fill(server: Server, groups: int) -> None:
    connection = server.connect()
    for i in range(groups):
        connection.request("PUT", f"/metrics/job/bench/instance/i{i}", body(i))
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
    connection.close()


@dataclass
class Result:
    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


def milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


def press(server: Server, groups: int) -> Result:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(LUA)
        script.flush()
        before = server.cpu_seconds()
        out = subprocess.run(
            [
                *(find_program("wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency"),
                *("-s", script.name, f"http://127.0.0.1:{server.port}/"),
            ],
            env={**os.environ, "BENCH_GROUPS": str(groups)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        server.settle()
        spent = server.cpu_seconds() - before
    assert "Non-2xx" not in out, out
    requests = int(re.search(r"(\d+) requests in", out)[1])  # type: ignore[index]
    at = dict(re.findall(r"^\s+(50|99)%\s+(\S+)", out, re.MULTILINE))
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])  # type: ignore[index]
    return Result(rate, milliseconds(at["50"]), milliseconds(at["99"]), spent / requests * 1e6)


Key = tuple[str, int]
"""A server's name and how many groups it has."""


def pushes() -> None:
    print(
        f"pushes of 14 samples, {CONNECTIONS} connections, {ROUNDS} rounds of {SECONDS} s each; "
        "ours durable, the peer's not"
    )
    pressed: dict[Key, Server] = {}
    results: dict[Key, list[Result]] = {}
    with ExitStack() as running:
        for groups in GROUPS:
            for server in running.enter_context(servers()):
                if server.name == "exporter" or groups in PEER_GROUPS:
                    fill(server, groups)
                    pressed[server.name, groups] = server
        for _ in range(ROUNDS):
            for (name, groups), server in pressed.items():
                results.setdefault((name, groups), []).append(press(server, groups))
    heads = ("", "pushes/s", "p50 ms", "p99 ms", "cpu µs/push", "× peer", "× own at 1")
    print(f"{'groups':>7}  " + "{:<12}{:>9}{:>9}{:>9}{:>13}{:>9}{:>12}".format(*heads))
    for (name, groups), found in results.items():
        peer, own = results.get(("pushgateway", groups)), results["exporter", GROUPS[0]]
        tail = ""
        if name == "exporter":
            tail = f"{ratio(found, peer):>8.1f}×" if peer else f"{'':>9}"
            tail += f"{ratio(found, own):>12.2f}"
        rate, p50, p99, cpu = (
            statistics.median(getattr(result, field) for result in found)
            for field in ("rate", "p50_ms", "p99_ms", "cpu_us")
        )
        print(f"{groups:>7}  {name:<12}{rate:>9.0f}{p50:>9.2f}{p99:>9.2f}{cpu:>13.0f}{tail}", flush=True)


def ratio(ours: list[Result], theirs: list[Result]) -> float:
    return statistics.median(a.rate / b.rate for a, b in zip(ours, theirs, strict=True))


def scrapes() -> None:
    lines = b"".join(b'series_%d{number="%d"} %d.25\n' % (i % 20, i, i) for i in range(SCRAPE_SERIES))
    typed = b"".join(b"# TYPE series_%d gauge\n" % i for i in range(20))
    print(f"\nscrape of {SCRAPE_GROUPS * SCRAPE_SERIES:,} series, median of 7, text without compression")
    print(f"{'':<12}{'scrape ms':>10}{'MiB':>7}{'RSS MiB':>9}")
    with servers() as both:
        for server in both:
            connection = server.connect()

            def put(group: int, at: http.client.HTTPConnection = connection) -> None:
                at.request("PUT", f"/metrics/job/bench/instance/i{group}", typed + lines)
                answer = at.getresponse()
                assert answer.status == 200, answer.read()
                answer.read()

            for group in range(SCRAPE_GROUPS):
                put(group)
            took, size = [], 0
            for number in range(7):
                put(number)
                start = time.perf_counter()
                connection.request("GET", "/metrics", headers={"Accept-Encoding": "identity"})
                size = len(connection.getresponse().read())
                took.append(time.perf_counter() - start)
            median, mib = statistics.median(took) * 1e3, size / 2**20
            print(f"{server.name:<12}{median:>10.0f}{mib:>7.1f}{server.rss_mib():>9.0f}", flush=True)


def main() -> None:
    pushes()
    scrapes()


if __name__ == "__main__":
    main()
