"""Numbers for riskrails that come from elsewhere, each with where it comes from."""

from __future__ import annotations

OVERSHOOT_STOPS = (0.003, 0.005, 0.01, 0.05)
"""Stop distances, fractions of price, at which sizers are compared: 5 bps a side, 500 USD of budget."""

WILSON_LOWER_975 = {(81, 263): 0.2553, (15, 148): 0.0624, (0, 20): 0.0, (1, 29): 0.0061}
"""(successes, trials) → lower end of the 95 % two-sided score interval, so one-sided at 97.5 %.

Source: Newcombe (1998), Statistics in Medicine 17, 857-872, table I, method 3.
"""
