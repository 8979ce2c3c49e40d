"""The data file and what counts as a bar."""

from __future__ import annotations

import gzip
import math
from itertools import pairwise
from pathlib import Path

import pytest

from examples.market_data import Bar, DataError, load_bars, position_of
from tests.examples.bars import bar, walk


def test_the_data_holds_every_hour_and_its_known_peak() -> None:
    """20,111 hours without a gap, as its note says; December 2017 touched 19,891.99 USD."""
    bars = load_bars()
    assert len(bars) == 20_111
    assert {after.time - before.time for before, after in pairwise(bars)} == {3600.0}
    assert sum(b.volume_btc == 0.0 for b in bars) == 28
    peak = max(bars, key=lambda b: b.high)
    assert 19_800.0 < peak.high < 20_000.0
    assert position_of(bars, "2017-12-01") < bars.index(peak) < position_of(bars, "2018-01-01")


@pytest.mark.parametrize(
    "prices",
    [(1.0, 0.9, 0.8, 0.85), (1.0, 1.1, 1.05, 1.0), (0.0, 1.0, 0.0, 1.0), (math.nan, 1.0, 1.0, 1.0)],
)
def test_prices_that_contradict_each_other_are_no_bar(prices: tuple[float, float, float, float]) -> None:
    """A high below the open would fill stops that never traded."""
    with pytest.raises(DataError, match="prices"):
        Bar(0.0, *prices, 1.0)


@pytest.mark.parametrize("volume", [-1.0, math.nan, math.inf])
def test_a_volume_that_cannot_be_is_no_bar(volume: float) -> None:
    """Volume sizes orders; it is checked at birth."""
    with pytest.raises(DataError, match="volume"):
        Bar(0.0, 1.0, 1.0, 1.0, 1.0, volume)


def test_a_broken_row_is_named_with_its_line(tmp_path: Path) -> None:
    """Whoever brings a file of their own hears where it is wrong."""
    place = tmp_path / "bars.csv.gz"
    head = "time,open,high,low,close,volume_btc\n"
    with gzip.open(place, "wt") as stream:
        stream.write(head + "2017-07-01T11:00:00Z,1,2,0.5,1,10\n2017-07-01T12:00:00Z,1,2,x,1,10\n")
    with pytest.raises(DataError, match="line 3"):
        load_bars(place)
    with gzip.open(place, "wt") as stream:
        stream.write(head + "2017-07-01T11:00:00Z,1,2,0.5,1,10\n" * 2)
    with pytest.raises(DataError, match="want later ones"):
        load_bars(place)


def test_a_start_outside_the_data_is_refused_with_its_end() -> None:
    """No date and a date too late are told apart from an empty replay."""
    bars = walk(48)
    assert position_of(bars, "2017-12-02") == 24
    assert position_of(bars, "2001-01-01") == 0
    with pytest.raises(DataError, match="ends on 2017-12-02"):
        position_of(bars, "2020-01-01")
    with pytest.raises(DataError, match="want a date"):
        position_of(bars, "yesterday")


def test_range_and_volume_are_ratios_and_dollars() -> None:
    """Units: a ratio of the close, and USD at the close."""
    one = bar(100.0, 110.0, 90.0, 100.0, volume=2.0)
    assert (one.range_ratio, one.volume_usd) == (0.2, 200.0)
