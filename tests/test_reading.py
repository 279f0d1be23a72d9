"""How much of ours somebody opens to follow one agent as it learns.

Counted are lines of code, without blank lines, comments and docstrings: the agent's whole file, and
every function of ours that runs while an agent with default settings learns, step by step. Saving
and loading are another reading, and so is the compiled loop, which is the plain one once more and
gives the same bits. So is how rules are compiled, which runs in the first test that needs them and
in no later one.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from types import CodeType
from typing import Any

import gymnasium as gym
import pytest

import rlsuite  # noqa: F401  (registers everything)
import rlsuite_agents
from registry.catalogue import registry

TABULAR = (
    "rlsuite/QLearning-v0",
    "rlsuite/Sarsa-v0",
    "rlsuite/ExpectedSarsa-v0",
    "rlsuite/DoubleQLearning-v0",
)
PREDICTION = (
    "rlsuite/MonteCarloPrediction-v0",
    "rlsuite/TD0-v0",
    "rlsuite/NStepTD-v0",
    "rlsuite/TDLambda-v0",
)
LONGER = (
    "rlsuite/MonteCarloControl-v0",
    "rlsuite/NStepSarsa-v0",
    "rlsuite/NStepTreeBackup-v0",
    "rlsuite/SarsaLambda-v0",
    "rlsuite/WatkinsQLambda-v0",
)
OFF_POLICY = ("rlsuite/OffPolicyMonteCarlo-v0",)
PLANNING = (
    "rlsuite/DynaQ-v0",
    "rlsuite/DynaQPlus-v0",
    "rlsuite/PrioritizedSweeping-v0",
    "rlsuite/PosteriorSampling-v0",
)
LIMIT = 250
# times of tries and the conventions of a footnote; counts, predecessors and a heap
ALLOWANCE = {"rlsuite/DynaQPlus-v0": 270, "rlsuite/PrioritizedSweeping-v0": 325}
ANOTHER_READING = (
    "checkpoint.py",
    "compiled.py",
    "env_state.py",
    "table_loop.py",
    "world.py",
    "pcg64.py",
)


DEEP = {
    "rlsuite/PPO-v0": {"backward", "_advantages"},
    "rlsuite/A2C-v0": {"backward", "_advantages"},
    "rlsuite/ActorCritic-v0": {"backward", "_advantages"},
    "rlsuite/SAC-v0": {"backward", "draw", "add", "critic_gradient", "policy_gradient"},
}
DEEP_LIMIT = 900
DQN_LIMIT = 700
TEXTS_LIMIT = 1_000


def lines_of_code(source: str) -> int:
    source = textwrap.dedent(source)
    documentation: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            first = node.body[0]
            documentation |= set(range(first.lineno, (first.end_lineno or 0) + 1))
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in documentation
        for number, line in enumerate(source.splitlines(), 1)
    )


def what_runs(agent: Any, steps: int) -> set[CodeType]:
    """Every function of ours that so many steps of learning call.

    What has no name, a comprehension say, is among the lines of the function around it; it counts
    by itself where that function was not called.
    """
    home, called = str(rlsuite_agents.__path__[0]), set()

    def note(frame: Any, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(home):
            called.add(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        agent.learn(steps, callback=lambda agent: None)  # who calls back is not compiled
    finally:
        sys.setprofile(before)
    inside = {part for code in called for part in code.co_consts if part in called}
    return {code for code in called if code.co_name[0] != "<" or code not in inside}


def what_a_reader_opens(
    agent_type: type, task: str = "rlsuite/CliffWalk-v0", steps: int = 500
) -> dict[str, int]:
    own = inspect.getsourcefile(agent_type)
    lines = {"its file": lines_of_code(inspect.getsource(sys.modules[agent_type.__module__]))}
    for code in what_runs(agent_type(gym.make(task), seed=0), steps):
        if code.co_filename != own and not code.co_filename.endswith(ANOTHER_READING):
            lines[f"{code.co_filename}:{code.co_name}"] = lines_of_code(inspect.getsource(code))
    return lines


@pytest.mark.parametrize("identifier", [*TABULAR, *LONGER, *OFF_POLICY, *PREDICTION, *PLANNING])
def test_a_tabular_agent_is_read_in_250_lines(identifier):
    opened = what_a_reader_opens(registry.agent_spec(identifier).load())
    assert sum(opened.values()) <= ALLOWANCE.get(identifier, LIMIT), opened
    behaviour = (
        {"follow"} if identifier in (*OFF_POLICY, *PREDICTION) else {"explore", "random_argmax"}
    )
    if identifier == "rlsuite/PosteriorSampling-v0":
        behaviour = {"sample_world", "optimal_action_values"}
    assert behaviour | {"learn_online"} <= {name.rpartition(":")[2] for name in opened}


@pytest.mark.parametrize("identifier", DEEP)
def test_a_deep_agent_is_read_in_900_lines(identifier):
    opened = what_a_reader_opens(registry.agent_spec(identifier).load())
    assert sum(opened.values()) <= DEEP_LIMIT, opened
    assert DEEP[identifier] <= {name.rpartition(":")[2] for name in opened}


def test_dqn_is_read_in_700_lines():
    opened = what_a_reader_opens(registry.agent_spec("rlsuite/DQN-v0").load())
    assert sum(opened.values()) <= DQN_LIMIT, opened
    assert {"backward", "draw", "add"} <= {name.rpartition(":")[2] for name in opened}


@pytest.mark.parametrize("name", ["GRPO", "RLOO", "GDPO", "RLHFPPO"])
def test_an_agent_that_writes_texts_is_read_in_1000_lines(name):
    """With the transformer, its cache and the sampler; a batch has some 500 tokens."""
    agent_type = registry.agent_spec(f"rlsuite/{name}-v0").load()
    opened = what_a_reader_opens(agent_type, "rlsuite/TokenGeneration-v0", 1_500)
    assert sum(opened.values()) <= TEXTS_LIMIT, opened
    assert {"descend", "sample_texts", "evaluate"} <= {n.rpartition(":")[2] for n in opened}


def test_lines_of_code_by_hand():
    source = '"""Doc."""\n\n# comment\ndef f(x):\n    """Doc\n    of two lines."""\n    return x\n'
    assert lines_of_code(source) == 2
