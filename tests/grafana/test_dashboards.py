"""The committed dashboards keep the house rules: they read well and never look healthy without data."""

from __future__ import annotations

import itertools
import re

import pytest
import yaml
from _pytest.mark import ParameterSet
from grafana_foundation_sdk.models import units

from exporter.catalogue import CATALOGUE
from grafana.components import DATASOURCE_UID
from grafana.fields import COLOURS
from tests.grafana import boards

KNOWN_UNITS = {
    value for name, value in vars(units).items() if not name.startswith("_") and isinstance(value, str)
}
PANEL_TYPES = {
    *("timeseries", "stat", "gauge", "bargauge", "piechart", "barchart", "state-timeline", "status-history"),
    *("table", "heatmap", "text"),
}
PANELS = [pytest.param(panel, id=name) for name, panel in boards.all_panels()]


def asking(*types: str) -> list[ParameterSet]:
    """The panels that query, of some plugins or of all."""
    found = [one for one in boards.all_panels() if one[1]["type"] != "text"]
    return [pytest.param(panel, id=name) for name, panel in found if not types or panel["type"] in types]


ASKING = asking()
COUNTERS = re.compile(r"\b(?:rate|increase|irate|delta|deriv|idelta|\w+_over_time)\s*\(")
WINDOWS = re.compile(r"\[([^\]:]+)(?::[^\]]*)?\]")


def test_uids_are_unique_and_titles_too():
    """Links and alerts name a dashboard by uid, people by title."""
    found = [boards.dashboard(uid) for uid in boards.UIDS]
    assert [board["uid"] for board in found] == list(boards.UIDS)
    assert len({board["title"] for board in found}) == len(boards.UIDS)
    assert all(board["description"].endswith("?") or "?" in board["description"] for board in found)


@pytest.mark.parametrize("uid", boards.UIDS)
def test_nobody_edits_what_is_built(uid):
    """Changes in the browser would be lost at the next start, so they are not offered."""
    board = boards.dashboard(uid)
    assert board["editable"] is False
    assert board["schemaVersion"] == 39
    assert "rows" not in board
    assert "deckrails" in board["tags"]


@pytest.mark.parametrize("uid", boards.UIDS)
def test_no_two_panels_overlap_and_no_line_has_a_hole(uid):
    """Every grid cell from the top to the bottom belongs to exactly one open panel."""
    taken: set[tuple[int, int]] = set()
    bottom = 0
    for panel in boards.dashboard(uid)["panels"]:
        position = panel["gridPos"]
        cells = set(
            itertools.product(
                range(position["x"], position["x"] + position["w"]),
                range(position["y"], position["y"] + position["h"]),
            )
        )
        assert not cells & taken, panel["title"]
        taken |= cells
        bottom = max(bottom, position["y"] + position["h"])
    assert taken == set(itertools.product(range(24), range(bottom)))


@pytest.mark.parametrize("uid", boards.UIDS)
def test_panel_ids_are_unique(uid):
    """Grafana addresses a panel by its id."""
    ids = [panel["id"] for panel in boards.panels(boards.dashboard(uid), rows=True)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_shows_and_what_to_do(panel):
    """A title, a description of more than a phrase, and a plugin that every Grafana from 9.4 on has."""
    assert panel["type"] in PANEL_TYPES
    assert panel["title"].strip()
    assert len(panel["description"]) > 60
    assert panel["description"].rstrip().endswith(".")


@pytest.mark.parametrize("panel", ASKING)
def test_a_panel_has_a_known_unit_and_says_no_data(panel):
    """Units are Grafana's own ids, in the panel and in its overrides; nothing shown is a blank."""
    config = panel["fieldConfig"]
    given = [config["defaults"]["unit"]] + [
        one["value"]
        for override in config["overrides"]
        for one in override["properties"]
        if one["id"] == "unit"
    ]
    assert set(given) <= KNOWN_UNITS
    # On a log axis Grafana 9 would write it at every tick without a number.
    log = config["defaults"]["custom"].get("scaleDistribution", {}).get("type") == "log"
    assert config["defaults"].get("noValue") == (None if log else "NO DATA")


@pytest.mark.parametrize("panel", ASKING)
def test_data_sources_are_objects_that_name_the_variable(panel):
    """No panel is nailed to one Prometheus, and none names a data source by a string."""
    wanted = {"type": "prometheus", "uid": "${datasource}"}
    assert panel["datasource"] == wanted
    assert all(target["datasource"] == wanted for target in panel["targets"])


@pytest.mark.parametrize("panel", ASKING)
def test_every_query_has_a_legend(panel):
    """No raw label set is shown as a name; query letters are unique."""
    assert all(target["legendFormat"].strip() for target in panel["targets"])
    letters = [target["refId"] for target in panel["targets"]]
    assert len(letters) == len(set(letters))


@pytest.mark.parametrize("panel", asking("timeseries"))
def test_a_legend_with_several_series_tells_them_apart(panel):
    """A query that groups by labels shows one of those labels in its legend."""
    for target in panel["targets"]:
        grouped = re.match(r"^(?:[\d.]+ \* \(?)?(?:sum|max|min) by \(([^)]*)\)", target["expr"])
        if grouped:
            labels = [label.strip() for label in grouped.group(1).split(",")]
            assert all(f"{{{{{label}}}}}" in target["legendFormat"] for label in labels), target["expr"]


@pytest.mark.parametrize("panel", asking(*boards.SINGLE_VALUE))
def test_what_is_true_now_is_asked_now(panel):
    """A value outlives its engine only if it is the last of a range, so none is."""
    assert all(target["instant"] and not target["range"] for target in panel["targets"])


@pytest.mark.parametrize("panel", asking(*boards.MONEY_AND_STATE))
def test_no_data_is_grey(panel):
    """The step that Grafana gives to a missing value, here and in every override, is the grey of no data."""
    config = panel["fieldConfig"]
    given = [config["defaults"]["thresholds"]] + [
        one["value"]
        for override in config["overrides"]
        for one in override["properties"]
        if one["id"] == "thresholds"
    ]
    assert [limits["steps"][0] for limits in given] == [{"color": COLOURS["none"], "value": None}] * len(
        given
    )


@pytest.mark.parametrize("panel", ASKING)
def test_colours_are_the_palette_of_meanings(panel):
    """Green, orange, red, blue and grey mean the same on every dashboard, and there are no others."""
    found = set(re.findall(r"'(?:color|fixedColor)': '([^']+)'", repr(panel["fieldConfig"])))
    assert found <= set(COLOURS.values())


@pytest.mark.parametrize("uid", boards.UIDS)
def test_missing_is_never_turned_into_zero(uid):
    """No query replaces what is not there by a number."""
    for target in boards.targets(uid):
        assert not re.search(r"\bor\b[^)]*\bvector\s*\(", target.expr), target.where
        assert "absent(" not in target.expr, target.where


@pytest.mark.parametrize("uid", boards.UIDS)
def test_rates_use_the_interval_of_the_page(uid):
    """A rate's window is $__rate_interval, unless the panel's title or text names a fixed hour or day."""
    for target in boards.targets(uid):
        windows = WINDOWS.findall(target.expr)
        assert bool(COUNTERS.search(target.expr)) == bool(windows), target.where
        for window in windows:
            if window == "$__rate_interval":
                continue
            text = f"{target.panel['title']} {target.panel['description']}"
            named = {"1d": "24 h", "1h": "hour"}[window]
            assert named in text or named.replace(" h", " hours") in text, target.where


@pytest.mark.parametrize("uid", boards.UIDS)
def test_each_variable_is_there_and_is_used(uid):
    """Queries and links name variables that exist, and no variable does nothing."""
    board = boards.dashboard(uid)
    known = set(boards.variables(board))
    used = {"datasource"}
    for target in boards.targets(uid):
        used |= boards.used_variables(target.expr)
    used |= {panel["repeat"] for panel in boards.panels(board) if "repeat" in panel}
    for _, url in boards.links(uid):
        assert boards.used_variables(url) <= known, url
    assert used == known


@pytest.mark.parametrize("uid", boards.UIDS)
def test_the_data_source_variable_starts_at_the_provisioned_one(uid):
    """The first variable is the Prometheus that provisioning gives a fixed uid."""
    first = boards.dashboard(uid)["templating"]["list"][0]
    assert (first["type"], first["name"], first["query"]) == ("datasource", "datasource", "prometheus")
    assert first["current"]["value"] == DATASOURCE_UID


def test_links_lead_to_dashboards_and_variables_that_exist():
    """Every drill-down opens one of ours, sets variables it has, and keeps time and data source."""
    found = [link for uid in boards.UIDS for link in boards.links(uid)]
    assert len(found) > 5
    for where, url in found:
        match = re.fullmatch(r"/d/([a-z-]+|\$\{__data\.fields\.dashboard\}|\$\{__value\.raw\})\?(.*)", url)
        assert match, f"{where}: {url}"
        uid, query = match.groups()
        assert "${__url_time_range}" in query, where
        assert "${datasource:queryparam}" in query, where
        if not uid.startswith("$"):
            assert uid in boards.UIDS, where
            wanted = set(re.findall(r"var-(\w+)=|\$\{(\w+):queryparam\}", query))
            names = {one or other for one, other in wanted}
            assert names <= set(boards.variables(boards.dashboard(uid))), where


@pytest.mark.parametrize("uid", boards.UIDS)
def test_every_dashboard_leads_to_the_others(uid):
    """The list at the top goes to all dashboards of ours, with the same time and variables."""
    [link] = boards.dashboard(uid)["links"]
    assert (link["type"], link["tags"], link["keepTime"], link["includeVars"]) == (
        "dashboards",
        ["deckrails"],
        True,
        True,
    )


def test_the_deck_shows_what_was_promised():
    """The top row answers "are we OK?", then come breakers and a line for each strategy with its link."""
    board = boards.dashboard("trading-overview")
    assert board["refresh"] == "5s"
    top = [panel["title"] for panel in board["panels"] if panel["gridPos"]["y"] == 0]
    assert top == [
        *(
            "Equity, USD",
            "PnL 24 h",
            "PnL / equity",
            "Drawdown",
            "Open breakers",
            "Rails",
            "Push age",
            "Firing alerts",
        ),
    ]
    titles = [panel["title"] for panel in board["panels"]]
    assert titles[8:11] == ["Breakers", "Strategy deck", "Risk shares"]
    deck = board["panels"][9]
    assert deck["type"] == "table"
    renamed = deck["transformations"][1]["options"]
    columns = [
        renamed["renameByName"][name]
        for name, _ in sorted(renamed["indexByName"].items(), key=lambda i: i[1])
    ]
    assert columns[:3] == ["Strategy", "PnL", "Risk share"]
    urls = [url for where, url in boards.links("trading-overview") if "Strategy deck" in where]
    [page] = [url.split("&")[0] for url in urls]
    assert page == "/d/trading-strategies?var-strategy=${__value.raw:percentencode}"


def test_pushed_gauges_are_forgotten_with_their_engine():
    """A pushed gauge never goes stale by itself, so each query gates it by the age of its push."""
    gauges = re.compile(
        r"\b(trading_(?:equity_usd|pnl_24h_usd|drawdown_ratio|tick_latency_seconds|error_ratio|breaker_open"
        r"|strategy_\w+)|riskrails_cap_utilization_ratio)\{"
    )
    seen = 0
    for uid in boards.UIDS:
        for target in boards.targets(uid):
            # What is multiplied by NaN is a name, not a value.
            if gauges.search(re.sub(r"NaN \* .*", "", target.expr)):
                seen += 1
                assert "job_instance:push_time_seconds:age < 60" in target.expr, target.where
    assert seen > 10


def alert_rules() -> dict[str, set[str]]:
    """Alert name to the dashboards its rules name."""
    found: dict[str, set[str]] = {}
    for path in sorted((boards.ROOT / "prometheus" / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    found.setdefault(rule["alert"], set()).add(rule["annotations"]["dashboard_uid"])
    return found


def test_each_alert_names_a_dashboard_that_exists():
    """The page a pager links to is there."""
    named = set().union(*alert_rules().values())
    assert named
    assert named <= set(boards.UIDS)


def test_the_table_of_alerts_leads_where_the_alerts_say():
    """Labels carry no annotations, so the table derives the dashboard from the name; both must agree."""
    [expr] = [one.expr for one in boards.targets("trading-risk") if "Firing alerts" in one.where]
    steps = re.findall(r'"dashboard", "([^"]+)", "alertname", "([^"]+)"', expr)
    assert {uid for uid, _ in steps} == set(boards.UIDS)
    for alert, wanted in alert_rules().items():
        [uid] = [uid for uid, names in steps if re.fullmatch(names, alert)][-1:]
        assert {uid} == wanted, alert


def test_every_metric_exists():
    """Queries name metrics of the catalogue, recording rules, and what Prometheus and Alertmanager show."""
    rules = boards.ROOT / "prometheus" / "rules"
    recorded = {
        rule["record"]
        for path in rules.glob("*.yml")
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
        if "record" in rule
    }
    suffixed = {
        name + suffix
        for name, entry in CATALOGUE.items()
        if entry.kind in ("histogram", "summary")
        for suffix in ("_bucket", "_sum", "_count")
    }
    own = {"up", "ALERTS", "ALERTS_FOR_STATE", "scrape_duration_seconds"}
    watchers = re.compile(r"(?:prometheus|alertmanager)_\w+")
    known = set(CATALOGUE) | suffixed | recorded | own
    for uid in boards.UIDS:
        for target in boards.targets(uid):
            bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(?:by|on|ignoring)\s*\([^)]*\)', " ", target.expr)
            names = set(re.findall(r"[A-Za-z_:][\w:]*(?!\s*\()\b(?!\s*\()", bare)) - {
                "and",
                "or",
                "unless",
                "bool",
                "NaN",
            }
            assert names, target.where
            unknown = {name for name in names - known if not watchers.fullmatch(name)}
            assert not unknown, f"{target.where}: {unknown}"
