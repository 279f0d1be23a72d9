"""Models of texts as folders, and where the policy of an agent starts.

A folder holds `model.safetensors`, a checkpoint of the network (see `parts.checkpoint`: nothing in
it is code, and its contents match its checksum), and `config.json`, whose key `rlsuite` tells an
environment what it is. A folder of a Hugging Face causal language model is read as well, by
`transformers`, from local files alone.
"""

from __future__ import annotations

import hashlib
import json
from os import PathLike
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from registry.errors import CheckpointError, SettingError, UnsupportedSpaceError
from registry.hugging_face import TokenizerVocabulary, check_prefixes
from registry.texts import LetterVocabulary, TokenTask, first_difference
from rlsuite_agents.parts.causal_lm import CausalLM
from rlsuite_agents.parts.checkpoint import (
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
    write_atomically,
)
from rlsuite_agents.parts.text_policy import TextPolicy
from rlsuite_agents.parts.text_reward import TextReward
from rlsuite_agents.parts.transformer import Transformer, TransformerConfig

__all__ = [
    "load_text_model",
    "load_text_reward",
    "longest_text",
    "save_text_model",
    "save_text_reward",
    "starting_policy",
    "starting_reward",
    "text_task",
]

FORMAT = 1
"""Version of the manifest."""
MANIFEST, WEIGHTS = "config.json", "model.safetensors"
POLICY, REWARD = "rlsuite/TextModel-v0", "rlsuite/TextReward-v0"
KINDS = {POLICY: "text_model", REWARD: "text_reward"}


def text_task(env: Any, agent: str) -> Any:
    """The token task below the wrappers of an environment, a `registry.texts.TokenTask`.

    Raises:
        UnsupportedSpaceError: there is none.
    """
    layer = env
    while not isinstance(layer, TokenTask):
        if not isinstance(layer, gym.Wrapper):
            raise UnsupportedSpaceError(
                f"{agent} learns on token tasks, such as 'rlsuite/TokenGeneration-v0'; "
                f"{type(layer).__name__} is none: it has no prompts, vocabulary and rollout."
            )
        layer = layer.env
    return layer


def longest_text(task: Any) -> int:
    """Most tokens of a text of the task, its prompt counted."""
    return max(map(len, task.prompts)) + int(task.max_new_tokens)


def starting_policy(
    start: str,
    task: Any,
    *,
    layers: int,
    width: int,
    heads: int,
    rng: np.random.Generator,
    device: torch.device,
    temperature: float = 1.0,
    value_head: bool = False,
    precision: str = "float32",
) -> TextPolicy:
    """The policy that an agent begins with.

    Args:
        start: "reference" (the task's reference plus a network whose logits are 0 at first, so that
            both are equal), "random" (a network alone), or a folder that `save_text_model` or
            Hugging Face wrote.
        task: A `registry.texts.TokenTask`.
        layers: Of a new network; not read for a folder, as `width` and `heads`.
        width: Of a new network.
        heads: Of a new network.
        rng: Draws the weights of a new network.
        device: Where the weights are.
        temperature: Divides all logits.
        value_head: Whether the policy says values too.
        precision: "float32" or "bfloat16".

    Raises:
        SettingError: the model of a folder has another vocabulary than the task, or too few places.
        CheckpointError: there is no model in the folder, or it is damaged.
    """
    reference = task.reference_model if start == "reference" else None
    if start in ("reference", "random"):
        tied = start == "random"
        network: Any = _new_network(task, layers, width, heads, rng, tied=tied).to(device)
    else:
        network = _network(start, task, device)
    return TextPolicy(
        network,
        reference=reference,
        temperature=temperature,
        value_head=value_head,
        precision=precision,
    )


def starting_reward(
    start: str,
    task: Any,
    *,
    layers: int,
    width: int,
    heads: int,
    rng: np.random.Generator,
    device: torch.device,
) -> TextReward:
    """A reward model that scores 0 everywhere, on a new network or on that of a folder.

    Args:
        start: "random", or a folder that `save_text_model` wrote; see `starting_policy`.
        task: A `registry.texts.TokenTask`.
        layers: Of a new network.
        width: Of a new network.
        heads: Of a new network.
        rng: Draws the weights of a new network.
        device: Where the weights are.

    Raises:
        SettingError: the model of a folder does not fit the task, or is one of Hugging Face.
        CheckpointError: there is no model in the folder, or it is damaged.
    """
    if start == "random":
        network: Any = _new_network(task, layers, width, heads, rng, tied=False).to(device)
    else:
        network = _network(start, task, device)
    if isinstance(network, CausalLM):
        raise SettingError(
            f"a reward model starts from 'random' or a model of ours, and {start!r} is one of "
            "Hugging Face; a sequence classifier of theirs is a reward= of the task itself."
        )
    return TextReward(network)


def save_text_model(policy: TextPolicy, folder: str | PathLike[str], vocabulary: Any) -> str:
    """Writes a policy as a folder that is a reference model or a start; returns its SHA-256.

    Args:
        policy: One that stands on no reference.
        folder: Made if it does not exist. A model of Hugging Face is written in their form.
        vocabulary: Of the task, a `registry.texts.Vocabulary`.

    Raises:
        CheckpointError: the folder cannot be written.
        SettingError: the policy is a reference and what it adds to it.
    """
    if policy.reference is not None:
        raise SettingError(
            "this policy adds to the logits of its task's reference, and is no model alone: save "
            "the agent instead, or start it from a folder."
        )
    if isinstance(policy.network, CausalLM):
        return policy.network.save(folder)
    state = {"temperature": policy.temperature}
    return _save(folder, POLICY, policy.network, policy.arrays("model"), state, vocabulary)


def load_text_model(folder: str | PathLike[str], device: str = "cpu") -> TextPolicy:
    """The policy in a folder: ours, or a causal language model of Hugging Face.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    where = torch.device(device)
    if not _is_ours(Path(folder)):
        theirs = CausalLM.load(folder, where)
        policy = TextPolicy(theirs)
        policy.vocabulary = theirs.tokenizer
        check_prefixes(policy, Path(folder))
        return policy
    network, found, vocabulary = _load(folder, POLICY, where)
    policy = TextPolicy(network, temperature=found.value("temperature", float))
    policy.restore(found, "model")
    policy.vocabulary, policy.digest = vocabulary, _digest(folder)
    return policy


def save_text_reward(reward: TextReward, folder: str | PathLike[str], vocabulary: Any) -> str:
    """Writes a reward model as a folder; returns its SHA-256.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    state = {"shift": reward.shift}
    return _save(folder, REWARD, reward.network, reward.arrays("model"), state, vocabulary)


def load_text_reward(folder: str | PathLike[str], device: str = "cpu") -> TextReward:
    """The reward model in a folder.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    network, found, vocabulary = _load(folder, REWARD, torch.device(device))
    reward = TextReward(network, shift=found.value("shift", float))
    reward.restore(found, "model")
    reward.vocabulary, reward.digest = vocabulary, _digest(folder)
    return reward


def _save(
    folder: str | PathLike[str],
    loader: str,
    network: Transformer,
    arrays: dict[str, NDArray[Any]],
    state: dict[str, Any],
    vocabulary: Any,
) -> str:
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be made: {error.strerror or error}.") from error
    letters = getattr(vocabulary, "letters", None)
    save_checkpoint(
        path / WEIGHTS,
        agent=loader,
        config=network.config,
        arrays=arrays,
        state={**state, "letters": letters},
    )
    manifest = {
        "rlsuite": KINDS[loader],
        "format": FORMAT,
        "size": vocabulary.size,
        "eos": vocabulary.eos,
        "letters": letters,
    }
    write_atomically(path / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())
    return _digest(path)


def _load(
    folder: str | PathLike[str], loader: str, device: torch.device
) -> tuple[Transformer, Checkpoint, LetterVocabulary | None]:
    found = load_checkpoint(Path(folder) / WEIGHTS, agent=loader, config_type=TransformerConfig)
    network = Transformer(found.config, np.random.default_rng(0)).to(device)
    letters = found.value("letters", (str, type(None)))
    return network, found, None if letters is None else LetterVocabulary(letters)


def _new_network(
    task: Any, layers: int, width: int, heads: int, rng: np.random.Generator, *, tied: bool
) -> Transformer:
    shape = TransformerConfig(
        vocabulary=task.vocabulary.size,
        context=longest_text(task),
        layers=layers,
        width=width,
        heads=heads,
        tied=tied,
    )
    return Transformer(shape, rng)


def _is_ours(path: Path) -> bool:
    """Whether the folder's config.json has the key `rlsuite`; raises `CheckpointError`."""
    try:
        return "rlsuite" in json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"there is no model in {path}: its config.json cannot be read ({error})."
        ) from error


def _network(folder: str, task: Any, device: torch.device) -> Any:
    """The network of a folder; raises `SettingError` where it does not fit the task."""
    path = Path(folder)
    if not path.is_dir():
        raise CheckpointError(
            f"there is no folder {folder!r}: a policy starts from 'reference', 'random', or a "
            "folder with a model."
        )
    policy = load_text_model(path, str(device))
    _check_tokens(policy, task.vocabulary, folder)
    _check_places(policy.network, task, folder)
    return policy.network


def _check_tokens(policy: TextPolicy, wanted: Any, folder: str) -> None:
    """Raises `SettingError` unless the tokens of a folder, where they are known, are a task's."""
    found, theirs = policy.vocabulary, isinstance(policy.network, CausalLM)
    if found is None and theirs and isinstance(wanted, TokenizerVocabulary):
        raise SettingError(
            f"the folder {folder} holds no tokenizer, so nobody knows whether the model's tokens "
            "are the task's: save the tokenizer into it as well."
        )
    if policy.vocab_size != wanted.size:
        raise SettingError(
            f"the model in {folder} has {policy.vocab_size} tokens, but the task's vocabulary has "
            f"{wanted.size}: model and tokenizer must belong together."
        )
    token = None if found is None else first_difference(found, wanted)
    if token is not None:
        raise SettingError(
            f"the model in {folder} writes other tokens than the task: token {token} is "
            f"{_spelt(found, token)} there and {_spelt(wanted, token)} here."
        )


def _check_places(network: Any, task: Any, folder: str) -> None:
    longest = longest_text(task)
    if network.context < longest:
        raise SettingError(
            f"the model in {folder} reads texts of at most {network.context} tokens, but the "
            f"task's have up to {longest}: lower max_new_tokens, or take another model."
        )


def _spelt(vocabulary: Any, token: int) -> str:
    return "EOS" if token == vocabulary.eos else repr(vocabulary.decode([token]))


def _digest(folder: str | PathLike[str]) -> str:
    return hashlib.sha256((Path(folder) / WEIGHTS).read_bytes()).hexdigest()
