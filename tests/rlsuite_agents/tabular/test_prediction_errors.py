"""How far predictions are from the truth: the book's random walks, and random MDPs."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

import rlsuite
from rlsuite_agents.tabular.monte_carlo_prediction import MonteCarloPrediction
from rlsuite_agents.tabular.n_step_td import NStepTD
from rlsuite_agents.tabular.td_lambda import TDLambda
from rlsuite_agents.tabular.td_zero import TD0


def errors_by_episode(cls, seed, episodes, states, left, **settings):
    """RMS error over the states after each episode of a random walk."""
    env = gym.make("rlsuite/RandomWalk-v0", states=states, left_reward=left)
    agent, found = cls(env, cls.config_type(**settings), seed=seed), []
    truth = left + (1 - left) * np.arange(1, states + 1) / (states + 1)

    def look(learner):
        if learner.session.over:
            found.append(np.sqrt(np.mean((learner.tables.v[1:-1] - truth) ** 2)))
        return len(found) < episodes

    agent.learn(1_000_000, callback=look)
    return np.array(found)


def figure_7_2(n, step_size, walks):
    """Mean error in the first 10 episodes of each walk over 19 states."""
    settings = {"states": 19, "left": -1.0, "n": n, "step_size": step_size}
    return [errors_by_episode(NStepTD, k, 10, **settings).mean() for k in range(walks)]


def test_the_lowest_point_of_figure_7_2():
    """n = 4 with α = 0.4: 0.25 to 0.28 in the figure, whose curves are means of 100 walks.

    One walk deviates by 0.04, so the mean of 40 is within 0.02 at three standard errors.
    """
    assert 0.23 < np.mean(figure_7_2(4, 0.4, 40)) < 0.30


@pytest.mark.slow
def test_the_order_of_figure_7_2():
    """100 walks, the same for all: n = 4 is best, each n at the best of its step sizes."""
    best = {}
    for n, step_sizes in {
        1: (0.7, 0.8, 0.9),
        2: (0.5, 0.6, 0.7),
        4: (0.3, 0.4, 0.5),
        8: (0.2, 0.25, 0.3),
        16: (0.1, 0.15, 0.2),
        512: (0.02, 0.04, 0.08),
    }.items():
        studies = [figure_7_2(n, step_size, 100) for step_size in step_sizes]
        best[n] = np.array(min(studies, key=np.mean))
    for worse in (1, 16, 512):
        gap = best[worse] - best[4]
        assert gap.mean() > 3 * gap.std(ddof=1) / np.sqrt(len(gap)), worse
    assert best[4].mean() == min(errors.mean() for errors in best.values())
    assert 0.24 < best[4].mean() < 0.28
    assert 0.33 < best[1].mean() < 0.37


def test_td_beats_monte_carlo_on_the_random_walk_of_example_6_2():
    """Five states, V = 1/2 at first, 100 episodes: each with the best of the figure's step sizes.

    The error begins at 0.236, that of 1/2, and falls. The gap is more than three standard errors
    over walks that are the same for both.
    """
    walks, best = 20, {}
    for cls, step_sizes in ((TD0, (0.15, 0.1, 0.05)), (MonteCarloPrediction, (0.01, 0.02, 0.04))):
        more = {} if cls is TD0 else {"visits": "every"}
        settings = {"states": 5, "left": 0.0, "initial_value": 0.5, **more}
        studies = [
            np.array(
                [errors_by_episode(cls, k, 100, step_size=a, **settings) for k in range(walks)]
            )
            for a in step_sizes
        ]
        best[cls] = min((study.mean(axis=1) for study in studies), key=np.mean)
        assert all(0.2 < study[:, 0].mean() < 0.236 for study in studies)
    gap = best[MonteCarloPrediction] - best[TD0]
    assert gap.mean() > 3 * gap.std(ddof=1) / np.sqrt(walks)


def uniform_values(env, gamma):
    """v of uniform play without the time limit, by a linear solve."""
    model = env.unwrapped.model
    states, actions = model.next_state.shape[:2]
    going = np.where(model.terminal, 0.0, model.probability) / actions
    p, s = np.zeros((states, states)), np.arange(states)[:, None, None]
    np.add.at(p, (s, model.next_state), going)
    r = (model.probability * model.reward).sum(axis=-1).mean(axis=-1)
    return np.linalg.solve(np.eye(states) - gamma * p, r)


def largest_error(cls, mdp_seed, steps, **settings):
    """The largest error over the states that are acted in, of an episodic Garnet."""
    env = gym.make("rlsuite/Garnet-v0", mdp_seed=mdp_seed)
    agent = cls(env, cls.config_type(gamma=0.9, **settings), seed=mdp_seed).learn(steps)
    return np.abs(agent.state_values() - uniform_values(env, 0.9))[:-1].max()


EVERY = {
    "first-visit Monte Carlo": (MonteCarloPrediction, 10_000_000, {"visits": "first"}),
    "every-visit Monte Carlo": (MonteCarloPrediction, 10_000_000, {"visits": "every"}),
    "TD(0)": (TD0, 20_000_000, {"step_size": "power(0.8)"}),
    "4-step TD": (NStepTD, 10_000_000, {"step_size": "power(1)"}),
    **{
        f"TD(λ), {traces}": (TDLambda, 40_000_000, {"step_size": "power(1)", "traces": traces})
        for traces in ("accumulating", "replacing", "dutch")
    },
}


@pytest.mark.slow
@pytest.mark.parametrize(("cls", "steps", "settings"), EVERY.values(), ids=EVERY)
def test_on_50_random_mdps_values_are_within_a_hundredth(cls, steps, settings):
    """γ = 0.9, uniform play; the largest error over states."""
    errors = [largest_error(cls, seed, steps, **settings) for seed in range(50)]
    assert max(errors) < 1e-2


@pytest.mark.parametrize(("cls", "steps", "settings"), EVERY.values(), ids=EVERY)
def test_on_one_random_mdp(cls, steps, settings):
    """A fiftieth of the steps, so about seven times the error."""
    assert largest_error(cls, 0, steps // 50, **settings) < 7e-2


@pytest.mark.parametrize(("cls", "steps", "settings"), EVERY.values(), ids=EVERY)
def test_a_prediction_task_is_scored_by_the_error_of_the_values(cls, steps, settings):
    """`rlsuite.evaluate` says what a look at the values says, and better values score higher."""
    agent = cls(gym.make("rlsuite/RandomWalk-v0"), cls.config_type(**settings), seed=0)
    before = rlsuite.evaluate(agent, "rlsuite/RandomWalk-v0")
    assert before.score == 0.0
    after = rlsuite.evaluate(agent.learn(20_000), "rlsuite/RandomWalk-v0")
    error = np.sqrt(np.mean((agent.state_values(range(1, 20)) - np.linspace(-0.9, 0.9, 19)) ** 2))
    assert after.metrics["value_error"] == pytest.approx(error, abs=1e-12)
    assert after.score == pytest.approx(1 - error / np.sqrt(0.3), abs=1e-12)
    assert after.score > 0.5
