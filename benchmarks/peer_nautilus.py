"""Runs inside .venv-bench: NautilusTrader's FixedRiskSizer, timed and asked at four stops; JSON on stdout."""

from __future__ import annotations

import json
import sys
import time
from decimal import Decimal


def main() -> None:
    from nautilus_trader import __version__  # noqa: PLC0415  # only the bench's own environment has it
    from nautilus_trader.model.currencies import USDT  # noqa: PLC0415
    from nautilus_trader.model.objects import Money  # noqa: PLC0415
    from nautilus_trader.risk.sizing import FixedRiskSizer  # noqa: PLC0415
    from nautilus_trader.test_kit.providers import TestInstrumentProvider  # noqa: PLC0415

    given = json.loads(sys.stdin.read())
    instrument = TestInstrumentProvider.btcusdt_perp_binance()
    sizer = FixedRiskSizer(instrument)
    entry, equity = instrument.make_price(given["price"]), Money(given["equity"], USDT)
    risk, fee, batch = Decimal(str(given["risk"])), Decimal(str(given["fee"])), Decimal("0.001")

    def size(stop_price: float) -> float:
        quantity = sizer.calculate(
            entry=entry,
            stop_loss=instrument.make_price(stop_price),
            equity=equity,
            risk=risk,
            commission_rate=fee,
            unit_batch_size=batch,
        )
        return float(quantity) * given["price"]

    sizes = [size(given["price"] * (1 - stop)) for stop in given["stops"]]
    stop_price = given["price"] * (1 - given["stops"][2])
    times = []
    for _ in range(given["rounds"]):
        began = time.perf_counter_ns()
        size(stop_price)
        times.append(time.perf_counter_ns() - began)
    print(json.dumps({"version": __version__, "sizes": sizes, "times": times}))


if __name__ == "__main__":
    main()
