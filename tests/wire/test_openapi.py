"""The OpenAPI page: complete, and no request made from it makes the service fail."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

from exporter.routes.table import ROUTES
from scripts.native import exporter, free_port

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance"


def test_no_request_from_the_page_is_a_server_error(tmp_path: Path) -> None:
    """Schemathesis makes requests from the page, valid and not: every answer is one the page announces."""
    port = free_port()
    with exporter(port, f"sqlite:///{tmp_path}/deck.db", tmp_path / "exporter.log"):
        page = f"http://127.0.0.1:{port}/openapi.json"
        with urllib.request.urlopen(page, timeout=10) as answer:
            described = {
                (method.upper(), path)
                for path, operations in json.load(answer)["paths"].items()
                for method in operations
            }
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", page, "--checks", CHECKS, "--no-color"),
                *("--generation-deterministic", "--max-examples", "10", "--phases", "coverage,fuzzing"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=250,
            check=False,
        )
    assert described == {(route.method, route.path) for route in ROUTES}
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "Tested: 14" in done.stdout
