"""Panels stand side by side, one below the other, never on top of each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grafana.errors import DashboardError
from grafana.grid import COLUMNS, flow, lay_out

SIZES = st.lists(st.tuples(st.integers(1, COLUMNS), st.integers(1, 12)), max_size=20)


def sized(width: int, height: int) -> dict[str, object]:
    return {"type": "stat", "title": "x", "width": width, "height": height}


@given(SIZES)
def test_no_two_panels_overlap(sizes):
    """Whatever the sizes, each grid cell belongs to one panel at most and none leaves the grid."""
    placed, below = flow([sized(*size) for size in sizes], top=3)
    taken: set[tuple[int, int]] = set()
    for panel in placed:
        position = panel["gridPos"]
        assert position["x"] + position["w"] <= COLUMNS
        cells = {
            (x, y)
            for x in range(position["x"], position["x"] + position["w"])
            for y in range(position["y"], position["y"] + position["h"])
        }
        assert not cells & taken
        taken |= cells
    assert below == max((y + 1 for _, y in taken), default=3)


def test_a_line_is_as_high_as_its_highest_panel():
    """The next line begins below the highest panel of the one before."""
    placed, _ = flow([sized(12, 4), sized(12, 9), sized(24, 2)], top=0)
    assert [panel["gridPos"] for panel in placed] == [
        {"h": 4, "w": 12, "x": 0, "y": 0},
        {"h": 9, "w": 12, "x": 12, "y": 0},
        {"h": 2, "w": 24, "x": 0, "y": 9},
    ]


def test_a_panel_wider_than_the_grid_is_refused():
    """A width beyond 24 columns raises instead of being cut off on the screen."""
    with pytest.raises(DashboardError, match="25 columns: want 1 to 24"):
        flow([sized(25, 1)], top=0)


def row(title: str | None, *, collapsed: bool = False) -> dict[str, object]:
    return {"title": title, "collapsed": collapsed, "repeat": None, "panels": [sized(24, 5)]}


def test_an_open_row_has_its_panels_after_its_header():
    """Grafana wants the panels of an open row beside it, below its one-unit header."""
    header, panel = lay_out([row("Shares")])
    assert (header["type"], header["panels"], header["gridPos"]["h"]) == ("row", [], 1)
    assert panel["gridPos"]["y"] == 1


def test_a_collapsed_row_owns_its_panels_and_takes_one_line():
    """Panels of a collapsed row are inside it, and what follows moves up."""
    header, after = lay_out([row("More", collapsed=True), row(None)])
    assert len(header["panels"]) == 1
    assert after["gridPos"]["y"] == 1


def test_a_collapsed_row_without_a_title_is_refused():
    """Nobody could open it again."""
    with pytest.raises(DashboardError, match="no title"):
        lay_out([row(None, collapsed=True)])


def test_ids_are_unique_across_rows():
    """Panels and headers are numbered once through."""
    placed = lay_out([row("a"), row("b", collapsed=True), row(None)])
    ids = [panel["id"] for panel in placed] + [panel["id"] for panel in placed[2]["panels"]]
    assert sorted(ids) == list(range(1, 6))


def test_a_repeated_row_says_so():
    """The variable a row repeats by is in its header."""
    header = lay_out([{**row("each"), "repeat": "strategy"}])[0]
    assert header["repeat"] == "strategy"
