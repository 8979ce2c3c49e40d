"""SECURITY.md promises nothing that no test holds."""

from __future__ import annotations

import re
from pathlib import Path

from scripts.deck_secrets import SCOPES

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "SECURITY.md").read_text()


def test_every_line_names_tests_that_exist() -> None:
    """Each row of the table of lines ends in tests, and each of them is there."""
    table = TEXT[TEXT.index("## Lines") : TEXT.index("## What is not defended")]
    rows = [row for row in table.splitlines() if row.startswith("| ")][1:]
    assert len(rows) > 15
    for row in rows:
        named = re.findall(r"`(tests/\S+?)::(\w+)`", row)
        assert named, row
        for file, name in named:
            assert re.search(rf"def {name}\(", (ROOT / file).read_text()), f"{file}::{name}"


def test_every_token_and_its_scopes_are_listed() -> None:
    """The table of tokens is what `make up` creates."""
    listed = dict(re.findall(r"^\| `deck_token_(\w+)` \| ([a-z, ]+) \|", TEXT, re.MULTILINE))
    created = {
        who: "all" if len(scopes.split(",")) == 4 else scopes.replace(",", ", ")
        for who, scopes in SCOPES.items()
    }
    assert listed == created
