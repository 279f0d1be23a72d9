"""Sarsa(λ) and Watkins's Q(λ): traces on the blackboard, twins, and the case λ = 0."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Discrete

import rlsuite  # noqa: F401  (registers the environments)
from registry.contracts import Transition
from registry.errors import CheckpointError, SettingError
from rlsuite_agents.functional import traces as rules
from rlsuite_agents.loops import learn_online
from rlsuite_agents.parts.checkpoint import generator_state
from rlsuite_agents.tabular.q_learning import QLearning
from rlsuite_agents.tabular.sarsa import Sarsa
from rlsuite_agents.tabular.sarsa_lambda import SarsaLambda, SarsaLambdaConfig
from rlsuite_agents.tabular.watkins_q_lambda import WatkinsQLambda, WatkinsQLambdaConfig

BOTH = [SarsaLambda, WatkinsQLambda]
KINDS = [(SarsaLambda, kind) for kind in rules.KINDS]
KINDS += [(WatkinsQLambda, kind) for kind in rules.KINDS[:2]]
SETTINGS = [
    {},
    {"exploration": "count_bonus(0.5)", "epsilon": "linear(1, 0.1, 900)", "gamma": 0.9},
    {"exploration": "ucb(1)", "step_size": "power(0.7)", "epsilon": 0.0},
    {"exploration": "boltzmann(0.5)", "initial_value": 2.0},
]


def agent_of(cls, n_states=4, n_actions=1, **settings):
    env = gym.Env()
    env.observation_space, env.action_space = Discrete(n_states), Discrete(n_actions)
    return cls(env, cls.config_type(**settings), seed=0)


@pytest.mark.parametrize(
    ("cls", "kind", "expected"),
    [
        (SarsaLambda, "accumulating", [1.484375, 0.59375]),
        (SarsaLambda, "replacing", [1.3125, 0.59375]),
        (SarsaLambda, "dutch", [1.40625, 0.625]),
        (WatkinsQLambda, "accumulating", [1.484375, 0.59375]),
        (WatkinsQLambda, "replacing", [1.3125, 0.59375]),
    ],
)
def test_an_episode_by_hand(cls, kind, expected):
    """State 0, 1, 0, the end; rewards 1, 0, 2; one action, α = λ = ½, γ = 1.

    δ = 1: Q(0) = ½. δ = 0 + ½ - 0, with traces ¼ and ½: Q = (⅝, ¼). Then δ = 2 - ⅝ = 1⅜, with
    traces ⅛ + ½ (accumulating) or ½ (replacing) of state 0 and ¼ of state 1. Dutch: that of state 0
    is ⅛ + ½ (1 - ⅛) = 9/16, δ = 2 - ½ as Q(0) was ½ when it was the target, and ½ (½ - ⅝) is added
    to Q(0). The same are ½ of the online λ-returns: ½ · 1⅝ from the start, then ½ (2 - 13/16) more.
    """
    agent = agent_of(cls, lambda_=0.5, traces=kind, step_size=0.5, epsilon=0.0)
    agent.observe(Transition(0, 0, 1.0, 1, False, False))
    assert agent.q[0, 0] == 0.5
    agent.observe(Transition(1, 0, 0.0, 0, False, False))
    np.testing.assert_array_equal(agent.q[:2, 0], [0.625, 0.25])
    agent.observe(Transition(0, 0, 2.0, 3, True, False))
    np.testing.assert_array_equal(agent.q[:, 0], [*expected, 0, 0])
    assert agent.tables.traces.n_listed[0] == 0
    assert not agent.tables.traces.trace.any()


def test_a_time_limit_bootstraps_and_ends_the_traces():
    for cls, kind in KINDS:
        agent = agent_of(cls, traces=kind, step_size=0.5, gamma=0.5, epsilon=0.0)
        agent.tables.q[3] = 8.0
        agent.observe(Transition(0, 0, 1.0, 3, False, True))
        assert agent.q[0, 0] == 0.5 * (1 + 0.5 * 8)
        assert agent.tables.traces.n_listed[0] == 0
        agent.observe(Transition(1, 0, 1.0, 3, True, True))
        np.testing.assert_array_equal(agent.q[:2, 0], [2.5, 0.5])


def transitions(rng, n_states, n_actions):
    """Random episodes of random lengths; each second one is cut off by a time limit."""
    for episode in range(25):
        s, length = int(rng.integers(n_states)), int(rng.integers(1, 12))
        for step in range(length):
            s_next, last = int(rng.integers(n_states)), step == length - 1
            ends = (last, False) if episode % 2 else (False, last)
            yield Transition(s, int(rng.integers(n_actions)), float(rng.normal()), s_next, *ends)
            s = s_next


class Twin:
    """The tables of chapter 12, whole: every pair is looked at in every step."""

    def __init__(self, kind, decay, alpha):
        self.kind, self.decay, self.alpha = kind, decay, alpha
        self.e = None

    def update(self, q, t, delta, visits):
        if self.e is None:
            self.e = np.zeros_like(q)
        alpha = self.alpha(visits)
        self.e *= self.decay
        here = t.observation, t.action
        if self.kind == "accumulating":
            self.e[here] += alpha
        else:
            self.e[here] = alpha
        q += delta * self.e
        if t.terminated or t.truncated:
            self.e[:] = 0.0


@pytest.mark.parametrize("cls", BOTH)
@pytest.mark.parametrize("kind", ["accumulating", "replacing"])
@pytest.mark.parametrize("falls", [False, True])
@pytest.mark.parametrize("lambda_", [0.3, 0.9, 1.0])
def test_equals_whole_tables(cls, kind, falls, lambda_):
    """ε = 0, so that A' is greedy and both agents have the same target; random actions are played.

    Watkins's twin cuts where the action played has not the largest value.
    """
    rng = np.random.default_rng(5)
    size = "power(0.6, 0.5)" if falls else 0.2
    settings = {"lambda_": lambda_, "traces": kind, "step_size": size, "gamma": 0.9}
    agent = agent_of(cls, 5, 3, epsilon=0.0, **settings)
    agent.tables.q[:] = q = rng.normal(size=(5, 3))
    visits = np.zeros((5, 3), int)
    twin = Twin(kind, 0.9 * lambda_, lambda n: 0.5 * n**-0.6 if falls else 0.2)
    for t in transitions(rng, 5, 3):
        agent.observe(t)
        s, a = t.observation, t.action
        visits[s, a] += 1
        if cls is WatkinsQLambda and twin.e is not None and q[s, a] < q[s].max():
            twin.e[:] = 0.0
        after = 0.0 if t.terminated else q[t.next_observation].max()
        twin.update(q, t, t.reward + 0.9 * after - q[s, a], visits[s, a])
        np.testing.assert_allclose(agent.q, q, atol=1e-9)


def online_lambda_returns(steps, first, alphas, gamma, lambda_):
    """Q after an episode by the online λ-return algorithm (S&B section 12.4): the forward view.

    For each horizon h all updates are made anew, from the first Q on, towards λ-returns that end at
    h and take each Q(S_k, A_k) from the Q that was known at k - 1.
    """
    known = [first.copy()]  # known[k]: Q after horizon k
    for h in range(1, len(steps) + 1):
        q = first.copy()
        for t in range(h):
            g, total, weight = 0.0, 0.0, 1.0
            for k in range(t + 1, h + 1):
                step = steps[k - 1]
                g += gamma ** (k - t - 1) * step.reward
                after = 0.0 if step.terminated else known[k - 1][step.next_observation, 0]
                g_k = g + gamma ** (k - t) * after
                share = weight if k == h else (1 - lambda_) * weight
                total, weight = total + share * g_k, weight * lambda_
            s = steps[t].observation
            q[s, 0] += alphas[t] * (total - q[s, 0])
        known.append(q)
    return known[-1]


@pytest.mark.parametrize("falls", [False, True])
@pytest.mark.parametrize("lambda_", [0.0, 0.4, 0.95, 1.0])
def test_dutch_traces_are_the_online_lambda_return_algorithm(lambda_, falls):
    """Exactly so, as van Seijen et al. prove; here with one action, so that A' is known."""
    rng = np.random.default_rng(2)
    size = "power(0.6)" if falls else 0.3
    agent = agent_of(SarsaLambda, 4, 1, lambda_=lambda_, step_size=size, gamma=0.9)
    q, visits, steps, alphas = np.zeros((4, 1)), np.zeros(4, int), [], []
    for t in transitions(rng, 4, 1):
        agent.observe(t)
        visits[t.observation] += 1
        alphas.append(visits[t.observation] ** -0.6 if falls else 0.3)
        steps.append(t)
        if t.terminated or t.truncated:
            q = online_lambda_returns(steps, q, alphas, 0.9, lambda_)
            np.testing.assert_allclose(agent.q, q, atol=1e-9)
            steps, alphas = [], []


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize(("cls", "kind"), KINDS)
def test_lambda_zero_is_the_agent_of_one_step(cls, kind, settings):
    """Bit for bit: tables and generators, on a grid that slips, with time limits."""
    task = {"slip": 0.2, "max_episode_steps": 30}
    one = Sarsa if cls is SarsaLambda else QLearning
    settings = {"step_size": 0.5, **settings}
    agents = [
        kind_of(gym.make("rlsuite/GridWorld-v0", **task), kind_of.config_type(**s), seed=7)
        for kind_of, s in ((cls, {"lambda_": 0.0, "traces": kind, **settings}), (one, settings))
    ]
    for agent in agents:
        learn_online(agent, 3_000)
    assert agents[0].q.tobytes() == agents[1].q.tobytes()
    assert generator_state(agents[0].rng) == generator_state(agents[1].rng)


@pytest.mark.parametrize(("value", "reached"), [(1.0, False), (0.5, True), (0.0, True)])
def test_watkins_cuts_before_an_action_that_is_not_greedy(value, reached):
    """Action 0 of state 1 is played, beside an action 1 of `value`; a tie counts as greedy."""
    agent = agent_of(WatkinsQLambda, 4, 2, epsilon=0.0)
    agent.observe(Transition(0, 0, 0.0, 1, False, False))
    agent.tables.q[1] = [0.5, value]
    agent.observe(Transition(1, 0, 8.0, 2, False, False))
    assert (agent.q[0, 0] > 0) == reached
    assert agent.q[1, 0] > 0.5


def test_watkins_knows_that_a_masked_action_is_no_rival():
    agent = agent_of(WatkinsQLambda, 4, 2, epsilon=0.0)
    agent.observe(Transition(0, 0, 0.0, 1, False, False))
    agent.tables.q[1] = [0.5, 1.0]
    mask = np.array([1, 0])
    agent.observe(Transition(1, 0, 8.0, 2, False, False, mask, mask))
    assert agent.q[0, 0] > 0


def test_targets_are_of_allowed_actions():
    mask = np.array([1, 0])
    for cls in BOTH:
        agent = agent_of(cls, 4, 2, epsilon=0.0, step_size=1.0)
        agent.tables.q[1] = [2.0, 9.0]
        agent.observe(Transition(0, 0, 1.0, 1, False, False, mask, mask))
        assert agent.q[0, 0] == 3.0
        agent.observe(Transition(1, 0, 1.0, 2, True, False, mask, np.array([0, 0])))
        assert agent.q[1, 0] == 1.0


def test_lambda_is_how_much_of_a_later_error_reaches_a_pair():
    """Two steps, the second one pays 1: the first pair learns α γ λ of the error of 1."""
    for cls, kind in KINDS:
        for lambda_ in (0.0, 0.25, 1.0):
            agent = agent_of(cls, lambda_=lambda_, traces=kind, gamma=0.5, step_size=0.5)
            agent.observe(Transition(0, 0, 0.0, 1, False, False))
            agent.observe(Transition(1, 0, 1.0, 2, True, False))
            assert agent.q[0, 0] == 0.5 * 0.5 * lambda_  # α γ λ


def test_a_trace_that_has_faded_is_dropped():
    """γ λ = 0.1: after twelve steps the first trace is below 10⁻¹² and off the list."""
    agent = agent_of(WatkinsQLambda, 40, 1, lambda_=0.1, step_size=1.0)
    for s in range(30):
        agent.observe(Transition(s, 0, 1.0, s + 1, False, False))
        assert agent.tables.traces.n_listed[0] <= 12
    assert np.count_nonzero(agent.tables.traces.trace) == agent.tables.traces.n_listed[0]


@pytest.mark.parametrize("cls", BOTH)
def test_a_checkpoint_whose_list_is_not_that_of_its_traces(cls, tmp_path):
    """Compiled rules would write outside the list."""
    agent = agent_of(cls)
    agent.observe(Transition(0, 0, 1.0, 1, False, False))
    for name, value, sentence in (
        ("listed", 1, "'listed' does not name the pairs of 'trace'"),
        ("n_listed", 0, "'listed' does not name the pairs of 'trace'"),
        ("n_listed", 5, r"'n_listed' should be in \[0, 5\)"),
        ("listed", 4, r"'listed' should be in \[0, 4\)"),
    ):
        array = getattr(agent.tables.traces, name)
        before, array[0] = array[0], value
        agent.save(tmp_path / "a.ckpt")
        array[0] = before
        with pytest.raises(CheckpointError, match=sentence):
            cls.load(tmp_path / "a.ckpt")


def test_settings_out_of_range():
    for config in (SarsaLambdaConfig, WatkinsQLambdaConfig):
        with pytest.raises(SettingError, match=r"lambda_ must be a number in \[0, 1\], got 1.1"):
            config(lambda_=1.1)
        with pytest.raises(SettingError, match="traces must be one of 'accumulating', 'replacing'"):
            config(traces="x")
    with pytest.raises(SettingError, match=r"must be one of .* got 'dutch'"):
        WatkinsQLambdaConfig(traces="dutch")
