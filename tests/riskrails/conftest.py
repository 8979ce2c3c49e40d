"""The profile `make mutants` runs under: few examples, because every mutant runs every test that meets it."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "mutants",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=12,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
)
