"""Reading a past for a backtest."""

from __future__ import annotations

import numpy as np
import pytest

from allocator.backtest_input import from_csv, from_prometheus, moment
from allocator.errors import AllocatorError, SettingsError
from allocator.history import Outcome
from allocator.policy import LOOKBACK_ROWS
from allocator.queries import queries
from tests.fakes.metrics import FakeMetrics, series

END = 1_700_000_400.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1700000400", END),
        ("2023-11-14T22:20:00Z", END),
        ("2023-11-14T23:20:00+01:00", END),
        ("2023-11-14T22:20", END),
        ("2023-11-14", 1_699_920_000.0),
    ],
)
def test_times_are_numbers_or_iso(text, expected):
    """Epoch seconds, ISO with a zone, ISO without one is UTC."""
    assert moment(text) == expected


@pytest.mark.parametrize("text", ["yesterday", "nan", "", "2023-13-01"])
def test_what_is_no_time_is_told(text):
    """The message has what came and what is wanted."""
    with pytest.raises(SettingsError, match="want ISO 8601 or epoch seconds"):
        moment(text)


def write(path, text):
    path.write_text(text)
    return path


def test_pnl_with_equity(tmp_path):
    """Cumulative PnL over equity and an equal share; an empty cell is no reading."""
    seen = from_csv(
        write(
            tmp_path / "a.csv",
            "time,equity_usd,a,b\n0,1000,0,0\n600,1000,10,\n1200,1000,30,5\n1800,1000,30,9\n",
        ),
        None,
    )
    assert (seen.strategies, seen.step, seen.as_of) == (("a", "b"), 600.0, 1800.0)
    # Where b had no reading, a had all: 1/n counts who is there.
    np.testing.assert_allclose(seen.returns[:, 0], [10 / 500, 20 / 1000, 0.0])
    assert np.isnan(seen.returns[:2, 1]).all()
    assert seen.returns[2, 1] == pytest.approx(4 / 500)


def test_pnl_with_its_shares(tmp_path):
    """A column share:NAME says what the strategy had."""
    text = "time,equity_usd,a,share:a\n0,1000,0,0.2\n600,1000,10,0.4\n"
    assert from_csv(write(tmp_path / "a.csv", text), None).returns.tolist() == [[10 / 200]]


def test_returns(tmp_path):
    """Columns return:NAME are returns already; a missing line is a gap."""
    text = "time,return:a,return:b\n0,0.1,0.2\n600,0.3,\n1800,0.5,0.6\n"
    seen = from_csv(write(tmp_path / "a.csv", text), 600.0)
    np.testing.assert_array_equal(seen.returns, [[0.1, 0.2], [0.3, np.nan], [np.nan, np.nan], [0.5, 0.6]])
    assert Outcome(seen.outcomes[2, 0]) is Outcome.GAP


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "want time first"),
        ("day,a\n", "want time first"),
        ("time,a,a\n", "different names"),
        ("time,equity_usd,a\n0,1,2\n", "want at least 2"),
        ("time,equity_usd,a\n0,1,2\n600,1\n", "line 3: 2 cells: want 3"),
        ("time,equity_usd,a\n0,1,2\n600,1,x\n", "line 3: a is 'x': want a number"),
        ("time,equity_usd,a\n0,1,2\nsoon,1,2\n", "line 3: 'soon' is no time"),
        ("time,equity_usd,a\n600,1,2\n0,1,2\n", "line 3: time is not later"),
        ("time,a\n0,1\n600,2\n", "no column equity_usd"),
        ("time,return:a,b\n0,1,1\n600,2,1\n", "b stands beside return:"),
        ("time,equity_usd\n0,1\n600,2\n", "no PnL column"),
        ("time,equity_usd,a,share:b\n0,1,1,1\n600,2,1,1\n", "share:b has no PnL column"),
    ],
)
def test_a_wrong_file_is_told_with_its_line(tmp_path, text, says):
    """Who exports a file by hand reads what is wrong with which line."""
    with pytest.raises(AllocatorError, match=says):
        from_csv(write(tmp_path / "a.csv", text), None)


def test_a_file_that_is_not_there_is_told(tmp_path):
    """Or is no text."""
    with pytest.raises(SettingsError, match="No such file"):
        from_csv(tmp_path / "none.csv", None)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="want a CSV file"):
        from_csv(tmp_path / "binary.csv", None)


def test_a_long_past_is_read_in_pieces():
    """No query asks for more points than Prometheus gives, and nothing is lost between two."""
    rows = 12_000
    metrics = FakeMetrics(lambda: END)
    metrics.ranges = {
        "pnl": [series(np.arange(rows) * 10.0, END, 600.0, strategy="a", job="e")],
        "equity": [series([1000.0] * rows, END, 600.0, job="e")],
    }
    seen, first = from_prometheus(metrics, queries("pnl"), END - 9_000 * 600.0, END, 600.0)
    assert metrics.asked.count("pnl") == 2
    assert seen.returns.shape[0] - first == 9_000
    np.testing.assert_allclose(seen.returns[1:], 10 / 1000)


def test_a_short_past_begins_where_it_begins():
    """Asked for a month with a day of data, the day is walked."""
    metrics = FakeMetrics(lambda: END)
    metrics.ranges = {
        "pnl": [series(np.arange(144) * 10.0, END, 600.0, strategy="a", job="e")],
        "equity": [series([1000.0] * 144, END, 600.0, job="e")],
    }
    seen, first = from_prometheus(metrics, queries("pnl"), END - LOOKBACK_ROWS * 600.0, END, 600.0)
    assert (seen.returns.shape[0], first) == (143, 1)
