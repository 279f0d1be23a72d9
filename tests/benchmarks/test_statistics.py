"""benchmarks/statistics.py has the name of a module of the standard library: nobody may notice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


def test_other_scripts_of_the_folder_get_the_standard_library():
    code = "import statistics as s; from statistics import fmean as f; print(s.median([2]), f([1]))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=FOLDER, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["2", "1.0"]
