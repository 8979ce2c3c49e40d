"""Fixtures that every part shares."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# One profile everywhere: no deadline (speed is a benchmark), reproducible runs.
settings.register_profile(
    "deckrails", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("deckrails")
