"""`python -m grafana.build [--check]`: dashboards/*.yaml → json/*.json, with grafana-dashboard-builder.

Its library gives what its command line gives.  The command line loses plugin classes on Python 3.12 and
later, and imports a package that needs a C compiler.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grafana_dashboards.exporter import DashboardExporter, ProjectProcessor
from grafana_dashboards.parser import DefinitionParser

from grafana.components import register
from grafana.errors import DashboardError

__all__ = ["JSON", "SOURCES", "build", "main", "render"]

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "dashboards"
JSON = HERE / "json"


class _Collector(DashboardExporter):
    """Keeps each dashboard by uid; two of one uid are refused."""

    def __init__(self) -> None:
        self.dashboards: dict[str, dict[str, Any]] = {}

    def process_dashboard(
        self, project_name: str, dashboard_name: str, dashboard_data: dict[str, Any]
    ) -> None:
        """Called by the builder for each dashboard."""
        if dashboard_name in self.dashboards:
            raise DashboardError(f"dashboard {dashboard_name} is in two projects, one of them {project_name}")
        self.dashboards[dashboard_name] = dashboard_data


def build(sources: Path = SOURCES) -> dict[str, dict[str, Any]]:
    """Every dashboard of `sources`, by uid.

    Raises:
        DashboardError: A key, colour or expression is wrong, or there is nothing to build.
    """
    register()
    paths = sorted(sources.glob("*.yaml"))
    collector = _Collector()
    projects = list(DefinitionParser().load_projects(paths))
    # A context is never empty: it holds the project's own keys, so every string is expanded.
    ProjectProcessor([collector]).process_projects(projects, {})
    if not collector.dashboards:
        raise DashboardError(f"{sources}: no project lists a dashboard")
    return collector.dashboards


def render(dashboard: dict[str, Any]) -> str:
    """The text of a dashboard's file: sorted keys, so that a diff shows what changed."""
    return json.dumps(dashboard, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the JSON, or with --check say what would change; the exit status is 1 if anything would."""
    parser = argparse.ArgumentParser(prog="python -m grafana.build", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the JSON is out of date")
    parser.add_argument("--out", type=Path, default=JSON, help="folder of the JSON")
    options = parser.parse_args(argv)
    wanted = {f"{uid}.json": render(dashboard) for uid, dashboard in build().items()}
    found = {path.name: path.read_text(encoding="utf-8") for path in options.out.glob("*.json")}
    stale = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if options.check:
        for name in stale:
            sys.stderr.write(f"dashboards: {options.out / name} is out of date: run `make dashboards`\n")
        return 1 if stale else 0
    options.out.mkdir(parents=True, exist_ok=True)
    for name in stale:
        if name in wanted:
            (options.out / name).write_text(wanted[name], encoding="utf-8")
        else:
            (options.out / name).unlink()
    sys.stdout.write(f"dashboards: {len(wanted)} built, {len(stale)} changed, in {options.out}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
