"""A book: money neither appears nor vanishes, fees are paid both ways, stops fill where the market was."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.book import Book
from tests.examples.bars import bar


def test_a_round_trip_by_hand() -> None:
    """Buy 2 at 100, sell at 110, 10 bps a side: 20 of price PnL, 0.2 + 0.22 of fees."""
    book = Book("scalp")
    opened = book.open(1, 2.0, 100.0, 95.0, 10.0)
    assert (opened.side, opened.pnl_usd) == ("buy", None)
    assert opened.fee_usd == pytest.approx(0.2)
    assert book.pnl_usd(105.0) == pytest.approx(10.0 - 0.2)
    closed = book.close(110.0, 10.0, "exit")
    assert (closed.side, closed.why) == ("sell", "exit")
    assert closed.pnl_usd == pytest.approx(20.0)
    assert book.pnl_usd(999.0) == pytest.approx(20.0 - 0.42)
    assert (book.side, book.qty) == (0, 0.0)


def test_a_short_earns_when_the_price_falls() -> None:
    """Sell 2 at 100, buy at 90."""
    book = Book("scalp")
    assert book.open(-1, 2.0, 100.0, 105.0, 0.0).side == "sell"
    assert book.exposure_usd(95.0) == 190.0
    fill = book.close(90.0, 0.0, "exit")
    assert (fill.side, fill.pnl_usd, book.cash_usd) == ("buy", 20.0, 20.0)


actions = st.lists(
    st.tuples(
        st.sampled_from([1, -1]),
        st.floats(0.001, 50.0),
        st.floats(1.0, 1e5),
        st.floats(1.0, 1e5),
        st.floats(0.05, 1.0),
    ),
    max_size=12,
)


@given(actions, st.floats(1.0, 1e5), st.floats(0.0, 50.0))
def test_cash_and_positions_conserve(
    trades: list[tuple[int, float, float, float, float]], mark: float, fee_bps: float
) -> None:
    """PnL is realised plus unrealised less fees, after any sequence of opens, cuts and closes."""
    book = Book("x")
    fees = realised = 0.0
    for side, qty, entry, leave, share in trades:
        fees += book.open(side, qty, entry, entry, fee_bps).fee_usd
        for part in (share, 1.0):
            if book.side:
                fill = book.close(leave, fee_bps, "exit", part)
                fees += fill.fee_usd
                realised += fill.pnl_usd or 0.0
    last = book.open(1, 1.0, 100.0, 90.0, fee_bps)
    unrealised = mark - 100.0
    want = realised + unrealised - fees - last.fee_usd
    scale = 1.0 + sum(abs(qty) * (entry + leave) for _, qty, entry, leave, _ in trades) + mark
    assert math.isclose(book.pnl_usd(mark), want, abs_tol=1e-9 * scale)
    assert math.isclose(book.fees_usd, fees + last.fee_usd, rel_tol=1e-9)
    assert math.isclose(book.realised_usd, realised, abs_tol=1e-9 * scale)


def test_a_cut_keeps_the_rest_and_its_entry() -> None:
    """Half closed: half the quantity, the same entry price, half the PnL realised."""
    book = Book("trend")
    book.open(1, 2.0, 100.0, 90.0, 0.0)
    assert book.close(110.0, 0.0, "reduce", 0.5).pnl_usd == 10.0
    assert (book.qty, book.entry_price, book.pnl_usd(110.0)) == (1.0, 100.0, 20.0)


@pytest.mark.parametrize("side", [1, -1])
def test_a_stop_inside_the_bar_fills_at_the_stop_less_half_a_spread(side: int) -> None:
    """Long at 100 with a stop at 95; mirrored for the short."""
    book = Book("x")
    book.open(side, 1.0, 100.0, 100.0 - 5.0 * side, 0.0)
    hit = bar(100, 101, 94, 100) if side > 0 else bar(100, 106, 99, 100)
    missed = bar(100, 104, 96, 100)
    want = (100.0 - 5.0 * side) * (1.0 - side * 0.001)
    assert book.stop_fill_price(hit, 0.001, at_open=False) == pytest.approx(want)
    assert book.stop_fill_price(hit, 0.001, at_open=True) is None
    assert book.stop_fill_price(missed, 0.001, at_open=False) is None


@pytest.mark.parametrize("side", [1, -1])
def test_a_bar_that_opens_beyond_the_stop_fills_at_the_open(side: int) -> None:
    """A stop is no promise of a price: the gap is lost money."""
    book = Book("x")
    book.open(side, 1.0, 100.0, 100.0 - 5.0 * side, 0.0)
    gap = bar(90, 99, 89, 98) if side > 0 else bar(110, 111, 101, 102)
    assert book.stop_fill_price(gap, 0.0, at_open=True) == gap.open
    assert book.stop_fill_price(gap, 0.0, at_open=False) == gap.open


def test_risk_is_the_loss_from_here_to_the_stop_with_the_closing_fee() -> None:
    """2 units, 5 away from the stop, 10 bps: 10 + 0.19; below the stop only the fee is left."""
    book = Book("x")
    assert book.risk_usd(100.0, 10.0) == 0.0
    book.open(1, 2.0, 100.0, 95.0, 0.0)
    assert book.risk_usd(100.0, 10.0) == pytest.approx(10.0 + 0.19)
    assert book.risk_usd(94.0, 10.0) == pytest.approx(0.19)


def test_a_book_refuses_what_would_mix_two_positions() -> None:
    """Opening twice, closing nothing, an empty quantity."""
    book = Book("x")
    with pytest.raises(ValueError, match="want a position"):
        book.close(1.0, 0.0, "exit")
    with pytest.raises(ValueError, match="want a flat book"):
        book.open(1, 0.0, 1.0, 1.0, 0.0)
    book.open(1, 1.0, 1.0, 1.0, 0.0)
    with pytest.raises(ValueError, match="want a flat book"):
        book.open(1, 1.0, 1.0, 1.0, 0.0)
