"""Real market data: hourly bars of BTC-USD on Coinbase; see data/README.md for where they come from."""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

__all__ = ["BTC_USD_HOURS", "Bar", "DataError", "load_bars", "position_of"]

BTC_USD_HOURS: Final = Path(__file__).resolve().parent / "data" / "btcusd_1h_coinbase.csv.gz"


class DataError(ValueError):
    """A row that is no bar, or a date outside the data; the message names it."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One hour of trading.

    Attributes:
        time: Its beginning, epoch seconds.
        open, high, low, close: USD.
        volume_btc: Traded, BTC; 0 in 28 hours of the data.
    """

    time: float
    open: float
    high: float
    low: float
    close: float
    volume_btc: float

    def __post_init__(self) -> None:
        prices = (self.open, self.high, self.low, self.close)
        if not all(math.isfinite(price) and price > 0.0 for price in prices):
            raise DataError(f"bar at {self.time:g}: prices {prices}: want finite USD above 0")
        if not (self.low <= min(self.open, self.close) and max(self.open, self.close) <= self.high):
            raise DataError(f"bar at {self.time:g}: prices {prices}: want low ≤ open, close ≤ high")
        if not (math.isfinite(self.volume_btc) and self.volume_btc >= 0.0):
            raise DataError(f"bar at {self.time:g}: volume {self.volume_btc}: want finite BTC of at least 0")

    @property
    def range_ratio(self) -> float:
        """High less low, ratio of the close."""
        return (self.high - self.low) / self.close

    @property
    def volume_usd(self) -> float:
        """Traded, USD at the close."""
        return self.volume_btc * self.close


def load_bars(path: Path = BTC_USD_HOURS) -> list[Bar]:
    """Every bar of the file, oldest first.

    Raises:
        DataError: A row is no bar, or comes out of order.
    """
    with gzip.open(path, "rt", newline="") as stream:
        bars = list(_rows(csv.DictReader(stream), path))
    for before, after in pairwise(bars):
        if after.time <= before.time:
            raise DataError(f"{path}: bar at {after.time:g} follows {before.time:g}: want later ones")
    return bars


def _rows(rows: Iterator[dict[str, str]] | csv.DictReader[str], path: Path) -> Iterator[Bar]:
    for number, row in enumerate(rows, 2):
        try:
            time = datetime.fromisoformat(row["time"]).timestamp()
            prices = (float(row["open"]), float(row["high"]), float(row["low"]), float(row["close"]))
            volume_btc = float(row["volume_btc"])
        except (KeyError, TypeError, ValueError) as cause:
            raise DataError(f"{path} line {number}: {row}: {cause}") from cause
        yield Bar(time, *prices, volume_btc)


def position_of(bars: list[Bar], start: str) -> int:
    """Index of the first bar at or after `start`, a date such as 2017-12-01 in UTC.

    Raises:
        DataError: No date, or later than the data.
    """
    try:
        moment = datetime.fromisoformat(start)
    except ValueError as cause:
        raise DataError(f"start {start!r}: want a date such as 2017-12-01") from cause
    at = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    for index, bar in enumerate(bars):
        if bar.time >= at:
            return index
    last = datetime.fromtimestamp(bars[-1].time, UTC)
    raise DataError(f"start {start!r}: the data ends on {last:%Y-%m-%d}")
