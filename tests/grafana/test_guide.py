"""docs/dashboards.md speaks of the dashboards and panels that exist, and of all of them."""

from __future__ import annotations

import re

import pytest

from tests.grafana import boards

GUIDE = (boards.ROOT / "docs" / "dashboards.md").read_text(encoding="utf-8")


def section(uid: str) -> str:
    """The guide's text on one dashboard."""
    board = boards.dashboard(uid)
    match = re.search(
        rf"^## {re.escape(board['title'])} \(`{uid}`\)\n(.*?)(?=^## )", GUIDE, re.MULTILINE | re.DOTALL
    )
    assert match, f"{board['title']} ({uid}) has no section"
    words = re.sub(r"!\[[^]]*\]\([^)]*\)", "", match[1])
    return " ".join(words.split())


@pytest.mark.parametrize("uid", boards.UIDS)
def test_each_dashboard_has_its_question_and_a_first_look(uid):
    """A section opens with the dashboard's own question and says where to look first."""
    question = re.match(r"\*([^*]+\?)\*", section(uid))
    assert question
    assert boards.dashboard(uid)["description"].startswith(question[1])
    assert "first" in section(uid)


@pytest.mark.parametrize("uid", boards.UIDS)
def test_each_panel_it_names_is_there(uid):
    """A panel in bold is on that dashboard under that title."""
    titles = {panel["title"] for panel in boards.panels(boards.dashboard(uid))}
    named = set(re.findall(r"\*\*([^*]+)\*\*", section(uid)))
    assert named
    assert named <= titles
