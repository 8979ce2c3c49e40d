"""`make bench [PART=exporter]`: each `benchmarks/bench_<part>.py` prints one table beside its peers."""

import importlib
import sys
from pathlib import Path


def main(parts: list[str]) -> int:
    known = {path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py")}
    unknown = sorted(set(parts) - known)
    if unknown:
        print(f"bench: no part {', '.join(unknown)}: want one of {', '.join(sorted(known))}", file=sys.stderr)
        return 2
    for part in parts or sorted(known):
        print(f"\n== {part}", flush=True)
        importlib.import_module(f"benchmarks.bench_{part}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
