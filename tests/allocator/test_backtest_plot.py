"""The picture of a backtest."""

from __future__ import annotations

import pytest

from allocator.backtest import replay
from allocator.backtest_plot import draw
from allocator.decision import Limits
from tests.allocator.test_backtest import past


@pytest.fixture(scope="module")
def done():
    return replay(past(60), Limits())


def test_a_png_is_a_png(done, tmp_path):
    """The file begins as a PNG does."""
    draw(done, tmp_path / "out.png", "table")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_a_page_stands_alone(done, tmp_path):
    """Drawing and table in one file that loads nothing."""
    draw(done, tmp_path / "out.html", "a < b")
    page = (tmp_path / "out.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "<svg" in page
    assert "<pre>a &lt; b</pre>" in page
    assert "<script" not in page
    assert 'src="http' not in page
