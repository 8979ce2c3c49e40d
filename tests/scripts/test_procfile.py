from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from scripts.native import Child, NativeError
from scripts.procfile import MAX_RESTARTS, Supervisor, parse


def test_variables_are_filled_in_word_by_word() -> None:
    """A value with a space stays one argument: no shell takes part."""
    assert parse("# a comment\n\nweb: $PY -m server --dir=$DIR\n", {"PY": "/py", "DIR": "/a b"}) == {
        "web": ["/py", "-m", "server", "--dir=/a b"]
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [("no command", "line 1.*want `name: command`"), ("a: $NOBODY", "line 1: variable 'NOBODY'")],
)
def test_a_line_that_cannot_run_is_named(line: str, message: str) -> None:
    """A broken Procfile says which line and why."""
    with pytest.raises(NativeError, match=message):
        parse(line, {})


def python_child(tmp_path: Path, code: str) -> Child:
    return Child("worker", [sys.executable, "-c", code], tmp_path / "worker.log")


def wait_until_dead(child: Child) -> None:
    assert child.process is not None
    child.process.wait(10)


def test_a_killed_child_is_started_again_and_its_pid_noted(tmp_path: Path) -> None:
    """What ends by itself comes back, and pids/<name> names the new process."""
    said: list[str] = []
    supervisor = Supervisor(tmp_path, said.append)
    child = python_child(tmp_path, "import time; time.sleep(60)")
    supervisor.start("worker", child)
    first = child.pid
    child.kill()
    supervisor.watch()
    try:
        assert child.alive
        assert child.pid != first
        assert (tmp_path / "pids" / "worker").read_text() == f"{child.pid}\n"
        assert said == ["worker ended (exit status -9); starting it again"]
    finally:
        supervisor.stop()
    assert not child.alive


def test_a_child_that_keeps_ending_stops_the_stack_with_its_last_words(tmp_path: Path) -> None:
    """A program that cannot run is reported with its own output, not restarted for ever."""
    supervisor = Supervisor(tmp_path, lambda _text: None)
    child = python_child(tmp_path, "print('cannot bind'); raise SystemExit(3)")
    supervisor.start("worker", child)
    for _ in range(MAX_RESTARTS):
        wait_until_dead(child)
        supervisor.watch()
    wait_until_dead(child)
    with pytest.raises(NativeError, match=r"worker keeps ending(?s:.*)cannot bind"):
        supervisor.watch()


def test_a_child_that_ends_before_it_answers_shows_its_last_lines(tmp_path: Path) -> None:
    """A failed start carries the program's own message."""
    child = Child(
        "broken", [sys.executable, "-c", "print('bad flag')"], tmp_path / "log", "http://127.0.0.1:9/ready"
    )
    with pytest.raises(NativeError, match="broken ended while starting:\nbad flag"):
        child.start()


def test_a_child_that_ignores_the_request_to_end_is_ended(tmp_path: Path) -> None:
    """stop() insists after its timeout and leaves no process behind."""
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    code = f"{deaf} print('up', flush=True); time.sleep(60)"
    child = python_child(tmp_path, code)
    child.start()
    while "up" not in child.tail():
        time.sleep(0.01)
    assert child.stop(timeout=0.2) == -9
