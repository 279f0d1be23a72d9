"""Garnet: random tables, drawn as the page says, frozen, and answered exactly."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

import rlsuite  # noqa: F401  registers the ids
from registry.errors import SettingError
from rlsuite_envs.tabular.garnet import Garnet

KEYWORDS = [
    {},
    {"ending": 0.0},
    {"states": 5, "actions": 2, "branching": 1, "mdp_seed": 3, "reward_density": 0.3},
    {"states": 1, "actions": 1, "branching": 1},
]


def make(**keywords):
    return gym.make("rlsuite/Garnet-v0", **keywords)


def slow_table(states, actions, branching, mdp_seed, reward_density, ending):
    """The recipe of the page, one pair at a time: lists of (probability, s', reward, terminal)."""
    rng = np.random.default_rng(mdp_seed)
    pairs = [(s, a) for s in range(states) for a in range(actions)]
    successors = {}
    for pair in pairs:
        left, chosen = list(range(states)), []
        for j in range(branching):
            chosen.append(left.pop(int(rng.random() * (states - j))))
        successors[pair] = chosen
    cuts = {pair: sorted(rng.random() for _ in range(branching - 1)) for pair in pairs}
    reward = {pair: 2.0 * rng.random() - 1.0 for pair in pairs}
    reward = {pair: r if rng.random() < reward_density else 0.0 for pair, r in reward.items()}
    ends = {pair: 2.0 * ending * rng.random() if ending else 0.0 for pair in pairs}
    table = {}
    for pair in pairs:
        edges = [0.0, *cuts[pair], 1.0]
        table[pair] = [
            ((1.0 - ends[pair]) * (high - low), s, reward[pair], False)
            for low, high, s in zip(edges, edges[1:], successors[pair], strict=False)
        ]
        if ending:
            table[pair].append((ends[pair], states, reward[pair], True))
    return table


@settings(max_examples=30, deadline=None)
@given(
    states=st.integers(1, 7),
    actions=st.integers(1, 3),
    share=st.floats(0.0, 1.0),
    mdp_seed=st.integers(0, 2**40),
    reward_density=st.sampled_from((0.0, 0.4, 1.0)),
    ending=st.sampled_from((0.0, 0.1, 0.5)),
)
def test_the_table_is_drawn_as_the_page_says(
    states, actions, share, mdp_seed, reward_density, ending
):
    keywords = {
        "states": states,
        "actions": actions,
        "branching": 1 + int(share * (states - 1)),
        "mdp_seed": mdp_seed,
        "reward_density": reward_density,
        "ending": ending,
    }
    model = Garnet(**keywords).model
    assert model.n_states == states + (ending > 0)
    for (s, a), outcomes in slow_table(**keywords).items():
        columns = (model.probability, model.next_state, model.reward, model.terminal)
        for k, outcome in enumerate(outcomes):
            assert [column[s, a, k] for column in columns] == pytest.approx(outcome, abs=1e-15)
        assert model.n_outcomes == len(outcomes)
        assert len(set(model.next_state[s, a].tolist())) == model.n_outcomes
    assert model.start[:states] == pytest.approx(1 / states)


def test_the_table_is_frozen_and_the_seed_chooses_it():
    one, same, other = (Garnet(mdp_seed=seed).model for seed in (1, 1, 2))
    for name in ("next_state", "probability", "reward", "terminal", "start"):
        assert np.array_equal(getattr(one, name), getattr(same, name))
    assert not np.array_equal(one.next_state, other.next_state)
    env = make(mdp_seed=1).unwrapped
    for seed in (0, 5):
        env.reset(seed=seed)
        assert np.array_equal(env.model.reward, one.reward)


def test_successors_are_uniform_among_the_states():
    """5 successors of each of 40,000 pairs: each of 20 states four standard errors from a 20th."""
    model = Garnet(states=20, actions=2_000, branching=5, ending=0.0).model
    counts = np.bincount(model.next_state.ravel(), minlength=20)
    share = 5 / 20
    error = np.sqrt(40_000 * share * (1 - share))
    assert np.abs(counts - 40_000 * share).max() < 4 * error


def test_rewards_and_ends_have_the_means_that_the_keywords_name():
    model = Garnet(states=100, actions=100, branching=1, reward_density=0.3, ending=0.2).model
    pays = model.reward[:100, :, 0] != 0.0
    assert abs(pays.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 10_000)
    ends = model.probability[:100, :, 1]
    assert 0.0 <= ends.min()
    assert ends.max() <= 0.4
    assert abs(ends.mean() - 0.2) < 4 * 0.4 / np.sqrt(12 * 10_000)


def test_known_answers_of_one_state():
    """Reward r each step, on after it with probability 1 - e: r / e in the long run."""
    env = make(states=1, actions=1, branching=1, mdp_seed=7, ending=0.4).unwrapped
    r, e = env.model.reward[0, 0, 0], env.model.probability[0, 0, 1]
    oracle = env.oracle(limit=False)
    assert oracle.optimal_return == pytest.approx(r / e, rel=1e-12)
    gamma = 0.9
    discounted = env.oracle(limit=False, gamma=gamma).optimal_return
    assert discounted == pytest.approx(r / (1 - gamma * (1 - e)), rel=1e-12)


@pytest.mark.parametrize("mdp_seed", range(5))
@pytest.mark.parametrize("ending", [0.0, 0.05])
def test_the_oracle_is_a_linear_solve(mdp_seed, ending):
    """v = r + gamma P v of the uniform policy, by a matrix that the oracle never makes."""
    env = make(mdp_seed=mdp_seed, ending=ending).unwrapped
    model, n, gamma = env.model, 20, 0.95
    p, r = np.zeros((n, n)), np.zeros(n)
    for s in range(n):
        for a in range(4):
            for k in range(model.n_outcomes):
                weight = model.probability[s, a, k] / 4
                r[s] += weight * model.reward[s, a, k]
                if not model.terminal[s, a, k]:
                    p[s, model.next_state[s, a, k]] += weight
    wanted = np.linalg.solve(np.eye(n) - gamma * p, r)
    uniform = np.full((model.n_states, 4), 0.25)
    found = env.oracle(limit=False, gamma=gamma).policy_values(uniform)
    assert found[:n] == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def test_a_continuing_task_is_cut_off_by_its_limit_alone():
    env = make(ending=0.0, max_episode_steps=30)
    env.reset(seed=0)
    steps = [env.step(t % 4) for t in range(30)]
    assert not any(step[2] for step in steps)
    assert [step[3] for step in steps] == [False] * 29 + [True]
    assert env.observation_space.n == 20


@pytest.mark.parametrize("keywords", KEYWORDS)
def test_both_checkers_have_nothing_to_say(keywords):
    """Warnings are errors here."""
    from stable_baselines3.common.env_checker import check_env as sb3_check_env

    # a step of the tiny ones may end the episode, which the checker of Gymnasium does not mind
    check_env(make(**keywords).unwrapped)
    sb3_check_env(make(**keywords))


def test_the_end_is_drawn_as_a_flag():
    env = make(render_mode="ansi")
    env.reset(seed=0)
    symbols = env.render().replace("[", " ").replace("]", " ").split()
    assert symbols == [*map(str, range(20)), "G", "step", "0"]


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"states": 0}, "states must be a whole number of at least 1"),
        ({"actions": 1.0}, "actions must be a whole number of at least 1"),
        ({"branching": 21}, "at most the 20 states there are; got 21"),
        ({"mdp_seed": -1}, "mdp_seed must be a whole number of at least 0"),
        ({"reward_density": 1.1}, r"reward_density must be a share in \[0, 1\]"),
        ({"ending": 0.6}, r"ending must be a probability in \[0, 0.5\]"),
    ],
)
def test_keywords_outside_their_range_are_refused(keywords, message):
    with pytest.raises(SettingError, match=message):
        Garnet(**keywords)
