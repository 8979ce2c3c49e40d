"""The image's health check, against a real HTTP server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from deploy import healthcheck
from scripts.native import free_port

STATUS = {"metrics": {"equity_usd": {"value": 1.0, "age_seconds": 2.0}}}


class Deck(BaseHTTPRequestHandler):
    """Answers /-/ready, and /status to whoever has the token."""

    def do_GET(self) -> None:
        code, body = 404, b"{}"
        if self.path == "/-/ready":
            code = 200
        elif self.path == "/status":
            allowed = self.headers.get("Authorization") == "Bearer right"
            code, body = (200, json.dumps(STATUS).encode()) if allowed else (401, b"{}")
        self.send_response(code)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Deck)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_ready_service_is_healthy(url: str) -> None:
    """A 2xx is health."""
    assert healthcheck.main([f"{url}/-/ready"], {}) == 0


def test_anything_but_2xx_is_not(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A 404 is ill, and the line says which URL and why."""
    assert healthcheck.main([f"{url}/nothing"], {}) == 1
    assert "/nothing" in (said := capsys.readouterr().err)
    assert "404" in said


def test_nobody_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    """A refused connection is ill, not a traceback."""
    assert healthcheck.main([f"http://127.0.0.1:{free_port()}/-/ready"], {}) == 1
    assert "refused" in capsys.readouterr().err


def test_a_token_file_is_sent_as_the_token(url: str, tmp_path: Path) -> None:
    """An engine that pushes is healthy; the token comes from the mounted secret."""
    (tmp_path / "token").write_text("right\n")
    environ = {"DECK_TOKEN_FILE": str(tmp_path / "token")}
    assert healthcheck.main(["--pushing", f"{url}/status"], environ) == 0
    assert healthcheck.main(["--pushing", f"{url}/status"], {"DECK_TOKEN": "wrong"}) == 1


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        ({"metrics": {"equity_usd": {"value": 1.0, "age_seconds": 59.9}}}, None),
        ({"metrics": {"equity_usd": {"value": 1.0, "age_seconds": 60.0}}}, "60 s ago"),
        ({"metrics": {}}, "no equity was ever pushed"),
        ([], "no equity was ever pushed"),
    ],
    ids=["fresh", "stale", "never", "not-a-status"],
)
def test_an_engine_is_healthy_while_its_equity_is_fresh(status: object, problem: str | None) -> None:
    """The engine's check fails exactly where the recording rules stop believing it."""
    found = healthcheck.pushing_problem(status)
    assert (found is None) if problem is None else (problem in (found or ""))


def test_it_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    """No URL, or two, is a mistake in the compose file and is said so."""
    assert healthcheck.main([], {}) == 1
    assert "usage" in capsys.readouterr().err
