"""Actor-critic with traces: the update by hand and against twins, its promises, known answers."""

from __future__ import annotations

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

import rlsuite
from registry.errors import SettingError
from rlsuite.testing.agent_checks import check_agent
from rlsuite_agents.deep.actor_critic import ActorCritic, ActorCriticConfig

TRACES = {"actor_lambda": 0.8, "critic_lambda": 0.5}


def agent(env, seed=0, **settings):
    return ActorCritic(env, ActorCriticConfig(**{"net_arch": (8,), **settings}), seed=seed)


def weights(a):
    return a.networks.parameters.vector.copy()


class Twin:
    """The boxes of the book in plain torch: log π and v̂ differentiated one by one, step by step."""

    def __init__(self, a):
        self.config, self.shapes = a.config, a.networks.parameters.values
        self.z = {k: np.zeros(a.networks.parameters.vector.size) for k in range(a.config.num_envs)}
        self.i = dict.fromkeys(self.z, 1.0)

    def gradient(self, theta, lane, step):
        """δ z of one step of one environment, with the entropy's gradient; changes z and I."""
        features, action, reward, ahead, terminated, over = step
        c, theta = self.config, torch.tensor(theta, dtype=torch.float64, requires_grad=True)
        views, start = {}, 0
        for name, value in self.shapes.items():
            views[name] = theta[start : start + value.size].reshape(value.shape)
            start += value.size

        def forward(name, x):
            w = [views[f"{name}.{part}"] for part in ("weight0", "bias0", "weight1", "bias1")]
            return torch.tanh(torch.tensor(x, dtype=torch.float64) @ w[0] + w[1]) @ w[2] + w[3]

        if "log_std" in views:
            pi = torch.distributions.Normal(forward("policy", features), views["log_std"].exp())
        else:
            pi = torch.distributions.Categorical(logits=forward("policy", features))
        v = forward("value", features)[0]
        delta = reward + c.gamma * (not terminated) * forward("value", ahead)[0] - v
        log_prob = pi.log_prob(torch.as_tensor(action)).sum()
        d_pi, d_v, d_h = (
            torch.autograd.grad(of, theta, retain_graph=True, allow_unused=True)[0]
            for of in (log_prob, v, pi.entropy().sum())
        )
        is_value = np.concatenate(
            [np.full(value.size, name.startswith("value")) for name, value in self.shapes.items()]
        )
        decay = c.gamma * np.where(is_value, c.critic_lambda, c.actor_lambda)
        self.z[lane] = decay * self.z[lane] + self.i[lane] * d_pi.numpy() + d_v.numpy()
        found = delta.item() * self.z[lane] + c.ent_coef * d_h.numpy()
        self.i[lane] *= c.gamma if c.discount_states else 1.0
        if over:
            self.z[lane], self.i[lane] = np.zeros_like(self.z[lane]), 1.0
        return found


@pytest.mark.parametrize(
    ("env_id", "settings"),
    [
        ("CartPole-v1", {}),
        ("CartPole-v1", {**TRACES, "ent_coef": 0.02, "num_envs": 3}),
        ("CartPole-v1", {**TRACES, "discount_states": True, "gamma": 0.9}),
        ("Pendulum-v1", {**TRACES, "ent_coef": 0.02}),
    ],
    ids=str,
)
def test_every_step_is_that_of_the_book(env_id, settings):
    """δ z of 60 steps, ends of episodes and time limits among them, within 1e-5 of autograd's."""
    a = agent(gym.wrappers.TimeLimit(gym.make(env_id), 13), **settings)
    twin, steps, checked = Twin(a), [], []
    step, finish = a.session.step, a.optimizer.step

    def spy(actions, number):
        stepped = step(actions, number)
        r = a.rollout
        rows = zip(r.features[0].copy(), r.actions[0].copy(), strict=True)
        outcome = (stepped.rewards, stepped.features, stepped.terminated, stepped.over)
        outcomes = zip(*outcome, strict=True)
        steps[:] = [(*row, *what) for row, what in zip(rows, outcomes, strict=True)]
        return stepped

    def compare(learning_rate, max_norm):
        found = -a.networks.parameters.gradient.copy()
        theirs = [twin.gradient(weights(a), lane, one) for lane, one in enumerate(steps)]
        expected = np.mean(theirs, axis=0)
        scale = max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(found / scale, expected / scale, atol=1e-5)
        checked.append(any(one[-1] for one in steps))
        return finish(learning_rate, max_norm)

    a.session.step, a.optimizer.step = spy, compare
    a.learn(60 * a.config.num_envs)
    assert len(checked) == 60
    assert any(checked)


def test_one_step_equals_finite_differences():
    """λ = 0: the gradient is that of -δ log π - ½ (target - v̂)², δ and the target held fast."""
    a = agent(gym.make("CartPole-v1")).learn(30)
    nets, theta = a.networks, a.networks.parameters
    seen, found = [], []
    gradient = a._gradient

    def spy(e, lanes):
        entropy = gradient(e, lanes)
        seen.append(e)
        found.append((theta.gradient.copy(), theta.vector.copy()))
        return entropy

    a._gradient = spy
    a.learn(1)
    (e,), ((by_hand, vector),) = seen, found

    def loss():
        logits = nets.policy.forward(e.features)[0].astype(np.float64)
        log_pi = logits - np.log(np.exp(logits).sum())
        v = float(nets.value.forward(e.features)[0, 0])
        return -float(e.advantages[0]) * log_pi[e.actions[0]] + 0.5 * (float(e.returns[0]) - v) ** 2

    rng, h = np.random.default_rng(0), 1e-2
    for _ in range(20):
        way = rng.standard_normal(len(vector)).astype(np.float32)
        way /= np.linalg.norm(way)
        theta.vector[:] = vector + h * way
        up = loss()
        theta.vector[:] = vector - h * way
        slope = (up - loss()) / (2 * h)
        assert slope == pytest.approx(float(by_hand @ way), abs=2e-3)
    assert np.linalg.norm(by_hand) > 0.1


class Corridor(gym.Env):
    """States 0..3, one action: right; reward 1 at the end, 2 more there with `more`."""

    observation_space, action_space = spaces.Discrete(4), spaces.Discrete(1)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.s = 0
        return 0, {}

    def step(self, action):
        self.s += 1
        return self.s, float(self.s == 3), self.s == 3, False, {}


def test_values_of_a_corridor():
    """γ = ½: v̂ is ¼, ½, 1 before the end, with traces and without."""
    for settings in ({}, TRACES):
        a = agent(
            Corridor(), gamma=0.5, learning_rate="lin_0.01", total_timesteps=3_000, **settings
        )
        a.learn(3_000)
        np.testing.assert_allclose(a.state_values(np.arange(3)), [0.25, 0.5, 1.0], atol=0.03)


def test_traces_credit_what_came_before():
    """After one episode of the corridor: without traces the first states have learned nothing."""
    changed = {}
    for name, settings in (("one step", {}), ("traces", {"critic_lambda": 1.0})):
        a = agent(Corridor(), gamma=1.0, learning_rate=1e-6, net_arch=(), **settings)
        a.networks.parameters.vector[:] = 0.0
        a.learn(3)
        changed[name] = a.networks.parameters.values["value.weight0"][:3, 0] != 0
    assert changed["one step"].tolist() == [False, False, True]
    assert changed["traces"].tolist() == [True, True, True]


def test_a_step_that_only_resets_discounts_no_state():
    """NEXT_STEP, γ = ½: the first lane ends after two steps, and is reset at the third; I is 1."""
    makers = [lambda: gym.wrappers.TimeLimit(Corridor(), 2), Corridor]
    env = gym.vector.VectorWrapper(gym.vector.SyncVectorEnv(makers, autoreset_mode="NextStep"))
    a = agent(env, num_envs=2, gamma=0.5, discount_states=True)
    seen, forget = [], a.optimizer.forget

    def spy(*lanes):
        forget(*lanes)
        seen.append(a.optimizer.discount.tolist())

    a.optimizer.forget = spy
    a.learn(8)
    assert seen == [[0.5, 0.5], [1.0, 0.25], [1.0, 1.0], [0.5, 1.0], [1.0, 0.5]]


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"num_envs": 0}, "num_envs must be a whole number of at least 1, got 0"),
        ({"metrics_interval": 0}, "metrics_interval must be a whole number of at least 1, got 0"),
        ({"gamma": 1.1}, "gamma must be a number in"),
        ({"actor_lambda": -0.1}, "actor_lambda must be a number in"),
        ({"critic_lambda": 2}, "critic_lambda must be a number in"),
        ({"discount_states": 1}, "discount_states must be True or False"),
        ({"ent_coef": -1}, "ent_coef must be a number in"),
        ({"max_grad_norm": 0}, "max_grad_norm must be a number in"),
        ({"activation": "gelu"}, "activation must be one of 'tanh', 'relu', got 'gelu'"),
        ({"net_arch": 64}, "net_arch must be a tuple of whole numbers of at least 1"),
        ({"learning_rate": "lin_1"}, "learning_rate is 'lin_1', which falls to 0 over total_ti"),
    ],
)
def test_wrong_settings_are_refused(setting, sentence):
    with pytest.raises(SettingError, match=sentence):
        ActorCriticConfig(**setting)


@pytest.mark.parametrize(
    "setting",
    [
        {"learning_rate": 1e-2},
        {"learning_rate": "lin_3e-4", "total_timesteps": 200},
        {"gamma": 0.5},
        {"actor_lambda": 0.5},
        {"critic_lambda": 0.5},
        {"discount_states": True},
        {"ent_coef": 0.1},
        {"max_grad_norm": 1e-9},
        {"num_envs": 2},
        {"net_arch": (4,)},
        {"activation": "relu"},
        {"normalize_observations": True},
        {"normalize_rewards": True},
    ],
)
def test_every_setting_changes_what_is_learned(setting):
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    plain, changed = (agent(gym.make("CartPole-v1"), **given).learn(100) for given in ({}, setting))
    pi, other = (one.action_probabilities(x, deterministic=False) for one in (plain, changed))
    assert not np.array_equal(pi, other) or not np.array_equal(
        plain.state_values(x), changed.state_values(x)
    )


def test_the_metrics_are_means_over_the_interval():
    a, told = agent(gym.make("CartPole-v1"), metrics_interval=50, **TRACES), []
    a.on_update = told.append
    deltas = []
    gradient = a._gradient

    def spy(e, lanes):
        deltas.extend(zip(e.advantages.tolist(), e.returns.tolist(), strict=True))
        return gradient(e, lanes)

    a._gradient = spy
    a.learn(120)
    assert [m.num_timesteps for m in told] == [50, 100]
    assert a.metrics is told[-1]
    delta, returns = np.array(deltas[50:100]).T
    m = told[-1]
    assert m.policy_loss == pytest.approx(-delta.mean())
    assert m.value_loss == pytest.approx((delta**2).mean())
    assert m.advantage_std == pytest.approx(delta.std())
    assert m.explained_variance == pytest.approx(1 - delta.var() / returns.var())
    assert m.entropy == pytest.approx(np.log(2), abs=0.01)
    assert all(np.isfinite(value) for value in dataclasses.astuple(m))


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {**TRACES, "num_envs": 2}], ids=str)
def test_it_passes_every_check(settings):
    report = check_agent("rlsuite/ActorCritic-v0", settings=settings)
    assert report.ok, str(report)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_cart_pole_is_solved(seed):
    """Seeds 0 to 9 are on the page; seed 2 is one that fails without normalised observations."""
    settings = {"actor_lambda": 0.9, "critic_lambda": 0.9, "net_arch": (64, 64)}
    horizon = {"learning_rate": "lin_1e-3", "total_timesteps": 50_000}
    env = gym.make("CartPole-v1")
    a = agent(env, seed=seed, normalize_observations=True, **settings, **horizon).learn(50_000)
    assert rlsuite.evaluate(a, "CartPole-v1", episodes=50, seed=0).mean_return >= 475
