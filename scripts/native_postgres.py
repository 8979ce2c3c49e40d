"""A real PostgreSQL on a loopback port, for tests and benchmarks: a fresh cluster, gone when it ends."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.native import Child, NativeError, find_postgres, free_port

DATABASE = "deck"
START_SECONDS = 60.0


def _as_other_user() -> tuple[list[str], int | None]:
    """PostgreSQL refuses to run as root: how to start it, and who owns its files then."""
    if os.geteuid() != 0:
        return [], None
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return [
            "setpriv",
            f"--reuid={user.pw_uid}",
            f"--regid={user.pw_gid}",
            "--clear-groups",
        ], user.pw_uid
    raise NativeError("PostgreSQL refuses to run as root, and there is no user postgres or nobody")


class Postgres:
    """One cluster; `url` is what SQLAlchemy connects to."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self._become, owner = _as_other_user()
        if owner is not None:
            os.chown(directory, owner, -1)
        self._run(find_postgres("initdb"), "-D", str(self.data), "-U", DATABASE, "--auth=trust", "--no-sync")
        self.child = Child(
            "postgres",
            [
                *self._become,
                find_postgres("postgres"),
                *("-D", str(self.data), "-p", str(self.port), "-k", str(directory)),
                *("-c", "listen_addresses=127.0.0.1"),
            ],
            directory.with_suffix(".log"),
            cwd=directory,
        )

    @property
    def data(self) -> Path:
        """The cluster's files."""
        return self.directory / "data"

    @property
    def url(self) -> str:
        """SQLAlchemy URL of the database that always exists."""
        return f"postgresql+psycopg://{DATABASE}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        self.child.spawn()
        deadline = time.monotonic() + START_SECONDS
        ready = [find_postgres("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode != 0:
            if not self.child.alive or time.monotonic() > deadline:
                raise NativeError(f"PostgreSQL does not start:\n{self.child.tail()}")
            time.sleep(0.05)

    def crash(self) -> None:
        """End it as a power cut would: no checkpoint, no goodbye."""
        self.child.kill()
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        """End it."""
        self.child.stop()

    def _run(self, *argv: str) -> None:
        done = subprocess.run(
            [*self._become, *argv], cwd=self.directory, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise NativeError(f"{argv[0]}: {done.stderr.strip()}")


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A fresh PostgreSQL for as long as the block lasts.

    Raises:
        NativeError: It is not installed or does not start.
    """
    # Not below a directory that only root may enter.
    directory = Path(tempfile.mkdtemp(prefix="deckrails-postgres-"))
    directory.chmod(0o755)
    try:
        server = Postgres(directory)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        directory.with_suffix(".log").unlink(missing_ok=True)
