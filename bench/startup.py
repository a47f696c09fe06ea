"""How long `obsctl --help` takes, against the same interpreter doing nothing.

Run: python bench/startup.py [RUNS]. Both are warmed up first; the median of the runs counts.
The aim: at most 3 times as long, and under 100 ms.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

LIMIT_RATIO, LIMIT_MS = 3.0, 100.0


def median_ms(command: list[str], runs: int) -> float:
    """Median wall time in milliseconds."""
    times = []
    for _ in range(runs + 3):
        started = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times[3:])


def main() -> int:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    obsctl = str(Path(sys.executable).parent / "obsctl")
    nothing = median_ms([sys.executable, "-c", "pass"], runs)
    rows = {"obsctl --help": [obsctl, "--help"], "obsctl drill --help": [obsctl, "drill", "--help"]}
    print(f"{'python -c pass':22} {nothing:7.1f} ms")
    ratio = limit = 0.0
    for name, command in rows.items():
        took = median_ms(command, runs)
        print(f"{name:22} {took:7.1f} ms   {took / nothing:.1f} x")
        if name == "obsctl --help":
            ratio, limit = took / nothing, took
    met = ratio <= LIMIT_RATIO and limit < LIMIT_MS
    print(f"aim: obsctl --help at most {LIMIT_RATIO:g} x and under {LIMIT_MS:g} ms: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
