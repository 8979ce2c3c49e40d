"""A backtest as a picture: PNG, or a page that needs nothing else."""

from __future__ import annotations

import html
import io
from datetime import UTC, datetime
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from allocator.backtest import Backtest

__all__ = ["draw"]

_MOST_NAMES = 12


def draw(done: Backtest, path: Path, text: str) -> None:
    """Write the picture; the table stands under it on a page.

    Args:
        done: What to draw.
        path: A file that ends in .png or .html.
        text: The report.
    """
    figure = _figure(done)
    if path.suffix == ".png":
        FigureCanvasAgg(figure)
        figure.savefig(path)
        return
    drawn = io.StringIO()
    FigureCanvasSVG(figure)
    figure.savefig(drawn, format="svg")
    svg = drawn.getvalue()
    page = (
        "<!doctype html><meta charset=utf-8><title>Allocator backtest</title>"
        "<style>body{font-family:sans-serif;margin:2rem;max-width:70rem}svg{width:100%;height:auto}</style>"
        f"<h1>Allocator backtest</h1>{svg[svg.index('<svg') :]}<pre>{html.escape(text)}</pre>\n"
    )
    path.write_text(page, encoding="utf-8")


def _figure(done: Backtest) -> Figure:
    times = [datetime.fromtimestamp(at, tz=UTC) for at in done.times.tolist()]
    figure = Figure(figsize=(10, 8), layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=[3, 2, 1])
    for track, style in zip(done.tracks, ("-", "--", ":"), strict=True):
        top.plot(times, track.wealth, style, label=track.name)
    top.set_ylabel("capital, begun with 1")
    top.legend(loc="upper left")
    middle.stackplot(times, done.allocator.shares.T, labels=done.strategies)
    middle.set_ylabel("risk share")
    middle.set_ylim(0, 1)
    if len(done.strategies) <= _MOST_NAMES:
        middle.legend(loc="upper left", ncols=4, fontsize="small")
    bottom.plot(times, done.allocator.turnover, drawstyle="steps-post")
    bottom.set_ylabel("turnover")
    figure.autofmt_xdate()
    return figure
