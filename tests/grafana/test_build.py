"""What is committed is what the sources build, and the command says when it is not."""

from __future__ import annotations

import json

import pytest

from grafana.build import JSON, build, main, render
from grafana.errors import DashboardError
from tests.grafana.boards import UIDS


def test_rebuilding_finds_no_difference():
    """Each committed dashboard is, byte for byte, what its YAML builds; none is missing or left over."""
    built = {uid: render(board) for uid, board in build().items()}
    committed = {path.stem: path.read_text(encoding="utf-8") for path in JSON.glob("*.json")}
    assert committed == built
    assert set(built) == set(UIDS)


def test_building_twice_gives_the_same():
    """Nothing depends on the clock, the order of a set or a counter that goes on."""
    assert build() == build()


def test_the_command_writes_what_changed_and_removes_what_is_gone(tmp_path, capsys):
    """A fresh folder gets all dashboards, a second run changes none, a stranger's JSON goes."""
    out = tmp_path / "json"
    assert main(["--out", str(out)]) == 0
    assert sorted(path.stem for path in out.glob("*.json")) == sorted(UIDS)
    (out / "old.json").write_text("{}", encoding="utf-8")
    assert main(["--out", str(out)]) == 0
    assert "6 built, 1 changed" in capsys.readouterr().out
    assert not (out / "old.json").exists()


def test_the_check_names_what_is_stale(tmp_path, capsys):
    """--check changes nothing, names the file and fails; on the committed JSON it passes."""
    assert main(["--check"]) == 0
    main(["--out", str(tmp_path)])
    stale = tmp_path / "allocator.json"
    stale.write_text("{}", encoding="utf-8")
    assert main(["--check", "--out", str(tmp_path)]) == 1
    assert "allocator.json is out of date: run `make dashboards`" in capsys.readouterr().err
    assert stale.read_text(encoding="utf-8") == "{}"


def test_no_dashboard_at_all_is_an_error(tmp_path):
    """An empty folder does not quietly build nothing."""
    with pytest.raises(DashboardError, match="no project lists a dashboard"):
        build(tmp_path)


def test_a_dashboard_of_two_projects_is_refused(tmp_path):
    """Two files would be written to one name."""
    text = "- name: a\n  project: { dashboards: [x] }\n- name: b\n  project: { dashboards: [x] }\n"
    body = (
        "- name: x\n  dashboard:\n    { title: x, description: x, tags: [], refresh: 5s, "
        "time: { from: now-1h, to: now }, templates: [], annotations: [], rows: [] }\n"
    )
    (tmp_path / "two.yaml").write_text(text + body, encoding="utf-8")
    with pytest.raises(DashboardError, match="dashboard x is in two projects"):
        build(tmp_path)


def test_the_text_is_sorted_and_ends_in_a_newline():
    """Diffs show what changed and nothing else; letters stay letters."""
    assert render({"b": "−", "a": 1}) == '{\n  "a": 1,\n  "b": "−"\n}\n'
    with pytest.raises(ValueError, match="JSON compliant"):
        render({"a": json.loads("NaN")})
