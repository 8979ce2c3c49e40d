"""What a person reads of an order, line by line; explained.txt has it whole."""

from __future__ import annotations

from pathlib import Path

from riskrails import Order, Policy, VenueRules
from tests.riskrails.desk import rails, size

GOLDEN = Path(__file__).with_name("explained.txt")


def orders() -> list[Order]:
    """One of each kind: capped by the venue, cut in twenty and in two, reduced, skipped, very small."""
    rules = VenueRules(qty_step="0.001", price_tick=1, max_notional=20_000)
    return [
        size(rails(venue_rules={"BTC-USD": rules})),
        size(vol1m_usd=16_384.0),
        size(vol1m_usd=600_000.0),
        size(exposure_total_usd=250_000.0),
        size(price=None),
        size(rails(Policy(version=2, min_notional=0)), equity_usd=0.5),
    ]


def test_an_order_is_explained_line_by_line() -> None:
    """Mode, size, slices, reasons, stop, cost, risk, multipliers, each cap, warnings."""
    assert "\n\n".join(order.explain() for order in orders()) + "\n" == GOLDEN.read_text(encoding="utf-8")
