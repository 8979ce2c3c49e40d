"""docs/wire.md says what happens: its lines are run, its routes are the routes."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.routes.table import ROUTES
from scripts.native import exporter, free_port

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "wire.md"


def steps() -> list[tuple[str, str]]:
    """(command, expected output) of every console block, in order."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = step.partition("\n")
            found.append((command, output.rstrip("\n")))
    return found


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    at, number = tmp_path_factory.mktemp("wire"), free_port()
    with exporter(number, f"sqlite:///{at}/deck.db", at / "exporter.log"):
        yield number


def test_every_line_gives_what_the_page_says(port: int) -> None:
    """The commands run in order against a fresh exporter; `…` matches anything."""
    assert len(steps()) > 25
    for command, output in steps():
        done = subprocess.run(
            ["bash", "-c", command.replace("localhost:8002", f"127.0.0.1:{port}")],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        pattern = ".*".join(re.escape(part) for part in output.split("…"))
        got = done.stdout.replace("\r\n", "\n").rstrip("\n")
        assert re.fullmatch(pattern, got, re.DOTALL), f"{command}\nwant {output}\ngot  {got}"


def test_every_route_has_its_section() -> None:
    """A heading for each JSON route and none for another."""
    headings = re.findall(r"^### (GET|POST) (\S+)$", PAGE.read_text(), re.MULTILINE)
    assert sorted(headings) == sorted((route.method, route.path) for route in ROUTES)
