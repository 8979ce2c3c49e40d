"""Programs of the native stack: find them, start them on given ports, wait until they answer, end them.

The demo and the tests both start real servers; this is the one place that knows how.  Every child is
started in its own process group and ended by that id, so nothing is killed that was not started here.
"""

from __future__ import annotations

import errno
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parent.parent

PROGRAMS: dict[str, tuple[tuple[str, ...], str]] = {
    # role: (names it goes by, Debian package)
    "prometheus": (("prometheus",), "prometheus"),
    "promtool": (("promtool",), "prometheus"),
    "alertmanager": (("prometheus-alertmanager", "alertmanager"), "prometheus-alertmanager"),
    "amtool": (("amtool",), "prometheus-alertmanager"),
    "pushgateway": (("prometheus-pushgateway", "pushgateway"), "prometheus-pushgateway"),
    "victoria-metrics": (("victoria-metrics", "victoria-metrics-prod"), "victoria-metrics"),
    "node": (("node", "nodejs"), "nodejs"),
    "npm": (("npm",), "npm"),
    "wrk": (("wrk",), "wrk"),
    "docker": (("docker",), "docker.io"),
    "busybox": (("busybox",), "busybox"),
    "grafana": (("grafana", "grafana-server"), "grafana (not in Debian)"),
}


class NativeError(RuntimeError):
    """A program is missing, will not start or does not answer; the message says what to do."""


def find_program(role: str) -> str:
    """Path of the program that plays `role`; NativeError names the Debian package if there is none.

    The directory that stands first on PATH wins, whichever of its names the program has there: who puts
    another version before Debian's gets theirs.
    """
    names, package = PROGRAMS[role]
    for directory in os.get_exec_path():
        for name in names:
            path = shutil.which(name, path=directory)
            if path:
                return path
    raise NativeError(f"{role} is not on PATH: run `make setup`, or install Debian's package {package}")


def find_postgres(program: str) -> str:
    """Path of a PostgreSQL server program (`initdb`, `postgres`); Debian keeps them off PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    path = str(found[-1]) if found else shutil.which(program)
    if not path:
        raise NativeError(
            f"{program} is not installed: run `make test`, or install Debian's package postgresql"
        )
    return path


def free_port() -> int:
    """A loopback TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_in_use(port: int) -> bool:
    """Whether a server started now could not listen on the loopback port.

    Asked by binding: a client's connection, and one closed less than a minute ago, holds its own port too,
    and nobody answers there.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def answers(url: str, timeout: float = 1.0) -> bool:
    """Whether a GET of `url` gives a 2xx."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return bool(200 <= answer.status < 300)
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError):
        return False


@dataclass
class Child:
    """A program started here, with its output in a file; a context manager that ends it."""

    name: str
    argv: Sequence[str]
    log: Path
    ready_url: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = ROOT
    process: subprocess.Popen[bytes] | None = None

    def start(self, timeout: float = 60.0) -> Self:
        """Start it and wait until `ready_url` answers.

        Raises:
            NativeError: It ended or did not answer in `timeout` seconds; the message has its last lines.
        """
        self.spawn()
        if self.ready_url is not None:
            self.wait_ready(timeout)
        return self

    def spawn(self) -> None:
        """Start it without waiting."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                list(self.argv),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.cwd,
                env={**os.environ, **self.env},
                start_new_session=True,
            )

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Wait until `ready_url` answers; NativeError with the last lines of output if it never does."""
        assert self.ready_url is not None  # noqa: S101 - a caller's mistake, not data
        deadline = time.monotonic() + timeout
        while not answers(self.ready_url):
            if not self.alive:
                raise NativeError(f"{self.name} ended while starting:\n{self.tail()}")
            if time.monotonic() > deadline:
                self.stop()
                raise NativeError(
                    f"{self.name} did not answer {self.ready_url} in {timeout:g} s:\n{self.tail()}"
                )
            time.sleep(0.05)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """Process id of the running child."""
        if self.process is None:
            raise NativeError(f"{self.name} was not started")
        return self.process.pid

    def tail(self, lines: int = 15) -> str:
        """The last lines it printed."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def stop(self, timeout: float = 10.0) -> int | None:
        """Ask it to end, insist after `timeout` seconds; its exit status."""
        if self.process is None:
            return None
        if self.alive:
            self._signal(signal.SIGTERM)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
                self.process.wait()
        return self.process.returncode

    def kill(self) -> None:
        """End it at once, as a crash or the kernel would."""
        if self.process is not None and self.alive:
            self._signal(signal.SIGKILL)
            self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return  # it ended by itself between the look and the signal

    def __enter__(self) -> Self:
        return self if self.alive else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def python_module(
    module: str,
    name: str,
    log: Path,
    env: Mapping[str, str],
    ready_url: str | None = None,
    args: Sequence[str] = (),
) -> Child:
    """One of our own services as a child, `python -m module`."""
    return Child(
        name, [sys.executable, "-m", module, *args], log, ready_url, {"PYTHONUNBUFFERED": "1", **env}
    )


def prometheus(config: Path, data: Path, port: int, log: Path, args: Sequence[str] = ()) -> Child:
    """A real Prometheus on a loopback port."""
    argv = [
        find_program("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-lifecycle",
        *args,
    ]
    return Child("prometheus", argv, log, f"http://127.0.0.1:{port}/-/ready")


def alertmanager(config: Path, data: Path, port: int, log: Path, args: Sequence[str] = ()) -> Child:
    """A real Alertmanager on a loopback port, alone: no cluster, no gossip port."""
    argv = [
        find_program("alertmanager"),
        f"--config.file={config}",
        f"--storage.path={data}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        *args,
    ]
    return Child("alertmanager", argv, log, f"http://127.0.0.1:{port}/-/ready")


def exporter(port: int, store_url: str, log: Path, env: Mapping[str, str] | None = None) -> Child:
    """The exporter on a loopback port, with its own store."""
    settings = {"DECK_HOST": "127.0.0.1", "DECK_PORT": str(port), "DECK_STORE_URL": store_url, **(env or {})}
    return python_module("exporter", "exporter", log, settings, f"http://127.0.0.1:{port}/-/ready")


def allocator(
    port: int, deck_url: str, prometheus_url: str, log: Path, env: Mapping[str, str] | None = None
) -> Child:
    """The allocator daemon with its own /metrics on a loopback port."""
    settings = {
        "ALLOCATOR_PORT": str(port),
        "DECK_URL": deck_url,
        "PROMETHEUS_URL": prometheus_url,
        **(env or {}),
    }
    return python_module("allocator", "allocator", log, settings, f"http://127.0.0.1:{port}/-/healthy")
