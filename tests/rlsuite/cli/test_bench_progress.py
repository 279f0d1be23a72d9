"""What is shown of a running benchmark: on a terminal, in a log, and as JSON."""

from __future__ import annotations

import json
import os
import re
import struct
import sys
import threading
from pathlib import Path

import pytest

from registry.catalogue import registry
from rlsuite.cli.bench_progress import bench_progress, cell_line
from rlsuite.cli.bench_state import BenchState, Best, TimeLeft, roughly
from rlsuite.records import RunKey, RunRecord
from rlsuite.running.events import (
    CellElsewhere,
    CellFinished,
    CellProgress,
    CellRetried,
    CellStarted,
    SuiteStarted,
)
from rlsuite.suite import AgentChoice, Cell

SUITE = """
name = "two"

[[grid]]
tasks = ["rlsuite/GridWorld-v0"]
seeds = 4
total_timesteps = 100_000

[grid.agents]
q = "rlsuite/QLearning-v0"
sarsa = { id = "rlsuite/Sarsa-v0", step_size = 0.1 }
"""
GRID = "rlsuite/GridWorld-v0"
CONTROL = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


def record(task: str = "t", agent: str = "a", seed: int = 0, **keywords) -> RunRecord:
    fixed = {"env_id": task, "family": "f", "metric": "final_return", "agent_id": agent}
    return RunRecord(
        key=RunKey(identity={"task": task, "agent": agent, "seed": seed}),
        task=task,
        agent=agent,
        seed=seed,
        settings={},
        total_timesteps=10,
        **{"state": "ok", **fixed, **keywords},
    )


def cell(agent: str, seed: int, budget: int = 100) -> Cell:
    return Cell(
        task=registry.task_spec(GRID),
        label=agent,
        choice=AgentChoice("rlsuite/QLearning-v0"),
        seed=seed,
        total_timesteps=budget,
        eval_points=5,
        eval_episodes=10,
        final_episodes=20,
        deterministic=True,
    )


def test_the_line_of_a_cell():
    good = record(mean_return=0.93, score=1.0, regret=0.0, train_seconds=1.0, eval_seconds=0.5)
    assert cell_line(good, " 9/12") == (
        "[ 9/12] t  a  seed 0  return 0.930  score 1.000  regret 0.000  1.5 s"
    )
    assert cell_line(good, "9/12", reused=True).endswith("  reused")
    bad = record(state="timeout", error="log\nstopped after its limit of 3 s")
    assert cell_line(bad, "1/3") == "[1/3] t  a  seed 0  TIMEOUT: stopped after its limit of 3 s"
    assert cell_line(bad, "1/3", reused=True).startswith("[1/3] t  a  seed 0  TIMEOUT (reused): ")
    assert cell_line(record(state="failed"), "1/3").endswith("FAILED: no message")


def test_the_line_of_a_cell_of_which_only_the_reward_is_known():
    known = record(metrics={"expected_reward": 0.25})
    assert cell_line(known, "1/1", reused=True).endswith("a  seed 0  reward only 0.250  reused")


def test_the_time_left_by_hand():
    """Two workers; three cells of `a`, of 4 s each, and two of `b` with twice the steps."""
    now = 0.0
    state = BenchState(clock=lambda: now)
    to_run = (*[cell("a", seed) for seed in range(3)], *[cell("b", s, 200) for s in range(2)])
    state(SuiteStarted(6, 1, to_run))
    state(CellFinished(5, 6, record(GRID, "a", 9), True))
    assert state.total == 6
    assert state.time_left is None  # what was reused says nothing of the time
    assert state.headline() == "1 ok; 1 reused; time left not known yet"
    state(CellStarted(0, 6, GRID, "a", 0))
    state(CellStarted(1, 6, GRID, "a", 1))
    now = 4.0
    state(CellFinished(0, 6, record(GRID, "a", 0), False))
    # a, seed 1: 4 s gone of 4. Left: one a of 4 s, two b, guessed as all others: 4 s. Two at once.
    assert state.time_left == TimeLeft((4 + 2 * 4) / 2, untimed=1, kinds=2)
    assert str(state.time_left) == "perhaps 10 s left, 1 of 2 kinds of cells not timed yet"
    state(CellProgress(1, 6, 40, 100))
    # a, seed 1 has taken 4 s for 40 of 100 steps: 6 s more.
    assert state.time_left == TimeLeft((4 + 2 * 4 + 6) / 2, untimed=1, kinds=2)
    state(CellStarted(3, 6, GRID, "b", 0))
    now = 60.0
    state(CellFinished(3, 6, record(GRID, "b", 0), False))
    state(CellRetried(1, 6, "killed", "ended from outside"))
    # Two a of 4 s and one b of 56 s on two workers.
    assert state.time_left == TimeLeft((2 * 4 + 56) / 2, untimed=0, kinds=2)
    assert state.headline() == "3 ok; 1 tried again; 1 reused; about 40 s left"
    state(CellStarted(4, 6, GRID, "b", 1))
    assert state.time_left == TimeLeft(56, untimed=0, kinds=2)  # no sooner than its longest cell


def test_an_agent_on_another_task_is_timed_by_its_steps():
    now = 0.0
    state = BenchState(clock=lambda: now)
    state.budgets.update({("t", "a"): 100, ("u", "a"): 300})
    state.waiting.update({("t", "a"): 1, ("u", "a"): 1})
    state(CellStarted(0, 2, "t", "a", 0))
    now = 2.0
    state(CellFinished(0, 2, record("t", "a"), False))
    assert state.time_left == TimeLeft(6.0, untimed=1, kinds=1)


def test_a_cell_of_another_process_is_counted_as_such():
    state = BenchState()
    state(SuiteStarted(2, 0, (cell("a", 0), cell("a", 1))))
    state(CellElsewhere(1, 2, GRID, "a", 1))
    assert "1 run by another process" in state.headline()
    state(CellFinished(1, 2, record(GRID, "a", 1), True))
    assert "another process" not in state.headline()
    assert state.waiting[GRID, "a"] == 1


def test_a_cell_that_is_tried_again_says_which_try_it_is():
    state = BenchState()
    state(SuiteStarted(1, 0, (cell("a", 0),)))
    state(CellStarted(0, 1, GRID, "a", 0))
    state(CellRetried(0, 1, "lost", ""))
    assert state.running == {}
    state(CellStarted(0, 1, GRID, "a", 0))
    assert state.running[0].attempt == 2


def test_the_best_so_far_compares_like_with_like():
    state = BenchState()

    def finish(task, agent, score, mean_return=0.0, family="f", index=iter(range(99))):  # noqa: B008
        done = record(task, agent, score=score, mean_return=mean_return, family=family)
        state(CellFinished(next(index), 9, done, False))

    finish("t", "a", 0.5)
    finish("u", "a", 1.0)
    assert state.best() == [Best("f", "a", "score 0.750 on 2 tasks")]
    finish("t", "b", 0.6)  # b has not finished u, so only t counts
    assert state.best() == [Best("f", "b", "score 0.600 on 1 task")]
    finish("t", "c", 0.6)
    assert state.best() == [Best("f", "b, c", "score 0.600 on 1 task")]
    finish("v", "a", None, 3.0, family="g")
    finish("w", "b", None, 9.0, family="g")
    assert state.best()[1:] == [Best("v", "a", "return 3.000"), Best("w", "b", "return 9.000")]
    state(CellFinished(50, 9, record("x", "d", state="oom"), False))
    assert len(state.best()) == 3


def test_an_estimate_is_no_more_exact_than_it_is():
    texts = [roughly(seconds) for seconds in (0.2, 11, 61, 3_541, 3_601, 3_900)]
    assert texts == ["10 s", "20 s", "2 min", "1 h 00 min", "1 h 05 min", "1 h 05 min"]


def test_a_log_gets_a_line_for_what_is_tried_again(cli, capsys):
    with bench_progress() as told:
        told(SuiteStarted(1, 0, (cell("a", 0),)))
        told(CellStarted(0, 1, GRID, "a", 0))
        told(CellRetried(0, 1, "killed", "its process was ended from outside by SIGKILL"))
        told(CellStarted(0, 1, GRID, "a", 0))
        told(CellFinished(0, 1, record(GRID, "a", mean_return=1.0), False))
    assert capsys.readouterr().out.splitlines() == [
        "1 cell: 1 to run",
        f"{GRID}  a  seed 0  KILLED, tried again: its process was ended from outside by SIGKILL",
        f"[1/1] {GRID}  a  seed 0  return 1.000  0.00 s",
    ]


def test_a_suite_that_begins_again_with_more_seeds_is_counted_anew(cli, capsys):
    """As `--until-clear` does it: what is stored is told again, and shown once."""
    now = 0.0
    state = BenchState(clock=lambda: now)
    first, second = record(GRID, "a", 0, score=1.0), record(GRID, "a", 1, score=0.0)
    with bench_progress() as told:
        for listener in (state, told):
            now = 0.0
            listener(SuiteStarted(1, 0, (cell("a", 0),)))
            listener(CellStarted(0, 1, GRID, "a", 0))
            now = 3.0
            listener(CellFinished(0, 1, first, False))
            listener(SuiteStarted(2, 1, (cell("a", 1),)))
            listener(CellFinished(0, 2, first, True))
            listener(CellStarted(1, 2, GRID, "a", 1))
    assert (state.total, state.done, state.reused) == (2, 1, 1)
    assert state.time_left == TimeLeft(3.0, untimed=0, kinds=1)
    state(CellFinished(1, 2, second, False))
    assert state.best() == [Best("f", "a", "score 0.500 on 1 task")]
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(GRID)[0] for line in lines] == [
        "1 cell: 1 to run",
        "[1/1] ",
        "2 cells: 1 to run, 1 stored",
    ]


def test_json_tells_every_event(cli):
    Path("two.toml").write_text(SUITE)
    shown = cli("bench", "two.toml", "--only", "agent=q", "--seeds", "1", "--no-report", "--json")
    events = [json.loads(line) for line in shown.out.splitlines()]
    names = [event["event"] for event in events]
    assert names == ["planned", "started", *["progress"] * 4, "finished", "done"]
    assert events[0] == {"event": "planned", "total": 2, "reused": 0, "to_run": 1}
    assert events[-2]["state"] == "ok"
    assert events[-2]["steps"] == 100_000
    assert events[-1]["states"] == {"ok": 1}


class Terminal:
    """A command in a pseudo-terminal of a given size; reads what it draws."""

    def __init__(self, words, columns=100, rows=30):
        import pty

        self.main, child = pty.openpty()
        self.resize(columns, rows)
        environment = {**os.environ, "TERM": "xterm-256color", "OMP_NUM_THREADS": "1"}
        for name in ("NO_COLOR", "COLUMNS", "LINES"):
            environment.pop(name, None)
        self.pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", "rlsuite.cli.main", *words],
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, child, fd) for fd in (1, 2)],
        )
        os.close(child)
        self.shown = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def resize(self, columns, rows):
        import fcntl
        import termios

        fcntl.ioctl(self.main, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait_for(self, pattern, seconds=90.0):
        """Waits until the text drawn so far holds the pattern; returns the length of it."""
        import time

        end = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            assert time.monotonic() < end, self.text[-2_000:]
            time.sleep(0.05)
        return len(self.shown)

    @property
    def text(self):
        return CONTROL.sub(b"", self.shown).decode(errors="replace")

    def finish(self):
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self._reader.join(10)
        os.close(self.main)
        return code

    def _read(self):
        while True:
            try:
                piece = os.read(self.main, 65536)
            except OSError:  # the other end was closed
                return
            if not piece:
                return
            self.shown += piece


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")
def test_a_terminal_shows_two_workers_and_stands_a_narrower_screen(cli):
    """Bars, two running cells with their steps, the best so far, and no line per cell."""
    Path("two.toml").write_text(SUITE)
    terminal = Terminal(["bench", "two.toml", "--workers", "2", "--no-report"])
    terminal.wait_for(r"Running\s+q +GridWorld +seed 0 +0/100,000 steps")
    terminal.resize(60, 30)
    start = terminal.wait_for(r"Best so far")
    assert terminal.finish() == 0
    text = terminal.text
    assert "time left not known yet" in text
    assert re.search(r"seed \d +[1-9][\d,]+/100,000 steps +0:0\d:\d\d", text)
    assert re.search(r"(perhaps|about) \d+ (s|min) left", text)
    assert "8/8 cells" in text
    assert re.search(r"tabular +(q|sarsa|q, sarsa) +score \d\.\d+ on 1 task", text)
    assert "[8/8]" not in text
    drawn = CONTROL.sub(b"", terminal.shown[start:]).decode(errors="replace")
    frames = drawn.partition("tabular: ")[0].replace("\r", "\n").splitlines()
    assert max(len(line) for line in frames) <= 60
