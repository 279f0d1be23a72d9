"""Agents that predict: the policy they follow, the values they answer, and that these are right."""

from __future__ import annotations

import itertools

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Discrete
from gymnasium.wrappers import TimeLimit
from hypothesis import given
from hypothesis import strategies as st

import rlsuite  # noqa: F401  (registers the environments)
from registry.contracts import Transition
from registry.errors import CheckpointError, InvalidObservationError, SettingError
from rlsuite_agents.functional.prediction import follow
from rlsuite_agents.functional.returns import discounted_returns, lambda_returns, n_step_returns
from rlsuite_agents.loops import learn_online
from rlsuite_agents.parts.table_loop import learn_in_tables
from rlsuite_agents.parts.tables import arrays_of
from rlsuite_agents.tabular.monte_carlo_prediction import MonteCarloPrediction
from rlsuite_agents.tabular.n_step_td import NStepTD
from rlsuite_agents.tabular.td_lambda import TDLambda
from rlsuite_agents.tabular.td_zero import TD0

AGENTS = [MonteCarloPrediction, TD0, NStepTD, TDLambda]
TRACES = ["accumulating", "replacing", "dutch"]

every_agent = pytest.mark.parametrize("cls", AGENTS, ids=lambda cls: cls.__name__)


class Four(gym.Env):
    """Four states and two actions; nobody steps it."""

    observation_space, action_space = Discrete(4), Discrete(2)


def agent_of(cls, values=None, **settings):
    """An agent for four states, with these values to begin with."""
    agent = cls(Four(), cls.config_type(**settings), seed=0)
    if values is not None:
        agent.tables.v[:] = values
    return agent


def show(agent, states, rewards, end="terminated"):
    """Lets it observe an episode: one state more than rewards."""
    last = len(rewards) - 1
    for t, (s, s_next) in enumerate(itertools.pairwise(states)):
        ends = t == last and end == "terminated", t == last and end == "truncated"
        agent.observe(Transition(s, 0, rewards[t], s_next, *ends))
    return agent.state_values()


EPISODE = [0, 1, 0, 2, 3], [1.0, 0.0, 2.0, 4.0]
"""0 comes twice; with γ = ½ the returns are 2, 2, 4, 4."""


@pytest.mark.parametrize(
    ("cls", "settings", "values"),
    [
        (MonteCarloPrediction, {"visits": "first", "step_size": "power(1)"}, [2, 2, 4]),
        (MonteCarloPrediction, {"visits": "every", "step_size": "power(1)"}, [3, 2, 4]),
        (MonteCarloPrediction, {"visits": "first", "step_size": 0.5}, [1, 1, 2]),
        (MonteCarloPrediction, {"visits": "every", "step_size": 0.5}, [2.5, 1, 2]),
        (TD0, {}, [1.25, 0.125, 2]),
        (NStepTD, {"n": 2}, [2.25, 0.5, 2]),
        (TDLambda, {"traces": "accumulating"}, [1.8427734375, 0.43359375, 2]),
        (TDLambda, {"traces": "replacing"}, [1.765625, 0.43359375, 2]),
        (TDLambda, {"traces": "dutch"}, [1.8046875, 0.4375, 2]),
    ],
)
def test_an_episode_by_hand(cls, settings, values):
    """α = γ = λ = ½: numbers that paper holds exactly."""
    if cls is TDLambda:
        settings = {**settings, "lambda_": 0.5}
    agent = agent_of(cls, gamma=0.5, **{"step_size": 0.5, **settings})
    np.testing.assert_array_equal(show(agent, *EPISODE)[:3], values)


@every_agent
def test_a_terminal_state_is_worth_nothing_and_a_time_limit_ends_nothing(cls):
    """From 0 to 1, which is thought to be worth 8: 2 + ½ · 8, or 2."""
    for end, target in (("terminated", 2.0), ("truncated", 6.0)):
        agent = agent_of(cls, values=[0, 8, 0, 0], gamma=0.5, step_size=0.5)
        assert show(agent, [0, 1], [2.0], end)[0] == 0.5 * target


@every_agent
def test_an_end_cuts_the_episodes_apart(cls):
    """After an end, of either kind, what comes changes nothing of the last episode's states."""
    for end in ("terminated", "truncated"):
        agent = agent_of(cls, step_size=0.5)
        before = show(agent, [0, 1, 2], [1.0, 1.0], end)
        np.testing.assert_array_equal(show(agent, [3, 3], [5.0])[:3], before[:3])


class Forever(gym.Env):
    """Pays 1 a step and never ends."""

    observation_space, action_space = Discrete(1), Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        return 0, 1.0, False, False, {}


@every_agent
@pytest.mark.parametrize("limit", [1, 10])
def test_truncation_probe(cls, limit):
    """A reward of 1 forever is worth 1 / (1 - γ), wherever the clock cuts it into episodes."""
    config = cls.config_type(gamma=0.9, step_size=0.2)
    agent = cls(TimeLimit(Forever(), limit), config, seed=0).learn(3_000)
    np.testing.assert_allclose(agent.state_values(), 10.0, rtol=1e-3)


walks = st.lists(st.integers(0, 3), min_size=2, max_size=9)
numbers = st.floats(-5, 5, allow_nan=False, width=32)
ends = st.sampled_from(["terminated", "truncated"])
shares = st.floats(0, 1, width=32)
factors = st.one_of(st.just(0.0), st.floats(0.25, 1, width=32))
step_sizes = st.one_of(st.floats(0.125, 1, width=32), st.sampled_from(["power(1)", "power(0.5)"]))


@st.composite
def episodes(draw):
    """Up to three episodes among four states, as (states, rewards, end)."""
    found = []
    for _ in range(draw(st.integers(1, 3))):
        states = draw(walks)
        size = len(states) - 1
        found.append((states, draw(st.lists(numbers, min_size=size, max_size=size)), draw(ends)))
    return found


values = st.lists(numbers, min_size=4, max_size=4)


def after(agent, shown):
    for episode in shown:
        show(agent, *episode)
    return agent.state_values()


@given(episodes(), values, shares, step_sizes)
def test_n_step_td_with_a_large_n_is_every_visit_monte_carlo(shown, v, gamma, step_size):
    settings = {"values": v, "gamma": gamma, "step_size": step_size}
    monte_carlo = after(agent_of(MonteCarloPrediction, visits="every", **settings), shown)
    for n in (8, 20):
        np.testing.assert_array_equal(after(agent_of(NStepTD, n=n, **settings), shown), monte_carlo)


@given(episodes(), values, shares, step_sizes)
def test_one_step_and_no_traces_are_td_zero(shown, v, gamma, step_size):
    settings = {"values": v, "gamma": gamma, "step_size": step_size}
    td_zero = after(agent_of(TD0, **settings), shown)
    np.testing.assert_array_equal(after(agent_of(NStepTD, n=1, **settings), shown), td_zero)
    for traces in TRACES:
        agent = agent_of(TDLambda, lambda_=0.0, traces=traces, **settings)
        np.testing.assert_allclose(after(agent, shown), td_zero, rtol=0, atol=1e-12)


@given(values, st.lists(numbers, min_size=3, max_size=3), shares, shares, ends)
def test_where_no_state_comes_twice_targets_are_the_returns(v, rewards, gamma, lambda_, end):
    """V(S) moves by α (G - V(S)), G by the functions that work backwards over a stretch."""
    v_next = np.array([*v[1:3], v[3] if end == "truncated" else 0.0])
    stretch = rewards, np.full(3, gamma)
    settings = {"values": v, "gamma": gamma, "step_size": 0.5}
    wanted = {
        "monte carlo": discounted_returns(*stretch, v_next[-1]),
        "two steps": n_step_returns(*stretch, v_next, 2),
        **{traces: lambda_returns(*stretch, v_next, lambda_) for traces in TRACES},
    }
    agents = {
        "monte carlo": agent_of(MonteCarloPrediction, **settings),
        "two steps": agent_of(NStepTD, n=2, **settings),
        **{t: agent_of(TDLambda, traces=t, lambda_=lambda_, **settings) for t in TRACES},
    }
    for name, agent in agents.items():
        moved = show(agent, [0, 1, 2, 3], rewards, end)[:3]
        np.testing.assert_allclose(moved, 0.5 * (np.array(v[:3]) + wanted[name]), atol=1e-12)


def online_lambda_returns(v, states, rewards, end, gamma, lambda_, alphas):
    """The λ-returns up to each horizon, all updates made anew for each (S&B section 12.4)."""
    begin, now, v_next = v.copy(), v.copy(), []
    for h in range(1, len(rewards) + 1):
        over = h == len(rewards) and end == "terminated"
        v_next.append(0.0 if over else now[states[h]])
        g = lambda_returns(rewards[:h], np.full(h, gamma), v_next, lambda_)
        now = begin.copy()
        for t in range(h):
            now[states[t]] += alphas[t] * (g[t] - now[states[t]])
    return now


@given(episodes(), values, factors, factors, step_sizes)
def test_dutch_traces_are_the_online_lambda_return_algorithm(shown, v, gamma, lambda_, step_size):
    """True online TD(λ) is exact (van Seijen et al. 2016, theorem 1), with falling α too.

    Traces below 10⁻¹² are dropped, and within these nine states none falls so low.
    """
    settings = {"traces": "dutch", "lambda_": lambda_, "gamma": gamma, "step_size": step_size}
    agent, twin, visits = agent_of(TDLambda, values=v, **settings), np.array(v), np.zeros(4)
    for states, rewards, end in shown:
        alphas = []
        for s in states[:-1]:
            visits[s] += 1
            power = {"power(1)": 1.0, "power(0.5)": 0.5}.get(step_size)
            alphas.append(step_size if power is None else visits[s] ** -power)
        twin = online_lambda_returns(twin, states, rewards, end, gamma, lambda_, alphas)
        found = show(agent, states, rewards, end)
        np.testing.assert_allclose(found, twin, rtol=0, atol=1e-12)


BATCH = [([0, 1, 2], [0.0, 0.0]), *[([1, 2], [1.0])] * 6, ([1, 2], [0.0])]
"""Eight episodes of A = 0 and B = 1: Example 6.4 of Sutton & Barto."""


@pytest.mark.parametrize("cls", [MonteCarloPrediction, TD0])
def test_you_are_the_predictor(cls):
    """Both say V(B) = 3/4. V(A) is 0 by the one return seen, and 3/4 by the most likely model.

    In pass k + 1 A is updated from the V(B) = 3/4 of pass k, and with α = 1 / n V(A) is the mean of
    these, the first one 0: 3/4 (1 - 1 / passes).
    """
    agent, passes = agent_of(cls, step_size="power(1)"), 400
    for _ in range(passes):
        v = after(agent, BATCH)
    a = 0.0 if cls is MonteCarloPrediction else 0.75 * (1 - 1 / passes)
    np.testing.assert_allclose(v[:2], [a, 0.75], atol=1e-9)


SETTINGS = {
    "first visits": (MonteCarloPrediction, {"visits": "first"}),
    "every visit": (MonteCarloPrediction, {"visits": "every", "step_size": 0.2}),
    "in parts": (MonteCarloPrediction, {"visits": "every", "longest_episode": 5}),
    "td zero": (TD0, {"step_size": "power(0.7, 0.5)", "initial_value": 2.0}),
    "one step": (NStepTD, {"n": 1}),
    "seven steps": (NStepTD, {"n": 7, "step_size": "power(1)", "gamma": 0.95}),
    "hundred steps": (NStepTD, {"n": 100, "gamma": 0.9}),
    "accumulating": (TDLambda, {"traces": "accumulating", "step_size": 0.05}),
    "replacing": (TDLambda, {"traces": "replacing", "lambda_": 1.0, "gamma": 0.9}),
    "dutch": (TDLambda, {"traces": "dutch", "lambda_": 0.9, "step_size": "power(0.6)"}),
    "no traces": (TDLambda, {"lambda_": 0.0}),
}


@pytest.mark.parametrize(("cls", "settings"), SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("identifier", ["rlsuite/CliffWalk-v0", "rlsuite/Garnet-v0"])
def test_compiled_and_plain_give_the_same_bits(cls, settings, identifier, tmp_path):
    """Also saved in mid-episode, and with a policy from a file."""
    make = lambda: gym.make(identifier, max_episode_steps=23)  # noqa: E731
    env = make()
    shape = int(env.observation_space.n), int(env.action_space.n)
    pi = np.random.default_rng(0).dirichlet(np.full(shape[1], 0.3), shape[0])
    np.savez(tmp_path / "pi.npz", pi=pi)
    config = cls.config_type(policy=str(tmp_path / "pi.npz"), **settings)
    fast, slow = cls(env, config, seed=1), cls(make(), config, seed=1)
    for steps in (1, 730, 14):
        learn_in_tables([fast], steps)
        learn_online(slow, steps)
        assert {k: a.tobytes() for k, a in arrays_of(fast.tables).items()} == {
            k: a.tobytes() for k, a in arrays_of(slow.tables).items()
        }
    fast.save(tmp_path / "a.ckpt")
    loaded = cls.load(tmp_path / "a.ckpt", env=make())
    learn_in_tables([loaded], 100)
    learn_online(slow, 100)
    assert loaded.state_values().tobytes() == slow.state_values().tobytes()


@pytest.mark.parametrize(
    ("cls", "name", "bad"),
    [
        (NStepTD, "recent.oldest", 4),
        (NStepTD, "recent.kept", 4),
        (NStepTD, "recent.states", 21),
        (MonteCarloPrediction, "recent.kept", 10_000),
        (MonteCarloPrediction, "recent.states", 21),
        (TDLambda, "traces.listed", 21),
        (TDLambda, "traces.n_listed", 22),
    ],
)
def test_a_damaged_buffer_is_refused(cls, name, bad, tmp_path):
    """Compiled rules do not check indices, so nothing that leads outside is let in."""
    agent = cls(gym.make("rlsuite/RandomWalk-v0"), seed=0).learn(30)
    part, _, field = name.partition(".")
    getattr(getattr(agent.tables, part), field)[-1] = bad
    agent.save(tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=rf"'{field}' should be in \[0, {bad}\), or -1"):
        cls.load(tmp_path / "a.ckpt")


def test_traces_that_nobody_keeps_up_are_refused(tmp_path):
    agent = TDLambda(gym.make("rlsuite/RandomWalk-v0"), seed=0).learn(5)
    agent.tables.traces.trace[20] = 0.5
    agent.save(tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="'listed' does not name the pairs of 'trace'"):
        TDLambda.load(tmp_path / "a.ckpt")


@every_agent
def test_values_of_a_batch_and_of_all_states(cls):
    agent = agent_of(cls, values=[3.0, 1.0, 4.0, 1.5])
    np.testing.assert_array_equal(agent.state_values([2, 0, 2]), [4.0, 3.0, 4.0])
    everything = agent.state_values()
    everything[:] = 0.0
    assert agent.state_values([0]) == [3.0]
    with pytest.raises(InvalidObservationError, match=r"whole numbers in \[0, 4\)"):
        agent.state_values([4])


@every_agent
def test_the_policy_of_a_file_is_followed_and_kept(cls, tmp_path):
    """3,000 draws of [0.7, 0.3]: within 4 standard errors. A checkpoint holds the policy."""
    pi = np.array([[0.0, 1.0], [1.0, 0.0], [0.7, 0.3], [0.5, 0.5]])
    np.save(tmp_path / "pi.npy", pi)
    agent = agent_of(cls, policy=str(tmp_path / "pi.npy"))
    rng = np.random.default_rng(0)
    assert {agent.act(0, None, rng)[0] for _ in range(50)} == {1}
    assert {agent.act(0, np.array([1, 0]), rng)[0] for _ in range(50)} == {0}  # nothing of π left
    share = np.mean([agent.act(2, None, rng)[0] for _ in range(3_000)])
    assert abs(share - 0.3) < 4 * np.sqrt(0.21 / 3_000)
    stated = agent.action_probabilities(range(4), deterministic=False)
    np.testing.assert_array_equal(stated, pi)
    likeliest = agent.action_probabilities([0, 2, 3], deterministic=True)
    np.testing.assert_array_equal(likeliest, [[0, 1], [1, 0], [1, 0]])
    masked = agent.action_probabilities([0, 2], deterministic=False, mask=[[1, 0], [0, 1]])
    np.testing.assert_array_equal(masked, [[1, 0], [0, 1]])
    agent.save(tmp_path / "a.ckpt")
    (tmp_path / "pi.npy").unlink()
    loaded = cls.load(tmp_path / "a.ckpt")
    np.testing.assert_array_equal(loaded.action_probabilities(range(4), deterministic=False), pi)
    with pytest.raises(SettingError, match="must be 'uniform' or a file of NumPy with an array"):
        agent_of(cls, policy=str(tmp_path / "pi.npy"))


def test_a_row_whose_rounded_sum_is_passed_gives_the_last_possible_action():
    class Almost:
        def random(self):
            return 1.0 - 2.0**-53

    assert follow([0.1] * 3 + [0.7, 0.0], None, Almost()) == 3


@every_agent
def test_settings_that_all_share(cls):
    one = show(agent_of(cls, step_size=0.5, initial_value=4.0), [0, 1], [1.0])
    np.testing.assert_array_equal(one, [2.5, 4, 4, 4])
    two = [([0, 1], [1.0]), ([0, 1], [0.0]), ([0, 1], [2.0])]
    assert after(agent_of(cls, step_size="power(1)"), two)[0] == pytest.approx(1.0)
    assert after(agent_of(cls, step_size="power(1)"), two[:2])[0] == pytest.approx(0.5)
    half = after(agent_of(cls, step_size="power(0.5)"), two[:2])[0]
    assert half == pytest.approx(1.0 - 2**-0.5)


def test_longer_episodes_are_learned_from_in_parts():
    """Two steps at a time: 0 and 1 are updated at once, by 1 + 1 + V(2) and 1 + V(2)."""
    agent = agent_of(MonteCarloPrediction, values=[0, 0, 8, 0], longest_episode=2)
    agent.observe(Transition(0, 0, 1.0, 1, False, False))
    assert agent.state_values()[0] == 0.0
    agent.observe(Transition(1, 0, 1.0, 2, False, False))
    np.testing.assert_array_equal(agent.state_values(), [10, 9, 8, 0])
    agent.observe(Transition(2, 0, 1.0, 3, True, False))
    np.testing.assert_array_equal(agent.state_values(), [10, 9, 1, 0])


@pytest.mark.parametrize(
    ("cls", "name", "bad", "sentence"),
    [
        *[(cls, "step_size", 0.0, r"must be a number in \(0, 1\]") for cls in AGENTS],
        *[(cls, "gamma", 1.1, r"must be a number in \[0, 1\]") for cls in AGENTS],
        *[(cls, "initial_value", float("inf"), "must be a number in") for cls in AGENTS],
        *[(cls, "policy", 3, "must be 'uniform' or the path of a file, got 3") for cls in AGENTS],
        (MonteCarloPrediction, "visits", "last", "must be one of 'first', 'every', got 'last'"),
        (MonteCarloPrediction, "longest_episode", 0, "must be a whole number of at least 1"),
        (NStepTD, "n", 0, "must be a whole number of at least 1, got 0"),
        (TDLambda, "lambda_", -0.1, r"must be a number in \[0, 1\]"),
        (TDLambda, "traces", "none", "must be one of 'accumulating', 'replacing', 'dutch', got"),
    ],
)
def test_settings_out_of_range(cls, name, bad, sentence):
    with pytest.raises(SettingError, match=rf"{cls.__name__}Config\.{name} {sentence}"):
        cls.config_type(**{name: bad})
