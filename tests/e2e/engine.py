"""A Docker engine of the tests' own: its socket, its images and its networks are nobody else's.

It touches no packet filter, makes no default bridge and forwards nothing, so another engine on the machine
does not notice it.  Its images are kept between runs, since they take longer to make than to use.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scripts.native import Child
from tests.e2e.standins import LABEL, Image

HOME = Path("/var/tmp/deckrails-docker")  # noqa: S108 - a cache between runs, 0700 and root's
NEEDED = ("docker", "dockerd", "containerd", "runc", "ldd")


class EngineError(RuntimeError):
    """Docker cannot be used here; the message says why."""


class Engine:
    """A running Docker engine."""

    def __init__(self, socket: Path) -> None:
        self.env: Mapping[str, str] = {"DOCKER_HOST": f"unix://{socket}", "DOCKER_BUILDKIT": "0"}

    def __call__(self, *args: str, stdin: bytes | None = None, timeout: float = 300.0) -> str:
        """Run `docker args`; its output. EngineError with what it said if it fails."""
        done = subprocess.run(
            ["docker", *args],
            input=stdin,
            env={**os.environ, **self.env},
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode != 0:
            said = (done.stderr + done.stdout).decode(errors="replace")
            raise EngineError(f"docker {' '.join(args)}: {said[-3000:]}")
        return done.stdout.decode(errors="replace")

    def inspect(self, name: str) -> dict[str, Any]:
        """What the engine knows of a container."""
        facts: dict[str, Any] = json.loads(self("inspect", name))[0]
        return facts

    def ensure(self, image: Image) -> bool:
        """Have the stand-in, newly made only where it would differ; whether it was made."""
        digest = image.digest
        known = self("image", "ls", "-q", "--filter", f"label={LABEL}.digest={digest}", image.name)
        if known.strip():
            return False
        changes = [*image.changes, f'LABEL {LABEL}="{image.says}" {LABEL}.digest={digest}']
        options = [word for change in changes for word in ("--change", change)]
        self("import", *options, "-", image.name, stdin=image.tar())
        return True


@contextmanager
def running_engine() -> Iterator[Engine]:
    """A Docker engine for as long as the block lasts.

    Raises:
        EngineError: It cannot run here.
    """
    if os.geteuid() != 0:
        raise EngineError("only root can start a Docker engine")
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        raise EngineError(f"{', '.join(missing)} not installed (Debian: docker.io)")
    if _walled_off():
        raise EngineError("the firewall of another Docker engine (FORWARD DROP) keeps our containers apart")
    HOME.mkdir(mode=0o700, exist_ok=True)
    HOME.chmod(0o700)
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one run at a time; the next waits
        (HOME / "daemon.json").write_text("{}")
        socket = HOME / "docker.sock"
        flags = {
            "host": f"unix://{socket}",
            "data-root": HOME / "data",
            "exec-root": HOME / "exec",
            "pidfile": HOME / "docker.pid",
            "config-file": HOME / "daemon.json",
            "containerd-namespace": "deckrails",
            "containerd-plugins-namespace": "deckrails-plugins",
            "bridge": "none",
            "iptables": "false",
            "ip6tables": "false",
            "ip-forward": "false",
            "ip-masq": "false",
        }
        log = HOME / "dockerd.log"
        log.unlink(missing_ok=True)
        (HOME / "docker.pid").unlink(missing_ok=True)
        daemon = Child("dockerd", ["dockerd", *(f"--{key}={value}" for key, value in flags.items())], log)
        daemon.spawn()
        try:
            engine = Engine(socket)
            _wait_until_it_answers(engine, daemon)
            yield engine
        finally:
            daemon.stop(timeout=60.0)


def _walled_off() -> bool:
    """Whether what one container sends another would be dropped; a running Docker leaves iptables so."""
    bridged = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if shutil.which("iptables") is None or not bridged.exists() or bridged.read_text().strip() != "1":
        return False
    rules = subprocess.run(["iptables", "-S", "FORWARD"], capture_output=True, text=True, check=False).stdout
    return "-P FORWARD DROP" in rules


def _wait_until_it_answers(engine: Engine, daemon: Child, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            engine("info", timeout=20.0)
        except (EngineError, subprocess.TimeoutExpired) as error:
            if not daemon.alive:
                raise EngineError(f"dockerd ended at once:\n{daemon.tail(5)}") from error
            if time.monotonic() > deadline:
                raise EngineError(f"dockerd did not answer in {seconds:g} s:\n{daemon.tail(5)}") from error
            time.sleep(0.2)
        else:
            return
