from __future__ import annotations

import re
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from exporter.catalogue import CATALOGUE
from scripts.native import find_program
from scripts.render import seconds
from tests.prometheus.rulebook import (
    ALERT_NAMES,
    ALERTS,
    DASHBOARDS,
    GROUPS,
    RECORDS,
    ROOT,
    RULE_FILES,
    SOURCE,
    TEST_FILES,
    load,
    names_in,
)

FOREIGN = {
    # What Prometheus and Alertmanager say of themselves; test_stack.py finds each on the live servers.
    "up",
    "ALERTS",
    "scrape_duration_seconds",
    "prometheus_config_last_reload_successful",
    "prometheus_rule_evaluation_failures_total",
    "prometheus_rule_group_iterations_missed_total",
    "prometheus_notifications_dropped_total",
    "prometheus_notifications_alertmanagers_discovered",
    "prometheus_tsdb_reloads_failures_total",
    "prometheus_tsdb_compactions_failed_total",
    "prometheus_tsdb_wal_corruptions_total",
    "prometheus_target_scrapes_sample_out_of_order_total",
    "prometheus_target_scrapes_sample_duplicate_timestamp_total",
    "prometheus_target_scrapes_sample_out_of_bounds_total",
    "alertmanager_config_last_reload_successful",
    "alertmanager_notifications_failed_total",
}
FORMS = sorted({(rule["alert"], rule["labels"]["severity"]) for rule in ALERTS})


def promtool(*argv: str) -> str:
    done = subprocess.run([find_program("promtool"), *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def known_names() -> set[str]:
    """Every name a rule may use: the catalogue, parts of histograms and summaries, and recorded series."""
    names = {rule["record"] for rule in RECORDS} | FOREIGN
    for entry in CATALOGUE.values():
        names.add(entry.name)
        if entry.kind in ("histogram", "summary"):
            names |= {entry.name + suffix for suffix in ("_bucket", "_sum", "_count")}
    return names


def test_the_configuration_is_valid() -> None:
    """Prometheus would start with the committed files."""
    promtool("check", "config", str(SOURCE / "prometheus.yml"))


def test_the_rules_pass_every_lint() -> None:
    """No rule stands twice, and every expression parses."""
    promtool("check", "rules", "--lint=all", "--lint-fatal", *map(str, RULE_FILES))


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.stem)
def test_the_rules_do_what_their_unit_tests_say(path: Path) -> None:
    """Each alert fires when it should and is quiet when it should; each record has its value."""
    promtool("test", "rules", str(path))


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.stem)
def test_unit_tests_evaluate_the_groups_in_order(path: Path) -> None:
    """The groups of a unit test run in the order of the files, all of them."""
    content = load(path)
    files = [SOURCE / "tests" / name for name in content["rule_files"]]
    assert content["group_eval_order"] == [group["name"] for file in files for group in load(file)["groups"]]


UNIT_TESTS: list[dict[str, Any]] = [test for path in TEST_FILES for test in load(path)["tests"]]


def cases() -> list[dict[str, Any]]:
    return [case for test in UNIT_TESTS for case in test.get("alert_rule_test", [])]


@pytest.mark.parametrize(("alert", "severity"), FORMS)
def test_every_form_of_an_alert_has_a_unit_test_that_fires(alert: str, severity: str) -> None:
    """Each severity of each alert is seen firing, with its annotations."""
    fired = [
        found
        for case in cases()
        if case["alertname"] == alert
        for found in case["exp_alerts"]
        if found["exp_labels"]["severity"] == severity
    ]
    assert fired
    assert all({"summary", "description", "runbook_url"} <= set(found["exp_annotations"]) for found in fired)


@pytest.mark.parametrize("alert", [name for name in ALERT_NAMES if name != "Watchdog"])
def test_every_alert_has_a_unit_test_that_stays_quiet(alert: str) -> None:
    """Each alert is seen quiet; the watchdog alone never is."""
    assert [case for case in cases() if case["alertname"] == alert and not case["exp_alerts"]]


@pytest.mark.parametrize("record", sorted(rule["record"] for rule in RECORDS))
def test_every_record_has_a_unit_test(record: str) -> None:
    """Each recording rule is compared with a value worked out by hand."""
    expressions = [
        case["expr"]
        for test in UNIT_TESTS
        for case in test.get("promql_expr_test", [])
        if case["exp_samples"]
    ]
    assert [expr for expr in expressions if record in names_in(expr)]


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
def test_an_alert_says_who_is_called_and_where_to_look(rule: dict[str, Any]) -> None:
    """Severity, component, summary, description, a runbook that exists and a dashboard that exists."""
    labels, notes = rule["labels"], rule["annotations"]
    assert labels["severity"] in ("critical", "warning", "info", "none")
    assert labels["component"] in (
        "engine",
        "riskrails",
        "allocator",
        "exporter",
        "prometheus",
        "alertmanager",
    )
    assert notes["summary"] and notes["description"]
    assert notes["runbook_url"] == f"docs/runbooks/{rule['alert']}.md"
    assert (ROOT / notes["runbook_url"]).is_file()
    assert notes["dashboard_uid"] in DASHBOARDS


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
def test_no_label_of_an_alert_holds_a_value(rule: dict[str, Any]) -> None:
    """A reading in a label would make a new alert, and a new page, of every reading."""
    assert "$value" not in str(rule["labels"])
    assert "{{" not in str(rule["labels"])


@pytest.mark.parametrize("rule", [*ALERTS, *RECORDS], ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_uses_names_that_exist(rule: dict[str, Any]) -> None:
    """No rule waits for a metric that the catalogue lacks."""
    assert names_in(rule["expr"]) - known_names() == set()


def test_the_names_in_an_expression_are_found() -> None:
    """The check above sees every metric name and no label, function, range or text."""
    expr = (
        'sum by (job) (rate(a_total{x=~"b|c", y!="d_total"}[5m])) / on (job) k:l:m offset 5m > 2 or absent(e)'
    )
    assert names_in(expr) == {"a_total", "k:l:m", "e"}


def test_no_rule_matches_a_bucket_bound() -> None:
    """`le="1"` is written `le="1.0"` since Prometheus 3: a literal bound matches on one version only."""
    assert [rule["expr"] for rule in (*ALERTS, *RECORDS) if re.search(r"\ble\s*[=!]", rule["expr"])] == []


def test_no_rule_counts_what_may_be_none() -> None:
    """`count(x == 1)` is empty rather than 0 when nothing matches."""
    assert [
        rule["expr"] for rule in (*ALERTS, *RECORDS) if re.search(r"count\s*\([^)]*==", rule["expr"])
    ] == []


def test_every_range_is_at_least_four_scrapes() -> None:
    """Since Prometheus 3 a range leaves out its left end, so a short one may hold one sample, and no rate."""
    config = load(SOURCE / "prometheus.yml")
    slowest = seconds(config["global"]["scrape_interval"])
    engine = max(
        seconds(job["scrape_interval"]) for job in config["scrape_configs"] if job["job_name"] == "exporter"
    )
    for rule in (*ALERTS, *RECORDS):
        for found in re.findall(r"\[(\w+)\]", rule["expr"]):
            scraped = {"trading", "riskrails", "exporter"} & {
                name.split("_")[0] for name in names_in(rule["expr"])
            }
            assert seconds(found) >= 4 * (engine if scraped else slowest), rule


def test_what_is_counted_outlasts_the_wait() -> None:
    """An event stays in its window longer than the alert waits, or a single one would never fire."""
    for rule in ALERTS:
        for found in re.findall(r"increase\([^]]*\[(\w+)\]\)+\s*\)*\s*>", rule["expr"]):
            assert seconds(found) > seconds(rule.get("for", "0s")), rule


def test_what_an_engine_reports_is_gated_by_the_age_of_its_push() -> None:
    """A pushed gauge is scraped for ever; no alert believes one without looking at its age."""
    ungated = {"trading_breaker_open"}  # what a dead engine left open is open
    gauges = {
        entry.name
        for entry in CATALOGUE.values()
        if entry.owner in ("pushed", "riskrails") and entry.kind in ("gauge", "summary")
    } - ungated
    for rule in (*ALERTS, *RECORDS):
        if names_in(rule["expr"]) & gauges:
            assert "(job_instance:push_time_seconds:age < 60)" in rule["expr"], rule


def test_the_scrape_limits_are_those_of_the_configuration() -> None:
    """ScrapeNearTimeout speaks at four fifths of the timeouts that are configured."""
    config = load(SOURCE / "prometheus.yml")
    exporter = next(job for job in config["scrape_configs"] if job["job_name"] == "exporter")
    (rule,) = [rule for rule in ALERTS if rule["alert"] == "ScrapeNearTimeout"]
    limits = [float(found) for found in re.findall(r"> ([\d.]+)", rule["expr"])]
    assert limits == pytest.approx(
        [0.8 * seconds(exporter["scrape_timeout"]), 0.8 * seconds(config["global"]["scrape_timeout"])]
    )


def test_a_milder_form_has_the_milder_limit() -> None:
    """Where an alert has two forms the critical one asks for more, with the same expression otherwise."""
    for first, second in pairwise(ALERTS):
        if first["alert"] == second["alert"]:
            assert (first["labels"]["severity"], second["labels"]["severity"]) == ("warning", "critical")
            number = re.compile(r"(?<=[<>] )-?[\d.]+")
            assert number.sub("N", first["expr"]) == number.sub("N", second["expr"])
            limits = [abs(float(number.findall(rule["expr"])[0])) for rule in (first, second)]
            assert limits[0] < limits[1]


def test_groups_have_names_of_their_own() -> None:
    """A group name stands once, so that group_eval_order and the dashboards mean one thing."""
    names = [group["name"] for group in GROUPS]
    assert len(names) == len(set(names))
