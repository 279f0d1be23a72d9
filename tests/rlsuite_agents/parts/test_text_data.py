"""Texts to learn from: those of a file, line by line, and the best of those that were drawn."""

import gymnasium as gym
import numpy as np
import pytest

import rlsuite  # noqa: F401  registers the task
from registry.errors import DataError
from rlsuite_agents.parts.text_data import digest, drawn_texts, read_texts

EOS, PAD = 6, 7


@pytest.fixture(scope="module")
def task():
    return gym.make("rlsuite/TokenGeneration-v0").unwrapped


def written(folder, *lines):
    file = folder / "texts.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def test_a_file_by_hand(tmp_path, task):
    file = written(
        tmp_path,
        '{"prompt": "ab", "completion": "cf", "more": "one\u2028two\x85three"}',
        "",
        '{"prompt": "a", "completion": ""}',
    )
    texts = read_texts(file, task)
    assert texts.tokens.tolist() == [[0, 1, 2, 5, EOS], [0, EOS, PAD, PAD, PAD]]
    assert texts.lengths.tolist() == [5, 2]
    assert texts.prompt_lengths.tolist() == [2, 1]
    assert len(texts.rows(np.array([1]))) == 1


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", r'line 2: a line reads \{"prompt": "...", "completion"'),
        ('{"prompt": "ab"}', "line 2: a line reads"),
        ("[1]", "line 2: a line reads"),
        ('{"prompt": "ab", "completion": 3}', "line 2: prompt and completion are texts"),
        ('{"prompt": "ab", "completion": "z"}', "line 2: .*z"),
        ('{"prompt": "abc", "completion": "a"}', "line 2: a prompt of this task has 1 to 2"),
        ('{"prompt": "", "completion": "a"}', "got 0 and 2"),
        ('{"prompt": "ab", "completion": "aaaaa"}', "with EOS, at most 5; got 2 and 6"),
    ],
)
def test_a_malformed_line_is_named(tmp_path, task, line, what):
    file = written(tmp_path, '{"prompt": "ab", "completion": "a"}', line)
    with pytest.raises(DataError, match=what):
        read_texts(file, task)


def test_files_without_texts(tmp_path, task):
    with pytest.raises(DataError, match="cannot be read"):
        read_texts(tmp_path / "nowhere", task)
    with pytest.raises(DataError, match="holds no text"):
        read_texts(written(tmp_path, "", "  "), task)


def test_the_best_of_each_prompt_is_kept(task):
    rng = np.random.default_rng
    one, best = drawn_texts(task, 200, rng(0)), drawn_texts(task, 200, rng(0), best_of=8)
    scores = [task.score(texts.tokens, texts.lengths).mean() for texts in (one, best)]
    assert scores[1] > scores[0] + 0.5
    batch = task.rollout(task.reference_model, 1600, rng=rng(0), group_size=8)
    kept = task.score(best.tokens, best.lengths)
    np.testing.assert_array_equal(kept, batch.rewards.reshape(200, 8).max(axis=1))


def test_a_digest_sees_shapes_and_values():
    rows = np.arange(6)
    assert digest(rows) == digest(rows.copy()) != digest(rows.reshape(2, 3))
    assert digest(rows) != digest(rows + 1)
