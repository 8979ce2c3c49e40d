"""Fixtures that every part shares."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

# One profile everywhere: no deadline (speed is a benchmark), reproducible runs.
settings.register_profile(
    "deckrails", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("deckrails")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A test that runs a service's main leaves no logger behind that writes to its captured streams."""
    yield
    structlog.reset_defaults()
    logging.getLogger("deckrails").handlers.clear()
