"""Colours, limits, mappings and links are made from meanings, and a wrong one is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from grafana import fields
from grafana.errors import DashboardError
from grafana.verbatim import Verbatim


def test_an_unknown_key_names_its_neighbour():
    """A typo raises and says what was probably meant."""
    with pytest.raises(DashboardError, match="stat 'x': unknown key 'thresold'; did you mean thresholds"):
        fields.checked("stat 'x'", {"thresold": 1}, ("thresholds", "unit"))


def test_a_key_like_no_other_lists_the_choices():
    """A key without a neighbour gets the whole list."""
    with pytest.raises(DashboardError, match="want one of thresholds, unit"):
        fields.checked("stat 'x'", {"zzz": 1}, ("thresholds", "unit"))


def test_a_missing_key_is_named():
    """A panel without what it needs is not built."""
    with pytest.raises(DashboardError, match="unit is missing"):
        fields.checked("stat 'x'", {"title": "x"}, ("title", "unit"), ("unit",))


def test_what_is_no_mapping_is_refused():
    """A list where keys belong is refused with its place."""
    with pytest.raises(DashboardError, match=r"row: \[1\]: want a mapping"):
        fields.checked("row", [1], ("title",))


def test_merging_keeps_defaults_of_the_same_level():
    """Setting one nested option leaves the others, and the defaults themselves, as they are."""
    defaults: dict[str, Any] = {"legend": {"placement": "bottom", "calcs": []}, "showValue": "auto"}
    merged = fields.merged("x", defaults, {"legend": {"placement": "right"}})
    assert merged == {"legend": {"placement": "right", "calcs": []}, "showValue": "auto"}
    assert defaults["legend"]["placement"] == "bottom"


def test_merging_refuses_an_option_without_default():
    """An option Grafana would ignore is an error here."""
    with pytest.raises(DashboardError, match=r"x\.legend: unknown key 'placment'"):
        fields.merged("x", {"legend": {"placement": "bottom"}}, {"legend": {"placment": "right"}})


def test_a_value_that_is_not_there_is_grey():
    """With an empty base the lowest step, which Grafana gives to missing values, is the grey of no data."""
    steps = fields.thresholds("x", [["bad", None], ["good", 0]], empty_base=True)["steps"]
    assert steps[0] == {"color": fields.COLOURS["none"], "value": None}
    assert steps[1:] == [{"color": "red", "value": fields.ANYTHING}, {"color": "green", "value": 0}]


def test_limit_lines_need_no_grey_base():
    """On a chart the first step is unbounded as given."""
    steps = fields.thresholds("x", [["good", None], ["bad", 0.1]], empty_base=False)["steps"]
    assert steps == [{"color": "green", "value": None}, {"color": "red", "value": 0.1}]


def test_a_chart_whose_first_limit_has_a_bound_gets_a_base():
    """Grafana needs one step without a bound, and it is not green."""
    steps = fields.thresholds("x", [["bad", 0.1]], empty_base=False)["steps"]
    assert steps[0] == {"color": fields.COLOURS["none"], "value": None}


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([["good", 1], ["bad", 1]], "bounds that rise"),
        ([["good", 0], ["bad", None]], "only the first"),
        ([["lime", 0]], "colour 'lime': want one of good, watch, bad, plain, none"),
        (["good"], "want .meaning, lower bound."),
    ],
)
def test_wrong_thresholds_are_refused(pairs, said):
    """Falling bounds, a second open bound, a colour of one's own and a bare word are errors."""
    with pytest.raises(DashboardError, match=said):
        fields.thresholds("x", pairs, empty_base=True)


def test_no_value_is_mapped_last():
    """Null and NaN read NO DATA in grey, after the mappings given."""
    first, last = fields.mappings(
        "x", {0: {"text": "closed", "color": "good"}, 1: {"text": "OPEN"}}, empty=True
    )
    assert first["options"] == {
        "0": {"index": 0, "text": "closed", "color": "green"},
        "1": {"index": 1, "text": "OPEN"},
    }
    assert last["options"]["match"] == "null+nan"
    assert last["options"]["result"] == {"color": fields.COLOURS["none"], "index": 2, "text": "NO DATA"}
    assert [one["type"] for one in fields.mappings("x", None, empty=True)] == ["special"]


def test_names_are_not_mapped_to_no_data():
    """Grafana takes text for not a number, so a column of names has no mapping for what is not there."""
    assert fields.mappings("x", None, empty=False) == []


def test_a_link_keeps_time_data_source_and_chosen_variables():
    """A drill-down opens the same time range on the same data source, with the strategy clicked on."""
    link = {
        "title": "Open",
        "to": "trading-strategies",
        "with": {"strategy": Verbatim("${s}")},
        "keep": ["engine"],
    }
    assert fields.links("x", [link]) == [
        {
            "title": "Open",
            "url": "/d/trading-strategies?var-strategy=${s}"
            "&${datasource:queryparam}&${engine:queryparam}&${__url_time_range}",
            "targetBlank": False,
        }
    ]


def test_a_link_to_a_page_is_left_alone():
    """A URL of its own gets no parameters."""
    link = {"title": "Runbook", "url": Verbatim("/x/${name}.md"), "new_tab": True}
    assert fields.links("x", [link]) == [{"title": "Runbook", "url": "/x/${name}.md", "targetBlank": True}]


@pytest.mark.parametrize("link", [{"title": "t"}, {"title": "t", "to": "a", "url": "b"}])
def test_a_link_goes_to_one_place(link):
    """Neither nowhere nor two places."""
    with pytest.raises(DashboardError, match="either to or url"):
        fields.links("x", [link])


def test_a_cell_is_written_for_old_and_new_grafana():
    """Grafana 9 reads displayMode, 10 and later cellOptions."""
    old, new = fields.cell("x", "gauge")
    assert old == {"id": "custom.displayMode", "value": "gradient-gauge"}
    assert new["id"] == "custom.cellOptions"
    assert new["value"]["type"] == "gauge"
    with pytest.raises(DashboardError, match="cell 'bar': want one of"):
        fields.cell("x", "bar")


def test_an_override_has_one_matcher_and_known_keys():
    """What matches nothing, or twice, or sets an unknown property is refused."""
    [override] = fields.overrides(
        "x",
        [
            {
                "field": "PnL",
                "unit": "currencyUSD",
                "name": "P",
                "no_value": "–",
                "thresholds": [["good", 0]],
                "map": {0: {"text": "none"}},
                "color": "plain",
                "links": [{"title": "t", "url": "/u"}],
                "cell": "text",
                "custom": {"width": 80},
            }
        ],
        empty_base=True,
    )
    assert override["matcher"] == {"id": "byName", "options": "PnL"}
    assert [one["id"] for one in override["properties"]] == [
        *("unit", "displayName", "noValue", "thresholds", "mappings", "color", "links"),
        *("custom.displayMode", "custom.cellOptions", "custom.width"),
    ]
    for wrong, said in (
        ({"unit": "s"}, "want one of field, regex, query"),
        ({"feild": "a"}, "unknown key 'feild'"),
    ):
        with pytest.raises(DashboardError, match=said):
            fields.overrides("x", [wrong], empty_base=True)


def test_an_empty_map_says_no_data():
    """A column of numbers shows NO DATA in grey for what is no number."""
    [override] = fields.overrides("x", [{"field": "PnL", "map": {}}], empty_base=True)
    [mapping] = override["properties"][0]["value"]
    assert mapping["options"]["result"] == {"color": fields.COLOURS["none"], "index": 0, "text": "NO DATA"}


def test_colour_modes_are_by_series_by_value_or_a_meaning():
    """The three ways to colour a field."""
    assert fields.color_mode("x", "palette") == {"mode": "palette-classic"}
    assert fields.color_mode("x", "thresholds") == {"mode": "thresholds"}
    assert fields.color_mode("x", "bad") == {"mode": "fixed", "fixedColor": "red"}
