"""Braces survive the builder where they are tagged, and are refused where they are not."""

from __future__ import annotations

import pytest
import yaml
from grafana_dashboards.gdbyaml import GDBLoader

from grafana.errors import DashboardError
from grafana.verbatim import Verbatim, plain


def test_a_tagged_scalar_keeps_its_braces():
    """`!promql` yields a value that the builder does not expand, on one line."""
    loaded = yaml.load('expr: !promql >-\n  sum(x{a=~"b.*"})\n  > 0\n', GDBLoader)  # noqa: S506 - our own text
    assert loaded["expr"] == Verbatim('sum(x{a=~"b.*"}) > 0')
    assert plain(loaded["expr"], "here") == 'sum(x{a=~"b.*"}) > 0'


def test_an_untagged_brace_is_refused():
    """A legend that already lost one pair of braces is not shown as if it were meant so."""
    with pytest.raises(DashboardError, match=r"legend: '\{strategy\}' has braces.*!promql"):
        plain("{strategy}", "legend")


def test_what_is_no_text_is_refused():
    """A number or a list where text belongs is named with its place."""
    with pytest.raises(DashboardError, match="title: 3: want text"):
        plain(3, "title")
