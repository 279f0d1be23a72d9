"""A sequence policy as a table over all prefixes of a tree, asked level by level."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.texts import ExtendsPrefixes
from rlsuite_envs.tokens.reference_models import checked_rows
from rlsuite_envs.tokens.tree import PrefixTree

__all__ = ["tabulate"]

ROWS = 16_384
"""Most prefixes in one call: what a network of the sizes met here keeps in memory at once."""


def tabulate(policy: Any, name: str, tree: PrefixTree) -> NDArray[np.float64]:
    """The table log π(a | s) over all decision states, shape [P, N, V]; rows renormalised.

    Where the policy can extend prefixes that it remembers (`ExtendsPrefixes`), each prefix costs
    one token; else it is asked for whole prefixes, shortest first.

    Args:
        policy: A `SequencePolicy`.
        name: What messages call it.
        tree: All prefixes.

    Raises:
        SettingError: the policy does not answer with log-probabilities of shape [B, V].
    """
    p, v = tree.n_prompts, tree.n_tokens
    table = np.empty((p, tree.n_prefixes, v))
    widest = p * tree.n_letters ** (tree.max_new_tokens - 1)
    levels = _extended if isinstance(policy, ExtendsPrefixes) and widest <= ROWS else _asked
    for t, answer in enumerate(levels(policy, name, tree)):
        table[:, slice(*tree.level(t))] = answer.reshape(p, -1, v)
    return table


def _asked(policy: Any, name: str, tree: PrefixTree) -> Any:
    """Rows [P L^t, V] of each level t, by whole prefixes."""
    for t in range(tree.max_new_tokens):
        level = slice(*tree.level(t))
        tokens, lengths = tree.with_prompts(tree.completions[level], tree.depths[level])
        blocks = [slice(first, first + ROWS) for first in range(0, len(tokens), ROWS)]
        yield np.concatenate(
            [
                checked_rows(
                    policy.log_probs(tokens[block], lengths[block]),
                    (len(tokens[block]), tree.n_tokens),
                    name,
                )
                for block in blocks
            ]
        )


def _extended(policy: ExtendsPrefixes, name: str, tree: PrefixTree) -> Any:
    """The same, each prefix as one letter after a shorter one."""
    shape = tree.shape
    prompts = shape.prompt_rows()[:, : shape.prompt_width]
    answer, state = policy.start(prompts, shape.prompt_lengths)
    yield checked_rows(answer, (tree.n_prompts, tree.n_tokens), name)
    for t in range(1, tree.max_new_tokens):
        parents = np.arange(tree.n_prompts * tree.n_letters ** (t - 1))
        answer, state = policy.extend(
            state, np.repeat(parents, tree.n_letters), np.tile(tree.letters, len(parents))
        )
        yield checked_rows(answer, (len(parents) * tree.n_letters, tree.n_tokens), name)
