"""Starting and waiting: healthy ends it, what failed or was refused is said at once and with what to do."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from scripts.compose import ComposeError, ServiceState, Stack
from scripts.native import ROOT
from scripts.up import taken_ports


def state(
    service: str, status: str = "running", health: str = "healthy", exit_code: int = 0, restarts: int = 0
) -> ServiceState:
    return ServiceState(service, f"{service}-1", status, health, exit_code, restarts)


class FakeStack(Stack):
    """A stack whose containers go through given states, one a look, and whose clock moves by waiting."""

    def __init__(self, looks: Sequence[Sequence[ServiceState]]) -> None:
        super().__init__(["compose"], {})
        self.looks = list(looks)
        self.clock = 0.0
        self.said: list[str] = []

    def states(self) -> list[ServiceState]:
        return list(self.looks.pop(0) if len(self.looks) > 1 else self.looks[0])

    def _call(self, argv: Sequence[str], **_: object) -> str:
        return f"said {argv[-1]}"

    def wait(self, timeout: float = 60.0) -> list[ServiceState]:
        def sleep(seconds: float) -> None:
            self.clock += seconds

        return self.wait_healthy(timeout, say=self.said.append, now=lambda: self.clock, sleep=sleep)


def test_it_waits_until_all_are_healthy() -> None:
    """One that is still starting holds the answer back."""
    stack = FakeStack([[], [state("a"), state("b", health="starting")], [state("a"), state("b")]])
    assert [one.service for one in stack.wait()] == ["a", "b"]
    assert stack.clock == 2.0


def test_a_service_without_a_check_only_has_to_run() -> None:
    """No health declared is not illness."""
    assert FakeStack([[state("a", health="")]]).wait()[0].settled


def test_a_service_that_ended_ends_the_wait_with_its_last_words() -> None:
    """Nobody waits minutes for a service that ended; its name, status and output are in the message."""
    stack = FakeStack([[state("a"), state("b", status="exited", health="", exit_code=3)]])
    with pytest.raises(ComposeError, match=r"b: exited, exit status 3\nsaid b-1"):
        stack.wait()
    assert stack.clock == 0.0


def test_an_unhealthy_service_may_get_well() -> None:
    """On a busy machine a check can fail for a while; who is waited for is said once, and when it changes."""
    ill, starting = state("b", health="unhealthy"), state("b", health="starting")
    stack = FakeStack([[starting], [ill], [ill], [state("b")]])
    assert stack.wait()[0].settled
    assert stack.said == ["  waiting for b: running, starting", "  waiting for b: running, unhealthy"]


def test_a_service_that_never_gets_healthy_is_named_when_time_is_up() -> None:
    """The wait ends by itself, and says who kept it."""
    stack = FakeStack([[state("a"), state("slow", health="starting")]])
    with pytest.raises(ComposeError, match="slow: running, starting"):
        stack.wait(timeout=5.0)
    assert stack.clock == 5.0


def test_a_restarting_service_may_still_get_healthy() -> None:
    """The restart policy is given its chance."""
    stack = FakeStack([[state("a", status="restarting", health="starting")], [state("a")]])
    assert stack.wait()[0].settled


def test_a_service_that_ends_again_and_again_is_not_waited_for() -> None:
    """A setting that is refused makes a loop of restarts, which ends the wait with what the service said."""
    looks = [[state("a", status="restarting", health="unhealthy", restarts=n)] for n in range(2, 40)]
    stack = FakeStack(looks)
    with pytest.raises(ComposeError, match=r"a: restarting, unhealthy, .*again 7 times\nsaid a-1"):
        stack.wait()
    assert stack.clock == 5.0


def test_restarts_of_long_ago_are_no_failure() -> None:
    """A container that crashed now and then in past weeks is given its time like any other."""
    old = state("a", health="starting", restarts=40)
    assert FakeStack([[old], [old], [dataclasses.replace(old, health="healthy")]]).wait()[0].settled


def test_a_port_of_another_program_is_named_with_its_setting() -> None:
    """Where Compose says only that an address is in use, the setting that moves it is said too."""
    with socket.socket() as theirs:
        theirs.bind(("127.0.0.1", 0))
        theirs.listen()
        port = theirs.getsockname()[1]
        said = taken_ports(FakeStack([[]]), {"GRAFANA_PORT": str(port)})
        assert f"another program listens on port {port}: stop it, or set GRAFANA_PORT in .env" in said
        ours = dataclasses.replace(state("grafana"), ports=frozenset({port}))
        said = taken_ports(FakeStack([[ours]]), {"GRAFANA_PORT": str(port)})
        assert not [line for line in said if "GRAFANA_PORT" in line]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A directory for PATH, whose `docker` answers as `docker.sh` there says."""
    (tmp_path / "docker").write_text('#!/bin/sh\n. "$(dirname "$0")/docker.sh"\n')
    (tmp_path / "docker").chmod(0o755)
    return tmp_path


# What a shell starts in the background ignores SIGINT, and so would a program started by such a test run.
UP = (
    "import signal, sys; from scripts.up import main; "
    "signal.signal(signal.SIGINT, signal.default_int_handler); sys.exit(main())"
)


def start(program: Path, script: str) -> subprocess.Popen[str]:
    (program / "docker.sh").write_text(script)
    return subprocess.Popen(
        [sys.executable, "-c", UP, "--no-build"],
        cwd=ROOT,
        env={
            **os.environ,
            "PATH": f"{program}:/usr/bin:/bin",
            "DECKRAILS_SECRETS_DIR": str(program / "secrets"),
            "DECKRAILS_RENDERED_DIR": str(program / "rendered"),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_an_engine_that_does_not_answer_stops_the_start_in_words(program: Path) -> None:
    """Docker that is not started is said, with what to do, before a secret is made or a file rendered."""
    script = '[ "$1" = compose ] && exit 0\necho "Cannot connect to the Docker daemon" >&2; exit 1\n'
    done = start(program, script)
    said, _ = done.communicate(timeout=60)
    assert done.returncode == 1
    assert said.startswith("up: Docker does not answer: ")
    assert "Cannot connect to the Docker daemon" in said
    assert "systemctl start docker" in said
    assert "Traceback" not in said
    assert not (program / "secrets").exists()


def test_an_interrupt_says_what_goes_on(program: Path) -> None:
    """Ctrl-C while it waits ends it with a line, not a traceback; nothing is stopped."""
    script = '[ "$2" = ps ] && { exec sleep 30; }\nexit 0\n'
    done = start(program, script)
    assert done.stdout is not None
    for line in done.stdout:
        if line.startswith("up: alerts"):
            break
    done.send_signal(signal.SIGINT)
    said, _ = done.communicate(timeout=60)
    assert done.returncode == 130
    assert "interrupted; what runs keeps running" in said
    assert "Traceback" not in said
