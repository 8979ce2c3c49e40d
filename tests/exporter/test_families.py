from __future__ import annotations

import pytest

from exporter.families import LONG_HEADER, header


@pytest.mark.parametrize(("length", "is_kept"), [(LONG_HEADER - 1, True), (LONG_HEADER, False)])
def test_the_lines_of_a_long_help_text_are_not_kept(length: int, is_kept: bool) -> None:
    """Those of a usual one are made once; whatever the length, they say the same."""
    once, again = (header("m", "gauge", "h" * length) for _ in range(2))
    assert once == again == b"# HELP m %s\n# TYPE m gauge\n" % (b"h" * length)
    assert (once is again) == is_kept
