"""How long a decision takes, and what allocation made on public data beside its peers."""

from __future__ import annotations

import os
import subprocess
import time

import numpy as np

from allocator.policy import LOOKBACK_ROWS, allocate
from benchmarks.peers import ROOT, peers_python

PROTOTYPE_MS = {4: 3.0, 50: 12.0, 1000: 500.0}
"""What the prototype of the formula took."""


def decision_times() -> None:
    print(f"a decision over {LOOKBACK_ROWS} rows: median and best of 15, milliseconds")
    print(f"{'strategies':>10}{'wall':>9}{'best':>9}{'cpu':>9}{'prototype':>11}{'ratio':>7}")
    rng = np.random.default_rng(0)
    for count, prototype in PROTOTYPE_MS.items():
        history = rng.normal(0.0, 0.01, (LOOKBACK_ROWS, count))
        allocate(history, 0.0, 1.0)
        wall, processor = [], []
        for _ in range(15):
            began, used = time.perf_counter(), time.process_time()
            allocate(history, 0.0, 1.0)
            wall.append((time.perf_counter() - began) * 1e3)
            processor.append((time.process_time() - used) * 1e3)
        print(
            f"{count:>10}{np.median(wall):>9.2f}{min(wall):>9.2f}{np.median(processor):>9.2f}"
            f"{prototype:>11.0f}{min(wall) / prototype:>7.2f}"
        )


def main() -> None:
    decision_times()
    python = str(peers_python())
    print("\nallocation score (a few minutes):", flush=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([python, "-m", "benchmarks.allocation_score"], check=True, cwd=ROOT, env=environment)


if __name__ == "__main__":
    main()
