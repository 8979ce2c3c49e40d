"""Our panels for grafana-dashboard-builder: every plugin the dashboards use, with its options spelt out.

Options and custom fields that a class does not name are refused, so a typo cannot silently do nothing.
"""

from __future__ import annotations

from typing import Any, ClassVar

from grafana_dashboards.common import get_component_type
from grafana_dashboards.components.panels import PanelsItemBase
from grafana_dashboards.context import Context

from grafana import fields
from grafana.errors import DashboardError
from grafana.fields import checked, merged
from grafana.grid import COLUMNS
from grafana.verbatim import Verbatim, plain

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
PLUGIN_VERSION = "9.4.0"
"""What the options are written for; without it newer Grafanas run the migrations of version 6 on them."""

LEGEND = {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True}
TOOLTIP = {"mode": "multi", "sort": "desc"}
LAST = {"calcs": ["lastNotNull"], "fields": "", "values": False}
HIDE_FROM = {"legend": False, "tooltip": False, "viz": False}

_COMMON = frozenset(
    {
        *("title", "description", "span", "height", "transparent", "repeat", "per_row"),
        *("unit", "decimals", "min", "max", "thresholds", "map", "color", "no_value", "links"),
        *("targets", "overrides", "transformations", "interval", "options", "custom"),
    }
)
_TARGET = frozenset({"expr", "legend", "format", "interval", "hide"})


class DeckPanel(PanelsItemBase):
    """What all panels share; a subclass says its plugin, its options and how it asks."""

    TYPE: ClassVar[str] = ""
    OPTIONS: ClassVar[dict[str, Any]] = {}
    """Every option the YAML may set, with its default; None means left out."""
    CUSTOM: ClassVar[dict[str, Any]] = {}
    """The same for `fieldConfig.defaults.custom`."""
    COLOR: ClassVar[str] = "thresholds"
    INSTANT: ClassVar[bool] = True
    """Panels that show one value ask for now: the last value of a range outlives the thing it measures."""
    MAPS_EMPTY: ClassVar[bool] = False
    """Whether null and NaN are mapped to NO DATA, beside the text for a panel without any data."""
    FORMAT: ClassVar[str] = "time_series"
    NEEDS: ClassVar[tuple[str, ...]] = ("title", "description", "span", "targets", "unit")

    def gen_json_from_data(self, data: dict[str, Any], context: Context) -> dict[str, Any]:
        """The panel's JSON, with `width` and `height` for the grid."""
        super().gen_json_from_data(data, context)
        where = f"{get_component_type(type(self))} {data.get('title')!r}"
        checked(where, data, _COMMON, self.NEEDS)
        panel: dict[str, Any] = {
            "type": self.TYPE,
            "pluginVersion": PLUGIN_VERSION,
            "title": plain(data["title"], where),
            "description": plain(data["description"], where),
            "transparent": bool(data.get("transparent", False)),
            "width": self._width(where, data["span"]),
            "height": data.get("height"),
            "datasource": dict(SOURCE),
            "targets": [self._target(where, index, one) for index, one in enumerate(data["targets"])],
            "options": _present(merged(f"{where}: options", self.OPTIONS, data.get("options") or {})),
            "fieldConfig": {
                "defaults": self._defaults(where, data),
                "overrides": fields.overrides(
                    where, data.get("overrides") or [], empty_base=self.COLOR == "thresholds"
                ),
            },
        }
        if "transformations" in data:
            panel["transformations"] = [_transformation(where, one) for one in data["transformations"]]
        if "interval" in data:
            panel["interval"] = data["interval"]
        if "repeat" in data:
            panel |= {
                "repeat": data["repeat"],
                "repeatDirection": "h",
                "maxPerRow": data.get("per_row", 4),
            }
        return panel

    def _defaults(self, where: str, data: dict[str, Any]) -> dict[str, Any]:
        by_value = self.COLOR == "thresholds"
        defaults: dict[str, Any] = {
            "unit": data["unit"],
            "color": fields.color_mode(where, data.get("color", self.COLOR)),
            "thresholds": fields.thresholds(
                where, data.get("thresholds", [["plain", None]]), empty_base=by_value
            ),
            "mappings": fields.mappings(where, data.get("map"), empty=self.MAPS_EMPTY),
            "links": fields.links(where, data.get("links") or []),
            "custom": _present(merged(f"{where}: custom", self.CUSTOM, data.get("custom") or {})),
        }
        defaults |= {key: data[key] for key in ("decimals", "min", "max") if key in data}
        no_value = plain(data.get("no_value", fields.NO_DATA), where)
        if no_value:
            defaults["noValue"] = no_value
        return defaults

    def _target(self, where: str, index: int, given: object) -> dict[str, Any]:
        ref_id = chr(ord("A") + index)
        here = f"{where}: target {ref_id}"
        data = checked(here, given, _TARGET, ("expr", "legend"))
        if not isinstance(data["expr"], Verbatim):
            raise DashboardError(f"{here}: expr {data['expr']!r}: tag it !promql")
        target = {
            "refId": ref_id,
            "datasource": dict(SOURCE),
            "editorMode": "code",
            "exemplar": False,
            "expr": data["expr"].text,
            "format": data.get("format", self.FORMAT),
            "instant": self.INSTANT,
            "range": not self.INSTANT,
            "legendFormat": plain(data["legend"], here),
        }
        if "interval" in data:
            target["interval"] = data["interval"]
        if data.get("hide"):
            target["hide"] = True
        return target

    @staticmethod
    def _width(where: str, span: object) -> int:
        """Columns of a span; half spans are single columns."""
        if not isinstance(span, int | float) or span * 2 != int(span * 2) or not 0 < span * 2 <= COLUMNS:
            raise DashboardError(f"{where}: span {span!r}: want halves from 0.5 to {COLUMNS // 2}")
        return int(span * 2)


def _present(options: dict[str, Any]) -> dict[str, Any]:
    """`options` without what was left out, at every level."""
    return {
        key: _present(value) if isinstance(value, dict) else value
        for key, value in options.items()
        if value is not None
    }


def _transformation(where: str, given: object) -> dict[str, Any]:
    data = checked(f"{where}: transformation", given, ("id", "options"), ("id",))
    return {"id": data["id"], "options": data.get("options") or {}}


class Timeseries(DeckPanel):
    """Lines, steps, bars or stacked areas over time; gaps stay gaps."""

    TYPE = "timeseries"
    COLOR = "palette"
    INSTANT = False
    OPTIONS: ClassVar[dict[str, Any]] = {"legend": LEGEND, "tooltip": TOOLTIP}
    CUSTOM: ClassVar[dict[str, Any]] = {
        "drawStyle": "line",
        "lineInterpolation": "linear",
        "lineWidth": 2,
        "fillOpacity": 8,
        "gradientMode": "none",
        "showPoints": "auto",
        "pointSize": 4,
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "none"},
        "thresholdsStyle": {"mode": "off"},
        "scaleDistribution": {"type": "linear", "log": None},
        "axisPlacement": "auto",
        "axisLabel": "",
        "axisColorMode": "text",
        "axisSoftMin": None,
        "axisSoftMax": None,
        "barAlignment": 0,
        "hideFrom": HIDE_FROM,
    }


class Stat(DeckPanel):
    """One big value, or one a series."""

    TYPE = "stat"
    MAPS_EMPTY = True
    OPTIONS: ClassVar[dict[str, Any]] = {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": LAST,
        "textMode": "auto",
        "text": None,
    }


class Gauge(DeckPanel):
    """One value on a dial with its limits."""

    TYPE = "gauge"
    MAPS_EMPTY = True
    NEEDS = (*DeckPanel.NEEDS, "min", "max", "thresholds")
    OPTIONS: ClassVar[dict[str, Any]] = {
        "orientation": "auto",
        "reduceOptions": LAST,
        "showThresholdLabels": False,
        "showThresholdMarkers": True,
        "text": None,
    }


class BarGauge(DeckPanel):
    """One bar a series."""

    TYPE = "bargauge"
    MAPS_EMPTY = True
    NEEDS = (*DeckPanel.NEEDS, "thresholds")
    OPTIONS: ClassVar[dict[str, Any]] = {
        "displayMode": "basic",
        "minVizHeight": 16,
        "minVizWidth": 8,
        "orientation": "horizontal",
        "reduceOptions": LAST,
        "showUnfilled": True,
        "valueMode": "color",
        "text": None,
    }


class Piechart(DeckPanel):
    """Parts of a whole."""

    TYPE = "piechart"
    COLOR = "palette"
    OPTIONS: ClassVar[dict[str, Any]] = {
        "displayLabels": ["name", "percent"],
        "legend": {**LEGEND, "values": ["percent"]},
        "pieType": "donut",
        "reduceOptions": LAST,
        "tooltip": TOOLTIP,
    }
    CUSTOM: ClassVar[dict[str, Any]] = {"hideFrom": HIDE_FROM}


class Barchart(DeckPanel):
    """Bars by the text column of a table."""

    TYPE = "barchart"
    COLOR = "palette"
    FORMAT = "table"
    OPTIONS: ClassVar[dict[str, Any]] = {
        "barRadius": 0,
        "barWidth": 0.9,
        "fullHighlight": False,
        "groupWidth": 0.7,
        "legend": LEGEND,
        "orientation": "auto",
        "showValue": "auto",
        "stacking": "none",
        "tooltip": TOOLTIP,
        "xField": None,
        "xTickLabelRotation": 0,
        "xTickLabelSpacing": 0,
    }
    CUSTOM: ClassVar[dict[str, Any]] = {
        "axisPlacement": "auto",
        "axisLabel": "",
        "fillOpacity": 80,
        "gradientMode": "none",
        "lineWidth": 1,
        "scaleDistribution": {"type": "linear"},
        "hideFrom": HIDE_FROM,
    }


class StateTimeline(DeckPanel):
    """A band a series, coloured by state; nothing is drawn where nothing is known."""

    TYPE = "state-timeline"
    # By thresholds Grafana 9 would show limits in place of the mapped states.
    COLOR = "none"
    MAPS_EMPTY = True
    INSTANT = False
    NEEDS = (*DeckPanel.NEEDS, "map")
    OPTIONS: ClassVar[dict[str, Any]] = {
        "alignValue": "center",
        "legend": LEGEND,
        "mergeValues": True,
        "rowHeight": 0.85,
        "showValue": "auto",
        "tooltip": {"mode": "single", "sort": "none"},
    }
    CUSTOM: ClassVar[dict[str, Any]] = {
        "fillOpacity": 80,
        "lineWidth": 0,
        "spanNulls": False,
        "hideFrom": HIDE_FROM,
    }


class StatusHistory(StateTimeline):
    """A cell a step, coloured by state."""

    TYPE = "status-history"
    OPTIONS: ClassVar[dict[str, Any]] = {
        "colWidth": 0.95,
        "legend": LEGEND,
        "rowHeight": 0.85,
        "showValue": "never",
        "tooltip": {"mode": "single", "sort": "none"},
    }
    CUSTOM: ClassVar[dict[str, Any]] = {"fillOpacity": 80, "lineWidth": 1, "hideFrom": HIDE_FROM}


class Table(DeckPanel):
    """A line a series, a column a query."""

    TYPE = "table"
    FORMAT = "table"
    OPTIONS: ClassVar[dict[str, Any]] = {
        "cellHeight": "md",
        "footer": {"countRows": False, "fields": [], "reducer": ["sum"], "show": False},
        "showHeader": True,
        "sortBy": [],
    }
    CUSTOM: ClassVar[dict[str, Any]] = {
        "align": "auto",
        "displayMode": "auto",
        "cellOptions": {"type": "auto"},
        "inspect": False,
        "filterable": False,
        "minWidth": None,
    }


class Heatmap(DeckPanel):
    """A histogram over time, from `le` buckets."""

    TYPE = "heatmap"
    COLOR = "palette"
    INSTANT = False
    FORMAT = "heatmap"
    OPTIONS: ClassVar[dict[str, Any]] = {
        "calculate": False,
        "cellGap": 1,
        "cellValues": {},
        "color": {
            "exponent": 0.5,
            "fill": "dark-orange",
            "mode": "scheme",
            "reverse": False,
            "scale": "exponential",
            "scheme": "Blues",
            "steps": 64,
        },
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        # Grafana 9 reads `show`, later ones `mode`.
        "tooltip": {"mode": "single", "show": True, "yHistogram": True},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": None, "decimals": None},
    }
    CUSTOM: ClassVar[dict[str, Any]] = {"scaleDistribution": {"type": "linear"}, "hideFrom": HIDE_FROM}

    def gen_json_from_data(self, data: dict[str, Any], context: Context) -> dict[str, Any]:
        """The heatmap takes its axis's unit from its own option."""
        panel: dict[str, Any] = super().gen_json_from_data(data, context)
        axis = panel["options"]["yAxis"]
        panel["options"]["yAxis"] = _present({**axis, "unit": axis.get("unit") or data["unit"]})
        return panel


class Text(DeckPanel):
    """A note in Markdown."""

    KEYS = ("title", "description", "span", "height", "transparent", "content")

    def gen_json_from_data(self, data: dict[str, Any], context: Context) -> dict[str, Any]:
        """The note; it asks nobody anything."""
        PanelsItemBase.gen_json_from_data(self, data, context)
        where = f"text {data.get('title')!r}"
        checked(where, data, self.KEYS, ("title", "description", "span", "content"))
        return {
            "type": "text",
            "pluginVersion": PLUGIN_VERSION,
            "title": plain(data["title"], where),
            "description": plain(data["description"], where),
            "transparent": bool(data.get("transparent", False)),
            "width": self._width(where, data["span"]),
            "height": data.get("height"),
            "options": {"mode": "markdown", "content": plain(data["content"], where)},
        }
