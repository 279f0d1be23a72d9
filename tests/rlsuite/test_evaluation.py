"""The protocol of evaluation, held against policies and environments worked out by hand."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import TimeLimit

import rlsuite
from registry.errors import InvalidActionError, InvalidObservationError, SettingError
from registry.seeding import Stream, generator, integer_seed
from registry.specs import TaskSpec
from rlsuite.evaluation import Evaluator

TWO = gym.spaces.Discrete(2)


class Coin(gym.Env):
    """Pays the action for `length` steps; the observation is noise from the seed."""

    observation_space = gym.spaces.Box(0.0, 1.0, (1,), np.float64)
    action_space = TWO

    def __init__(self, length=3, terminates=True):
        self.length, self.terminates = length, terminates
        self.seeds, self.steps = [], 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.t = 0
        return self._see(), {}

    def step(self, action):
        self.t += 1
        self.steps += 1
        ended = self.terminates and self.t >= self.length
        return self._see(), float(action), ended, False, {}

    def _see(self):
        return np.array([self.np_random.random()])


class Always:
    """The same action, whatever is seen."""

    def __init__(self, action=1):
        self.action = action

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return self.action, state


class Fair:
    """A fair coin that states its probabilities; `batches` notes how it was asked."""

    def __init__(self, p=0.5):
        self.p, self.batches = p, []

    def action_probabilities(self, observations, *, deterministic, mask=None):
        self.batches.append(len(observations))
        row = [0.0, 1.0] if deterministic else [1 - self.p, self.p]
        return np.tile(row, (len(observations), 1))

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        raise AssertionError("probabilities come first")


class Uniform:
    """Uniform over the allowed actions of a tabular environment."""

    def __init__(self, n):
        self.n = n

    def action_probabilities(self, observations, *, deterministic, mask=None):
        return np.full((len(observations), self.n), 1 / self.n)


def returns(evaluation):
    return [episode.episode_return for episode in evaluation.episodes]


# Exact ------------------------------------------------------------------------------------------


def test_uniform_play_scores_exactly_zero():
    found = rlsuite.evaluate(Uniform(4), "rlsuite/GridWorld-v0", deterministic=False)
    assert found.method == "exact"
    assert found.episodes == ()
    assert (found.low, found.high) == (None, None)
    assert found.mean_return == pytest.approx(found.baseline_return, abs=1e-12)
    assert found.score == pytest.approx(0.0, abs=1e-12)
    assert found.optimal_return == pytest.approx(0.93)
    assert found.regret == pytest.approx(found.optimal_return - found.baseline_return)


def test_exact_and_sampled_agree():
    exact = rlsuite.evaluate(Uniform(4), "FrozenLake-v1", deterministic=False)
    sampled = rlsuite.evaluate(
        Uniform(4), "FrozenLake-v1", deterministic=False, exact=False, episodes=4000
    )
    assert sampled.method == "sampled"
    error = np.std(returns(sampled)) / np.sqrt(4000)
    assert abs(sampled.mean_return - exact.mean_return) < 4 * error
    assert sampled.optimal_return == exact.optimal_return
    assert exact.best_stationary_return == pytest.approx(0.740165, abs=1e-6)


def test_the_time_limit_of_the_environment_is_the_horizon():
    short = gym.make("rlsuite/GridWorld-v0", max_episode_steps=5)
    found = rlsuite.evaluate(Uniform(4), short, deterministic=False)
    assert found.optimal_return == pytest.approx(-0.05)  # the goal is eight steps away
    shorter = TimeLimit(gym.make("rlsuite/GridWorld-v0"), 5)
    again = rlsuite.evaluate(Uniform(4), shorter, deterministic=False)
    assert again.mean_return == found.mean_return


def test_bandits_and_token_tasks_are_scored_as_they_are_played():
    agent = rlsuite.make_agent("rlsuite/Random-v0", "rlsuite/BernoulliBandit-v0")
    found = rlsuite.evaluate(agent, "rlsuite/BernoulliBandit-v0")
    assert not found.deterministic
    assert found.score == pytest.approx(0.0, abs=1e-12)
    assert rlsuite.evaluate(agent, "rlsuite/BernoulliBandit-v0", deterministic=True).deterministic


def test_the_objective_of_a_token_task_is_exact_and_comes_with_its_parts():
    agent = rlsuite.make_agent("rlsuite/Random-v0", "rlsuite/TokenGeneration-v0")
    found = rlsuite.evaluate(agent, "rlsuite/TokenGeneration-v0")
    assert found.method == "exact"
    kl, reward = found.metrics["kl"], found.metrics["expected_reward"]
    assert found.mean_return == pytest.approx(reward - 0.4 * kl, abs=1e-12)
    assert f"\n  objective {found.mean_return:.6g}\n" in str(found)
    sampled = rlsuite.evaluate(agent, "rlsuite/TokenGeneration-v0", exact=False)
    assert sampled.score is sampled.regret is sampled.optimal_return is None
    assert any("reward alone" in note for note in sampled.notes)


# Sampled with an answer key --------------------------------------------------------------------


def test_published_figures_score_where_there_is_no_answer_key():
    task = TaskSpec(
        id="Coin-v0", env_id="Coin-v0", baseline_score=1.0, reference_score=5.0, source="a paper"
    )
    with Evaluator(task, Coin) as evaluator:
        found = evaluator(Always(1), episodes=2, seed=0)
    assert found.score == pytest.approx(0.5)
    assert found.optimal_return is None
    assert any("score 1 is the return 5, 0 is 1 (a paper)" in note for note in found.notes)


# Sampled ----------------------------------------------------------------------------------------


def test_n_episodes_are_started_and_finished_each_with_its_own_seed():
    env = Coin()
    found = rlsuite.evaluate(Always(), env, episodes=4, seed=9)
    seeds = [integer_seed(9, Stream.EVALUATION, k) for k in range(4)]
    assert env.seeds[-4:] == seeds
    assert env.steps == 12
    assert [episode.seed for episode in found.episodes] == seeds
    assert [episode.index for episode in found.episodes] == [0, 1, 2, 3]
    assert returns(found) == [3.0] * 4
    assert all(e.terminated and not e.truncated and not e.capped for e in found.episodes)
    assert found.metrics == {"mean_length": 3.0}


def test_the_draws_of_episode_k_are_its_own():
    """By hand: action 1 where the generator's uniform is at least 1/2."""
    found = rlsuite.evaluate(Fair(), Coin(), episodes=30, seed=4, deterministic=False)
    expected = [float((generator(4, Stream.POLICY, k).random(3) >= 0.5).sum()) for k in range(30)]
    assert returns(found) == expected
    assert found.invariant


@pytest.mark.parametrize("side_by_side", [1, 3, 16])
def test_the_number_of_environments_changes_nothing(side_by_side):
    task = TaskSpec(id="Coin-v0", env_id="Coin-v0", deterministic=False)
    policy = Fair(0.3)
    with Evaluator(task, Coin) as evaluator:
        from rlsuite.episodes import driver_for, play

        driver = driver_for(policy, evaluator.env, False)
        driver.width = side_by_side
        envs = (Coin() for _ in range(99))
        records = play(driver, envs, episodes=range(20), seed=1, cap=10)
        assert records == evaluator(policy, episodes=20, seed=1).episodes
    assert set(policy.batches) == {16}


def test_short_episodes_have_no_advantage():
    """Half of the episodes last 2 steps, half 50: the mean is that of the first N, not of the
    first N to finish."""

    class Uneven(Coin):
        def reset(self, *, seed=None, options=None):
            observation = super().reset(seed=seed)
            self.length = 2 if self.np_random.random() < 0.5 else 50
            return observation

    task = TaskSpec(id="Uneven-v0", env_id="Uneven-v0")
    with Evaluator(task, Uneven) as evaluator:
        found = evaluator(Fair(), episodes=40, seed=0)
    rngs = [np.random.default_rng(integer_seed(0, Stream.EVALUATION, k)) for k in range(40)]
    expected = []
    for rng in rngs:
        rng.random()
        expected.append(2.0 if rng.random() < 0.5 else 50.0)
    assert returns(found) == expected


def test_the_interval_is_students_t_over_episodes():
    found = rlsuite.evaluate(Fair(), Coin(), episodes=5, seed=0, deterministic=False)
    x = np.array(returns(found))
    half = 2.7764451051977987 * x.std(ddof=1) / np.sqrt(5)  # t_{0.975, 4}
    assert found.low == pytest.approx(x.mean() - half)
    assert found.high == pytest.approx(x.mean() + half)


def test_one_episode_has_no_interval_and_equal_ones_say_so():
    one = rlsuite.evaluate(Always(), Coin(), episodes=1)
    assert (one.low, one.high) == (None, None)
    assert any("one episode" in note for note in one.notes)
    equal = rlsuite.evaluate(Always(), Coin(), episodes=3)
    assert (equal.low, equal.high) == (3.0, 3.0)
    assert any("no width" in note for note in equal.notes)


def test_a_loop_hits_the_cap_and_the_notes_say_so():
    found = rlsuite.evaluate(Always(), Coin(terminates=False), episodes=2, max_steps=25)
    assert [e.length for e in found.episodes] == [25, 25]
    assert all(e.capped for e in found.episodes)
    assert "2 of 2 episodes were cut off after max_steps=25 steps" in found.notes


def test_truncation_is_kept_apart_from_termination():
    found = rlsuite.evaluate(Always(), TimeLimit(Coin(terminates=False), 7), episodes=1)
    (episode,) = found.episodes
    assert (episode.length, episode.terminated, episode.truncated) == (7, False, True)


# Policies of every shape ------------------------------------------------------------------------


def test_a_recurrent_policy_is_handed_its_state_and_told_of_starts():
    class Counter:
        def __init__(self):
            self.starts = []

        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            self.starts.append((bool(episode_start[0]), state))
            return 0, 0 if state is None else state + 1

    policy = Counter()
    rlsuite.evaluate(policy, Coin(), episodes=2)
    assert policy.starts == [(True, None), (False, 0), (False, 1)] * 2


def test_a_predict_with_rngs_gets_one_generator_per_row():
    class Rows:
        def predict(
            self, observation, state=None, episode_start=None, deterministic=False, *, rngs=None
        ):
            assert len(observation) == len(rngs) == 16
            return np.array([int(rng.random() >= 0.5) for rng in rngs]), None

    found = rlsuite.evaluate(Rows(), Coin(), episodes=8, seed=4, deterministic=False)
    assert found.invariant
    assert returns(found) == returns(
        rlsuite.evaluate(Fair(), Coin(), episodes=8, seed=4, deterministic=False)
    )


def test_a_policy_with_draws_of_its_own_is_not_invariant():
    found = rlsuite.evaluate(Always(), Coin(), episodes=2, deterministic=False)
    assert not found.invariant
    assert any("not invariant" in note for note in found.notes)
    assert rlsuite.evaluate(Always(), Coin(), episodes=2, deterministic=True).invariant


def test_draws_from_the_global_generator_are_repeatable_and_leave_it_alone():
    class Global:
        def predict(self, observation):
            return np.random.randint(2), None  # noqa: NPY002

    before = np.random.get_state()[1].copy()  # noqa: NPY002
    one = rlsuite.evaluate(Global(), Coin(), episodes=6)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    assert returns(one) == returns(rlsuite.evaluate(Global(), Coin(), episodes=6))
    assert any("knows no `deterministic`" in note for note in one.notes)


def test_masks_reach_the_policy():
    class OnlyAllowed:
        def action_probabilities(self, observations, *, deterministic, mask=None):
            allowed = np.asarray(mask, float)
            return allowed / allowed.sum(axis=1, keepdims=True)

    agent = OnlyAllowed()
    found = rlsuite.evaluate(agent, "rlsuite/TokenGeneration-v0", exact=False, episodes=3)
    assert len(found.episodes) == 3
    assert rlsuite.evaluate(agent, "rlsuite/TokenGeneration-v0").method == "exact"

    class Masked(Coin):
        def action_masks(self):
            return np.array([0, 1], np.int8)

    class Single:
        def predict(self, observation, action_masks=None, deterministic=False):
            return int(np.flatnonzero(action_masks)[0]), None

    assert returns(rlsuite.evaluate(Single(), Masked(), episodes=2)) == [3.0, 3.0]


def test_actions_start_where_the_space_starts():
    class Late(Coin):
        action_space = gym.spaces.Discrete(2, start=5)

    assert returns(rlsuite.evaluate(Fair(), Late(), episodes=1, deterministic=True)) == [18.0]


def test_box_actions_and_dictionary_observations():
    class Seen(Coin):
        observation_space = gym.spaces.Dict(
            {"x": gym.spaces.Tuple((gym.spaces.Discrete(3), Coin.observation_space))}
        )
        action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

        def step(self, action):
            assert action.dtype == np.float32
            return super().step(action[0])

        def _see(self):
            return {"x": (0, super()._see())}

    assert rlsuite.evaluate(Always([0.5]), Seen(), episodes=2).mean_return == 1.5


@pytest.mark.parametrize("algorithm", ["PPO", "DQN"])
def test_a_model_of_stable_baselines_is_evaluated_as_it_is(algorithm):
    sb3 = pytest.importorskip("stable_baselines3")
    small = {"n_steps": 64} if algorithm == "PPO" else {"buffer_size": 100}
    model = getattr(sb3, algorithm)("MlpPolicy", "CartPole-v1", seed=0, device="cpu", **small)
    found = rlsuite.evaluate(model, "CartPole-v1", episodes=3)
    assert len(found.episodes) == 3
    assert found == rlsuite.evaluate(model, "CartPole-v1", episodes=3)
    # its own environment is left alone: another one is made
    inner = model.env.envs[0]
    observed = inner.env.unwrapped.state
    again = rlsuite.evaluate(model, gym.make("CartPole-v1"), episodes=3)
    assert returns(again) == returns(found)
    assert inner.env.unwrapped.state is observed


def test_the_training_environment_is_never_touched():
    env = gym.make("rlsuite/BernoulliBandit-v0")
    agent = rlsuite.make_agent("rlsuite/UCB1-v0", env)
    agent.learn(10)
    state = env.unwrapped.get_state()
    found = rlsuite.evaluate(agent, env, exact=False, episodes=2)
    assert env.unwrapped.get_state() == state
    assert len(found.episodes) == 2


def test_a_training_environment_without_a_spec_cannot_be_copied():
    policy = Always()
    policy.env = Coin()
    with pytest.raises(SettingError, match=r"must not touch.*not made by gymnasium.make"):
        rlsuite.evaluate(policy, policy.env)

    class Unrecorded(gym.Wrapper):
        def __init__(self, env, secret):
            super().__init__(env)

    policy.env = Unrecorded(gym.make("CartPole-v1"), 5)
    with pytest.raises(SettingError, match=r"another one cannot be made"):
        rlsuite.evaluate(policy, policy.env)


# Refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "match"),
    [
        ({"episodes": 0}, "episodes must be a whole number of at least 1, got 0"),
        ({"episodes": 2.5}, "episodes must be a whole number"),
        ({"max_steps": 0}, "max_steps must be a whole number"),
        ({"seed": -1}, "seed is a whole number"),
    ],
)
def test_arguments_are_checked(keywords, match):
    with pytest.raises(SettingError, match=match):
        rlsuite.evaluate(Always(), Coin(), **keywords)


@pytest.mark.parametrize(
    ("policy", "env", "match"),
    [
        (object(), Coin(), "a policy has predict"),
        (Always, Coin(), "got the class Always: make an instance"),
        (Always(), 3, "env is the id of an environment"),
    ],
)
def test_what_is_no_policy_or_no_environment(policy, env, match):
    with pytest.raises(SettingError, match=match):
        rlsuite.evaluate(policy, env)


@pytest.mark.parametrize("action", [2, -1, None, "left", 0.5])
def test_an_action_outside_the_space(action):
    with pytest.raises(InvalidActionError, match=r"in episode 0 after 0 steps, which is not in"):
        rlsuite.evaluate(Always(action), Coin())


def test_predict_answers_a_pair():
    class Bare:
        def predict(self, observation):
            return 1

    with pytest.raises(InvalidActionError, match=r"a pair \(actions, state\)"):
        rlsuite.evaluate(Bare(), Coin())


def test_a_batch_is_answered_row_by_row():
    class Short:
        def predict(self, observation, deterministic=False, rngs=None):
            return np.zeros(1, int), None

    with pytest.raises(InvalidActionError, match=r"answered 1 actions to 16 observations"):
        rlsuite.evaluate(Short(), Coin())


@pytest.mark.parametrize(
    ("table", "match"),
    [
        (np.ones((1, 2)), r"answered shape \(1, 2\) to 16 observations; wanted \(16, 2\)"),
        (np.ones((16, 2)), "no probabilities"),
        (np.full((16, 2), np.nan), "no probabilities"),
        (np.tile([1.5, -0.5], (16, 1)), "no probabilities"),
    ],
)
def test_probabilities_are_checked(table, match):
    class Wrong:
        def action_probabilities(self, observations, *, deterministic, mask=None):
            return table

    with pytest.raises(InvalidActionError, match=match):
        rlsuite.evaluate(Wrong(), Coin())


def test_a_policy_of_probability_zero_is_never_drawn():
    """The uniform may round up to the total: the last action with a probability is taken."""
    assert (
        returns(rlsuite.evaluate(Fair(0.0), Coin(), episodes=50, deterministic=False)) == [0] * 50
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_observation_or_reward_that_is_not_finite(bad):
    class BadObservation(Coin):
        def _see(self):
            return np.array([bad])

    class BadReward(Coin):
        def step(self, action):
            observation, _, *rest = super().step(action)
            return observation, bad, *rest

    with pytest.raises(InvalidObservationError, match=r"observation in episode 0 after 0 steps"):
        rlsuite.evaluate(Always(), BadObservation())
    with pytest.raises(InvalidObservationError, match=r"paid (nan|inf) in episode 0 after 1 steps"):
        rlsuite.evaluate(Always(), BadReward())


def test_printing_shows_a_short_block():
    text = str(rlsuite.evaluate(Uniform(4), "rlsuite/GridWorld-v0", deterministic=False))
    assert text.splitlines()[0] == (
        "rlsuite/GridWorld-v0: exact (no episodes drawn), sampled policy"
    )
    for word in ("return", "score", "regret", "optimal", "baseline"):
        assert f"\n  {word}" in text
    sampled = str(rlsuite.evaluate(Fair(), Coin(), episodes=5, deterministic=False))
    assert "sampled, 5 episodes, seed 0" in sampled
    assert "95% interval [" in sampled
    assert "best known without a clock" in str(
        rlsuite.evaluate(Uniform(4), "FrozenLake-v1", deterministic=False)
    )
