"""Every watchdog speaks at a fault that was planted in a real agent, and none in healthy runs."""

from __future__ import annotations

import math
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import TransformReward

import rlsuite
from registry.errors import DivergenceError, SettingError
from rlsuite.running.packing import decoded, encoded
from rlsuite.watching.detectors import ConstantLength, EntropyCollapse
from rlsuite.watching.stream import Facts, facts_of
from rlsuite.watching.watch import Alarm, TrainingWarning, Watch, dead_units, watch

CARTPOLE = "CartPole-v1"
BRISK = {"n_steps": 64, "batch_size": 64, "n_epochs": 10}


class Noise(gym.Env):
    """Random observations; ends after 7 steps; pays its reward, or the action."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, reward=None, length=7):
        self.reward, self.length = reward, length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._look(), {}

    def step(self, action):
        self.t += 1
        reward = float(action) if self.reward is None else self.reward
        return self._look(), reward, self.t >= self.length, False, {}

    def _look(self):
        return self.np_random.uniform(-1, 1, 2).astype(np.float32)


def trained(agent, env, steps, seed=0, total=None, **settings):
    """Kinds of the alarms of a training."""
    learner = rlsuite.make_agent(f"rlsuite/{agent}-v0", env, seed=seed, **settings)
    found = watch(learner, tell=lambda alarm: None, total_timesteps=total)
    learner.learn(steps)
    assert len({alarm.kind for alarm in found.alarms}) == len(found.alarms)  # once of each kind
    return {alarm.kind for alarm in found.alarms}


FAULTS = [
    ("PPO", CARTPOLE, 2_000, {**BRISK, "learning_rate": 100.0}, "entropy collapse"),
    ("A2C", CARTPOLE, 500, {"learning_rate": 0.1}, "entropy collapse"),
    ("PPO", CARTPOLE, 8_000, {"learning_rate": 100.0}, "swinging loss"),
    ("PPO", CARTPOLE, 6_000, {**BRISK, "learning_rate": 1.0}, "dead gradients"),
    ("DQN", CARTPOLE, 1_500, {"learning_rate": 1.0}, "dead gradients"),
    (
        "DQN",
        CARTPOLE,
        1_500,
        {"learning_rate": 0.1, "target_update_interval": 1},
        "growing Q values",
    ),
    ("A2C", Noise(), 1_500, {}, "constant length"),
    ("DQN", Noise(), 1_500, {}, "constant length"),
    ("PPO", Noise(reward=1.0), 4_000, BRISK, "constant return"),
    ("DQN", Noise(reward=1e30), 300, {}, "huge rewards"),
    ("SAC", Noise(reward=-1e7), 150, {"net_arch": (8,)}, "huge rewards"),
]


@pytest.mark.parametrize(("agent", "env", "steps", "settings", "kind"), FAULTS)
def test_a_planted_fault_is_seen(agent, env, steps, settings, kind):
    assert kind in trained(agent, env, steps, **settings)


def test_a_return_that_never_changes_is_seen_early_where_the_budget_is_known():
    env = Noise(reward=0.0)
    assert "constant return" not in trained("DQN", env, 1_100)
    assert "constant return" in trained("DQN", env, 1_100, total=4_000)


HEALTHY = [
    ("PPO", CARTPOLE, 20_000, {"n_steps": 512, "learning_rate": 1e-3}),
    ("A2C", CARTPOLE, 8_000, {}),
    ("DQN", CARTPOLE, 8_000, {}),
    ("PPO", "Pendulum-v1", 10_000, {"n_steps": 1024, "gamma": 0.9, "learning_rate": 1e-3}),
    ("A2C", "rlsuite/BernoulliBandit-v0", 6_000, {"ent_coef": 0.01}),  # 120 episodes of 50
    ("PPO", "rlsuite/LQR-v0", 6_000, {}),
]


@pytest.mark.parametrize(("agent", "env", "steps", "settings"), HEALTHY)
def test_a_healthy_training_is_left_in_peace(agent, env, steps, settings):
    if "Bandit" in env:
        env = gym.make(env, horizon=50)
    assert trained(agent, env, steps, **settings) == set()


ZOO = [
    (
        "PPO",
        CARTPOLE,
        100_000,
        {
            **{"num_envs": 8, "n_steps": 32, "batch_size": 256, "n_epochs": 20, "gamma": 0.98},
            **{"gae_lambda": 0.8, "learning_rate": "lin_1e-3", "clip_range": "lin_0.2"},
            "total_timesteps": 100_000,
        },
    ),
    (
        "PPO",
        "MountainCar-v0",
        200_000,
        {
            **{"num_envs": 16, "n_steps": 16, "n_epochs": 4, "gae_lambda": 0.98},
            **{"normalize_observations": True, "normalize_rewards": True},
        },
    ),
    ("A2C", CARTPOLE, 100_000, {"num_envs": 8}),
    ("Reinforce", CARTPOLE, 50_000, {}),
    ("ActorCritic", CARTPOLE, 50_000, {}),
    ("SAC", "Pendulum-v1", 5_000, {}),
    (
        "DQN",
        CARTPOLE,
        50_000,
        {
            **{"learning_rate": 2.3e-3, "batch_size": 64, "learning_starts": 1000},
            **{"target_update_interval": 10, "train_freq": 256, "gradient_steps": 128},
            **{"exploration_steps": 8000, "exploration_final_eps": 0.04, "net_arch": (256, 256)},
        },
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("agent", "env", "steps", "settings"), ZOO)
def test_whole_trainings_at_known_settings_are_left_in_peace(agent, env, steps, settings, seed):
    assert trained(agent, env, steps, seed, total=steps, **settings) == set()


@pytest.mark.parametrize(
    "env_id", sorted(name for name in gym.registry if name.startswith("rlsuite/"))
)
def test_lengths_that_an_environment_of_ours_fixes_are_natural(env_id):
    """Played at random: where all episodes are alike, watchdogs know why."""
    env = gym.make(env_id)
    env.action_space.seed(0)
    lengths = set()
    for seed in range(8):
        env.reset(seed=seed)
        ended, length = False, 0
        while not ended:
            *_, terminated, truncated, _ = env.step(env.action_space.sample())
            ended, length = terminated or truncated, length + 1
        lengths.add(length)
    assert len(lengths) > 1 or lengths == {1} or lengths <= facts_of(object(), env).natural_lengths


def test_a_warning_is_given_once_with_cause_and_remedy():
    agent = rlsuite.make_agent("rlsuite/A2C-v0", CARTPOLE, seed=0, learning_rate=0.1)
    found = rlsuite.watch(agent, detectors=[EntropyCollapse()])
    with pytest.warns(TrainingWarning, match=r"step [\d,]+: the entropy .* raise ent_coef") as all_:
        agent.learn(1_000)
    assert len(all_) == 1
    (alarm,) = found.alarms
    assert alarm.kind == "entropy collapse"
    assert alarm.note.startswith("watchdog, entropy collapse: the entropy has all but vanished")
    assert found.curve.step[-1] == 1_000
    assert set(found.curve.values) >= {"policy_loss", "entropy", "gradient_norm"}


def test_who_heard_updates_before_hears_them_still():
    agent = rlsuite.make_agent("rlsuite/PPO-v0", CARTPOLE, seed=0)
    heard = []
    agent.on_update = heard.append
    found = watch(agent)
    agent.learn(256)
    assert heard == [heard[0], agent.metrics]
    assert found.curve.step.tolist() == [128, 256]


def test_watching_changes_no_bit():
    one, other = (rlsuite.make_agent("rlsuite/DQN-v0", CARTPOLE, seed=3) for _ in "xy")
    watch(one)
    for agent in (one, other):
        agent.learn(600)
    a, b = one.networks.parameters.vector, other.networks.parameters.vector
    assert a.tobytes() == b.tobytes()


def test_agents_that_tell_no_updates_are_refused():
    agent = rlsuite.make_agent("rlsuite/QLearning-v0", "rlsuite/GridWorld-v0")
    with pytest.raises(SettingError, match="QLearning cannot be watched: it does not tell"):
        watch(agent)
    with Watch().attached(agent, agent.env):
        agent.learn(5)


class Teller:
    """Somebody's agent, which tells a mapping."""

    env = Noise()
    on_update = None

    def learn(self, *losses):
        for step, loss in enumerate(losses):
            self.on_update({"num_timesteps": step, "loss": loss})


def test_nan_ends_the_training_whoever_tells_it():
    agent = Teller()
    found = watch(agent)
    with pytest.raises(DivergenceError, match=r"step 2: .* NaN or infinite: .* lower the learning"):
        agent.learn(1.0, 2.0, math.nan, 3.0)
    assert [alarm.kind for alarm in found.alarms] == ["not a number"]
    assert found.curve.step.tolist() == [0, 1, 2]


def test_a_real_agent_that_diverges_ends():
    env = TransformReward(gym.make(CARTPOLE), lambda reward: 1e30 * reward)
    agent = rlsuite.make_agent("rlsuite/PPO-v0", env, seed=0)
    watch(agent, tell=lambda alarm: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # overflows, which are the point
        with pytest.raises(DivergenceError):
            agent.learn(2_000)


def test_attached_lets_go():
    agent = Teller()
    found = Watch()
    with found.attached(agent, agent.env):
        agent.learn(1.0)
    assert agent.on_update is None
    assert len(found.curve.step) == 1


def test_what_has_no_step_is_passed_over():
    found = Watch()
    found.see({"loss": 1.0}, Facts())
    assert found.curve is None


def test_a_watch_that_goes_on_says_nothing_twice():
    def numbers(k):
        return {
            **{"num_timesteps": 100 * k, "episode_length": 7.0, "episode_return": math.sin(k)},
            **{"episodes": 30.0 * k, "loss": 1.0},
        }

    whole, other = Watch(detectors=[ConstantLength()]), Watch(detectors=[ConstantLength()])
    for k in range(30):
        whole.see(numbers(k), Facts())
        if k == 20:
            other.restore(decoded(encoded(whole.state())))
        elif k > 20:
            other.see(numbers(k), Facts())
    assert repr(other.state()) == repr(whole.state())
    sentence = ConstantLength().sentence
    assert other.alarms == [Alarm(kind="constant length", step=400, sentence=sentence)]


def test_dead_units_by_hand():
    class Networks:
        class parameters:
            gradients = {  # noqa: RUF012
                "q.bias0": np.array([0.0, 1.0, 0.0, 0.0]),
                "q.bias1": np.array([0.0, 0.0]),
                "q.bias2": np.array([0.0]),  # of the outputs
                "value.bias0": np.array([1.0, 1.0]),
                "value.bias1": np.array([0.0]),
                "log_std": np.array([0.0]),
            }

    agent = Teller()
    assert math.isnan(dead_units(agent))
    agent.networks = Networks
    assert dead_units(agent) == 5 / 6
