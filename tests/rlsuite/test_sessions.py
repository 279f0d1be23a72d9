"""Training and evaluating one agent: the same as a cell of a benchmark, and refused in time."""

from __future__ import annotations

import json

import numpy as np
import pytest

import rlsuite
from registry.errors import CheckpointError, SettingError, UnknownIdError
from rlsuite.running.training_run import Listeners, train_agent
from rlsuite.sessions import (
    evaluate_agent,
    evaluation_json,
    refuse_unwritable,
    task_with,
)

Q, GRID = "rlsuite/QLearning-v0", "rlsuite/GridWorld-v0"


def test_training_gives_what_a_cell_of_a_benchmark_gives(tmp_path):
    """Same agent, task, steps and seed: the same policy, so the same exact return."""
    keywords = {"settings": {"step_size": 0.3}, "steps": 700, "seed": 3}
    alone = train_agent(Q, GRID, **keywords)
    benched = rlsuite.benchmark(
        agents={"q": (Q, {"step_size": 0.3})},
        tasks=[GRID],
        seeds=[3],
        total_timesteps=700,
        store=tmp_path / "s.sqlite",
    )
    (cell,) = benched.records
    assert alone.steps == cell.steps_used == 700
    assert alone.episodes == int(cell.training.episodes.sum())
    assert alone.evaluation.mean_return == cell.mean_return


def test_a_training_that_is_stopped_is_saved_but_not_evaluated(tmp_path):
    path = tmp_path / "q"
    seen = []

    def stop(done: int, total: int) -> bool:
        seen.append((done, total))
        return done < 7

    result = train_agent(Q, GRID, steps=100, save=path, listeners=Listeners(on_step=stop))
    assert (result.steps, result.total, result.evaluation) == (7, 100, None)
    assert seen == [(k, 100) for k in range(1, 8)]
    assert path.exists()


def test_the_agent_in_training_sees_no_answer_key(monkeypatch):
    from rlsuite_agents.tabular.q_learning import QLearning

    seen = []
    learn = QLearning.learn

    def learn_and_look(self, total_timesteps, callback=None):
        seen.append(self.env.has_wrapper_attr("oracle"))
        return learn(self, total_timesteps, callback)

    monkeypatch.setattr(QLearning, "learn", learn_and_look)
    train_agent(Q, GRID, steps=1)
    assert seen == [False]


def test_the_budget_of_the_task_is_the_default():
    result = train_agent("rlsuite/UCB1-v0", "rlsuite/BernoulliBandit-v0")
    assert (result.steps, result.total) == (500, 500)
    assert result.regret is not None


def test_keywords_of_an_environment_are_checked():
    assert dict(task_with(GRID, {"slip": 0.5}).env_kwargs) == {"slip": 0.5}
    with pytest.raises(SettingError, match=r"has no keyword 'slpi'. Did you mean 'slip'"):
        task_with(GRID, {"slpi": 0.5})
    with pytest.raises(SettingError, match=r"no keyword 'x'. Its keywords: slip"):
        task_with("rlsuite/CliffWalk-v0", {"x": 1})
    with pytest.raises(SettingError, match="cannot be made with map_name='9x9': KeyError"):
        task_with("FrozenLake-v1", {"map_name": "9x9"})
    with pytest.raises(UnknownIdError, match="Did you mean"):
        task_with("rlsuite/GridWrld-v0", {})


def test_a_limit_of_gymnasiums_own_is_a_keyword_too():
    assert train_agent(Q, GRID, steps=30, env_settings={"max_episode_steps": 10}).steps == 30


def test_settings_beside_a_checkpoint_are_refused(tmp_path):
    path = tmp_path / "q"
    train_agent(Q, GRID, steps=5, save=path)
    with pytest.raises(SettingError, match="holds the settings of its agent, so epsilon cannot"):
        evaluate_agent(Q, GRID, checkpoint=path, settings={"epsilon": 0.0})


def test_a_checkpoint_of_other_spaces_is_refused(tmp_path):
    path = tmp_path / "q"
    train_agent(Q, GRID, steps=5, save=path)
    with pytest.raises(CheckpointError, match=r"trained with the observation_space Discrete\(25\)"):
        evaluate_agent(Q, "rlsuite/CliffWalk-v0", checkpoint=path)


def test_places_that_cannot_be_written_are_refused_before_the_training(tmp_path):
    refuse_unwritable(tmp_path / "q")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(CheckpointError, match="cannot be written: it is a folder"):
        refuse_unwritable(tmp_path)
    with pytest.raises(CheckpointError, match="cannot be written: its folder does not exist"):
        refuse_unwritable(tmp_path / "no" / "q")


def test_an_evaluation_as_json_holds_no_nan():
    found = evaluate_agent("rlsuite/Random-v0", "CartPole-v1", episodes=2)
    parsed = json.loads(evaluation_json(found))
    assert parsed["episodes"][1]["index"] == 1
    assert parsed["score"] is None
    from rlsuite.sessions import json_plain

    odd = {"a": (np.float64("nan"), float("inf"), np.int64(3)), "b": np.array([1.5])}
    assert json_plain(odd) == {"a": [None, None, 3], "b": [1.5]}
