"""`python -m allocator backtest`: read, replay, print, draw."""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from allocator.backtest import Backtest, replay
from allocator.backtest_input import from_csv, from_prometheus, moment
from allocator.errors import AllocatorError, SettingsError
from allocator.history import Observation
from allocator.loop import Metrics
from allocator.queries import queries
from allocator.settings import Settings

__all__ = ["report", "run"]

PLOTS = (".png", ".html")


def run(arguments: argparse.Namespace, settings: Settings, metrics: Metrics) -> int:
    """The command; its exit status: 2 for a wrong argument or file, 1 for a past that cannot be had."""
    try:
        _check(arguments)
        limits = settings.limits
        step = arguments.step or (None if arguments.csv else settings.refresh_sec)
        if arguments.csv:
            seen = from_csv(Path(arguments.csv), step)
            seen, first = _between(seen, arguments.begin, arguments.end)
        else:
            seen, first = from_prometheus(
                metrics,
                queries(settings.pnl_metric, settings.pnl_selector),
                moment(arguments.begin),
                moment(arguments.end),
                step or settings.refresh_sec,
            )
        limits = replace(limits, refresh_seconds=seen.step)
        done = replay(seen, limits, first=first, cost_bps=arguments.cost_bps)
        if arguments.plot:
            from allocator.backtest_plot import draw  # noqa: PLC0415 - a second to load, and not always wanted

            draw(done, Path(arguments.plot), report(done, arguments.cost_bps))
    except (AllocatorError, OSError) as error:
        sys.stderr.write(f"allocator: backtest: {error}\n")
        return 2 if isinstance(error, SettingsError) else 1
    sys.stdout.write(report(done, arguments.cost_bps) + "\n")
    if arguments.plot:
        sys.stdout.write(f"drawn: {arguments.plot}\n")
    return 0


def report(done: Backtest, cost_bps: float) -> str:
    """The table, and where the shares stood."""
    days = len(done.times) * done.allocator.step / 86_400
    lines = [
        f"{len(done.times)} rows of {done.allocator.step:g} s, {days:.1f} days, "
        f"{len(done.strategies)} strategies, {cost_bps:g} bps for turnover",
        "",
        f"{'':34}{'growth':>9}{'Sharpe':>9}{'drawdown':>10}{'turnover':>10}{'regret':>9}",
    ]
    for track in done.tracks:
        sharpe = "-" if math.isnan(track.sharpe) else f"{track.sharpe:.2f}"
        lines.append(
            f"{track.name[:33]:34}{track.growth:>9.4f}{sharpe:>9}{track.drawdown:>10.2%}"
            f"{track.turnover.sum():>10.2f}{done.regret(track):>9.4f}"
        )
    lines += ["", f"{'strategy':20}{'first':>9}{'mean':>9}{'last':>9}{'growth alone':>14}"]
    shares = done.allocator.shares
    for column, name in enumerate(done.strategies):
        lines.append(
            f"{name[:19]:20}{shares[0, column]:>9.4f}{shares[:, column].mean():>9.4f}"
            f"{shares[-1, column]:>9.4f}{_alone(done, column):>14.4f}"
        )
    counted = ", ".join(f"{name} {size}" for name, size in done.reasons.items())
    return "\n".join([*lines, "", f"decisions: {counted}"])


def _alone(done: Backtest, column: int) -> float:
    return float(np.prod(np.maximum(1.0 + done.earned[:, column], 0.0)))


def _check(arguments: argparse.Namespace) -> None:
    """What the parser cannot know."""
    if arguments.step is not None and not (math.isfinite(arguments.step) and arguments.step > 0):
        raise SettingsError(f"--step {arguments.step}: want seconds above 0")
    if not (math.isfinite(arguments.cost_bps) and 0 <= arguments.cost_bps <= 10_000):
        raise SettingsError(f"--cost-bps {arguments.cost_bps}: want 0 to 10000")
    if arguments.plot and Path(arguments.plot).suffix not in PLOTS:
        raise SettingsError(f"--plot {arguments.plot}: want a name that ends in .png or .html")
    if arguments.plot:
        _check_place(Path(arguments.plot))
        if importlib.util.find_spec("matplotlib") is None:
            raise SettingsError(
                f"--plot {arguments.plot}: drawing needs matplotlib, which is not installed: "
                "install the extra `plot` (the server image has it not), or leave out --plot for the table"
            )
    if not arguments.csv and not (arguments.begin and arguments.end):
        raise SettingsError("want --from and --to, or --csv FILE")
    if arguments.begin and arguments.end and moment(arguments.begin) >= moment(arguments.end):
        raise SettingsError(f"--from {arguments.begin} --to {arguments.end}: want a from before the to")


def _check_place(picture: Path) -> None:
    """A replay may take minutes; whether its picture can be written is known before."""
    if not picture.parent.is_dir():
        raise SettingsError(f"--plot {picture}: {picture.parent} is no directory")
    if picture.is_dir() or not os.access(picture if picture.exists() else picture.parent, os.W_OK):
        raise SettingsError(f"--plot {picture}: cannot be written")


def _between(seen: Observation, begin: str | None, end: str | None) -> tuple[Observation, int]:
    """The file's rows up to `end`, and the first to earn."""
    rows = seen.returns.shape[0]
    times = seen.as_of - seen.step * np.arange(rows - 1, -1, -1)
    if end:
        kept = int((times <= moment(end)).sum())
        dropped = rows - kept
        seen = replace(
            seen,
            as_of=seen.as_of - dropped * seen.step,
            returns=seen.returns[:kept],
            outcomes=seen.outcomes[:kept],
        )
        times = times[:kept]
    first = int((times < moment(begin)).sum()) if begin else 1
    return seen, max(1, first)
