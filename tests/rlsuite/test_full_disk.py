"""A disk that really fills up, in a file system of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

CODE = """
import subprocess, sys
import rlsuite
from registry.errors import StoreError
from rlsuite.store import Store
from rlsuite.suite import Grid, Suite, choices

folder = sys.argv[1]
grid = Grid(tasks=("CartPole-v1",), agents=choices({"r": "rlsuite/Reinforce-v0"}), seeds=10,
            total_timesteps=300, eval_points=3, eval_episodes=1, final_episodes=3)
store = folder + "/s.sqlite"
try:
    rlsuite.benchmark(Suite("full", (grid,)), store=store, workers=2)
except StoreError as error:
    print(error)
with Store(store, read_only=True) as opened:
    kept = len(opened.digests("ok"))
    opened.check()
subprocess.run(["mount", "-o", "remount,size=30m", folder], check=True)
again = rlsuite.benchmark(Suite("full", (grid,)), store=store, workers=2)
print(0 < kept < 10, again.reused == kept, {record.state for record in again.records})
elsewhere = rlsuite.benchmark(Suite("full", (grid,)), store=sys.argv[2])
print(rlsuite.results_table(again.records) == rlsuite.results_table(elsewhere.records))
"""


def in_a_small_file_system(folder, *command):
    mounted = 'mount -t tmpfs -o size=600k tmpfs "$0" && exec "$@"'
    return subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", mounted, str(folder), *command],
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
def test_a_disk_that_fills_up_keeps_what_was_stored_and_the_same_call_goes_on(tmp_path):
    if shutil.which("unshare") is None or in_a_small_file_system(tmp_path, "true").returncode:
        pytest.skip("this system lets nobody mount a small file system of their own")
    code = [sys.executable, "-c", CODE, str(tmp_path), str(tmp_path.parent / "elsewhere.sqlite")]
    done = in_a_small_file_system(tmp_path, *code)
    assert done.returncode == 0, done.stderr
    said, kept, same = done.stdout.splitlines()[-3:]
    assert said.endswith("the disk is full. All that was stored before is kept; make room.")
    assert (kept, same) == ("True True {'ok'}", "True")
