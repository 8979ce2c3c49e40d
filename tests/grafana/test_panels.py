"""Each kind of panel asks, colours and refuses as it should."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.build import build
from grafana.errors import DashboardError

HEAD = """
- name: made
  project: { dashboards: [made-up] }
- name: made-up
  dashboard:
    title: Made up
    description: "What is it for?"
    tags: []
    refresh: 5s
    time: { from: now-1h, to: now }
    templates: [{ datasource: {} }]
    annotations: []
    rows:
      - row:
          height: 6
          panels:
            - """
LIMITS = {"min": 0, "max": 1, "thresholds": [["good", 0]]}
MAP = {"map": {0: {"text": "closed", "color": "good"}}}
KINDS: dict[str, tuple[str, bool, dict[str, Any]]] = {
    # YAML key: (Grafana's plugin, shows one value, what it needs beyond the common keys)
    "timeseries": ("timeseries", False, {}),
    "stat": ("stat", True, {}),
    "gauge": ("gauge", True, LIMITS),
    "bar-gauge": ("bargauge", True, LIMITS),
    "piechart": ("piechart", True, {}),
    "barchart": ("barchart", True, {}),
    "state-timeline": ("state-timeline", False, MAP),
    "status-history": ("status-history", False, MAP),
    "table": ("table", True, {}),
    "heatmap": ("heatmap", False, {}),
}


class Tagged(str):
    """Text to be dumped with `!promql`."""


yaml.SafeDumper.add_representer(Tagged, lambda dumper, text: dumper.represent_scalar("!promql", str(text)))


def panel(tmp_path: Path, kind: str, **given: Any) -> dict[str, Any]:
    body = {
        "title": "Value",
        "description": "What it is.",
        "span": 6,
        "unit": "s",
        "targets": [{"legend": "value", "expr": Tagged("up")}],
        **given,
    }
    text = yaml.safe_dump({kind: body}, default_flow_style=True, width=10_000)
    (tmp_path / "made.yaml").write_text(HEAD + text, encoding="utf-8")
    found: dict[str, Any] = build(tmp_path)["made-up"]["panels"][0]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_becomes_its_plugin(tmp_path, kind):
    """Each YAML key makes the modern Grafana panel it is named after, with unit, NO DATA and a place."""
    plugin, _, needs = KINDS[kind]
    made = panel(tmp_path, kind, **needs)
    defaults = made["fieldConfig"]["defaults"]
    assert (made["type"], defaults["unit"], defaults["noValue"]) == (plugin, "s", "NO DATA")
    assert made["gridPos"] == {"h": 6, "w": 12, "x": 0, "y": 0}
    assert made["options"]


@pytest.mark.parametrize("kind", KINDS)
def test_one_value_is_asked_for_now(tmp_path, kind):
    """A panel of one value never shows the last value of a series that ended."""
    _, single, needs = KINDS[kind]
    [target] = panel(tmp_path, kind, **needs)["targets"]
    assert (target["instant"], target["range"]) == (single, not single)


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_key_or_option_raises(tmp_path, kind):
    """A typo in a panel, its options or its custom fields stops the build."""
    _, _, needs = KINDS[kind]
    extras: list[dict[str, Any]] = [
        {"thresold": []},
        {"options": {"colour": 1}},
        {"custom": {"lineWidht": 1}},
    ]
    for extra in extras:
        with pytest.raises(DashboardError, match="unknown key"):
            panel(tmp_path, kind, **needs, **extra)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", ["title", "description", "unit", "span", "targets"])
def test_a_panel_says_what_it_shows(tmp_path, kind, key):
    """Without title, description, unit, width or query there is no panel."""
    with pytest.raises(DashboardError, match=f"{key} is missing"):
        panel(tmp_path, kind, **{**KINDS[kind][2], key: None})


@pytest.mark.parametrize("kind", ["stat", "gauge", "bar-gauge", "table"])
def test_no_data_is_grey(tmp_path, kind):
    """The lowest step of what is coloured by value is the grey of no data, whatever limits are given."""
    made = panel(tmp_path, kind, min=0, max=1, thresholds=[["good", None], ["bad", 0.5]])
    defaults = made["fieldConfig"]["defaults"]
    assert defaults["thresholds"]["steps"][0] == {"color": "#6e7681", "value": None}
    # A table has columns of text, which Grafana would take for not a number.
    assert [one["options"]["match"] for one in defaults["mappings"]] == (
        [] if kind == "table" else ["null+nan"]
    )


def test_a_query_is_tagged(tmp_path):
    """A query that went through brace expansion is not a query any more."""
    with pytest.raises(DashboardError, match="target A: expr 'up': tag it !promql"):
        panel(tmp_path, "stat", targets=[{"legend": "x", "expr": "up"}])


def test_a_legend_is_not_optional(tmp_path):
    """A query without legend would show its raw labels."""
    with pytest.raises(DashboardError, match="legend is missing"):
        panel(tmp_path, "stat", targets=[{"expr": Tagged("up")}])


def test_a_target_takes_interval_and_hide(tmp_path):
    """The two rarer settings of a query reach Grafana."""
    [target] = panel(
        tmp_path,
        "timeseries",
        targets=[{"legend": "x", "expr": Tagged("up"), "interval": "1m", "hide": True}],
    )["targets"]
    assert (target["interval"], target["hide"]) == ("1m", True)


def test_a_panel_repeats_by_variable(tmp_path):
    """The badge of each strategy is one panel repeated side by side."""
    made = panel(tmp_path, "stat", repeat="strategy", per_row=6)
    assert (made["repeat"], made["repeatDirection"], made["maxPerRow"]) == ("strategy", "h", 6)


def test_transformations_have_id_and_options(tmp_path):
    """What joins the queries of a table is passed on; another key is refused."""
    made = panel(tmp_path, "table", transformations=[{"id": "merge"}], interval="1m")
    assert (made["transformations"], made["interval"]) == ([{"id": "merge", "options": {}}], "1m")
    with pytest.raises(DashboardError, match="transformation: unknown key 'opts'"):
        panel(tmp_path, "table", transformations=[{"id": "merge", "opts": {}}])


def test_the_span_is_in_halves(tmp_path):
    """A width that is no whole number of columns is refused."""
    with pytest.raises(DashboardError, match=r"span 1\.3: want halves from 0\.5 to 12"):
        panel(tmp_path, "stat", span=1.3)


def test_a_heatmap_axis_has_the_panels_unit(tmp_path):
    """Buckets are labelled in the unit of the panel unless the axis has its own."""
    assert panel(tmp_path, "heatmap")["options"]["yAxis"]["unit"] == "s"
    own = panel(tmp_path, "heatmap", options={"yAxis": {"unit": "ms"}})
    assert own["options"]["yAxis"]["unit"] == "ms"


def test_options_left_out_are_not_written(tmp_path):
    """An option whose default is "leave it to Grafana" is absent, at every level."""
    custom = panel(tmp_path, "timeseries")["fieldConfig"]["defaults"]["custom"]
    assert "axisSoftMin" not in custom
    assert custom["scaleDistribution"] == {"type": "linear"}
