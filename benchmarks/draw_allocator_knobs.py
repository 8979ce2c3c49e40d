"""Draws docs/allocator-knobs.png: what each knob of the allocator does to one made-up history.

    .venv/bin/python -m benchmarks.draw_allocator_knobs

Four simulated strategies over 700 refreshes: `steady` earns all along, `turns` earns until row 250 and loses
from then on, `plain` does neither, `young` is born at row 450.  Every panel is the daemon's own decision,
walked forward, with one knob changed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from allocator.backtest import from_returns, replay
from allocator.decision import Limits
from benchmarks.peers import ROOT

NAMES = ("plain", "steady", "turns", "young")
PANELS = (
    ("exploration", (0.0, 0.08, 0.3), "young", "EXPLORATION: how much the young one gets"),
    ("ema_alpha", (0.05, 0.35, 1.0), "turns", "EMA_ALPHA: how fast scores are believed"),
    ("max_step", (0.01, 0.1, 1.0), "turns", "MAX_STEP: how fast shares may move"),
    ("max_share", (0.3, 0.55, 0.8), "steady", "MAX_SHARE: the most one strategy gets"),
    ("min_share", (0.0, 0.05, 0.15), "turns", "MIN_SHARE: what a loser keeps"),
    ("dead_band", (0.0, 0.005, 0.05), "turns", "DEAD_BAND: moves too small to publish"),
)


def history() -> np.ndarray:
    """Returns of the four; shape (700, 4)."""
    rng = np.random.default_rng(4)
    out = rng.normal(0.0, 0.01, (700, 4))
    out[:, 1] += 0.001
    out[:250, 2] += 0.002
    out[250:, 2] -= 0.002
    out[:450, 3] = np.nan
    return out


def main() -> None:
    seen = from_returns(history(), NAMES, 1_700_000_400.0, 600.0)
    figure = Figure(figsize=(11, 6.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (knob, values, name, title) in zip(figure.subplots(2, 3).flat, PANELS, strict=True):
        for value, style in zip(values, (":", "-", "--"), strict=True):
            done = replay(seen, replace(Limits(), **{knob: value}))
            axes.plot(done.allocator.shares[:, NAMES.index(name)], style, label=f"{value:g}", linewidth=1.2)
        axes.set_title(title, fontsize=9)
        axes.set_ylim(0, 0.85)
        axes.set_ylabel(f"share of {name}", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.legend(fontsize=8, loc="upper right")
    figure.supxlabel("refreshes; solid is the default", fontsize=9)
    figure.savefig(ROOT / "docs" / "allocator-knobs.png", dpi=80, metadata={"Software": ""})


if __name__ == "__main__":
    main()
