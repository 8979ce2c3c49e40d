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


def test_returns_of_a_longer_step_are_compounded(tmp_path):
    """No line is lost: a row earns what its lines earned one after the other."""
    text = "time,return:a,return:b\n0,0.1,\n600,0.2,\n1200,-0.5,0.3\n1800,0.1,\n2400,,0.4\n3000,0.2,-1\n"
    seen = from_csv(write(tmp_path / "a.csv", text), 1200.0)
    expected = [[1.1 * 1.2 - 1.0, np.nan], [0.5 * 1.1 - 1.0, 0.3], [0.2, -1.0]]
    np.testing.assert_allclose(seen.returns, expected, rtol=1e-12)
    assert (seen.as_of, seen.step, seen.readings) == (3000.0, 1200.0, 3)


def test_pnl_of_a_longer_step_is_what_stood_at_its_end(tmp_path):
    """Cumulative PnL needs no adding up; a row whose last line is empty has the one before."""
    text = "time,equity_usd,a\n0,1000,0\n600,1000,10\n1200,1000,30\n1800,2000,60\n2400,2000,\n"
    seen = from_csv(write(tmp_path / "a.csv", text), 1200.0)
    np.testing.assert_allclose(seen.returns, [[30 / 1000], [30 / 1000]])


def test_times_a_little_off_their_grid_are_on_it(tmp_path):
    """A few seconds late or early make no gap and no collision, with a longer step too."""
    text = "time,return:a\n" + "".join(f"{600 * i + (-1) ** i * 7},0.1\n" for i in range(7))
    assert from_csv(write(tmp_path / "a.csv", text), 600.0).returns.tolist() == [[0.1]] * 7
    longer = from_csv(tmp_path / "a.csv", 1200.0).returns
    np.testing.assert_allclose(longer, [[0.1], *[[0.21]] * 3], rtol=1e-12)


def test_a_mark_of_byte_order_is_no_part_of_a_name(tmp_path):
    """Spreadsheets write one before the first column."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbftime,return:a\r\n0,0.1\r\n600,0.2\r\n")
    assert from_csv(path, None).returns.tolist() == [[0.1], [0.2]]


def test_one_time_far_away_is_told(tmp_path):
    """Seconds among epochs are refused, with the line, before a grid of a billion rows is laid."""
    text = "time,return:a\n1,0.1\n2,0.2\n1760000000,0.3\n"
    path = write(tmp_path / "a.csv", text)
    with pytest.raises(
        SettingsError, match=r"line 3: 1 s after the line before, where 8\.8e\+08 s are usual"
    ):
        from_csv(path, None)
    with pytest.raises(SettingsError, match=r"line 4: .* with a step of 600 s the file has 2933334 rows"):
        from_csv(path, 600.0)


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
