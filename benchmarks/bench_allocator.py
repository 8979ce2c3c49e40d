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
    print(f"a decision over {LOOKBACK_ROWS} rows, milliseconds; one thread, so processor time is the measure")
    head = ("strategies", "wall median", "cpu median", "cpu best", "prototype", "ratio")
    print("".join(f"{name:>13}" for name in head))
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
        numbers = (
            np.median(wall),
            np.median(processor),
            min(processor),
            prototype,
            min(processor) / prototype,
        )
        print(f"{count:>13}" + "".join(f"{number:>13.2f}" for number in numbers))


def main() -> None:
    decision_times()
    python = str(peers_python())
    print("\nallocation score (a few minutes):", flush=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([python, "-m", "benchmarks.allocation_score"], check=True, cwd=ROOT, env=environment)


if __name__ == "__main__":
    main()
