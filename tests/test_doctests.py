"""Examples in docstrings run."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest

from scripts.native import ROOT

MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("allocator", "deckrails", "exporter", "riskrails", "scripts")
    for path in (ROOT / package).rglob("*.py")
    if ">>> " in path.read_text()
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_are_true(name: str) -> None:
    """What a docstring shows is what comes out."""
    ran = doctest.testmod(importlib.import_module(name), extraglobs={"np": np})
    assert ran.attempted > 0
    assert ran.failed == 0
