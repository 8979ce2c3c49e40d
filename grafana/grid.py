"""Pure: where panels stand.  The grid is 24 columns wide; a span is two columns; heights are grid units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from grafana.errors import DashboardError

__all__ = ["COLUMNS", "flow", "lay_out"]

COLUMNS = 24


def flow(panels: Iterable[Mapping[str, Any]], top: int) -> tuple[list[dict[str, Any]], int]:
    """Place panels left to right, a new line where one does not fit.

    Args:
        panels: Each with `width` and `height` in grid units beside its own keys.
        top: The first line's y.

    Returns:
        The panels with `gridPos` in place of the sizes, and the y below the last line.
    """
    placed: list[dict[str, Any]] = []
    x, y, line_height = 0, top, 0
    for panel in panels:
        width, height = panel["width"], panel["height"]
        if not 1 <= width <= COLUMNS:
            raise DashboardError(f"panel {panel.get('title')!r}: {width} columns: want 1 to {COLUMNS}")
        if x + width > COLUMNS:
            x, y, line_height = 0, y + line_height, 0
        kept = {key: value for key, value in panel.items() if key not in ("width", "height")}
        placed.append({**kept, "gridPos": {"h": height, "w": width, "x": x, "y": y}})
        x += width
        line_height = max(line_height, height)
    return placed, y + line_height


def lay_out(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Number and place the panels of all rows, as Grafana's classic JSON wants them.

    A row with a title gets a header line.  A collapsed row owns its panels; the panels of an open one follow
    its header.

    Args:
        rows: Each with `title` (or None), `collapsed`, `repeat` (or None) and `panels`.
    """
    placed: list[dict[str, Any]] = []
    y, number = 0, 0
    for row in rows:
        header: dict[str, Any] | None = None
        if row["title"] is not None:
            number += 1
            header = {
                "id": number,
                "type": "row",
                "title": row["title"],
                "collapsed": row["collapsed"],
                "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": y},
                "panels": [],
            }
            if row["repeat"] is not None:
                header["repeat"] = row["repeat"]
            placed.append(header)
            y += 1
        panels, below = flow(row["panels"], y)
        for panel in panels:
            number += 1
            panel["id"] = number
        if row["collapsed"]:
            if header is None:
                raise DashboardError("a collapsed row has no title to click on")
            header["panels"] = panels
        else:
            placed.extend(panels)
            y = below
    return placed
