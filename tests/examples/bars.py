"""Made-up bars for the engine's tests."""

from __future__ import annotations

import math
import random

from examples.market_data import Bar

HOUR = 3600.0
START = 1_512_086_400.0  # 2017-12-01


def walk(count: int, seed: int = 1, volume: float = 500.0) -> list[Bar]:
    """A random walk of hourly bars, each opening where the last one closed."""
    dice = random.Random(seed)
    bars, price = [], 10_000.0
    for number in range(count):
        close = price * math.exp(dice.gauss(0.0, 0.01))
        high = max(price, close) * (1.0 + abs(dice.gauss(0.0, 0.004)))
        low = min(price, close) * (1.0 - abs(dice.gauss(0.0, 0.004)))
        traded = volume * dice.lognormvariate(0.0, 0.6)
        bars.append(Bar(START + number * HOUR, price, high, low, close, traded))
        price = close
    return bars


def bar(open_: float, high: float, low: float, close: float, volume: float = 500.0, number: int = 0) -> Bar:
    """One bar, by hand."""
    return Bar(START + number * HOUR, open_, high, low, close, volume)
