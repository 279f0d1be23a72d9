"""Prompts that a reset names and texts that a saved state holds: are they of this task?"""

from __future__ import annotations

import operator
from typing import Any

from registry.errors import SettingError
from rlsuite_envs.tokens.shapes import TextShape, check_prompts
from rlsuite_envs.tokens.world import TokenWorld

__all__ = ["NO_PROMPT", "chosen_prompt", "is_text", "saved_prompt"]

NO_PROMPT: Any = object()


def chosen_prompt(options: dict[str, Any] | None, world: TokenWorld) -> tuple[int, ...] | None:
    """The prompt named in the options of a reset, or None."""
    unknown = sorted(set(options or ()) - {"prompt"})
    if unknown:
        raise SettingError(f"the only option of a reset is 'prompt', got {unknown}.")
    if not options:
        return None
    given, shape = options["prompt"], world.shape
    if not world.tabulated:
        return check_prompts([given], world.vocabulary, shape.prompt_width)[0]
    try:
        tokens = world.vocabulary.encode(given) if isinstance(given, str) else given
        prompt = tuple(map(operator.index, tokens))
    except (TypeError, SettingError):
        prompt = ()
    if prompt in shape.prompts:
        return prompt
    raise SettingError(
        f"options['prompt'] must be one of this task's prompts, {list(shape.prompts)}, got "
        f"{given!r}."
    )


def saved_prompt(saved: Any, world: TokenWorld) -> Any:
    """The prompt of a saved state; `NO_PROMPT` where it names none."""
    if saved is None:
        return None
    if isinstance(saved, int) and 0 <= saved < world.shape.n_prompts:
        return world.shape.prompts[saved]
    if isinstance(saved, list) and not world.tabulated:
        return check_prompts([saved], world.vocabulary, world.shape.prompt_width)[0]
    return NO_PROMPT


def is_text(prompt: Any, written: object, shape: TextShape) -> bool:
    """Whether a saved state holds what can be written after a prompt."""
    if not isinstance(written, list) or len(written) > shape.max_new_tokens:
        return False
    whole = all(isinstance(token, int) and 0 <= token < shape.size for token in written)
    return whole and shape.eos not in written[:-1] and (prompt is not None or not written)
