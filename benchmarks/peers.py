"""The peers' own environment: .venv-bench, made from requirements/bench.txt when it is missing or older."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "bench.txt"
VENV = ROOT / ".venv-bench"


def peers_python() -> Path:
    """The Python of .venv-bench; made now if need be."""
    python, stamp = VENV / "bin" / "python", VENV / "lock.txt"
    if not (python.exists() and stamp.exists() and stamp.read_bytes() == LOCK.read_bytes()):
        print("bench: preparing .venv-bench from requirements/bench.txt", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
        install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*install, "--require-hashes", "-r", str(LOCK)], check=True)
        stamp.write_bytes(LOCK.read_bytes())
    return python
