"""Derived features: right units, plausible size, labelled as derived, and blind to the future."""

from __future__ import annotations

import inspect
from dataclasses import astuple, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples import derived
from examples.derived import WINDOW, atr_ratio, derived_features, derived_regime
from examples.market_data import load_bars, position_of
from riskrails import RiskRails
from tests.examples.bars import bar, walk


def test_every_stand_in_is_named_so() -> None:
    """Nobody takes a made-up spread for a measured one."""
    functions = {
        name for name, value in inspect.getmembers(derived, inspect.isfunction) if name in derived.__all__
    }
    assert functions - {"atr_ratio", "deviation"} == {
        name for name in functions if name.startswith("derived_")
    }


def test_atr_is_the_mean_true_range_and_counts_gaps() -> None:
    """By hand: a gap from 100 to 110 makes the true range 12 although the bar itself spans 2."""
    bars = [bar(100, 101, 99, 100), bar(110, 112, 110, 111)]
    assert atr_ratio(bars, 1) == pytest.approx(12.0 / 111.0)


@given(st.integers(0, 50), st.floats(0.5, 5000.0))
def test_the_rails_take_every_derived_feature_as_plausible(seed: int, volume: float) -> None:
    """No BAD_ code, whatever the market did: units are those of riskrails."""
    live = derived_features(walk(WINDOW, seed, volume))
    order = RiskRails().compute_order(
        "momentum", "momentum", "1h", True, live, 1e5, 0.0, 0, 0.0, {}, derived_regime(walk(WINDOW, seed))
    )
    assert not [reason for reason in order.reasons if reason.startswith("BAD_")]


def test_real_hours_have_features_of_a_believable_size() -> None:
    """Over December 2017 to March 2018: median spread near 1 bp, scores over their whole range."""
    bars = load_bars()
    first = position_of(bars, "2017-12-01")
    seen = [derived_features(bars[end - WINDOW : end]) for end in range(first, first + 2400, 7)]
    spreads = sorted(live.spread_bps for live in seen)
    assert spreads[0] >= 0.5
    assert spreads[len(spreads) // 2] < 3.0
    assert {live.funding for live in seen} == {0.0}
    assert max(live.liq_score for live in seen) > 0.95
    assert min(live.liq_score for live in seen) < 0.1
    assert max(live.event_heat for live in seen) > 0.5
    regimes = [derived_regime(bars[end - WINDOW : end]) for end in range(first, first + 2400, 7)]
    assert min(regimes) < -0.2
    assert max(regimes) > 0.8


def test_an_hour_without_trades_has_no_liquidity() -> None:
    """Volume 0 gives depth 0 and score 0, which the rails refuse; nothing divides by it."""
    bars = walk(WINDOW)
    live = derived_features([*bars[1:], replace(bars[-1], volume_btc=0.0)])
    assert (live.depth10bps_usd, live.vol1m_usd, live.liq_score) == (0.0, 0.0, 0.0)
    assert live.spread_bps > 0.0


def test_a_market_that_does_not_move_is_calm_and_not_an_error() -> None:
    """All prices equal: no heat, no velocity, no regime, ATR 0."""
    live = derived_features([bar(100, 100, 100, 100)] * WINDOW)
    assert (live.atr_pct, live.event_heat, live.velocity) == (0.0, 0.0, 0.0)
    assert derived_regime([bar(100, 100, 100, 100)] * WINDOW) == 0.0


def test_a_wider_hour_is_never_calmer() -> None:
    """Spread and heat rise with the range, depth falls."""
    bars = walk(WINDOW)
    last = bars[-1]
    wild = replace(last, high=last.high * 1.1, low=last.low * 0.9)
    calm, storm = derived_features(bars), derived_features([*bars[:-1], wild])
    assert storm.spread_bps > calm.spread_bps
    assert storm.event_heat > calm.event_heat
    assert storm.depth10bps_usd < calm.depth10bps_usd


def test_features_come_from_the_window_alone_and_leave_it_as_it_was() -> None:
    """The same closed bars give the same features; the input is not touched."""
    bars = walk(WINDOW)
    before = list(bars)
    assert astuple(derived_features(bars)) == astuple(derived_features(list(bars)))
    assert bars == before
