"""50,000 stratified bootstrap replicates of 26 tasks x 10 runs, on one core, beside a plain twin.

The twin is written from the published description (Agarwal et al. 2021): replicate after replicate,
runs are drawn for every task, scipy's trimmed mean is taken, and at the end the percentiles. Ours
is the whole call of `bootstrap_interval`: checks, replicates, jackknife, quantiles. The same for
the probability of improvement, whose twin calls scipy's Mann-Whitney test for every task. Times are
CPU time of this process; ours and the twin take turns, and the medians of the rounds are compared.

Run: python benchmarks/statistics.py [rounds]
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ != "__main__":
    # Another script of this folder asked for the standard library's module of the same name.
    import importlib.util
    import sysconfig

    source = Path(sysconfig.get_path("stdlib")) / "statistics.py"
    found = importlib.util.spec_from_file_location("statistics", source)
    assert found is not None
    assert found.loader is not None
    sys.modules["statistics"] = importlib.util.module_from_spec(found)
    found.loader.exec_module(sys.modules["statistics"])
else:
    # Nor is anything imported from here on to take this file for that module.
    here = Path(__file__).resolve().parent
    sys.path = [folder for folder in sys.path if Path(folder).resolve() != here]

import os
import subprocess
import tempfile
import time
from collections.abc import Callable

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

RUNS, TASKS, RESAMPLES, IMPROVEMENTS = 10, 26, 50_000, 2_000
FIRST_CALL = f"""
import time
import numpy as np
from rlsuite.statistics import bootstrap_interval
x = np.random.default_rng(0).lognormal(size=({RUNS}, {TASKS}))
start = time.perf_counter()
bootstrap_interval(x)
print(time.perf_counter() - start)
"""


def twin_interval(x, resamples, seed):
    """The published algorithm, plainly: percentile interval of the interquartile mean."""
    import numpy as np
    from scipy.stats import trim_mean

    rng = np.random.RandomState(seed)  # the stream of the reference
    columns = np.arange(x.shape[1])
    values = np.empty(resamples)
    for replicate in range(resamples):
        index = rng.choice(len(x), size=x.shape, replace=True)
        values[replicate] = trim_mean(x[index, columns], 0.25, axis=None)
    tail = (1 - 0.95) / 2
    return tuple(np.percentile(values, [100 * tail, 100 * (1 - tail)]))


def twin_improvement(x, y, resamples, seed):
    """The published algorithm, plainly: percentile interval of the probability of improvement."""
    import numpy as np
    from scipy.stats import mannwhitneyu

    rng = np.random.RandomState(seed)  # the stream of the reference
    columns = np.arange(x.shape[1])
    values = np.empty(resamples)
    for replicate in range(resamples):
        a = x[rng.choice(len(x), size=x.shape, replace=True), columns]
        b = y[rng.choice(len(y), size=y.shape, replace=True), columns]
        shares = []
        for one, two in zip(a.T, b.T, strict=True):
            wins, _ = mannwhitneyu(one, two, alternative="greater")
            shares.append(wins / (len(one) * len(two)))
        values[replicate] = np.mean(shares)
    tail = (1 - 0.95) / 2
    return tuple(np.percentile(values, [100 * tail, 100 * (1 - tail)]))


def seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def first_call(folder: str) -> float:
    """Seconds of the first interval in a fresh process; the machine code is kept in `folder`."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
    done = subprocess.run(
        [sys.executable, "-c", FIRST_CALL],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout)


def rounds_of(rounds: int, **calls: Callable[[], object]) -> dict[str, float]:
    """The median CPU seconds of calls that take turns."""
    import numpy as np

    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(seconds(call))
    return {name: float(np.median(found)) for name, found in times.items()}


def show(what: str, ours: float, twin: float) -> None:
    print(f"{what:<48} {ours:8.3f} s   twin {twin:7.2f} s   {twin / ours:6.0f} x")


def main() -> None:
    import numpy as np

    from rlsuite.statistics import bootstrap_interval, probability_of_improvement

    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    rng = np.random.default_rng(0)
    x, y = rng.lognormal(size=(2, RUNS, TASKS))

    with tempfile.TemporaryDirectory() as folder:
        print(f"first interval ever (imports numba, compiles)    {first_call(folder):8.3f} s")
        print(f"first interval of a process (imports, loads)     {first_call(folder):8.3f} s")

    def plain(resamples: int) -> object:
        return bootstrap_interval(x, resamples=resamples, method="percentile", stream="rliable")

    def improvement(**settings: object) -> object:
        return probability_of_improvement(x, y, resamples=IMPROVEMENTS, **settings)

    print(f"{TASKS} tasks x {RUNS} runs, {RESAMPLES:,} replicates, medians of {rounds} rounds")
    bootstrap_interval(x)  # loaded
    times = rounds_of(
        rounds,
        ours=lambda: bootstrap_interval(x),
        legacy=lambda: plain(RESAMPLES),
        twin=lambda: twin_interval(x, RESAMPLES, 0),
    )
    show("interval of the IQM (at most 0.3 s)", times["ours"], times["twin"])
    show("interval of the IQM, the reference's own stream", times["legacy"], times["twin"])
    times = rounds_of(
        max(1, rounds // 2),
        ours=improvement,
        legacy=lambda: improvement(method="percentile", stream="rliable"),
        twin=lambda: twin_improvement(x, y, IMPROVEMENTS, 0),
    )
    what = f"probability of improvement, {IMPROVEMENTS:,} replicates"
    show(what, times["ours"], times["twin"])
    show("the same, the reference's own stream", times["legacy"], times["twin"])

    got = plain(2_000)
    same = (got.low, got.high) == twin_interval(x, 2_000, 0)  # type: ignore[attr-defined]
    print(f"the reference's interval, bit for bit the twin's: {'yes' if same else 'NO'}")


if __name__ == "__main__":
    main()
