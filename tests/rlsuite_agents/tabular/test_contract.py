"""What every agent with compiled rules promises: compiled, it gives the bits of the plain loop."""

from __future__ import annotations

import ast
import inspect
import textwrap
from dataclasses import fields
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import TimeLimit, TransformReward

import rlsuite  # noqa: F401  (registers the environments)
from registry.errors import SettingError
from rlsuite.training import TrainingLog
from rlsuite.views import AgentView, EpisodeRecorder
from rlsuite_agents import loops
from rlsuite_agents.loops import learn_online
from rlsuite_agents.parts.checkpoint import generator_state
from rlsuite_agents.parts.table_loop import can_learn_in_table, learn_in_tables
from rlsuite_agents.parts.tables import arrays_of
from rlsuite_agents.tabular.double_q_learning import DoubleQLearning
from rlsuite_agents.tabular.dyna_q import DynaQ
from rlsuite_agents.tabular.dyna_q_plus import DynaQPlus
from rlsuite_agents.tabular.expected_sarsa import ExpectedSarsa
from rlsuite_agents.tabular.monte_carlo_control import MonteCarloControl
from rlsuite_agents.tabular.monte_carlo_prediction import MonteCarloPrediction
from rlsuite_agents.tabular.n_step_sarsa import NStepSarsa
from rlsuite_agents.tabular.n_step_td import NStepTD
from rlsuite_agents.tabular.n_step_tree_backup import NStepTreeBackup
from rlsuite_agents.tabular.off_policy_monte_carlo import OffPolicyMonteCarlo
from rlsuite_agents.tabular.prioritized_sweeping import PrioritizedSweeping
from rlsuite_agents.tabular.q_learning import QLearning
from rlsuite_agents.tabular.sarsa import Sarsa
from rlsuite_agents.tabular.sarsa_lambda import SarsaLambda
from rlsuite_agents.tabular.td_lambda import TDLambda
from rlsuite_agents.tabular.td_zero import TD0
from rlsuite_agents.tabular.watkins_q_lambda import WatkinsQLambda
from rlsuite_envs.tabular.env import TabularEnv
from rlsuite_envs.tabular.mdp import TabularMDP

PREDICTORS = [MonteCarloPrediction, TD0, NStepTD, TDLambda]
FOLLOWERS = [*PREDICTORS, OffPolicyMonteCarlo]
PLANNERS = [DynaQ, DynaQPlus, PrioritizedSweeping]
LONGER = [NStepSarsa, NStepTreeBackup, SarsaLambda, WatkinsQLambda]
LONGER += [MonteCarloControl, OffPolicyMonteCarlo]
ONE_STEP = [QLearning, Sarsa, ExpectedSarsa, DoubleQLearning]
AGENTS: list[Any] = [*ONE_STEP, *LONGER, *PREDICTORS, *PLANNERS]

every_agent = pytest.mark.parametrize("cls", AGENTS, ids=lambda cls: cls.__name__)


def random_table(seed):
    """Seven states, three actions, four outcomes of which some cannot be, two starts."""
    rng = np.random.default_rng(seed)
    shape = (7, 3, 4)
    probability = rng.dirichlet(np.full(4, 0.5), size=shape[:2])
    probability[rng.random(shape) < 0.3] = 0.0
    probability[probability.sum(axis=-1) == 0.0] = [0.0, 0.5, 0.5, 0.0]
    return TabularMDP(
        next_state=rng.integers(7, size=shape),
        probability=probability / probability.sum(axis=-1, keepdims=True),
        reward=np.round(rng.normal(size=shape), 1),
        terminal=rng.random(shape) < 0.1,
        start=np.array([0.0, 0.3, 0.0, 0.0, 0.7, 0.0, 0.0]),
    )


TABLES = {
    "cliff": lambda: gym.make("rlsuite/CliffWalk-v0"),
    "slippery cliff": lambda: gym.make("rlsuite/CliffWalk-v0", slip=0.3, max_episode_steps=17),
    "grid": lambda: gym.make("rlsuite/GridWorld-v0", slip=0.2),
    "random": lambda: TimeLimit(TabularEnv(random_table(3)), 9),
    "without a limit": lambda: TabularEnv(random_table(4)),
}
SETTINGS = {
    "default": {},
    "all there is": {
        "epsilon": "linear(0.5, 0.1, 600)",
        "exploration": "count_bonus(0.3)",
        "step_size": "power(0.7)",
        "gamma": 0.9,
        "initial_value": 1.5,
    },
    "boltzmann": {"exploration": "boltzmann(exponential(2, 0.5, 300))", "epsilon": 0.01},
    "ucb": {"exploration": "ucb(inverse(2, 0.1, 50))", "epsilon": 0.0, "gamma": 0.95},
}


def recorded(env):
    """The environment as a benchmark hands it to an agent, and what it counts."""
    log = TrainingLog()
    return AgentView(EpisodeRecorder(env, log, 5)), log


def snapshot(agent):
    """Everything an agent has learned and will draw from, and where its environment is."""
    tables = {name: array.tobytes() for name, array in arrays_of(agent.tables).items()}
    generators = [generator_state(agent.rng), generator_state(agent.prediction_rng)]
    session = agent.session
    here = session.tape.observation, session.over, session.mask
    return tables, generators, agent.num_timesteps, here, agent.env.get_wrapper_attr("get_state")()


def agent_of(cls, env, seed=0, **settings):
    return cls(env, config_of(cls, **settings), seed=seed)


def config_of(cls, **settings):
    """Those of the settings that it has: agents that predict do not explore.

    Off-policy Monte Carlo explores always.
    """
    if cls is OffPolicyMonteCarlo and settings.get("epsilon") == 0.0:
        settings["epsilon"] = 0.05
    known = {field.name for field in fields(cls.config_type)}
    return cls.config_type(**{name: settings[name] for name in known & set(settings)})


@every_agent
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_compiled_and_plain_give_the_same_bits(cls, table, settings):
    (one, log), (two, twin) = recorded(table()), recorded(table())
    fast, slow = agent_of(cls, one, **settings), agent_of(cls, two, **settings)
    for steps in (1, 2, 1_500, 40):
        assert can_learn_in_table(fast)
        learn_in_tables([fast], steps)
        learn_online(slow, steps)
        assert snapshot(fast) == snapshot(slow)
        assert log.state() == twin.state()
        assert one.env.state() == two.env.state()
    # and the other way round: each loop goes on from where the other one stopped
    learn_online(fast, 60)
    learn_in_tables([slow], 60)
    assert snapshot(fast) == snapshot(slow)
    assert fast.num_timesteps == 1_603


@every_agent
def test_the_curve_of_a_longer_run(cls):
    """Long enough for the windows of the log to double many times."""
    (one, log), (two, twin) = recorded(TABLES["random"]()), recorded(TABLES["random"]())
    agent_of(cls, one, planning_steps=1).learn(20_000)
    learn_online(agent_of(cls, two, planning_steps=1), 20_000)
    assert log.state() == twin.state()
    curve = log.curve()
    assert (curve.episodes.sum(), len(curve.step)) == (log.episodes, len(twin.curve().step))


@every_agent
def test_many_seeds_in_one_call_are_as_many_runs(cls):
    """Each row equals its own run, also where a chunk ends before the run does."""
    rest = {"planning_steps": 1}
    config = config_of(cls, exploration="count_bonus(0.5)", step_size="power(0.8)", **rest)
    seeds = [3, 1, 4, 1, 59]
    many = cls.learn_many(TABLES["slippery cliff"], seeds, 3_000, config)
    for seed, agent in zip(seeds, many, strict=True):
        alone = learn_online(cls(TABLES["slippery cliff"](), config, seed=seed), 3_000)
        assert snapshot(agent) == snapshot(alone)
        learn_online(agent, 50)
        learn_online(alone, 50)
        assert snapshot(agent) == snapshot(alone)


@every_agent
def test_many_chunks_are_one_run(cls, monkeypatch):
    whole = agent_of(cls, TABLES["cliff"]())
    learn_in_tables([whole], 5_000)
    monkeypatch.setattr("rlsuite_agents.parts.table_loop.CHUNK", 1_000)
    chunks = agent_of(cls, TABLES["cliff"]())
    learn_in_tables([chunks], 5_000)
    assert snapshot(whole) == snapshot(chunks)


@every_agent
def test_many_seeds_in_different_tables(cls):
    """Then there is no one loop for them all, and the bits are the same."""
    layouts = iter(range(3))
    make = lambda: gym.make("rlsuite/GridWorld-v0", layout_seed=next(layouts))  # noqa: E731
    many = cls.learn_many(make, range(3), 200)
    for seed, agent in enumerate(many):
        env = gym.make("rlsuite/GridWorld-v0", layout_seed=seed)
        assert snapshot(agent) == snapshot(learn_online(agent_of(cls, env, seed), 200))


def test_each_agent_learns_in_an_environment_of_its_own():
    env = TABLES["cliff"]()
    with pytest.raises(SettingError, match="make_env gave the same environment twice"):
        QLearning.learn_many(lambda: env, [0, 1], 10)
    with pytest.raises(SettingError, match="total_timesteps must be a whole number"):
        QLearning.learn_many(TABLES["cliff"], [0, 1], 1.5)
    assert QLearning.learn_many(TABLES["cliff"], [], 10) == []


@every_agent
@pytest.mark.parametrize("steps", [40, 1_234])
def test_saved_after_the_compiled_loop_it_goes_on_as_if_never_stopped(cls, tmp_path, steps):
    agent = agent_of(cls, TABLES["slippery cliff"](), exploration="ucb(1)")
    learn_in_tables([agent], steps)
    agent.save(tmp_path / "a.ckpt")
    other = cls.load(tmp_path / "a.ckpt", env=TABLES["slippery cliff"]())
    assert snapshot(other) == snapshot(agent)
    learn_in_tables([agent], 500)
    learn_online(other, 500)
    assert snapshot(other) == snapshot(agent)


@every_agent
def test_learn_picks_the_compiled_loop_and_takes_the_exact_budget(cls, monkeypatch):
    taken = []
    monkeypatch.setattr(loops, "learn_in_tables", lambda agents, steps: taken.append(steps))
    monkeypatch.setattr(loops, "is_compiled", lambda agent: False)
    agent = agent_of(cls, TABLES["cliff"]())
    agent.learn(loops.WORTH_COMPILING)
    agent.learn(loops.WORTH_COMPILING - 1)
    agent.learn(loops.WORTH_COMPILING, callback=lambda agent: agent.num_timesteps < 30_000)
    assert taken == [loops.WORTH_COMPILING]
    monkeypatch.setattr(loops, "is_compiled", lambda agent: True)
    agent.learn(7)
    assert taken[1:] == [7]


class Louder(TransformReward):
    """A wrapper that changes the rewards."""

    def __init__(self, env):
        super().__init__(env, lambda r: 2.0 * r)


class Silent(AgentView):
    """A subclass of a known wrapper, which might do anything."""


class OwnStep(TabularEnv):
    """A table with a step of its own."""

    def step(self, action):
        return super().step(action)


class Masked(TabularEnv):
    """A table that allows the first action alone."""

    def action_masks(self):
        return np.array([True, False, False])


@pytest.mark.parametrize(
    "env",
    [
        lambda: Masked(random_table(0)),
        lambda: Louder(TABLES["cliff"]()),
        lambda: Silent(TABLES["cliff"]()),
        lambda: TimeLimit(TABLES["cliff"](), 9),
        lambda: OwnStep(random_table(0)),
        lambda: gym.make("rlsuite/CliffWalk-v0", render_mode="rgb_array"),
        lambda: recorded(recorded(TABLES["cliff"]())[0])[0],
    ],
)
def test_any_other_environment_or_wrapper_means_the_plain_loop(env):
    assert not can_learn_in_table(QLearning(env(), seed=0))
    assert can_learn_in_table(QLearning(TABLES["cliff"](), seed=0))


def test_a_model_that_is_replaced_means_the_plain_loop():
    agent = QLearning(TabularEnv(random_table(0)), seed=0)
    assert can_learn_in_table(agent)
    agent.env._use(random_table(1))
    assert not can_learn_in_table(agent)


def test_a_recorder_that_has_to_see_each_step_means_the_plain_loop():
    env, log = recorded(TABLES["cliff"]())
    agent, heard = QLearning(env, seed=0), []
    log.on_step = heard.append
    assert not can_learn_in_table(agent)
    agent.learn(30)
    assert heard == list(range(1, 31))
    log.on_step = None
    assert can_learn_in_table(agent)


def test_an_act_or_observe_of_its_own_means_the_plain_loop():
    class Subclass(QLearning):
        def observe(self, transition):
            super().observe(transition)

    assert not can_learn_in_table(Subclass(TABLES["cliff"](), seed=0))
    agent = QLearning(TABLES["cliff"](), seed=0)
    agent.act = lambda observation, mask, rng: (0, {})
    assert not can_learn_in_table(agent)
    other = QLearning(TABLES["cliff"](), seed=0)
    other.rng = np.random.Generator(np.random.Philox(0))
    assert not can_learn_in_table(other)


def rules_of(cls):
    """The rules of an agent, and every function of ours that they call."""
    found, todo = [], [*cls.rules]
    while todo:
        rule = todo.pop()
        if rule not in found:
            found.append(rule)
            called = (rule.__globals__.get(name) for name in rule.__code__.co_names)
            todo += [one for one in called if inspect.isfunction(one)]
    return found


FORBIDDEN = {"exp", "log", "sum", "mean", "prod", "dot", "integers", "choice", "random", "normal"}


def breaches(rule):
    """What would not give the same bits compiled, or draws other than by `chance.random`."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(rule)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in FORBIDDEN:
            if not (isinstance(node.value, ast.Name) and node.value.id == "math"):
                yield ast.unparse(node)
        array = isinstance(node, ast.Name) and node.id == "np"
        if array or isinstance(node, ast.MatMult | ast.Pow):
            yield ast.unparse(node)


@every_agent
def test_rules_use_only_what_compiles_to_the_same_bits(cls):
    names = {rule.__name__ for rule in rules_of(cls)}
    assert names >= {"act", "observe", "visit", "follow" if cls in FOLLOWERS else "explore"}
    for rule in rules_of(cls):
        if rule.__name__ != "random":  # the one draw, which the loop replaces
            assert list(breaches(rule)) == [], rule


def test_the_rule_of_rules_sees_a_breach():
    def bad(x, rng):
        return np.exp(x) + x**2 + x.sum() + rng.random()

    assert len(list(breaches(bad))) == 5  # np itself too
