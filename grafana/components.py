"""Our components for grafana-dashboard-builder: classic JSON with `gridPos`, safe from Grafana 9.4 to 13.

The builder finds components by class: the YAML key is the class name in kebab case, and a later class of a
name wins, which is how its own Dashboard and Row, and in panels.py Stat, Gauge, BarGauge, Table and Text, are
replaced.  A key that nobody reads raises.
"""

from __future__ import annotations

from typing import Any

from grafana_dashboards.components import projects
from grafana_dashboards.components.annotations import Annotations, AnnotationsItemBase
from grafana_dashboards.components.base import JsonGenerator
from grafana_dashboards.components.panels import Panels
from grafana_dashboards.components.rows import Rows, RowsItemBase
from grafana_dashboards.components.templates import Templates, TemplatesItemBase
from grafana_dashboards.context import Context

from grafana import fields
from grafana.fields import checked
from grafana.grid import lay_out
from grafana.panels import SOURCE
from grafana.verbatim import plain

__all__ = [
    "DATASOURCE_UID",
    "SCHEMA_VERSION",
    "TAG",
    "Alerts",
    "Dashboard",
    "Datasource",
    "LabelValues",
    "Row",
    "register",
]

DATASOURCE_UID = "deckrails-prometheus"
"""The provisioned Prometheus; panels name it through the variable `datasource`."""
TAG = "deckrails"
SCHEMA_VERSION = 39


class Dashboard(JsonGenerator):
    """One dashboard: its variables, annotations, and rows laid out on the grid."""

    KEYS = ("title", "description", "tags", "refresh", "time", "templates", "annotations", "rows")

    def gen_json_from_data(self, data: dict[str, Any], context: Context) -> dict[str, Any]:
        """The dashboard's JSON; the component's name is its uid."""
        super().gen_json_from_data(data, context)
        uid = plain(self.name, "dashboard")
        checked(f"dashboard {uid}", data, self.KEYS, self.KEYS)
        time = checked(f"dashboard {uid}: time", data["time"], ("from", "to"), ("from", "to"))
        return {
            "uid": uid,
            "title": plain(data["title"], uid),
            "description": plain(data["description"], uid),
            "tags": [TAG, *data["tags"]],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "timezone": "browser",
            "refresh": data["refresh"],
            "time": time,
            "timepicker": {"refresh_intervals": ["5s", "10s", "30s", "1m", "5m", "15m"]},
            "links": [
                {
                    "type": "dashboards",
                    "title": "",
                    "tags": [TAG],
                    "asDropdown": False,
                    "includeVars": True,
                    "keepTime": True,
                    "targetBlank": False,
                    "icon": "dashboard",
                    "tooltip": "",
                    "url": "",
                }
            ],
            "templating": {"list": self.registry.create_component(Templates, data).gen_json()},
            "annotations": {"list": self.registry.create_component(Annotations, data).gen_json()},
            "panels": lay_out(self.registry.create_component(Rows, data).gen_json()),
        }


class Row(RowsItemBase):
    """A line of panels: `title` (none: no header), `collapsed`, `height` of each, `repeat` (a variable)."""

    KEYS = ("title", "collapsed", "height", "repeat", "panels")

    def gen_json_from_data(self, data: dict[str, Any], context: Context) -> dict[str, Any]:
        """The row for `grid.lay_out`."""
        super().gen_json_from_data(data, context)
        where = f"row {data.get('title')!r}"
        checked(where, data, self.KEYS, ("height", "panels"))
        panels = self.registry.create_component(Panels, data).gen_json()
        return {
            "title": None if data.get("title") is None else plain(data["title"], where),
            "collapsed": bool(data.get("collapsed", False)),
            "repeat": data.get("repeat"),
            "panels": [{**panel, "height": panel["height"] or data["height"]} for panel in panels],
        }


class Datasource(TemplatesItemBase):
    """The variable `datasource`: which Prometheus all panels ask."""

    def gen_json_from_data(self, data: dict[str, Any], context: Context) -> dict[str, Any]:
        """A data source variable, the provisioned Prometheus chosen."""
        super().gen_json_from_data(data, context)
        checked("datasource", data, ())
        return {
            "type": "datasource",
            "name": "datasource",
            "label": "Data source",
            "query": "prometheus",
            "current": {"selected": True, "text": "Prometheus", "value": DATASOURCE_UID},
            "hide": 0,
            "includeAll": False,
            "multi": False,
            "options": [],
            "refresh": 1,
            "regex": "",
            "skipUrlSync": False,
        }


class LabelValues(TemplatesItemBase):
    """A variable over the values of a label: `name`, `label`, `query`; all of them chosen at first."""

    KEYS = ("name", "label", "query")

    def gen_json_from_data(self, data: dict[str, Any], context: Context) -> dict[str, Any]:
        """A query variable that may hold several values; All matches anything, the empty value included."""
        super().gen_json_from_data(data, context)
        where = f"variable {data.get('name')}"
        checked(where, data, self.KEYS, self.KEYS)
        query = plain(data["query"], where)
        return {
            "type": "query",
            "name": plain(data["name"], where),
            "label": plain(data["label"], where),
            "datasource": dict(SOURCE),
            "definition": query,
            "query": {"query": query, "refId": "StandardVariableQuery"},
            "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
            "hide": 0,
            "includeAll": True,
            "allValue": ".*",
            "multi": True,
            "options": [],
            "refresh": 2,
            "regex": "",
            "skipUrlSync": False,
            "sort": 1,
        }


class Alerts(AnnotationsItemBase):
    """Firing alerts as marks on every chart: `name`, `expr`, `color` (a meaning)."""

    KEYS = ("name", "expr", "color")

    def gen_json_from_data(self, data: dict[str, Any], context: Context) -> dict[str, Any]:
        """A Prometheus annotation over ALERTS."""
        super().gen_json_from_data(data, context)
        where = f"annotation {data.get('name')}"
        checked(where, data, self.KEYS, self.KEYS)
        return {
            "name": plain(data["name"], where),
            "datasource": dict(SOURCE),
            "enable": True,
            "hide": False,
            "iconColor": fields.colour(where, data["color"]),
            "expr": plain(data["expr"], where),
            "step": "30s",
            "titleFormat": "{{alertname}}",
            "textFormat": "{{severity}} {{strategy}} {{breaker}}",
            "tagKeys": "component,severity",
            "useValueForTime": False,
        }


def register() -> None:
    """Make the builder use these components; the panels register by being imported."""
    # The builder looks dashboards up by class object.
    projects.Dashboard = Dashboard
