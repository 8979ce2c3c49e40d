"""Names in docs equal names in code."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from deckrails.dotenv import KNOWN

ROOT = Path(__file__).resolve().parent.parent


def documented_settings() -> list[str]:
    return re.findall(r"^#?([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)


def test_every_setting_stands_once_in_the_example_file() -> None:
    """`.env.example` has each setting that something reads, and no other, once."""
    known = [name for names in KNOWN.values() for name in names]
    assert sorted(documented_settings()) == sorted(known)


def test_every_setting_in_the_example_file_is_explained() -> None:
    """Above each block of settings in `.env.example` stands a comment in words."""
    setting = re.compile(r"^#?[A-Z][A-Z0-9_]+=")
    lines = (ROOT / ".env.example").read_text().splitlines()
    bare = [
        line
        for above, line in itertools.pairwise(lines)
        if setting.match(line) and not (setting.match(above) or above.startswith("# "))
    ]
    assert bare == []


def documents() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])


@pytest.mark.parametrize("path", documents(), ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    """Every relative link of a document names a file that exists."""
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", path.read_text())
    missing = [target for target in targets if not (path.parent / target).exists()]
    assert missing == []


def test_the_page_about_testing_names_every_test_file_of_riskrails() -> None:
    """docs/testing.md says of each file what it holds, and of no file that is gone."""
    told = set(re.findall(r"\btest_\w+\.py\b", (ROOT / "docs" / "testing.md").read_text()))
    assert told == {path.name for path in (ROOT / "tests" / "riskrails").glob("test_*.py")}


def test_make_help_lists_every_public_target() -> None:
    """`make` names every target that the documents tell a reader to run."""
    makefile = (ROOT / "Makefile").read_text()
    listed = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    command = re.compile(r"(?:^|`|\s{4})(?:[A-Z_]+=\S+ )*make ([a-z-]+)", re.MULTILINE)
    told = {word for path in documents() for word in command.findall(path.read_text())}
    assert told - listed == set()
