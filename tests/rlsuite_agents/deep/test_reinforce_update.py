"""REINFORCE on scripted rewards: returns, baselines and the gradient by hand and against twins."""

from __future__ import annotations

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit

from registry.errors import SettingError
from rlsuite_agents.deep.reinforce import Reinforce, ReinforceConfig


class Script(gym.Env):
    """One state; a script of (reward per action, info) for each step, with ends or none."""

    def __init__(self, rewards, *, terminates=True, ends=None, info=None, mask=None):
        self.observation_space = spaces.Discrete(1)
        self.action_space = spaces.Discrete(len(rewards[0]))
        self.rewards = rewards
        self.ends = ends or ((len(rewards),) if terminates else ())
        self.info, self.mask = info, mask
        self.t = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        begun = max((end for end in self.ends if end <= self.t), default=0)
        self.t = begun % max(self.ends, default=1)
        return 0, self._info(None)

    def step(self, action):
        reward = self.rewards[self.t % len(self.rewards)][action]
        self.t += 1
        over = self.t in self.ends
        return 0, reward, over, False, self._info(action)

    def _info(self, action):
        info = {} if self.mask is None else {"action_mask": np.array(self.mask)}
        if action is not None and self.info is not None:
            info["ref_logprob"] = self.info[action]
        return info


def agent(env, seed=0, **settings):
    return Reinforce(env, ReinforceConfig(**settings), seed=seed)


def weights(a):
    return a.networks.parameters.vector.copy()


def learned_from(a):
    """What the next update would learn from."""
    return a.experience(a.rollout.take())


def test_returns_of_a_terminated_episode_by_hand():
    """Rewards 1, 2, 4 at γ = ½: G_2 = 4, G_1 = 4, G_0 = 3."""
    a = agent(Script([[1.0], [2.0], [4.0]]), gamma=0.5, baseline="none", episodes_per_update=2)
    a.learn(4)
    e = learned_from(a)
    assert e.returns.tolist() == e.advantages.tolist() == [3.0, 4.0, 4.0]
    assert a.rollout.filled == 1  # the part of the next episode, kept
    a.learn(2)
    assert learned_from(a).returns.tolist() == [3.0, 4.0, 4.0]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [3.0, 4.0, 4.0]),
        ({"discount_states": True}, [3.0, 2.0, 1.0]),
        ({"reward_to_go": False}, [3.0, 3.0, 3.0]),
    ],
    ids=str,
)
def test_what_weighs_an_action_by_hand(settings, expected):
    """The same rewards: with γ^t, and with the return of the whole episode."""
    a = agent(
        Script([[1.0], [2.0], [4.0]]),
        **{"gamma": 0.5, "baseline": "none", "episodes_per_update": 2, **settings},
    )
    a.learn(4)
    assert learned_from(a).advantages.tolist() == expected


def test_the_mean_of_the_other_episodes_by_hand():
    """Returns (2, 1), (4, 2) and (5, 4): the others' means are 15/4, 12/4 and 9/4."""
    rewards = [[1.0], [1.0], [2.0], [2.0], [1.0], [4.0]]
    a = agent(
        Script(rewards, ends=(2, 4, 6)), gamma=1.0, baseline="mean", episodes_per_update=4
    ).learn(6)
    e = learned_from(a)
    assert e.returns.tolist() == [2, 1, 4, 2, 5, 4]
    assert e.values.tolist() == [3.75, 3.75, 3, 3, 2.25, 2.25]
    np.testing.assert_allclose(e.advantages, e.returns - e.values)


@pytest.mark.parametrize(("baseline", "expected"), [("value", [5.5, 9.0]), ("none", [1.5, 1.0])])
def test_a_time_limit_is_not_an_end_by_hand(baseline, expected):
    """Rewards 1, 1, then the limit; γ = ½, v̂ = 16: G_1 = 1 + ½·16, G_0 = 1 + ½ G_1. No v̂: cut."""
    env = TimeLimit(Script([[1.0]], terminates=False), 2)
    a = agent(env, gamma=0.5, baseline=baseline, episodes_per_update=2)
    a.networks.parameters.values["value.bias1"][:] = 16.0
    a.learn(2)
    assert learned_from(a).returns.tolist() == expected


def test_the_kl_term_by_hand():
    """Two actions at log ½, reference ¼ and ¾, β = 2: r - 2 (log ½ - log ref)."""
    reference = np.log([0.25, 0.75])
    a = agent(Script([[1.0, 1.0]], info=reference), kl_beta=2.0, gamma=1.0, episodes_per_update=9)
    e = learned_from(a.learn(8))
    for action, outcome in zip(e.actions.tolist(), e.returns, strict=True):
        assert outcome == pytest.approx(1.0 - 2.0 * (np.log(0.5) - reference[action]))
    assert set(e.actions.tolist()) == {0, 1}


def test_the_kl_term_counts_in_the_return_of_earlier_tokens():
    """γ = 1: G_0 is the sum of both steps' shaped rewards."""
    a = agent(Script([[0.0], [5.0]], info=[-1.0]), kl_beta=0.5, gamma=1.0, episodes_per_update=2)
    a.learn(2)  # one action: log π = 0, each step loses 0.5 · (0 + 1)
    assert learned_from(a).returns == pytest.approx([4.0, 4.5])


@pytest.mark.parametrize("vector", [None, "NextStep", "SameStep", "Disabled"])
def test_the_kl_term_is_that_of_each_lane(vector):
    """β = 1, log ref of action a in a step that ends the episode included; rewards 0."""

    def make():
        return Script([[0.0, 0.0], [0.0, 0.0]], info=np.log([0.25, 0.75]))

    env = make()
    if vector:
        inner = gym.vector.SyncVectorEnv([make] * 3, autoreset_mode=vector)
        env = gym.vector.VectorWrapper(inner)
    settings = {"num_envs": 3 if vector else 1, "episodes_per_update": 30, "gamma": 0.0}
    a = agent(env, kl_beta=1.0, baseline="none", **settings).learn(36)
    e = learned_from(a)
    assert len(e) >= 34
    expected = np.log([0.25, 0.75])[e.actions] - np.log(0.5)
    np.testing.assert_allclose(e.returns, expected, atol=1e-6)


def test_the_first_adam_step_by_hand():
    """Adam's first step is α against the sign of the gradient. Reward 1 for the action taken:

    d loss / d logits = -(onehot - ½): the action's bias rises by α, the other's falls by α.
    """
    a = agent(Script([[1.0, 1.0]]), baseline="none", episodes_per_update=1, learning_rate=0.25)
    a.learn(1)
    found = sorted(a.networks.parameters.values["policy.bias1"].tolist())
    assert found == pytest.approx([-0.25, 0.25], rel=1e-5)


class Twin:
    """Plays along by a log of the steps, and then does it all in plain torch."""

    def __init__(self, a, theta):
        self.views, self.log, self.step, self.rollout = {}, [], a.session.step, a.rollout
        start = 0
        for name, value in a.networks.parameters.values.items():
            self.views[name] = theta[start : start + value.size].reshape(value.shape)
            start += value.size
        a.session.step = self

    def __call__(self, actions, number):
        seen = [self.rollout._rows[name][-1][0] for name in ("features", "actions")]
        stepped = self.step(actions, number)
        self.log.append((*seen, stepped))
        return stepped

    def forward(self, name, x):
        w = [self.views[f"{name}.{part}"] for part in ("weight0", "bias0", "weight1", "bias1")]
        return torch.tanh(torch.as_tensor(x) @ w[0] + w[1]) @ w[2] + w[3]

    def episodes(self, bootstraps):
        """Of each step features, action and G at γ = 0.9."""
        steps = []
        for features, action, stepped in self.log:
            steps.append([features, action, stepped.rewards[0]])
            if stepped.over[0]:
                cut = bootstraps and not stepped.terminated[0]
                g = self.forward("value", stepped.features[0]).item() if cut else 0.0
                for row in reversed(steps):
                    row[2] = g = row[2] + 0.9 * g
                yield steps
                steps = []

    def loss(self, baseline):
        episodes, losses = list(self.episodes(baseline == "value")), []
        for k, episode in enumerate(episodes):
            others = [g for other in episodes[:k] + episodes[k + 1 :] for *_, g in other]
            for features, action, g in episode:
                v = self.forward("value", features)[0]
                b = {"value": v.item(), "mean": np.mean(others), "none": 0.0}[baseline]
                pi = self.pi(features)
                losses.append(-(g - b) * pi.log_prob(torch.as_tensor(action)).sum())
                losses[-1] = losses[-1] - 0.01 * pi.entropy().sum()
                if baseline == "value":
                    losses[-1] = losses[-1] + 0.5 * (v - g) ** 2
        return torch.stack(losses).mean()

    def pi(self, features):
        outputs = self.forward("policy", features)
        if "log_std" in self.views:
            return torch.distributions.Normal(outputs, torch.exp(self.views["log_std"]))
        return torch.distributions.Categorical(logits=outputs)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
@pytest.mark.parametrize("baseline", ["value", "mean", "none"])
def test_the_update_equals_autograd_on_the_whole_loss(env_id, baseline):
    settings = {"episodes_per_update": 3, "learning_rate": 0.05, "net_arch": (8,), "gamma": 0.9}
    env = TimeLimit(gym.make(env_id), 30)
    a = agent(env, baseline=baseline, ent_coef=0.01, max_grad_norm=0.5, **settings)
    theta = torch.tensor(0.1 * np.random.default_rng(0).standard_normal(weights(a).shape))
    theta = theta.float().requires_grad_()
    a.networks.parameters.vector[:] = theta.detach().numpy()
    twin = Twin(a, theta)
    while a.metrics is None:
        a.learn(1)
    twin.loss(baseline).backward()
    norm = float(torch.nn.utils.clip_grad_norm_([theta], 0.5))
    torch.optim.Adam([theta], lr=0.05).step()
    assert a.metrics.gradient_norm == pytest.approx(norm, rel=1e-4)
    gradient = a.networks.parameters.gradient * min(1.0, 0.5 / (norm + 1e-6))
    np.testing.assert_allclose(gradient, theta.grad.numpy(), atol=1e-5)
    moved = np.abs(theta.grad.numpy()) > 1e-4  # where Adam's first step has a clear sign
    np.testing.assert_allclose(weights(a)[moved], theta.detach().numpy()[moved], atol=1e-4)
    assert moved.sum() > 10


def test_an_episode_that_spans_an_update_is_weighed_by_its_own_probabilities():
    """Lane 1 needs 4 steps, lane 0 two: lane 1's first two actions are of the first policy."""
    envs = [lambda: Script([[1.0, 0.0]] * 2), lambda: Script([[1.0, 0.0]] * 4)]
    settings = {"episodes_per_update": 1, "learning_rate": 0.5, "num_envs": 2}
    a = agent(gym.vector.SyncVectorEnv(envs), **settings)
    a.learn(4)
    changed = a.action_probabilities(np.array([0]), deterministic=False)[0]
    assert not np.allclose(changed, 0.5)
    batches = []
    update = a.update
    a.update = lambda: (batches.append(a.rollout.take()), update)[0]
    a.learn(4)
    (batch,) = batches
    assert batch.lengths.tolist() == [2, 4]
    probabilities = np.exp(batch.log_prob)
    np.testing.assert_allclose(probabilities[2:4], 0.5)  # lane 1, before the update
    for i in (0, 1, 4, 5):
        assert probabilities[i] == pytest.approx(changed[batch.actions[i]])


def test_the_metrics_say_what_was_done():
    a, told = agent(gym.make("CartPole-v1"), learning_rate="lin_0.01", total_timesteps=1_000), []
    a.on_update = told.append
    a.learn(500)
    assert a.metrics is told[-1]
    assert [m.batch_episodes for m in told] == [4] * len(told)
    assert np.cumsum([m.batch_steps for m in told]).tolist() == [m.num_timesteps for m in told]
    assert [m.episodes for m in told] == [4 * (k + 1) for k in range(len(told))]
    for m in told:
        assert m.learning_rate == pytest.approx(0.01 * (1 - (m.num_timesteps - 1) / 1_000))
        assert m.episode_return == m.episode_length
        assert m.policy_loss == pytest.approx(-m.advantage_mean, abs=1e-4)
        assert all(np.isfinite(value) for value in dataclasses.astuple(m))
    assert told[0].entropy == pytest.approx(np.log(2))
    without = agent(gym.make("CartPole-v1"), baseline="none").learn(500)
    assert np.isnan(without.metrics.value_loss)


def test_a_baseline_lowers_the_variance_and_keeps_the_mean():
    """Bandit of rewards 10 and 11, π = (½, ½): the gradient of a step is ½ (r - b) (1, -1) or so.

    With b = 0 its variance is that of ±½ r: (10.5 / 2)² = 27.6. The mean of 3 others, of variance
    ¼ / 3, leaves ¼ (¼ / 3 + ¼) = 0.08. The mean is ¼ (10 - 11) = -0.25, whatever b is.
    """
    batches, found = 4_000, {}
    for baseline in ("none", "mean"):
        a = agent(Script([[10.0, 11.0]]), baseline=baseline, episodes_per_update=4)
        rows = []
        for _ in range(batches):
            while not a.rollout.full:
                a.collector.step(a.networks, a.rng, 0)
            e = learned_from(a)
            rows.append(np.mean(e.advantages * np.where(e.actions == 0, 0.5, -0.5)))
        found[baseline] = np.array(rows)
        error = np.std(rows) / np.sqrt(batches)
        assert np.mean(rows) == pytest.approx(-0.25, abs=4 * error)
    assert found["none"].var() == pytest.approx(27.6 / 4, rel=0.1)
    assert found["mean"].var() < 0.1


@pytest.mark.parametrize("info", [None, [float("-inf")]])
def test_kl_beta_without_a_reference_is_refused(info):
    with pytest.raises(SettingError, match=r'info\["ref_logprob"\].*Set kl_beta to 0'):
        agent(Script([[1.0]], info=info), kl_beta=0.1).learn(1)


def test_greedy_ties_go_to_the_lowest_index():
    a = agent(Script([[1.0, 1.0, 1.0]]))
    assert a.predict(0, deterministic=True)[0] == 0
    np.testing.assert_array_equal(
        a.action_probabilities(np.array([0]), deterministic=True), [[1, 0, 0]]
    )


def test_masks_hold_in_acting_in_probabilities_and_in_the_loss():
    mask = [False, True, False, True]
    a = agent(Script([[0.0, 0.0, 0.0, 1.0]], mask=mask), episodes_per_update=4)
    played = []
    update = a.update
    a.update = lambda: (played.extend(a.rollout._rows["actions"]), update())
    a.learn(400)
    assert set(np.concatenate(played).tolist()) == {1, 3}
    pi = a.action_probabilities(np.zeros(2, int), deterministic=False, mask=np.array([mask] * 2))
    assert (pi[:, [0, 2]] == 0).all()
    assert (pi[:, 3] > 0.9).all()
    # The masked actions never entered the loss: their logits have not moved from 0.
    logits = a.networks.outputs_by_row(np.ones((1, 1), np.float32))[0]
    assert logits[0] == logits[2] == 0
    assert a.predict(0, mask=np.array([True, False, False, False]))[0] == 0


def test_it_finds_the_best_arm():
    a = agent(Script([[0.1, 0.9, 0.5]])).learn(2_000)
    assert a.action_probabilities(np.array([0]), deterministic=False)[0, 1] > 0.95


def test_gamma_zero_credits_only_the_next_reward():
    """Step 1 pays for action 0, step 2 nothing: the state being one, action 0 it is."""
    a = agent(Script([[1.0, 0.0]] * 20), gamma=0.0).learn(4_000)
    assert a.action_probabilities(np.array([0]), deterministic=False)[0, 0] > 0.95
