"""The stand-in for requests-kerberos satisfies the dashboard builder's metadata and refuses to be used."""

from __future__ import annotations

import importlib.metadata

import pytest
from packaging.requirements import Requirement
from requests_kerberos import HTTPKerberosAuth


def test_what_the_builder_requires_is_installed():
    """Every requirement of the builder is met here, so `pip check` has nothing to say about it."""
    required = importlib.metadata.requires("grafana-dashboard-builder") or []
    assert any(Requirement(line).name == "requests-kerberos" for line in required)
    for line in required:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate():
            version = importlib.metadata.version(requirement.name)
            assert requirement.specifier.contains(version, prereleases=True), line


def test_it_refuses_to_log_in():
    """Nobody believes to be authenticated by the stand-in."""
    assert importlib.metadata.version("requests-kerberos").endswith("+stub")
    with pytest.raises(RuntimeError, match="Kerberos login is not installed"):
        HTTPKerberosAuth()
