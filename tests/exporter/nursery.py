"""Exporters in processes of their own, forked from one that has all imported: many starts, quickly."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import signal
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from scripts.native import answers

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["exporter.__main__", "tests.exporter.nursery"])


def _serve(environment: dict[str, str], log: str) -> None:
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.environ.update(environment)
    sys.argv = ["exporter"]
    from exporter.__main__ import main

    os._exit(main())


class Nursling:
    """One exporter on a port and a store; it can be killed and started again."""

    def __init__(self, port: int, at: Path, **environment: str) -> None:
        self.port = port
        self.log = at / "exporter.log"
        self.environment = {
            "DECK_PORT": str(port),
            "DECK_STORE_URL": f"sqlite:///{at}/deck.db",
            "DECK_LOG_LEVEL": "warning",
            **environment,
        }
        self.process: BaseProcess | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None and self.process.pid is not None
        return self.process.pid

    def start(self) -> None:
        self.process = _context.Process(target=_serve, args=(self.environment, str(self.log)), daemon=True)
        self.process.start()
        deadline = time.monotonic() + 60
        while not answers(f"http://127.0.0.1:{self.port}/-/ready"):
            assert self.process.is_alive() and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.01)

    def kill(self) -> None:
        """As a crash would: nothing is flushed, nothing is said."""
        os.kill(self.pid, signal.SIGKILL)
        assert self.process is not None
        self.process.join()

    def stop(self) -> None:
        if self.process is not None and self.process.is_alive():
            self.process.terminate()
            self.process.join(20)

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        return call(self.port, method, path, body)

    def samples(self) -> dict[str, float]:
        page = self.call("GET", "/metrics")[1].decode()
        return {
            line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
            for line in page.splitlines()
            if not line.startswith("#")
        }


def call(port: int, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
    """One request; OSError or HTTPException if the other side dies meanwhile."""
    status, _, read = call_with_headers(port, method, path, body)
    return status, read


def call_with_headers(
    port: int, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """One request with these headers, and the headers of its answer by lower-case name."""
    raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, raw, headers or {})
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()
