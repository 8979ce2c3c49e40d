"""The whole loop with real parts, as a newcomer runs it."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scripts.native import ROOT, answers, port_in_use
from scripts.render import Ports

SECONDS = 30
OFFSETS = range(10_000, 23_000, 100)
"""Where no port of the stack meets those that the kernel gives to clients (32768 and up on Linux)."""


@pytest.fixture
def offset() -> Iterator[int]:
    """An offset at which every port of the stack is free; what the demo leaves there is removed."""
    choices = random.Random()
    found = next(
        (
            offset
            for offset in choices.sample(OFFSETS, len(OFFSETS))
            if not any(port_in_use(port) for port in vars(Ports().shifted(offset)).values())
            and not (ROOT / f".demo-{offset}").exists()
        ),
        None,
    )
    if found is None:
        pytest.fail("no free block of ports found")
    yield found
    shutil.rmtree(ROOT / f".demo-{found}", ignore_errors=True)


@contextmanager
def running_demo(offset: int, seconds: int) -> Iterator[subprocess.Popen[str]]:
    """The demo as a child; ended, and its output closed, whatever happens to the test."""
    env = {**os.environ, "DEMO_SECONDS": str(seconds), "PORT_OFFSET": str(offset), "GRAFANA_HOME": ""}
    with subprocess.Popen(
        [sys.executable, "-m", "scripts.demo"],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as demo:
        try:
            yield demo
        finally:
            demo.terminate()


def pid_of(run_dir: Path, name: str) -> int:
    return int((run_dir / "pids" / name).read_text())


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for_engine(run_dir: Path, demo: subprocess.Popen[str]) -> None:
    """Wait until the engine, the last program, runs; a demo that ends before it shows what it said."""
    wait_for(
        lambda: (run_dir / "pids" / "engine").exists() or demo.poll() is not None, 90, "the engine starts"
    )
    if demo.poll() is not None:
        pytest.fail(f"the demo ended with {demo.returncode}:\n{demo.communicate()[0]}")


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {what}")
        time.sleep(0.2)


def test_the_loop_closes_although_the_allocator_and_prometheus_are_killed(offset: int) -> None:
    """Trades are counted, PromQL answers and shares move, with both killed once on the way."""
    run_dir = ROOT / f".demo-{offset}"
    ports = Ports().shifted(offset)
    with running_demo(offset, SECONDS) as demo:
        wait_for_engine(run_dir, demo)
        killed = {name: pid_of(run_dir, name) for name in ("allocator", "prometheus")}
        for pid in killed.values():
            os.kill(pid, signal.SIGKILL)
        wait_for(
            lambda: all(pid_of(run_dir, name) != pid for name, pid in killed.items()), 30, "both come back"
        )
        wait_for(lambda: answers(f"http://127.0.0.1:{ports.prometheus}/-/ready"), 30, "Prometheus answers")
        output, _ = demo.communicate(timeout=120)
    assert demo.returncode == 0, output
    assert "The loop closed" in output
    assert "allocator ended (exit status -9); starting it again" in output
    assert "prometheus ended (exit status -9); starting it again" in output
    trades = re.search(r"trades counted\s+([\d,]+)", output)
    assert trades is not None
    assert int(trades[1].replace(",", "")) > 0
    pids = [int(path.read_text()) for path in (run_dir / "pids").iterdir()]
    assert len(pids) >= 5
    assert not any(running(pid) for pid in pids)


def test_ctrl_c_ends_every_child(offset: int) -> None:
    """An interrupt ends the demo and all that it started."""
    run_dir = ROOT / f".demo-{offset}"
    with running_demo(offset, 600) as demo:
        wait_for_engine(run_dir, demo)
        demo.send_signal(signal.SIGINT)
        output, _ = demo.communicate(timeout=60)
    assert "Traceback" not in output
    assert "Summary" in output
    assert not any(running(int(path.read_text())) for path in (run_dir / "pids").iterdir())


def test_a_port_in_use_is_one_clear_line(offset: int) -> None:
    """A second demo on the same ports says which port is taken and how to move."""
    holder = subprocess.Popen(
        [sys.executable, "-m", "http.server", str(Ports().shifted(offset).prometheus), "--bind", "127.0.0.1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: port_in_use(Ports().shifted(offset).prometheus), 20, "the port is taken")
        with running_demo(offset, 30) as demo:
            output, _ = demo.communicate(timeout=60)
    finally:
        holder.terminate()
        holder.wait()
    assert demo.returncode == 2
    lines = [line for line in output.splitlines() if line.startswith("demo: ")]
    assert len(lines) == 1
    assert f"port {Ports().shifted(offset).prometheus} (prometheus) is in use" in lines[0]
    assert "Traceback" not in output
