"""Gymnasium's own tables take the compiled loop too, with the bits of their own simulation."""

from __future__ import annotations

from dataclasses import fields

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.toy_text.frozen_lake import FrozenLakeEnv

import rlsuite
from registry.catalogue import registry
from rlsuite.training import TrainingLog
from rlsuite.views import AgentView, EpisodeRecorder
from rlsuite_agents.loops import learn_online
from rlsuite_agents.parts.checkpoint import generator_state
from rlsuite_agents.parts.env_state import layers
from rlsuite_agents.parts.table_loop import Rules, can_learn_in_table, learn_in_tables
from rlsuite_agents.parts.tables import arrays_of
from rlsuite_agents.parts.world import stand_of
from rlsuite_agents.tabular.expected_sarsa import ExpectedSarsa
from rlsuite_agents.tabular.q_learning import QLearning
from rlsuite_agents.tabular.sarsa import Sarsa

IDS = ["FrozenLake-v1", "FrozenLake8x8-v1", "CliffWalking-v1", "CliffWalkingSlippery-v1", "Taxi-v4"]


def compiling():
    """Every registered agent of ours whose rules compile."""
    classes = [
        entry.load() for entry in registry.entries("agent") if "tabular" in entry.entry_point
    ]
    return [cls for cls in classes if isinstance(getattr(cls, "rules", None), Rules)]


def agent_of(cls, env, seed=0, **settings):
    known = {field.name for field in fields(cls.config_type)} & set(settings)
    return cls(env, cls.config_type(**{name: settings[name] for name in known}), seed=seed)


def recorded(identifier, **keywords):
    """The environment as a benchmark hands it to an agent, and what it counts."""
    log = TrainingLog()
    return AgentView(EpisodeRecorder(gym.make(identifier, **keywords), log, 5)), log


def base_state(env):
    """Everything that a toy-text environment changes while it is stepped."""
    base = layers(env)[-1]
    clocks = [getattr(layer, "_elapsed_steps", None) for layer in layers(env)]
    names = ("s", "lastaction", "fickle_step", "taxi_orientation", "P")
    return generator_state(base.np_random), clocks, {n: getattr(base, n, None) for n in names}


def snapshot(agent):
    """Everything an agent has learned and will draw from, and where its environment is."""
    tables = {name: array.tobytes() for name, array in arrays_of(agent.tables).items()}
    session = agent.session
    mask = None if session.mask is None else (session.mask.dtype, session.mask.tolist())
    here = session.tape.observation, session.over, mask
    return tables, generator_state(agent.rng), agent.num_timesteps, here, base_state(agent.env)


def check_both_loops(cls, identifier, **settings):
    (one, log), (two, twin) = recorded(identifier), recorded(identifier)
    fast, slow = agent_of(cls, one, **settings), agent_of(cls, two, **settings)
    for steps in (1, 2, 800, 30):
        assert can_learn_in_table(fast)
        learn_in_tables([fast], steps)
        learn_online(slow, steps)
        assert snapshot(fast) == snapshot(slow)
        assert log.state() == twin.state()
        assert one.env.state() == two.env.state()
    learn_online(fast, 40)
    learn_in_tables([slow], 40)
    assert snapshot(fast) == snapshot(slow)


@pytest.mark.parametrize("cls", compiling(), ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("identifier", [i for i in IDS if i != "Taxi-v4"])
def test_compiled_and_plain_give_the_same_bits(cls, identifier):
    check_both_loops(cls, identifier)


@pytest.mark.parametrize("cls", [QLearning, Sarsa, ExpectedSarsa])
def test_masks_are_those_of_the_taxi(cls):
    check_both_loops(cls, "Taxi-v4", epsilon=0.3, exploration="ucb(1)")


@pytest.mark.slow
@pytest.mark.parametrize("cls", compiling(), ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("exploration", ["greedy", "boltzmann(2)"])
def test_every_agent_minds_the_masks(cls, exploration):
    check_both_loops(cls, "Taxi-v4", epsilon=0.3, exploration=exploration)


def test_no_masked_action_is_ever_tried():
    agent = agent_of(QLearning, gym.make("Taxi-v4"), epsilon=1.0, step_size="power(1)")
    learn_in_tables([agent], 20_000)
    tried = agent.tables.practice.counts > 0
    allowed = stand_of(gym.make("Taxi-v4")).world.masks > 0
    assert tried.any(axis=1).sum() > 300
    assert not (tried & ~allowed).any()


@pytest.mark.parametrize("identifier", ["FrozenLake-v1", "Taxi-v4"])
def test_many_seeds_in_one_call_are_as_many_runs(identifier):
    many = QLearning.learn_many(lambda: gym.make(identifier), [3, 1], 400)
    for seed, agent in zip([3, 1], many, strict=True):
        assert snapshot(agent) == snapshot(
            learn_online(agent_of(QLearning, gym.make(identifier), seed), 400)
        )


@pytest.mark.parametrize("identifier", IDS)
@pytest.mark.parametrize("begin", [learn_online, lambda agent, n: learn_in_tables([agent], n)])
def test_saved_it_goes_on_as_if_never_stopped(identifier, begin, tmp_path):
    agent = agent_of(Sarsa, gym.make(identifier))
    begin(agent, 333)
    agent.save(tmp_path / "a.ckpt")
    other = Sarsa.load(tmp_path / "a.ckpt", env=gym.make(identifier))
    assert snapshot(other) == snapshot(agent)
    learn_online(other, 100)
    learn_in_tables([agent], 100)
    assert snapshot(other) == snapshot(agent)


def foresee(generator, n):
    """Puts a PCG64 where its n-th uniform from now is 1 - 2^-53, which the state 2^64 - 1 gives."""
    state = generator.bit_generator.state
    inverse = pow(2549297995355413924 << 64 | 4865540595714422341, -1, 1 << 128)
    words = (1 << 64) - 1
    for _ in range(n):
        words = (words - state["state"]["inc"]) * inverse % (1 << 128)
    generator.bit_generator.state = {**state, "state": {**state["state"], "state": words}}


def test_where_a_sum_falls_short_of_one_the_first_is_taken():
    """The 300 starts of the taxi add up to less than 1 - 2^-53; what is left falls to state 0."""
    agents = [agent_of(QLearning, gym.make("Taxi-v4", max_episode_steps=1)) for _ in range(2)]
    for agent in agents:
        learn_online(agent, 1)
        foresee(layers(agent.env)[-1].np_random, 3)  # a reset, a step, and then the second reset
    learn_online(agents[0], 2)
    learn_in_tables([agents[1]], 2)
    assert snapshot(agents[0]) == snapshot(agents[1])
    base = layers(agents[0].env)[-1]
    assert base.initial_state_distrib[0] == 0.0
    assert base.s in {outcome[1] for outcomes in base.P[0].values() for outcome in outcomes}
    generator = np.random.default_rng(0)
    foresee(generator, 2)
    assert generator.random() < 1 - 2**-53 == generator.random()


class Subclass(FrozenLakeEnv):
    """It might do anything."""


def rewritten():
    env = gym.make("FrozenLake-v1").unwrapped
    env.P[0][0] = [(0.5, 1, 0.0, False)]
    return env


def overridden():
    env = gym.make("FrozenLake-v1").unwrapped
    env.step = lambda action: FrozenLakeEnv.step(env, action)
    return env


@pytest.mark.parametrize(
    "make",
    [
        lambda: Subclass(),
        rewritten,
        overridden,
        lambda: gym.make("FrozenLake-v1", render_mode="rgb_array"),
        lambda: gym.make("Taxi-v4", fickle_passenger=True),
        lambda: gym.make("Blackjack-v1"),
        lambda: gym.make("CartPole-v1"),
    ],
)
def test_any_other_environment_means_the_plain_loop(make):
    assert stand_of(make()) is None


def test_a_table_that_is_written_into_means_the_plain_loop():
    env = gym.make("FrozenLake-v1")
    agent = agent_of(QLearning, env)
    assert can_learn_in_table(agent)
    env.unwrapped.P[3][2] = [(1.0, 4, 0.0, False)]
    assert not can_learn_in_table(agent)


def test_a_benchmark_takes_the_compiled_loop(monkeypatch):
    taken = []
    monkeypatch.setattr(
        "rlsuite_agents.loops.learn_in_tables",
        lambda agents, steps: taken.append(steps) or learn_online(agents[0], steps),
    )
    agent = rlsuite.make_agent("rlsuite/QLearning-v0", recorded("Taxi-v4")[0], seed=0)
    agent.learn(10_000)
    assert taken == [10_000]
