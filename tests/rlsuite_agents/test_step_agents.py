"""The promises that every agent which learns step by step makes, kept by each of them."""

from __future__ import annotations

import json
import random
from dataclasses import fields

import gymnasium as gym
import numpy as np
import pytest

import rlsuite  # noqa: F401  (registers the environments)
from registry.contracts import ProbabilisticPolicy, Transition
from registry.errors import (
    CheckpointError,
    InvalidObservationError,
    SettingError,
    UnsupportedSpaceError,
)
from rlsuite_agents.bandits.epsilon_greedy import EpsilonGreedy
from rlsuite_agents.bandits.linucb import LinUCB
from rlsuite_agents.bandits.thompson_sampling import ThompsonSampling
from rlsuite_agents.bandits.ucb1 import UCB1
from rlsuite_agents.parts.checkpoint import generator_state, load_checkpoint, save_checkpoint
from rlsuite_agents.parts.tables import arrays_of
from rlsuite_agents.random import Random
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
from rlsuite_agents.tabular.posterior_sampling import PosteriorSampling
from rlsuite_agents.tabular.prioritized_sweeping import PrioritizedSweeping
from rlsuite_agents.tabular.q_learning import QLearning
from rlsuite_agents.tabular.sarsa import Sarsa
from rlsuite_agents.tabular.sarsa_lambda import SarsaLambda
from rlsuite_agents.tabular.td_lambda import TDLambda
from rlsuite_agents.tabular.td_zero import TD0
from rlsuite_agents.tabular.watkins_q_lambda import WatkinsQLambda

PREDICTORS = [MonteCarloPrediction, TD0, NStepTD, TDLambda]
PLANNERS = [DynaQ, DynaQPlus, PrioritizedSweeping, PosteriorSampling]
LONGER = [NStepSarsa, NStepTreeBackup, SarsaLambda, WatkinsQLambda]
LONGER += [MonteCarloControl, OffPolicyMonteCarlo]
ONE_STEP = [QLearning, Sarsa, ExpectedSarsa, DoubleQLearning]
TABULAR = [*ONE_STEP, *LONGER, *PREDICTORS, *PLANNERS]
BANDITS = [EpsilonGreedy, UCB1, ThompsonSampling, LinUCB]
ALL = [Random, *TABULAR, *BANDITS]

every_agent = pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)


@pytest.fixture
def make(make_chain, make_contexts):
    """An environment that suits an agent class."""

    def build(cls, **kwargs):
        return make_contexts(**kwargs) if cls in BANDITS else make_chain(**kwargs)

    return build


def snapshot(agent):
    """Everything an agent has learned and will draw from, bit for bit."""
    names = ("_theta", "_a_inv")
    learned = {name: getattr(agent, name) for name in names if hasattr(agent, name)}
    if hasattr(agent, "beliefs"):
        learned |= {name: array.tolist() for name, array in agent.saved().items()}
    if hasattr(agent, "tables"):
        learned |= {name: array.tolist() for name, array in arrays_of(agent.tables).items()}
    generators = [generator_state(agent.rng), generator_state(agent.prediction_rng)]
    return json.dumps([learned, generators, agent.num_timesteps])


def trained(cls, env, steps=150, seed=3):
    return cls(env, seed=seed).learn(steps)


def observations_of(env, n=6):
    space = env.observation_space
    space.seed(0)
    return np.array([space.sample() for _ in range(n)])


@every_agent
@pytest.mark.parametrize("masked", [False, True])
def test_same_seed_same_agent_and_other_seeds_differ(cls, make, masked):
    one, two = trained(cls, make(cls, masked=masked)), trained(cls, make(cls, masked=masked))
    assert snapshot(one) == snapshot(two)
    assert snapshot(trained(cls, make(cls, masked=masked), seed=4)) != snapshot(one)


@every_agent
@pytest.mark.parametrize("split", [0, 1, 17, 20, 149])
def test_learning_in_two_parts_is_learning_in_one(cls, make, split):
    one = trained(cls, make(cls), 150)
    two = cls(make(cls), seed=3).learn(split).learn(150 - split)
    assert snapshot(one) == snapshot(two)


@every_agent
@pytest.mark.parametrize("stateful", [True, False])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("steps", [0, 1, 47, 60])
def test_save_load_learn_is_never_stopped(cls, make, tmp_path, stateful, masked, steps):
    kwargs = {"stateful": stateful, "masked": masked}
    agent = trained(cls, make(cls, **kwargs), steps)
    agent.save(tmp_path / "a.ckpt")
    env = make(cls, **kwargs)
    other = cls.load(tmp_path / "a.ckpt", env=env)
    assert snapshot(other) == snapshot(agent)
    other.save(tmp_path / "b.ckpt")
    assert (tmp_path / "a.ckpt").read_bytes() == (tmp_path / "b.ckpt").read_bytes()
    agent.learn(300)
    other.learn(300)
    assert snapshot(other) == snapshot(agent)
    assert snapshot(trained(cls, make(cls, **kwargs), steps + 300)) == snapshot(agent)


@pytest.mark.parametrize("cls", [QLearning, Sarsa, Random])
def test_resuming_in_an_environment_nobody_here_wrote(cls, tmp_path):
    """FrozenLake offers no get_state: the running episode is replayed."""
    agent = trained(cls, gym.make("FrozenLake-v1"), 1003)
    agent.save(tmp_path / "a.ckpt")
    other = cls.load(tmp_path / "a.ckpt", env=gym.make("FrozenLake-v1"))
    assert snapshot(agent.learn(500)) == snapshot(other.learn(500))


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (QLearning, "rlsuite/GridWorld-v0"),
        (Sarsa, "rlsuite/CliffWalk-v0"),
        (EpsilonGreedy, "rlsuite/BernoulliBandit-v0"),
        (UCB1, "rlsuite/BernoulliBandit-v0"),
        (ThompsonSampling, "rlsuite/BernoulliBandit-v0"),
        (LinUCB, "rlsuite/ContextualBandit-v0"),
        (Random, "rlsuite/TokenGeneration-v0"),
    ],
)
def test_resuming_in_our_environments(cls, name, tmp_path):
    agent = trained(cls, gym.make(name), 707)
    agent.save(tmp_path / "a.ckpt")
    other = cls.load(tmp_path / "a.ckpt", env=gym.make(name))
    assert snapshot(agent.learn(700)) == snapshot(other.learn(700))
    assert snapshot(trained(cls, gym.make(name), 1407)) == snapshot(agent)


def test_random_resumes_in_cart_pole(tmp_path):
    agent = trained(Random, gym.make("CartPole-v1"), 101)
    agent.save(tmp_path / "a.ckpt")
    other = Random.load(tmp_path / "a.ckpt", env=gym.make("CartPole-v1"))
    agent.learn(50)
    other.learn(50)
    observation = agent.session.tape.observation
    np.testing.assert_array_equal(observation, other.session.tape.observation)


@every_agent
def test_a_loaded_agent_predicts_without_an_environment(cls, make, tmp_path):
    env = make(cls)
    agent = trained(cls, env)
    agent.save(tmp_path / "a.ckpt")
    other = cls.load(tmp_path / "a.ckpt")
    batch = observations_of(env)
    for deterministic in (True, False):
        ours, _ = agent.predict(batch, deterministic=deterministic)
        theirs, _ = other.predict(batch, deterministic=deterministic)
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(SettingError, match="loaded without an environment, so it can predict but"):
        other.learn(1)
    agent = cls.load(tmp_path / "a.ckpt")
    agent.save(tmp_path / "c.ckpt")  # saving it again loses nothing
    assert (tmp_path / "c.ckpt").read_bytes() == (tmp_path / "a.ckpt").read_bytes()


@every_agent
def test_checkpoint_of_another_agent(cls, make, tmp_path):
    trained(cls, make(cls)).save(tmp_path / "a.ckpt")
    other = QLearning if cls is not QLearning else Sarsa
    with pytest.raises(CheckpointError, match=f"is a checkpoint of '{cls.id}', not of"):
        other.load(tmp_path / "a.ckpt")


@every_agent
def test_checkpoint_for_other_spaces(cls, make, tmp_path, make_chain, make_contexts):
    trained(cls, make(cls)).save(tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="was trained with the observation_space"):
        cls.load(tmp_path / "a.ckpt", env=make_chain(n=7))
    env = make(cls)
    env.action_space = gym.spaces.Discrete(9)
    with pytest.raises(CheckpointError, match=r"action_space Discrete\(.\), .* has Discrete\(9\)"):
        cls.load(tmp_path / "a.ckpt", env=env)


def damage(path, cls, **changes):
    """Rewrites a checkpoint, sound as a file but with other contents."""
    found = load_checkpoint(path, agent=cls.id, config_type=cls.config_type)
    arrays = {**found.arrays, **changes.pop("arrays", {})}
    arrays = {name: value for name, value in arrays.items() if value is not None}
    save_checkpoint(
        path,
        agent=cls.id,
        config=found.config,
        arrays=arrays,
        state={**found.state, **changes},
        allow_nan=frozenset(arrays),
    )


@every_agent
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"num_timesteps": "many"}, "'num_timesteps' should be of type int, but is 'many'"),
        ({"rng": None}, "'rng' should be of type dict"),
        ({"prediction_rng": {"bit_generator": "PCG64"}}, "generator is damaged"),
        ({"session": {"over": True}}, "the running episode is not readable"),
        ({"action_space": {"kind": "Rubber"}}, "this does not describe a space"),
    ],
)
def test_damaged_state(cls, make, tmp_path, changes, sentence):
    trained(cls, make(cls)).save(tmp_path / "a.ckpt")
    damage(tmp_path / "a.ckpt", cls, **changes)
    with pytest.raises(CheckpointError, match=sentence):
        cls.load(tmp_path / "a.ckpt", env=make(cls))


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (QLearning, "q"),
        (Sarsa, "q"),
        (EpsilonGreedy, "means"),
        (UCB1, "means"),
        (ThompsonSampling, "alpha"),
        (LinUCB, "theta"),
        (LinUCB, "a_inv"),
    ],
)
def test_damaged_arrays(cls, name, make, tmp_path):
    agent, path = trained(cls, make(cls)), tmp_path / "a.ckpt"
    for value, sentence in (
        (None, f"lacks the array '{name}'"),
        (np.zeros((2, 2)), f"the array '{name}' should be float64 of shape"),
        (np.full(1, np.nan), f"the array '{name}'"),
    ):
        agent.save(path)
        damage(path, cls, arrays={name: value})
        with pytest.raises(CheckpointError, match=sentence):
            cls.load(path)
    agent.save(path)
    old = load_checkpoint(path, agent=cls.id, config_type=cls.config_type).arrays[name]
    damage(path, cls, arrays={name: np.full_like(old, np.nan)})
    with pytest.raises(CheckpointError, match=f"the array '{name}' holds NaN"):
        cls.load(path)


def test_damaged_plan_of_sarsa(make, tmp_path):
    path = tmp_path / "a.ckpt"
    agent = trained(Sarsa, make(Sarsa))
    agent.tables.planned[0] = 5
    agent.save(path)
    with pytest.raises(CheckpointError, match=r"'planned' should be in \[0, 2\), or -1, but is"):
        Sarsa.load(path)


@every_agent
def test_global_generators_end_as_they_were_found(cls, make, tmp_path):
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    before = random.getstate(), str(np.random.get_state())  # noqa: NPY002
    agent = trained(cls, make(cls))
    agent.predict(observations_of(agent.env))
    agent.save(tmp_path / "a.ckpt")
    cls.load(tmp_path / "a.ckpt", env=make(cls)).learn(5)
    assert (random.getstate(), str(np.random.get_state())) == before  # noqa: NPY002


@every_agent
def test_two_interleaved_are_two_alone(cls, make):
    one, two = cls(make(cls), seed=1), cls(make(cls), seed=2)
    for _ in range(10):
        one.learn(9)
        two.learn(9)
    assert snapshot(one) == snapshot(trained(cls, make(cls), 90, seed=1))
    assert snapshot(two) == snapshot(trained(cls, make(cls), 90, seed=2))


@every_agent
def test_predicting_does_not_disturb_learning(cls, make):
    agent = trained(cls, make(cls), 50)
    learned = json.loads(snapshot(agent))
    for _ in range(3):
        agent.predict(observations_of(agent.env))
        agent.action_probabilities(observations_of(agent.env), deterministic=False)
    after = json.loads(snapshot(agent))
    assert after[0] == learned[0]
    assert after[1][0] == learned[1][0]  # the training generator
    agent.learn(50)
    agent.prediction_rng = trained(cls, make(cls), 1).prediction_rng
    assert snapshot(agent) == snapshot(trained(cls, make(cls), 100))


@every_agent
def test_predict_answers_in_kind(cls, make):
    agent = trained(cls, make(cls))
    batch = observations_of(agent.env, 4)
    for deterministic in (True, False):
        one, state = agent.predict(batch[0], "kept", deterministic=deterministic)
        assert isinstance(one, np.int64)
        assert agent.env.action_space.contains(one)
        assert state == "kept"
        many, _ = agent.predict(batch, deterministic=deterministic)
        assert many.shape == (4,)
        assert many.dtype == np.int64
    alone = [agent.predict(o, deterministic=True)[0] for o in batch]
    np.testing.assert_array_equal(agent.predict(batch, deterministic=True)[0], alone)


@every_agent
def test_a_row_draws_from_its_own_generator(cls, make):
    agent = trained(cls, make(cls), 5)
    batch = observations_of(agent.env, 4)
    many, _ = agent.predict(batch, rngs=[np.random.default_rng(k) for k in range(4)])
    alone = [agent.predict(o, rngs=[np.random.default_rng(k)])[0] for k, o in enumerate(batch)]
    np.testing.assert_array_equal(many, alone)
    before = snapshot(agent)
    agent.predict(batch[0], rngs=np.random.default_rng(1))
    assert snapshot(agent) == before
    with pytest.raises(SettingError, match="one generator per row: 4, got 2"):
        agent.predict(batch, rngs=[np.random.default_rng(k) for k in range(2)])


@every_agent
def test_predictions_come_from_the_probabilities(cls, make):
    """20,000 draws: each frequency within 4 standard errors."""
    agent = trained(cls, make(cls), 8)
    observation = observations_of(agent.env, 1)
    (p,) = agent.action_probabilities(observation, deterministic=False)
    rows = np.repeat(observation, 2_000, axis=0)
    draws = np.concatenate([agent.predict(rows)[0] for _ in range(10)])
    frequency = np.bincount(draws, minlength=len(p)) / len(draws)
    assert np.all(np.abs(frequency - p) <= 4 * np.sqrt(p * (1 - p) / len(draws)) + 1e-12)


@every_agent
@pytest.mark.parametrize("seed", range(5))
def test_probabilities_are_the_true_marginal_of_act(cls, make, seed):
    """2,000 draws of `act` from one state of belief: each frequency within 4.5 standard errors."""
    agent = trained(cls, make(cls, masked=True), 6 + 5 * seed, seed=seed)
    observation = observations_of(agent.env, 1)
    n_actions = int(agent.env.action_space.n)
    mask = np.ones((1, n_actions), bool)
    mask[0, seed % n_actions] = False
    for rows, one in ((None, None), (mask, mask[0])):
        (p,) = agent.action_probabilities(observation, deterministic=False, mask=rows)
        rng = np.random.default_rng(seed)
        if cls in (Sarsa, NStepSarsa, SarsaLambda):
            agent.tables.planned[0] = -1
        draws = [agent.act(observation[0], one, rng)[0] for _ in range(2_000)]
        frequency = np.bincount(draws, minlength=n_actions) / 2_000
        assert np.all(np.abs(frequency - p) <= 4.5 * np.sqrt(p * (1 - p) / 2_000) + 1e-9)


@every_agent
def test_deterministic_is_one_action_and_repeatable(cls, make):
    agent = trained(cls, make(cls))
    batch = observations_of(agent.env)
    before = snapshot(agent)
    p = agent.action_probabilities(batch, deterministic=True)
    assert p.dtype == np.float64
    np.testing.assert_array_equal(np.sort(p, axis=1)[:, -1], 1.0)
    np.testing.assert_array_equal(p.sum(axis=1), 1.0)
    np.testing.assert_array_equal(agent.predict(batch, deterministic=True)[0], p.argmax(axis=1))
    assert snapshot(agent) == before
    assert isinstance(agent, ProbabilisticPolicy)


@every_agent
def test_masked_actions_have_probability_zero_and_are_never_predicted(cls, make):
    agent = trained(cls, make(cls, masked=True))
    batch = observations_of(agent.env, 2)
    mask = np.ones((2, int(agent.env.action_space.n)), bool)
    mask[0, 0] = mask[1, 1] = False
    for deterministic in (True, False):
        p = agent.action_probabilities(batch, deterministic=deterministic, mask=mask)
        assert p[~mask].sum() == 0
        np.testing.assert_allclose(p.sum(axis=1), 1.0)
        for _ in range(20):
            actions, _ = agent.predict(batch, deterministic=deterministic, mask=mask)
            assert mask[[0, 1], actions].all()
            assert agent.predict(batch[0], deterministic=deterministic, mask=mask[0])[0] != 0


@every_agent
def test_exact_budget_and_the_callback(cls, make):
    agent, seen = cls(make(cls), seed=0), []
    assert agent.learn(7, lambda a: seen.append(a.num_timesteps)) is agent
    assert seen == [1, 2, 3, 4, 5, 6, 7]
    agent.learn(100, lambda a: a.num_timesteps < 12)
    assert agent.num_timesteps == 12


@every_agent
def test_driven_by_hand_it_learns_the_same(cls, make):
    """`act` and `observe` are all there is to it: somebody else's loop gives the same bits."""
    agent, env = cls(make(cls, masked=True), seed=3), make(cls, masked=True)
    observation, info = env.reset(seed=agent.session.seed)
    for _ in range(150):
        mask = info["action_mask"]
        action, extras = agent.act(observation, mask, agent.rng)
        after, reward, terminated, truncated, info = env.step(action)
        next_mask = info["action_mask"] if info["action_mask"].any() else None
        ends, masks = (terminated, truncated), (mask, next_mask)
        agent.observe(Transition(observation, action, reward, after, *ends, *masks, info, extras))
        agent.num_timesteps += 1
        observation = after
        if terminated or truncated:
            observation, info = env.reset()
    assert snapshot(agent) == snapshot(trained(cls, make(cls, masked=True), 150))


@every_agent
def test_tables_run_on_the_cpu(cls, make):
    with pytest.raises(SettingError, match=f'{cls.__name__} runs on the CPU: device must be "cpu"'):
        cls(make(cls), seed=0, device="cuda")
    assert cls(make(cls), seed=0, device="auto").num_timesteps == 0


@every_agent
@pytest.mark.parametrize("seed", [-1, 1.5, True, "x"])
def test_seeds_are_whole_numbers(cls, make, seed):
    with pytest.raises(SettingError, match="a seed is a whole number"):
        cls(make(cls), seed=seed)


@every_agent
def test_actions_that_are_not_discrete(cls):
    env = gym.make("Pendulum-v1")
    with pytest.raises(
        UnsupportedSpaceError, match=f"{cls.__name__}'s .* must be Discrete .* got Box"
    ):
        cls(env, seed=0)


@every_agent
def test_actions_that_do_not_start_at_zero(cls, make):
    env = make(cls)
    env.action_space = gym.spaces.Discrete(3, start=1)
    with pytest.raises(
        UnsupportedSpaceError, match="must be Discrete and must count from 0, got Discrete"
    ):
        cls(env, seed=0)


@pytest.mark.parametrize("cls", TABULAR)
def test_tables_want_discrete_observations(cls, make_contexts):
    with pytest.raises(
        UnsupportedSpaceError, match="observation space must be Discrete and must count from 0"
    ):
        cls(make_contexts(), seed=0)


def test_linucb_wants_vectors(make_chain):
    with pytest.raises(UnsupportedSpaceError, match="LinUCB's observation space must be a Box"):
        LinUCB(make_chain(), seed=0)


@every_agent
def test_observation_of_the_wrong_shape(cls, make):
    agent = cls(make(cls), seed=0)
    with pytest.raises(InvalidObservationError, match=r"one observation of .* has shape"):
        agent.predict(np.zeros((2, 3, 4)))
    with pytest.raises(InvalidObservationError, match=r"the pair \(observation, info\)"):
        agent.predict(agent.env.reset(seed=0))


@pytest.mark.parametrize("cls", TABULAR)
@pytest.mark.parametrize("observation", [-1, 5, [0, 9], 0.5])
def test_observation_that_is_no_row_of_the_table(cls, make, observation):
    with pytest.raises(InvalidObservationError, match=r"whole numbers in \[0, 5\)"):
        cls(make(cls), seed=0).predict(np.array(observation))


@every_agent
def test_settings_say_what_they_are(cls):
    config = cls.config_type()
    for field in fields(config):
        if field.type == "float":
            for bad in (float("nan"), float("-inf"), "high", True, None):
                with pytest.raises(SettingError, match=rf"\.{field.name} must be a number in"):
                    cls.config_type(**{field.name: bad})
