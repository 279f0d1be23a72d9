"""Finished texts to learn from: drawn from a task's reference policy, or read from a file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import CheckpointError, DataError, SettingError
from rlsuite_agents.parts.checkpoint import Checkpoint, restore_generator

__all__ = ["TextData", "digest", "drawn_texts", "own", "read_texts", "restore_data"]


@dataclass(frozen=True, slots=True, eq=False)
class TextData:
    """n finished texts: `tokens` [n, W], right-padded; `lengths` and `prompt_lengths` [n]."""

    tokens: NDArray[np.int64]
    lengths: NDArray[np.int64]
    prompt_lengths: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lengths)

    def rows(self, rows: NDArray[np.int64]) -> TextData:
        """Some of them."""
        return TextData(self.tokens[rows], self.lengths[rows], self.prompt_lengths[rows])


def drawn_texts(task: Any, n: int, rng: np.random.Generator, best_of: int = 1) -> TextData:
    """N texts that the task's reference policy writes, each the best rewarded of `best_of`."""
    batch = task.rollout(task.reference_model, n * best_of, rng=rng, group_size=best_of)
    best = batch.rewards.reshape(n, best_of).argmax(axis=1) + best_of * np.arange(n)
    return TextData(batch.tokens[best], batch.lengths[best], batch.prompt_lengths[best])


def read_texts(path: str | PathLike[str], task: Any) -> TextData:
    """The texts of a file of JSON lines, {"prompt": "...", "completion": "..."}.

    EOS is put after each completion. Blank lines are passed over.

    Raises:
        DataError: the file cannot be read, or a line is malformed or too long for the task; the
            message names it.
    """
    file = Path(path)
    try:
        lines = file.read_text(encoding="utf-8").split("\n")  # no other sign ends a line
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the texts {file} cannot be read: {error}.") from error
    rows = [
        _encoded(line, f"{file}, line {number}", task)
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not rows:
        raise DataError(f"{file} holds no text.")
    width = max(len(prompt) + len(answer) for prompt, answer in rows)
    tokens = np.full((len(rows), width), task.vocabulary.size, np.int64)
    for row, (prompt, answer) in zip(tokens, rows, strict=True):
        row[: len(prompt) + len(answer)] = prompt + answer
    prompts = np.array([len(prompt) for prompt, _ in rows])
    return TextData(tokens, prompts + [len(answer) for _, answer in rows], prompts)


def _encoded(line: str, where: str, task: Any) -> tuple[list[int], list[int]]:
    """Prompt and completion of a line as tokens, the latter with EOS."""
    try:
        entry = json.loads(line)
        texts = entry["prompt"], entry["completion"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f'{where}: a line reads {{"prompt": "...", "completion": "..."}}, got {line!r:.60}.'
        ) from error
    if not all(isinstance(text, str) for text in texts):
        raise DataError(f"{where}: prompt and completion are texts, got {line!r:.60}.")
    try:
        prompt, answer = (list(task.vocabulary.encode(text)) for text in texts)
    except SettingError as error:
        raise DataError(f"{where}: {error}") from error
    longest = max(map(len, task.prompts))
    if not 0 < len(prompt) <= longest or len(answer) >= task.max_new_tokens:
        raise DataError(
            f"{where}: a prompt of this task has 1 to {longest} tokens and a completion, with EOS, "
            f"at most {task.max_new_tokens}; got {len(prompt)} and {len(answer) + 1}."
        )
    return prompt, [*answer, task.vocabulary.eos]


def digest(*arrays: NDArray[np.int64]) -> str:
    """SHA-256 of arrays, shapes included."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype.str} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def own(agent: Any) -> dict[str, Any]:
    """What a checkpoint of an agent that learns from fixed data holds beside the weights.

    Args:
        agent: whose method this is; it has `data_state`, from which `gather()` drew or read the
            data, their `data_digest()`, and `epochs`.
    """
    return {
        "data": agent.data_state,
        "digest": agent.data_digest(),
        "epochs": agent.epochs.state(),
    }


def restore_data(agent: Any, found: Checkpoint, what: str) -> None:
    """Goes on from `own`: the data, which are `what`, are drawn or read again.

    Raises:
        CheckpointError: they are others now.
    """
    restore_generator(agent.data_rng, found.value("data", dict))
    agent.gather()
    if agent.data_digest() != found.value("digest", str):
        raise CheckpointError(
            f"{found.path} has learned from other {what} than these: its file or its task has "
            "changed."
        )
    agent.epochs.restore(found.value("epochs", dict))
