"""Docker Compose as this repository uses it: which program, what runs, is it healthy.

Both Compose v2 (`docker compose`) and docker-compose 1.29 will do.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.native import ROOT


class ComposeError(RuntimeError):
    """Compose is missing, refuses, or a service will not run; the message says which and what to do."""


HOPELESS_RESTARTS = 5
"""So many ends while somebody waits are no bad luck: a setting is refused, or a file is missing."""


@dataclass(frozen=True)
class ServiceState:
    """One container as the engine sees it.

    Attributes:
        service: Its name in the compose file.
        status: created, running, restarting, exited and so on.
        health: healthy, unhealthy, starting, or empty where no check is declared.
        exit_code: Of its last run.
        restarts: How often its restart policy has started it again.
        ports: What it publishes on this machine.
    """

    service: str
    container: str
    status: str
    health: str
    exit_code: int
    restarts: int = 0
    ports: frozenset[int] = frozenset()

    @property
    def settled(self) -> bool:
        """Whether it runs and, if it has a check, passes it."""
        return self.status == "running" and self.health in {"", "healthy"}

    @property
    def failed(self) -> bool:
        """Whether waiting longer is useless; what is unhealthy on a busy machine may still get well."""
        return self.status in {"exited", "dead"}

    def __str__(self) -> str:
        return f"{self.service}: {self.status}{f', {self.health}' if self.health else ''}"


def find_compose() -> list[str]:
    """The command that speaks Compose.

    Raises:
        ComposeError: There is none.
    """
    if shutil.which("docker"):
        probe = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
        if probe.returncode == 0:
            return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    raise ComposeError(
        "Docker Compose is missing: install Docker with its compose plugin, or docker-compose 1.29 "
        "(Debian: docker.io docker-compose); without Docker, `make demo` runs the stack natively"
    )


@dataclass
class Stack:
    """One compose project."""

    command: Sequence[str]
    env: Mapping[str, str]
    directory: Path = ROOT

    def run(self, *args: str, capture: bool = False, timeout: float = 1800.0) -> str:
        """Run `compose args`; its output if `capture`.

        Raises:
            ComposeError: It failed; the message is what it said.
        """
        return self._call([*self.command, *args], capture=capture, timeout=timeout)

    def engine(self, *args: str, timeout: float = 120.0) -> str:
        """Run `docker args`; its output.

        Raises:
            ComposeError: It failed; the message is what it said.
        """
        return self._call(["docker", *args], capture=True, timeout=timeout)

    def require_engine(self) -> None:
        """Make sure that Docker answers, before anything is done.

        Raises:
            ComposeError: It does not; 1.29 would say so in a page of traceback.
        """
        try:
            self.engine("version", "--format", "{{.Server.Version}}")
        except FileNotFoundError as error:
            raise ComposeError(
                "the program `docker` is missing: install Docker (Debian: docker.io)"
            ) from error
        except ComposeError as error:
            raise ComposeError(
                f"Docker does not answer: {error}\nIs it started (systemctl start docker), and may this user "
                "speak to it (group docker)?  Without Docker, `make demo` runs the stack natively"
            ) from error

    def states(self) -> list[ServiceState]:
        """Every container of the project, ended ones too, by service name."""
        ids = self.run("ps", "-a", "-q", capture=True).split()
        if not ids:
            return []
        states = [
            ServiceState(
                service=facts["Config"]["Labels"].get("com.docker.compose.service", "?"),
                container=facts["Id"],
                status=facts["State"]["Status"],
                health=facts["State"].get("Health", {}).get("Status", ""),
                exit_code=facts["State"]["ExitCode"],
                restarts=facts.get("RestartCount", 0),
                ports=frozenset(
                    int(binding["HostPort"])
                    for bindings in (facts["NetworkSettings"].get("Ports") or {}).values()
                    for binding in bindings or []
                ),
            )
            for facts in json.loads(self.engine("inspect", *ids))
        ]
        return sorted(states, key=lambda state: state.service)

    def wait_healthy(
        self,
        timeout: float,
        say: Callable[[str], None] = print,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> list[ServiceState]:
        """Wait until every container runs and passes its check, and `say` what is waited for as that changes.

        Raises:
            ComposeError: One failed, ends again and again, or is not there in `timeout` seconds; with its
                last lines of output.
        """
        deadline = now() + timeout
        said = ""
        first: dict[str, int] = {}
        while True:
            states = self.states()
            for state in states:
                first.setdefault(state.container, state.restarts)
            if states and all(state.settled for state in states):
                return states
            waiting = [state for state in states if not state.settled]
            failed = [
                state
                for state in waiting
                if state.failed or state.restarts - first[state.container] >= HOPELESS_RESTARTS
            ]
            if failed or now() >= deadline:
                raise ComposeError(self._why(failed or waiting, timeout))
            line = "; ".join(str(state) for state in waiting)
            if line != said:
                say(f"  waiting for {line}" if line else "  waiting for the first container")
                said = line
            sleep(1.0)

    def _why(self, states: Sequence[ServiceState], timeout: float) -> str:
        if not states:
            return f"nothing was started in {timeout:g} s"
        lines = []
        for state in states:
            again = f", started again {state.restarts} times" if state.restarts else ""
            lines.append(f"{state}, exit status {state.exit_code}{again}")
            lines.append(self._call(["docker", "logs", "--tail", "15", state.container], merge=True).rstrip())
        return "\n".join(lines)

    def _call(
        self, argv: Sequence[str], *, capture: bool = True, merge: bool = False, timeout: float = 120.0
    ) -> str:
        done = subprocess.run(
            list(argv),
            cwd=self.directory,
            env={**os.environ, **self.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if capture else None,
            stderr=subprocess.STDOUT if merge else subprocess.PIPE if capture else None,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode != 0:
            said = (done.stderr or done.stdout or "").strip() if capture else "its words are above"
            raise ComposeError(f"`{' '.join(argv)}` ended with {done.returncode}: {said}")
        return done.stdout or ""
