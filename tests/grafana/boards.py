"""The committed dashboards, opened up for the tests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
JSON = ROOT / "grafana" / "json"
UIDS = (
    "allocator",
    "ops-pipeline",
    "trading-latency",
    "trading-overview",
    "trading-risk",
    "trading-strategies",
)
SINGLE_VALUE = ("stat", "gauge", "bargauge", "piechart", "barchart", "table")
"""Panels that show what is true now."""
MONEY_AND_STATE = ("stat", "gauge", "bargauge", "table")
"""Panels that colour by value, and so could be green by default."""


@dataclass(frozen=True)
class Target:
    """One query of one panel or annotation."""

    where: str
    expr: str
    instant: bool
    panel: dict[str, Any]


def dashboard(uid: str) -> dict[str, Any]:
    """One committed dashboard."""
    loaded: dict[str, Any] = json.loads((JSON / f"{uid}.json").read_text(encoding="utf-8"))
    return loaded


def panels(board: dict[str, Any], *, rows: bool = False) -> Iterator[dict[str, Any]]:
    """Every panel, those of collapsed rows too; row headers only when asked for."""
    for panel in board["panels"]:
        if panel["type"] == "row":
            if rows:
                yield panel
            yield from panel["panels"]
        else:
            yield panel


def all_panels() -> list[tuple[str, dict[str, Any]]]:
    """Every panel of every dashboard with a name for messages."""
    return [
        (f"{uid} / {panel['title']} #{panel['id']}", panel)
        for uid in UIDS
        for panel in panels(dashboard(uid))
    ]


def targets(uid: str) -> list[Target]:
    """Every query of a dashboard: panels and annotations."""
    board = dashboard(uid)
    found = [
        Target(f"{uid} / {panel['title']} #{panel['id']} {one['refId']}", one["expr"], one["instant"], panel)
        for panel in panels(board)
        for one in panel.get("targets", [])
    ]
    found.extend(
        Target(f"{uid} / annotation {one['name']}", one["expr"], instant=False, panel={"type": "annotation"})
        for one in board["annotations"]["list"]
    )
    return found


def links(uid: str) -> list[tuple[str, str]]:
    """Every data link of a dashboard: where it stands, its URL."""
    found: list[tuple[str, str]] = []
    for panel in panels(dashboard(uid)):
        config = panel.get("fieldConfig", {"defaults": {}, "overrides": []})
        given = list(config["defaults"].get("links", []))
        for override in config["overrides"]:
            given.extend(
                link for one in override["properties"] if one["id"] == "links" for link in one["value"]
            )
        found.extend((f"{uid} / {panel['title']} / {link['title']}", link["url"]) for link in given)
    return found


def variables(board: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Name to variable."""
    return {one["name"]: one for one in board["templating"]["list"]}


def used_variables(text: str) -> set[str]:
    """Names of variables in a query or link, Grafana's own (`__name`) left out."""
    found = re.findall(r"\$(?:\{([A-Za-z_]\w*)(?:[:.][^}]*)?\}|([A-Za-z_]\w*))", text)
    return {braced or bare for braced, bare in found if not (braced or bare).startswith("__")}
