"""What `import rlsuite` adds to `import gymnasium`: fresh processes, alternating, medians.

Run: python benchmarks/import_time.py [rounds]
"""

import statistics
import subprocess
import sys
import time


def seconds(statement: str) -> float:
    """Wall-clock seconds of one fresh interpreter that runs the statement."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    statements = {"gymnasium": "import gymnasium", "rlsuite": "import gymnasium, rlsuite"}
    times: dict[str, list[float]] = {name: [] for name in statements}
    for statement in statements.values():
        seconds(statement)  # warm the file cache
    for _ in range(rounds):
        for name, statement in statements.items():
            times[name].append(seconds(statement))
    pairs = zip(times["rlsuite"], times["gymnasium"], strict=True)
    added = statistics.median(ours - base for ours, base in pairs)
    print(f"import gymnasium           median {statistics.median(times['gymnasium']):.3f} s")
    print(f"import gymnasium, rlsuite  median {statistics.median(times['rlsuite']):.3f} s")
    print(f"added by rlsuite           median {added:.3f} s over {rounds} pairs (at most 0.2 s)")


if __name__ == "__main__":
    main()
