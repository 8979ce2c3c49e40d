"""Examples in docstrings run."""

from __future__ import annotations

import doctest
from types import ModuleType

import numpy as np
import pytest

from allocator import policy, simplex


@pytest.mark.parametrize("module", [policy, simplex], ids=lambda module: module.__name__)
def test_the_examples_in_docstrings_are_true(module: ModuleType):
    """What a docstring shows is what comes out."""
    ran = doctest.testmod(module, extraglobs={"np": np})
    assert ran.attempted > 0
    assert ran.failed == 0
