"""`python -m riskrails`: what would be sized, and why, from the shell.

explain sizes one order; policy prints the policy as TOML, to start a file from.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from typing import Any

from riskrails.errors import PolicyError, RiskInputError
from riskrails.features import LiveFeatures
from riskrails.order import Order
from riskrails.policy import REGIMES, Policy
from riskrails.policy_toml import load_policy, policy_to_toml
from riskrails.rails import RiskRails
from riskrails.state import RiskState
from riskrails.venue import VenueRules

__all__ = ["main"]


def _leverage(text: str) -> bool | float:
    if text.lower() in {"true", "yes"}:
        return True
    if text.lower() in {"false", "no"}:
        return False
    try:
        return float(text)
    except ValueError as error:
        message = f"{text!r}: want true, false or a number, 2.5 for 2.5x"
        raise argparse.ArgumentTypeError(message) from error


def _regime(text: str) -> str | float:
    """A label or a number; a what-if of a misspelt one would show the size of an unknown regime."""
    if text in REGIMES:
        return text
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not -1.0 <= number <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r}: want {', '.join(REGIMES)} or a number from -1 to 1")
    return number


def _pair(text: str) -> tuple[str, float]:
    symbol, sign, amount = text.partition("=")
    if not sign or not symbol:
        raise argparse.ArgumentTypeError(f"{text!r}: want SYMBOL=USD, as BTC-USD=-5000")
    try:
        return symbol, float(amount)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {amount!r} is not a number of USD") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m riskrails", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    explain = commands.add_parser(
        "explain",
        help="size one order and show every cap, multiplier and reason",
        description="What would be sized, and why.  Fractions are fractions: 0.012 for 1.2 %.",
        epilog="Exit status: 0 an order, 1 none (skip or reduce), 2 a call that makes no sense.",
    )

    def add(flag: str, *, help: str, **options: Any) -> None:  # noqa: A002  # argparse's name for it
        """An option whose help shows its default where it has one worth showing."""
        if options.get("default") not in (None, []):
            help += " (default: %(default)s)"  # noqa: A001
        explain.add_argument(flag, help=help, **options)

    add("--strat", required=True, metavar="TYPE", help="strategy type: scalp, momentum, trend, event")
    add("--name", default=None, help="strategy name; the type without it")
    add("--tf", required=True, help="base timeframe, 1m to 1d")
    add("--price", required=True, type=float, help="USD")
    add("--atr-pct", type=float, help="ATR(14) / price, a fraction; the policy's atr_ref of --tf without it")
    add("--symbol", default="BTC-USD", help="instrument")
    add("--spread-bps", type=float, default=1.0, help="basis points of mid")
    add("--depth", type=float, default=1e6, help="USD within 10 bps of mid, thinner side")
    add("--vol1m", type=float, default=1e6, help="traded USD per minute")
    add("--funding", type=float, default=0.0, help="fraction per 8 h; 0 on spot")
    add("--event-heat", type=float, default=0.0, help="0 to 1")
    add("--velocity", type=float, default=0.0, help="standard deviations per minute")
    add("--liq-score", type=float, default=1.0, help="0 to 1, 1 = most liquid")
    add("--equity", type=float, default=100_000.0, help="USD")
    add("--share", type=float, default=None, help="risk share, a fraction; the smallest share without it")
    add("--drawdown", type=float, default=0.0, help="from the peak, a fraction")
    add("--open-risk", type=float, default=0.0, help="sum of open risk, a fraction of equity")
    add("--positions", type=int, default=0, help="open positions")
    add("--exposure", type=float, help="gross exposure, USD; the sum of what is held without it")
    add(
        "--held",
        type=_pair,
        action="append",
        default=[],
        metavar="SYMBOL=USD",
        help="exposure of a symbol; once for each",
    )
    add("--regime", type=_regime, default="neutral", help="stress, neutral, trend, or -1 to 1")
    add("--leverage", type=_leverage, default=True, help="true, false or a number")
    add("--breaker", action="append", default=[], metavar="NAME", help="an open breaker")
    add("--step", default=None, help="the venue's quantity step")
    add("--tick", default=None, help="the venue's price tick")
    add("--min-qty", type=float, default=0.0, help="the venue's smallest quantity")
    add("--min-notional", type=float, default=0.0, help="the venue's smallest order, USD")
    add("--max-notional", type=float, default=float("inf"), help="the venue's largest order, USD")
    add("--policy", default=None, metavar="FILE", help="policy as TOML; version 1 without it")
    add("--json", action="store_true", help="the order as JSON instead of a table")
    policy = commands.add_parser("policy", help="print the policy as TOML, checked")
    policy.add_argument("--policy", default=None, metavar="FILE", help="a TOML file to check and complete")
    return parser


def _policy(file: str | None) -> Policy:
    if not file:
        return Policy()
    try:
        return load_policy(file)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        message = f"--policy {file}: {why}: want a TOML file, as `python -m riskrails policy` prints one"
        raise PolicyError("policy", message) from error


def _explain(given: argparse.Namespace, policy: Policy) -> Order:
    name = given.name or given.strat
    held: dict[str, float] = {}
    for symbol, usd in given.held:
        if symbol in held:
            message = f"--held {symbol}={usd:g} after {symbol}={held[symbol]:g}: want each symbol once"
            raise RiskInputError("E_EXPOSURE_MAP", "exposure_by_symbol", message)
        held[symbol] = usd
    exposure = sum(abs(usd) for usd in held.values()) if given.exposure is None else given.exposure
    atr_pct = given.atr_pct
    if atr_pct is None and given.tf in policy.timeframes:  # else refused below by its code
        atr_pct = policy.timeframes[given.tf].atr_ref
    state = RiskState(
        risk_shares={} if given.share is None else {name: given.share},
        drawdown_pct=given.drawdown,
        drawdown_age_seconds=0.0,
        breakers=dict.fromkeys(given.breaker, True),
        breaker_age_seconds=0.0,
    )
    rules = VenueRules(
        qty_step=given.step,
        price_tick=given.tick,
        min_qty=given.min_qty,
        min_notional=given.min_notional,
        max_notional=given.max_notional,
    )
    live = LiveFeatures(
        given.symbol,
        given.price,
        atr_pct,
        given.spread_bps,
        given.depth,
        given.vol1m,
        given.funding,
        given.event_heat,
        given.velocity,
        given.liq_score,
    )
    return RiskRails(policy, {given.symbol: rules}, state).compute_order(
        strat_name=name,
        strat_type=given.strat,
        base_tf=given.tf,
        leverage_allowed=given.leverage,
        live=live,
        equity_usd=given.equity,
        open_risk_sum_pct=given.open_risk,
        open_positions=given.positions,
        exposure_total_usd=exposure,
        exposure_by_symbol=held,
        regime_signal=given.regime,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    given: Any = _parser().parse_args(arguments)
    try:
        policy = _policy(given.policy)
        if given.command == "policy":
            print(policy_to_toml(policy), end="")
            return 0
        order = _explain(given, policy)
    except RiskInputError as error:
        print(f"riskrails: {error}", file=sys.stderr)
        return 2
    print(order.to_json() if given.json else order.explain())
    return 0 if order.size_usd > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
