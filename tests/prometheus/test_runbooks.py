"""Runbooks and docs/alerts.md against the rules."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.prometheus.rulebook import ALERT_NAMES, ALERTS, ROOT

RUNBOOKS = ROOT / "docs" / "runbooks"
SECTIONS = ["Meaning", "Impact", "Diagnose", "Act", "Escalate"]


def queries(path: Path) -> list[str]:
    """The PromQL of a runbook, block by block."""
    return re.findall(r"```promql\n(.+?)\n```", path.read_text(), re.DOTALL)


def test_every_runbook_is_for_an_alert() -> None:
    """No runbook outlives its alert, and no alert is without one."""
    assert sorted(path.stem for path in RUNBOOKS.glob("*.md")) == ALERT_NAMES


@pytest.mark.parametrize("name", ALERT_NAMES)
def test_a_runbook_answers_the_five_questions(name: str) -> None:
    """What it means, whom it hurts, how to look, what to do, whom to call; each with words below it."""
    text = (RUNBOOKS / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)[1:]
    assert parts[::2] == SECTIONS
    assert all(len(part.split()) >= 3 for part in parts[1::2])


@pytest.mark.parametrize("name", ALERT_NAMES)
def test_a_runbook_has_queries_to_diagnose_with(name: str) -> None:
    """Nobody invents PromQL at night."""
    assert queries(RUNBOOKS / f"{name}.md")


def test_runbooks_do_not_repeat_each_other() -> None:
    """No paragraph stands in two runbooks: a runbook is about its alert."""
    seen: dict[str, str] = {}
    for path in sorted(RUNBOOKS.glob("*.md")):
        for paragraph in re.split(r"\n\s*\n", path.read_text()):
            if len(paragraph) > 120:
                assert seen.setdefault(paragraph, path.stem) == path.stem


def test_a_file_that_a_runbook_names_exists() -> None:
    """`see X.md` leads somewhere."""
    for path in RUNBOOKS.glob("*.md"):
        for named in re.findall(r"\b([A-Z]\w+\.md)\b", path.read_text()):
            assert (RUNBOOKS / named).is_file(), (path.name, named)


def commands() -> list[str]:
    """Every `python -m …` that a runbook tells somebody to run, once."""
    texts = (path.read_text() for path in RUNBOOKS.glob("*.md"))
    return sorted(
        {" ".join(found.split()) for text in texts for found in re.findall(r"`(python -m [^`]+)`", text)}
    )


@pytest.mark.parametrize("command", commands())
def test_a_command_of_a_runbook_is_one_that_the_program_takes(command: str, tmp_path: Path) -> None:
    """At night nobody mends arguments: none is refused as a wrong command line, which is status 2."""
    argv = [str(tmp_path / "out") if word == "DIR" else word for word in shlex.split(command)[1:]]
    nobody = "http://127.0.0.1:9"
    done = subprocess.run(
        [sys.executable, *argv],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PROMETHEUS_URL": nobody, "DECK_URL": nobody},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1) and "Traceback" not in done.stderr, done.stderr


def test_the_table_of_alerts_is_that_of_the_rules() -> None:
    """docs/alerts.md lists each form with its severity and `for`, and no other."""
    rows = re.findall(
        r"^\| \[(\w+)\]\(runbooks/(\w+)\.md\) \| (\w+) \| (\w+) \| (\S+) \|",
        (ROOT / "docs" / "alerts.md").read_text(),
        re.MULTILINE,
    )
    assert [row[0] for row in rows] == [row[1] for row in rows]
    assert [(name, component, severity, wait) for name, _, component, severity, wait in rows] == [
        (rule["alert"], rule["labels"]["component"], rule["labels"]["severity"], rule.get("for", "0s"))
        for rule in ALERTS
    ]
