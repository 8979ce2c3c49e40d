"""What the allocator needs of a PromQL API holds on Prometheus, on VictoriaMetrics and on the fake.

Each thing that is not simply one reading is recorded in a real server, read over HTTP and named.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

import numpy as np
import pytest
import structlog

from allocator.decision import Action, InForce, Limits
from allocator.errors import NoDataError
from allocator.history import Grid, Observation, Outcome, Sample, grid_for
from allocator.loop import Allocator, Metrics
from allocator.prometheus import PrometheusApi
from allocator.queries import EQUITY, PNL_PER_ENGINE, Query, queries
from allocator.telemetry import Telemetry
from tests.allocator.backfill import Recorded, backfilled_prometheus, backfilled_victoria
from tests.fakes.deck import FakeDeck
from tests.fakes.metrics import FakeMetrics, series, without

PNL = "job_strategy:trading_strategy_pnl_usd:sum_fresh"
START = "trading_engine_start_timestamp_seconds"
STEP = 600.0
ROWS = 60


def recorded_past(end: float) -> Recorded:
    """One job a case, so that one server holds them all and PNL_SELECTOR picks one."""
    past: Recorded = {PNL: [], EQUITY: [], START: [], PNL_PER_ENGINE: [], "trading_breaker_open": []}
    up = np.arange(ROWS) * 10.0

    def case(job: str, *pnl, starts=(), engines=()) -> None:
        past[PNL] += pnl
        past[EQUITY].append(series([1000.0] * ROWS, end, STEP, job=job))
        past[START] += starts
        past[PNL_PER_ENGINE] += engines

    def pnl(values, job, strategy="a", **labels):
        return series(values, end, STEP, job=job, strategy=strategy, **labels)

    case("one", pnl(up, "one"), pnl(-up, "one", "b"))
    case("several", pnl(up, "several", instance="x"), pnl(up, "several", instance="y"))
    nan = up.copy()
    nan[-1] = np.nan
    case("nan", pnl(nan, "nan"), pnl(up, "nan", "b"))
    late = series(up, end - 120.0, STEP, job="stale", strategy="a")
    case("stale", late)
    fallen = np.where(np.arange(ROWS) < 40, up, up - 400.0)
    starts = [
        series([1.0] * 40 + [2.0] * 20, end, STEP, job="reset", instance="default"),
    ]
    case("reset", pnl(fallen, "reset"), starts=starts)
    case("appears", pnl(up, "appears"), without(pnl(up + 5000, "appears", "young"), *range(50)))
    case("briefly_gone", pnl(up, "briefly_gone"), without(pnl(up, "briefly_gone", "away"), *range(57, 60)))
    case("gone", pnl(up, "gone"), without(pnl(up, "gone", "left"), *range(50, 60)))
    case("gap", without(pnl(up, "gap"), 30, 31, 32))
    halved = np.where(np.arange(ROWS) < 40, up, up / 2)
    engines = [
        without(
            series([1.0] * ROWS, end, STEP, job="regrouped", instance="x", strategy="a"), *range(40, ROWS)
        ),
        series([1.0] * ROWS, end, STEP, job="regrouped", instance="y", strategy="a"),
    ]
    case("regrouped", pnl(halved, "regrouped"), engines=engines)
    past["trading_breaker_open"].append(series([0.0] * ROWS, end, STEP, breaker="equity", job="one"))
    return past


@dataclass
class Server:
    """A PromQL API with the recorded past, and the moment at which it is looked at."""

    name: str
    metrics: Metrics
    now: float

    def allocator(self, job: str, now: float | None = None, stale_after: float = 1800.0) -> Allocator:
        if isinstance(self.metrics, FakeMetrics):
            self.metrics = fake(self.now, job)
        at = self.now if now is None else now
        return Allocator(
            self.metrics,
            FakeDeck(InForce(1, {})),
            queries(PNL, f'job="{job}"'),
            Limits(),
            stale_after_seconds=stale_after,
            telemetry=Telemetry(STEP),
            log=structlog.get_logger(),
            now=lambda: at,
            sleep=lambda seconds: True,
            rng=random.Random(1),
        )

    def look(self, job: str, stale_after: float = 1800.0) -> Observation:
        return self.allocator(job, stale_after=stale_after)._observe()


def fake(now: float, job: str) -> FakeMetrics:
    """The same past in memory, for one job: the fake knows no selectors."""
    past = recorded_past(grid_for(now, STEP, 2).end)
    mine = {name: [one for one in found if one.labels.get("job") == job] for name, found in past.items()}
    newest = [Sample(one.labels, float(one.times[-1])) for one in mine[PNL]]
    end = grid_for(now, STEP, 2).end
    engines = (
        [series([2.0] * 40 + [1.0] * 20, end, STEP, job=job, strategy="a")] if mine[PNL_PER_ENGINE] else []
    )
    # The range query that a server answers from the last five minutes falls on the grid.
    pnl = [type(one)(one.labels, np.ceil(one.times / STEP) * STEP, one.values) for one in mine[PNL]]
    ranges = {"pnl": pnl, "equity": mine[EQUITY], "engine_start": mine[START], "engines": engines}
    return FakeMetrics(lambda: now, ranges, {"pnl_time": newest})


@pytest.fixture(scope="module", params=["fake", "prometheus", "victoria-metrics"])
def server(request, tmp_path_factory):
    now = time.time()
    past = recorded_past(grid_for(now, STEP, 2).end)
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "fake":
        yield Server("fake", fake(now, "one"), now)
        return
    if request.param == "prometheus":
        child, url = backfilled_prometheus(past, directory)
    else:
        child, url = backfilled_victoria(past, directory)
    with child, PrometheusApi(url) as metrics:
        yield Server(request.param, metrics, now)


def test_one_reading_a_strategy(server):
    """The plain case: returns of ten dollars on half of a thousand, all readings there."""
    seen = server.look("one")
    assert seen.strategies == ("a", "b")
    np.testing.assert_allclose(seen.returns[:, 0], 10 / 500)
    np.testing.assert_allclose(seen.returns[:, 1], -10 / 500)
    assert seen.newest == (Outcome.ONE, Outcome.ONE)
    assert seen.readings == ROWS - 1
    assert not seen.breaker_open


def test_none(server):
    """No series for the selector: a named outcome, not an empty decision."""
    with pytest.raises(NoDataError) as caught:
        server.look("nobody")
    assert caught.value.outcome == "none"


def test_several(server):
    """Two series for one strategy are not added up behind the user's back."""
    with pytest.raises(NoDataError, match="has 2 PnL series") as caught:
        server.look("several")
    assert caught.value.outcome == "several"


def test_nan(server):
    """A NaN sample is no reading; a server that drops NaN shows a missing one."""
    seen = server.look("nan")
    expected = Outcome.DISAPPEARED if server.name == "victoria-metrics" else Outcome.NAN
    assert seen.newest == (expected, Outcome.ONE)
    assert np.isnan(seen.returns[-1, 0])


def test_stale(server):
    """The newest sample is two minutes older than the row: fresh for 30 minutes, stale for one."""
    assert server.look("stale").newest == (Outcome.ONE,)
    late = server.now - grid_for(server.now, STEP, 2).end
    assert server.look("stale", stale_after=60.0 + late).newest == (Outcome.STALE,)


def test_counter_reset(server):
    """The engine restarted: the fall of 400 is a missing row, and no other return is lost or negative."""
    seen = server.look("reset")
    assert Outcome(seen.outcomes[39, 0]) is Outcome.RESET
    assert np.nanmin(seen.returns) > 0.0
    assert seen.readings >= ROWS - 3


def test_a_strategy_that_appears(server):
    """Its first 5,500 dollars are no profit."""
    seen = server.look("appears")
    young = seen.strategies.index("young")
    assert Outcome(seen.outcomes[49, young]) is Outcome.APPEARED
    np.testing.assert_allclose(seen.returns[50:, young], 10 / 500)
    assert np.isnan(seen.returns[:50, young]).all()


def test_a_strategy_that_is_briefly_gone_stays(server):
    """Three missing refreshes: no reading, but still in the set."""
    allocator = server.allocator("briefly_gone")
    seen = allocator._observe()
    assert seen.newest == (Outcome.ONE, Outcome.DISAPPEARED)
    assert seen.absent_rows.tolist() == [0, 3]
    assert allocator.look().shares["away"] > 0.0


def test_a_strategy_that_disappears_leaves(server):
    """Ten missing refreshes: out of the set, the others have everything."""
    decision = server.allocator("gone").look()
    assert decision.shares == {"a": 1.0}


def test_a_gap(server):
    """Half an hour without samples costs its rows and the one after, and nothing else."""
    seen = server.look("gap")
    assert [Outcome(code) for code in seen.outcomes[29:33, 0]] == [Outcome.GAP] * 4
    assert seen.readings == ROWS - 1 - 4


def test_an_engine_that_leaves_the_sum(server):
    """PnL that halves because one of two engines fell silent is nobody's loss."""
    seen = server.look("regrouped")
    assert Outcome(seen.outcomes[39, 0]) is Outcome.REGROUPED
    assert np.nanmin(seen.returns) > 0.0


@pytest.mark.parametrize(("off", "says"), [(7200.0, "ahead of"), (-7200.0, "behind")])
def test_a_clock_step(server, off, says):
    """A clock two hours off keeps the shares instead of reading other rows."""
    with pytest.raises(NoDataError, match=says) as caught:
        server.allocator("one", now=server.now + off).look()
    assert caught.value.outcome == "clock_step"


def test_the_same_past_gives_the_same_shares(server):
    """Two looks by two allocators: the same bits."""
    first, second = server.allocator("one").look(), server.allocator("one").look()
    assert first.action is Action.PUBLISH
    assert first.shares == second.shares


def test_a_range_has_its_labels_and_times(server):
    """A range query answers at the grid's times with the series' labels."""
    grid = Grid(grid_for(server.now, STEP, 2).end, STEP, 5)
    query = Query("pnl", f'{PNL}{{job="one"}}', "usd")
    server.allocator("one")
    found = {one.labels["strategy"]: one for one in server.metrics.range(query, grid)}
    np.testing.assert_allclose(found["a"].times, grid.end - STEP * np.arange(4, -1, -1))
    np.testing.assert_allclose(found["a"].values, [550.0, 560.0, 570.0, 580.0, 590.0])
