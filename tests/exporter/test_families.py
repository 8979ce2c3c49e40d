from __future__ import annotations

import pytest

from exporter.errors import Inconsistent
from exporter.families import LONG_HEADER, Family, Metric, compile_family, header


@pytest.mark.parametrize(("length", "is_kept"), [(LONG_HEADER - 1, True), (LONG_HEADER, False)])
def test_the_lines_of_a_long_help_text_are_not_kept(length: int, is_kept: bool) -> None:
    """Those of a usual one are made once; whatever the length, they say the same."""
    once, again = (header("m", "gauge", "h" * length) for _ in range(2))
    assert once == again == b"# HELP m %s\n# TYPE m gauge\n" % (b"h" * length)
    assert (once is again) == is_kept


MANY = 200_000
"""So many that looking for each among all before it would not end."""


def test_a_series_that_is_there_twice_is_found_among_many() -> None:
    """The first that came before is named, however many stand between."""
    metrics = [Metric((("i", str(i)),), i) for i in range(MANY)]
    family = Family("m", "gauge", None, (*metrics, *metrics[-1:], *metrics))
    with pytest.raises(Inconsistent, match=f'metric "m" m{{i="{MANY - 1}",instance=""}} was collected'):
        compile_family(family, [])


def test_a_bucket_that_is_there_twice_is_found_among_many() -> None:
    """The same of the lines of one histogram."""
    points = tuple((float(i), 0) for i in range(MANY))
    family = Family("h", "histogram", None, (Metric((), points=(*points, *points[-1:])),))
    with pytest.raises(Inconsistent, match='histogram "h" has two lines with le="199999"'):
        compile_family(family, [])
