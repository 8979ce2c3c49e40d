"""The four strategies: what makes each of them want a side, and that they see no future."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.market_data import Bar
from examples.strategies import STRATEGIES, event, momentum, scalp, trend
from riskrails import Policy
from tests.examples.bars import HOUR, START, walk


def path(closes: list[float], volumes: list[float] | None = None) -> list[Bar]:
    """Bars through the given closes."""
    bars = []
    for number, close in enumerate(closes):
        open_ = closes[number - 1] if number else close
        volume = volumes[number] if volumes else 100.0
        bars.append(Bar(START + number * HOUR, open_, max(open_, close), min(open_, close), close, volume))
    return bars


def test_each_strategy_is_a_type_the_rails_know() -> None:
    """Its name is its row in the policy."""
    assert set(STRATEGIES) == set(Policy().strategies) == {"scalp", "momentum", "trend", "event"}


def test_scalp_fades_a_stretched_move_and_leaves_at_the_mean_or_after_six_hours() -> None:
    """Short after a jump up, long after a fall."""
    flat = [100.0, 101.0] * 10
    assert scalp(path([*flat, 110.0]), 0, 0) == -1
    assert scalp(path([*flat, 90.0]), 0, 0) == 1
    assert scalp(path([*flat, 100.5]), 0, 0) == 0
    still_low = path([*flat, 90.0, 96.0])
    assert scalp(still_low, 1, 1) == 1
    assert scalp(still_low, 1, 6) == 0
    assert scalp(path([*flat, 90.0, 104.0]), 1, 2) == 0


def test_momentum_follows_a_days_move_that_is_larger_than_chance() -> None:
    """A steady day up is followed; a quiet one is not; a position ends when the day turns."""
    up = [100.0 + hour for hour in range(30)]
    assert momentum(path(up), 0, 0) == 1
    assert momentum(path(up[::-1]), 0, 0) == -1
    assert momentum(path([100.0, 101.0] * 15), 0, 0) == 0
    assert momentum(path(up), 1, 3) == 1
    assert momentum(path(up[::-1]), 1, 3) == -1


def test_trend_enters_beyond_two_days_and_leaves_beyond_one() -> None:
    """Breakouts of 48 closed bars; the newest bar is not its own barrier."""
    flat = [100.0] * 60
    assert trend(path([*flat, 105.0]), 0, 0) == 1
    assert trend(path([*flat, 95.0]), 0, 0) == -1
    assert trend(path([*flat, 100.0]), 0, 0) == 0
    assert trend(path([*flat, 105.0, 104.0]), 1, 1) == 1
    rising = [100.0 + hour for hour in range(60)]
    assert trend(path([*rising, 130.0]), 1, 1) == 0


def test_event_follows_a_loud_wide_hour_for_eight_hours() -> None:
    """Loud alone or wide alone is no event."""
    closes, volumes = [100.0, 100.5] * 50, [100.0] * 100
    assert event(path([*closes, 103.0], [*volumes, 400.0]), 0, 0) == 1
    assert event(path([*closes, 97.0], [*volumes, 400.0]), 0, 0) == -1
    assert event(path([*closes, 103.0], [*volumes, 100.0]), 0, 0) == 0
    assert event(path([*closes, 100.2], [*volumes, 400.0]), 0, 0) == 0
    quiet = path([*closes, 100.5], [*volumes, 100.0])
    assert (event(quiet, 1, 7), event(quiet, 1, 8)) == (1, 0)


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@given(seed=st.integers(0, 200), side=st.sampled_from([-1, 0, 1]), held=st.integers(0, 200))
def test_a_strategy_answers_with_a_side_and_the_same_one_again(
    name: str, seed: int, side: int, held: int
) -> None:
    """−1, 0 or 1, without a memory of its own."""
    bars = walk(170, seed)
    wanted = STRATEGIES[name](bars, side, held)
    assert wanted in {-1, 0, 1}
    assert STRATEGIES[name](list(bars), side, held) == wanted
