"""Each rule is written once: compiled by numba it gives the same bits as in plain Python."""

from __future__ import annotations

import ast
import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rlsuite  # noqa: F401  (registers the agents)
import rlsuite_agents
from registry.catalogue import registry
from rlsuite_agents.bandits import linucb, squarecb
from rlsuite_agents.functional import (
    bandit_indices,
    bandit_posteriors,
    bandit_weights,
    bandits,
    chance,
    exploration,
    returns,
    td,
)
from rlsuite_agents.parts import linear_model, pcg64
from rlsuite_agents.parts.bandit import BanditPolicy
from rlsuite_agents.parts.compiled import bound, compiled, digest

A = 4
BANDIT_RULES = [
    bandit_indices.optimistic,
    bandit_indices.per_pull,
    bandit_indices.ucb_tuned_indices,
    bandit_indices.moss_indices,
    bandit_indices.bernoulli_divergence,
    bandit_indices.kl_ucb_index,
    bandit_indices.kl_ucb_indices,
    bandit_indices.imed_indices,
    bandit_indices.window_ucb_indices,
    bandit_indices.discounted_ucb_indices,
    bandit_posteriors.log_gamma,
    bandit_posteriors.beta_survival,
    bandit_posteriors.beta_quantile,
    bandit_posteriors.surely_below,
    bandit_posteriors.bayes_ucb_indices,
    bandit_posteriors.thompson_normal,
    bandit_posteriors.nig_update,
    bandit_posteriors.thompson_nig,
    bandit_weights.softmax,
    bandit_weights.mixed_with_uniform,
    chance.draw_from,
    bandit_weights.adam_step,
]
RULES = [
    *BANDIT_RULES,
    td.td_error,
    td.discount_of,
    td.sarsa_error_row,
    td.expected_sarsa_error_row,
    td.q_learning_error_row,
    td.double_q_learning_error_row,
    exploration.greedy,
    exploration.random_argmax,
    exploration.uniform,
    exploration.epsilon_greedy,
    bandits.running_mean,
    bandits.ucb1_index,
    bandits.ucb1_indices,
    bandits.thompson_beta,
    returns._backward,
    returns._n_step,
    returns._lambda,
    returns._advantages,
]


def bandit_arguments(rng, case):
    """Of the rules of bandits, by name: rows of K = A arms and numbers, extremes among them."""
    counts = rng.integers(case % 2, 9, size=A) + np.array([1, 0, 0, 0])
    means = np.where(counts > 3, rng.random(A), rng.integers(2, size=A))
    row = {name: rng.normal(size=A) for name in ("values", "theta", "gradient", "m")}
    positive = ("squares", "v", "deviations", "strengths", "shapes", "scales")
    row |= {name: 0.1 + 3 * rng.random(A) for name in positive}
    alpha, beta = 0.5 + 9 * rng.random((2, A))
    return row | {
        "counts": counts,
        "means": means,
        "sums": counts * means,
        "indices": np.where(rng.random(A) < 0.2, np.inf, rng.integers(3, size=A)),
        "pi": rng.dirichlet(np.ones(A)),
        "alpha": alpha,
        "beta": beta,
        "clock": np.array([0.9**case, 0.999**case]),
        "t": int(rng.integers(1, 40)),
        "window": float(1 + rng.integers(60)),
        "horizon": float(500 * (case % 2)),
        "exploration": 0.6,
        "c": 3.0 * (case % 2),
        "plus": bool(case % 2),
        "p": (0.0, 1.0, 0.5, rng.random(), 0.9999)[case % 5],
        "q": (rng.random(), 0.0, 1.0)[case % 3],
        "d": rng.exponential() * 3 ** (case % 4),
        "a": 0.5 + 9 * rng.random(),
        "b": 0.5 + 9 * rng.random(),
        "x": rng.random(),
        "low": 0.0,
        "tail": 1.0 / (1.0 + rng.integers(500)),
        "strength": 1.0 + rng.random(),
        "shape": 1.0 + rng.random(),
        "scale": 1.0 + rng.random(),
        "share": 0.1,
        "step_size": 0.05,
        "log_beta": np.array([bandit_posteriors.log_beta_of(alpha, beta, k) for k in range(A)]),
    }


def arguments(rule, case):
    """Two equal sets of arguments by name, each with generators and outputs of its own."""

    def build():
        rng = np.random.default_rng(case)
        q = np.round(rng.normal(size=(3, A)), 1)
        n, t = int(rng.integers(1, 9)), int(rng.integers(9, 40))
        mask = rng.random(A) < 0.6
        mask[rng.integers(A)] = True
        steps = {k: rng.normal(size=9) for k in ("rewards", "values", "v_next")}
        named = {
            "v": rng.normal(),
            "v_next": rng.normal(),
            "r": rng.normal(),
            "x": rng.normal(),
            "mean": rng.normal(),
            "discount": 0.9,
            "gamma": 0.9,
            "terminated": bool(case % 2),
            "a": int(rng.integers(A)),
            "a_next": int(rng.integers(A)),
            "q": q[0],
            "q_next": q[1],
            "q_next_value": q[1],
            "q_next_selector": q[2],
            "pi_next": rng.dirichlet(np.ones(A)),
            "epsilon": 0.5,
            "mask": None if case % 3 == 0 else mask,
            "n": n,
            "t": t,
            "exploration": 2.0,
            "means": rng.random(A),
            "counts": rng.integers(case % 2, 9, size=A) + np.array([1, 0, 0, 0]),
            "alpha": 0.5 + 9 * rng.random(A),
            "beta": 0.5 + 9 * rng.random(A),
            "discounts": np.where(rng.random(9) < 0.2, 0.0, 0.97),
            "lambdas": rng.random(9),
            "g": 1.5,
            "out": np.zeros(9),
            "rng": np.random.default_rng(case + 1),
        }
        if rule.__module__.endswith("returns"):
            named |= steps
        if rule in BANDIT_RULES:
            named |= bandit_arguments(rng, case)
            if "alpha" not in inspect.signature(rule).parameters:
                named["log_beta"] = -1.5
        if rule is exploration.uniform:
            named["n"] = A
        return {name: named[name] for name in inspect.signature(rule).parameters}

    return build(), build()


def bits(value):
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    return None if value is None else np.asarray(value).tobytes()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_compiled_and_plain_give_the_same_bits(rule):
    fast = compiled(rule)
    for case in range(24):
        ours, theirs = arguments(rule, case)
        assert bits(rule(*ours.values())) == bits(fast(*theirs.values()))
        for name, value in ours.items():  # what is written in place, and how much was drawn
            assert bits(value) == bits(theirs[name]), name


def test_returns_of_many_streams_compile_too():
    rng = np.random.default_rng(0)
    r, d, v, w, lambdas = rng.random((5, 6, 3))
    for rule, inputs in (
        (returns._n_step, (r, d, v, 2)),
        (returns._lambda, (r, d, v, lambdas)),
        (returns._advantages, (r, d, v, w, lambdas)),
    ):
        plain, fast = np.zeros((6, 3)), np.zeros((6, 3))
        rule(*inputs, plain)
        compiled(rule)(*inputs, fast)
        assert bits(plain) == bits(fast)


def test_plain_lists_and_arrays_give_the_same():
    """The agents keep rows as lists, because lists are faster one number at a time."""
    for rule in RULES:
        if rule.__module__.endswith("returns"):
            continue
        for case in range(6):
            ours, theirs = arguments(rule, case)
            theirs = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in theirs.items()}
            assert bits(rule(*ours.values())) == bits(rule(*theirs.values()))


FORBIDDEN = {"exp", "log", "sum", "mean", "prod", "dot", "integers", "choice"}


def with_helpers(rules):
    """These functions and those of ours that they call, each once."""
    found = list(rules)
    for rule in found:
        for called in map(rule.__globals__.get, rule.__code__.co_names):
            if inspect.isfunction(called) and called not in found:
                found.append(called)
    return [f for f in found if f.__module__.startswith("rlsuite_agents")]


def rules_of_policies():
    """What runs compiled of every bandit policy."""
    for entry in registry.entries("agent"):
        cls = entry.load() if ".bandits." in entry.entry_point else None
        if inspect.isclass(cls) and issubclass(cls, BanditPolicy) and hasattr(cls, "rules"):
            yield from (cls.rules.choose, cls.rules.update, cls.rules.best)
    for rules in (
        linucb.RULES,
        squarecb.RULES,
        linear_model.THOMPSON,
        linear_model.LOGISTIC_THOMPSON,
    ):
        yield from rules[:-1]


ALL_RULES = list(dict.fromkeys(with_helpers([*RULES, *rules_of_policies()])))


def test_every_rule_of_a_policy_is_looked_at():
    assert len(ALL_RULES) > len(RULES) + 2 * 18


@pytest.mark.parametrize("rule", ALL_RULES, ids=lambda f: f"{f.__module__}.{f.__name__}")
def test_rules_use_only_what_compiles_to_the_same_bits(rule):
    """`math.*`, `a**0.6` and `/` do; `np.exp`, `np.log`, `x**2`, `.sum()` and `.mean()` do not."""
    for node in ast.walk(ast.parse(inspect.getsource(rule))):
        if isinstance(node, ast.Attribute) and node.attr in FORBIDDEN:
            assert isinstance(node.value, ast.Name), ast.unparse(node)
            assert node.value.id == "math", ast.unparse(node)
        assert not isinstance(node, ast.Pow | ast.MatMult)
        assert not (isinstance(node, ast.Name) and node.id == "np")


TWICE = """
import sys, gymnasium as gym, rlsuite
from rlsuite_agents.parts import table_loop
from rlsuite_agents.tabular.q_learning import QLearning
agent = QLearning(gym.make("rlsuite/CliffWalk-v0"), seed=0)
table_loop.learn_in_tables([agent], 1_000)
(loop,) = table_loop._loops.values()
hits = sum(getattr(loop.stats, "cache_hits", {}).values())
where = sys.modules["rlsuite_agents.loops"].__file__
print(hits, agent.q.sum().hex(), where, type(loop._cache).__name__)
"""


def trained(**environment):
    """What `TWICE` prints in a process of its own: cache hits, and what was learned."""
    command = [sys.executable, "-P", "-c", TWICE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_machine_code_is_found_by_the_next_process(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    first, second = trained(**environment), trained(**environment)
    assert (first[0], second[0]) == ("0", "1")
    assert first[1] == second[1]


def test_where_no_folder_can_be_written_it_compiles_all_the_same(tmp_path):
    """A file stands where each folder would be made, which stops the superuser too."""
    source = Path(rlsuite_agents.__file__).parent
    copy = tmp_path / "rlsuite_agents"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in [copy, *(path for path in copy.rglob("*") if path.is_dir())]:
        (folder / "__pycache__").touch()
    home = tmp_path / "home"
    home.touch()
    ways = {name: str(home) for name in ("HOME", "USERPROFILE", "LOCALAPPDATA", "XDG_CACHE_HOME")}
    ways |= {"NUMBA_CACHE_DIR": str(home / "numba"), "PYTHONPATH": str(tmp_path)}
    before = sorted(tmp_path.rglob("*"))
    hits, _, where, cache = trained(**{**os.environ, **ways})
    assert (hits, where, cache) == ("0", str(copy / "loops.py"), "NullCache")
    assert sorted(tmp_path.rglob("*")) == before


def test_names_are_bound_in_what_is_called_too():
    fast = bound(exploration.epsilon_greedy, random=lambda rng: rng[0])
    assert fast(np.array([1.0, 3.0, 2.0]), 0.5, None, np.array([0.4])) == 1  # int(0.4 * 3)
    assert fast(np.array([1.0, 3.0, 2.0]), 0.5, None, np.array([0.6])) == 1  # the greedy one
    assert fast(np.array([1.0, 3.0, 2.0]), 0.5, None, np.array([0.0])) == 0


def test_the_name_of_the_machine_code_tells_what_is_bound():
    one, other = digest(td.discount_of, {}), digest(exploration.greedy, {})
    assert one != other
    swapped = digest(exploration.epsilon_greedy, {"random": td.discount_of})
    assert swapped != digest(exploration.epsilon_greedy, {})


@pytest.mark.parametrize("seed", range(3))
def test_uniforms_in_compiled_code_are_those_of_the_generator(seed):
    generator = np.random.default_rng(seed)
    row, fast = pcg64.words(generator), bound(pcg64.random)
    assert [fast(row) for _ in range(2_000)] == generator.random(2_000).tolist()
    other = np.random.default_rng(99)
    pcg64.put_back(other, row)
    assert other.bit_generator.state == generator.bit_generator.state
    assert pcg64.can_step(other)
    other.integers(9, dtype=np.uint32)  # holds back half of a draw
    assert not pcg64.can_step(other)
    assert not pcg64.can_step(np.random.Generator(np.random.Philox(0)))
    assert not pcg64.can_step(None)


@pytest.mark.parametrize("n", [1, 2, 10, 257])
def test_one_of_the_next_uniforms_is_found_without_the_others(n):
    generator = np.random.default_rng(n)
    row, ways = pcg64.words(generator), np.empty((n, 4), np.uint64)
    bound(pcg64.ways_ahead)(row, ways)
    pick, picks = bound(pcg64.one_of_next), np.random.default_rng(7).integers(n, size=300)
    uniforms = generator.random((300, n))
    assert [pick(row, ways, j) for j in picks] == uniforms[np.arange(300), picks].tolist()
    assert row.tolist() == pcg64.words(generator).tolist()


def test_compiling_twice_is_compiling_once():
    assert compiled(td.td_error) is compiled(td.td_error)
