"""A dashboard in YAML becomes classic JSON; what the YAML gets wrong is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from grafana.build import build
from grafana.components import SCHEMA_VERSION
from grafana.errors import DashboardError

SOURCE = """
- name: made
  project:
    dashboards: [made-up]
- name: made-up
  dashboard:
    title: Made up
    description: "What is it for?"
    tags: [mine]
    refresh: 5s
    time: { from: now-1h, to: now }
    templates:
      - datasource: {}
      - label-values: { name: engine, label: Engine, query: !promql "label_values(up{job=~'a.*'}, instance)" }
    annotations:
      - alerts: { name: Fires, expr: !promql 'ALERTS{alertstate="firing"}', color: bad }
    rows:
      - row:
          title: Line
          height: 6
          panels:
            - stat:
                title: Value
                description: "What it is."
                span: 1.5
                unit: s
                targets: [{ legend: !promql "{{job}}", expr: !promql 'up{job=~"a{1,2}"}' }]
            - text: { title: Note, description: "Why.", span: 2, height: 3, content: "**Read** me" }
"""


def made(tmp_path: Path, text: str) -> dict[str, Any]:
    (tmp_path / "made.yaml").write_text(text, encoding="utf-8")
    return build(tmp_path)["made-up"]


def test_a_dashboard_is_classic_json_with_a_grid(tmp_path):
    """Schema 39, uid, our tag, not editable, panels with gridPos: what Grafana 9.4 to 13 read."""
    board = made(tmp_path, SOURCE)
    assert (board["uid"], board["schemaVersion"], board["editable"]) == ("made-up", SCHEMA_VERSION, False)
    assert board["tags"] == ["deckrails", "mine"]
    assert [(panel["type"], panel["gridPos"]) for panel in board["panels"]] == [
        ("row", {"h": 1, "w": 24, "x": 0, "y": 0}),
        ("stat", {"h": 6, "w": 3, "x": 0, "y": 1}),
        ("text", {"h": 3, "w": 4, "x": 3, "y": 1}),
    ]
    assert "rows" not in board


def test_braces_of_queries_and_legends_survive(tmp_path):
    """What the builder would eat arrives as written, in panels, variables and annotations."""
    board = made(tmp_path, SOURCE)
    target = board["panels"][1]["targets"][0]
    assert (target["expr"], target["legendFormat"]) == ('up{job=~"a{1,2}"}', "{{job}}")
    assert board["templating"]["list"][1]["query"]["query"] == "label_values(up{job=~'a.*'}, instance)"
    assert board["annotations"]["list"][0]["expr"] == 'ALERTS{alertstate="firing"}'


def test_the_data_source_is_a_variable_everywhere(tmp_path):
    """Panel, target, variable and annotation ask the Prometheus that is chosen at the top."""
    board = made(tmp_path, SOURCE)
    wanted = {"type": "prometheus", "uid": "${datasource}"}
    stat = board["panels"][1]
    assert stat["datasource"] == stat["targets"][0]["datasource"] == wanted
    assert board["templating"]["list"][1]["datasource"] == wanted
    assert board["annotations"]["list"][0]["datasource"] == wanted
    assert board["templating"]["list"][0]["query"] == "prometheus"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("refresh: 5s", "refesh: 5s", "dashboard made-up: unknown key 'refesh'; did you mean refresh"),
        ('    description: "What is it for?"\n', "", "dashboard made-up: description is missing"),
        ("height: 6", "hight: 6", "row 'Line': unknown key 'hight'; did you mean height"),
        ("datasource: {}", "datasource: { uid: x }", "datasource: unknown key 'uid'"),
        ("label: Engine,", "labl: Engine,", "variable engine: unknown key 'labl'; did you mean label"),
        ("color: bad", "color: pink", "annotation Fires: colour 'pink': want one of good"),
        ("content:", "contents:", "text 'Note': unknown key 'contents'; did you mean content"),
        ("from: now-1h", "form: now-1h", "dashboard made-up: time: unknown key 'form'"),
    ],
)
def test_a_wrong_key_is_named(tmp_path, old, new, said):
    """A key that nobody reads raises at once and never builds a dashboard without it."""
    assert old in SOURCE
    with pytest.raises(DashboardError, match=said):
        made(tmp_path, SOURCE.replace(old, new, 1))
