"""Provisioning gives Grafana our data sources under fixed uids and our dashboards in one folder."""

from __future__ import annotations

import re
from typing import Any

import yaml

from grafana.components import DATASOURCE_UID
from tests.grafana.boards import ROOT

PROVISIONING = ROOT / "grafana" / "provisioning"
DATASOURCES = PROVISIONING / "datasources" / "deckrails.yaml"
DASHBOARDS = PROVISIONING / "dashboards" / "deckrails.yaml"


def datasources() -> dict[str, dict[str, Any]]:
    loaded = yaml.safe_load(DATASOURCES.read_text(encoding="utf-8"))
    return {one["type"]: one for one in loaded["datasources"]}


def test_prometheus_has_the_uid_the_dashboards_ask_for():
    """Panels find the provisioned Prometheus without anyone choosing it, and nobody edits it."""
    source = datasources()["prometheus"]
    assert (source["uid"], source["isDefault"], source["editable"]) == (DATASOURCE_UID, True, False)
    assert source["jsonData"]["manageAlerts"] is True
    assert "timeInterval" in source["jsonData"]


def test_alertmanager_stands_beside_it():
    """Prometheus's alerts lead to the Alertmanager that has them, of Prometheus's kind."""
    found = datasources()
    source = found["alertmanager"]
    assert found["prometheus"]["jsonData"]["alertmanagerUid"] == source["uid"]
    assert source["jsonData"]["implementation"] == "prometheus"


def test_dashboards_come_from_a_folder_and_stay_as_built():
    """The provider reads the built JSON; nobody changes or deletes what the next build would bring back."""
    [provider] = yaml.safe_load(DASHBOARDS.read_text(encoding="utf-8"))["providers"]
    assert (provider["allowUiUpdates"], provider["disableDeletion"]) == (False, True)
    assert (provider["folder"], provider["options"]["path"]) == ("Deckrails", "${DASHBOARDS_PATH}")


def test_no_address_is_written_down():
    """The same files serve the native stack and compose: addresses and paths come from the environment."""
    for path in (DATASOURCES, DASHBOARDS):
        text = path.read_text(encoding="utf-8")
        code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
        assert not re.search(r"https?://|localhost|:\d{4}", code), path


def test_each_variable_is_explained_where_it_is_used():
    """Grafana has no defaults for variables, so whoever starts it finds in the file what to set."""
    names = set()
    for path in (DATASOURCES, DASHBOARDS):
        text = path.read_text(encoding="utf-8")
        used = set(re.findall(r"\$\{(\w+)\}", text))
        comments = "\n".join(line for line in text.splitlines() if line.lstrip().startswith("#"))
        assert all(name in comments for name in used), path
        names |= used
    assert names == {"PROMETHEUS_URL", "ALERTMANAGER_URL", "SCRAPE_INTERVAL", "DASHBOARDS_PATH"}
