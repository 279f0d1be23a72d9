"""The agent and the token task that are checked together, and how an update is watched.

Nothing here knows an algorithm. An agent that writes texts offers `policy` (`log_probs`, `evaluate`
and `parameters()` of tensors), an `optimizer` and `update(batch)`, or `update(rows)` if it learns
from examples; of all others only what they do in `env.step` is seen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from registry.errors import RlsuiteError, SettingError
from registry.specs import AgentSpec
from registry.texts import TextBatch, TokenTask
from rlsuite.testing.agent_subject import TOKEN_TASK, AgentSubject, agent_subject
from rlsuite.testing.report import Skip

__all__ = ["AlignmentSubject", "Part", "Watched", "alignment_subject", "altered", "half_rewarded"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SMALL = {"n_groups": 8, "n_texts": 64, "n_pairs": 64, "batch_size": 32}
"""Sizes of the updates that are looked at; whatever else is set stays as it is."""
WHOLE = {"n_epochs": 1, "minibatches": 1, "microbatches": 1, "max_grad_norm": 1e30}
"""One gradient of a whole update, not cut off."""
NOISE = 0.1
"""Standard deviation of what is added to weights, so that no outputs are equal by chance."""
STEPS = 512
"""Steps that an agent without known weights takes instead."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One pass over texts in an update: b rows of up to N new tokens.

    `log_probs`: of the policy that is trained [b, N]; `gradient`: of the loss in them [b, N];
    `values`: what it thinks the texts are worth, or None.
    """

    tokens: Ints
    lengths: Ints
    prompt_lengths: Ints
    log_probs: Floats
    gradient: Floats
    values: Floats | None

    @property
    def counts(self) -> Ints:
        """New tokens of each row."""
        return self.lengths - self.prompt_lengths

    @property
    def last(self) -> Ints:
        """The last token of each row."""
        return self.tokens[np.arange(len(self.tokens)), self.lengths - 1]


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """What one update did: its passes over texts, and each gradient that it stepped along."""

    parts: list[Part]
    gradients: list[Floats]

    @property
    def gradient(self) -> Floats:
        """Of the first step."""
        if not self.gradients:
            raise Skip("its update makes no gradient step")
        return self.gradients[0]


class _Captured(Exception):
    """Carries out of `learn` what was to be learned from."""

    def __init__(self, given: Any) -> None:
        super().__init__()
        self.given = given


@dataclass(frozen=True, kw_only=True)
class AlignmentSubject:
    """An agent on a token task.

    `texts` is how many texts the statistical checks look at, `credit_steps` how long an agent that
    acts step by step may learn which first token pays.
    """

    agent: AgentSubject
    texts: int = 400
    credit_steps: int = 8_192
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Agent and environment."""
        assert self.agent.env is not None
        return f"{self.agent.name} on {self.agent.env.id}"

    def environment(self) -> gym.Env[Any, Any]:
        """A new environment, wrappers included."""
        return self.agent.task()

    @cached_property
    def task(self) -> Any:
        """The token task below the wrappers."""
        return _token_task(self.environment())

    @cached_property
    def wrappers(self) -> str:
        """What stands around the task, for a sentence; empty if nothing of the user's."""
        found, layer = [], self.environment()
        while isinstance(layer, gym.Wrapper):
            if not type(layer).__module__.startswith("gymnasium."):
                found.append(type(layer).__name__)
            layer = layer.env
        return ", ".join(found)

    def setting(self, *names: str) -> tuple[str, Any] | None:
        """The first of these settings that the agent has, and its value with presets filled in."""
        for name in names:
            value = getattr(self.settings, name, self.agent.settings.get(name))
            if value is not None:
                return name, value
        return None

    @cached_property
    def settings(self) -> Any:
        """The agent's settings as it uses them."""
        return getattr(self.fresh(), "settings", self.agent.config)

    def fresh(self, seed: int = 0, **settings: Any) -> Any:
        """The agent, new and small; a setting that does not fit the others is left out."""
        env, _ = self.agent.courses()
        return self.agent.build(env, seed, self.changed(settings))

    def changed(self, settings: Mapping[str, Any]) -> Any:
        """The configuration with small sizes and other settings, as far as they fit together."""
        config = self.agent.config
        for name, value in {**SMALL, **settings}.items():
            given = getattr(config, name, None)
            if name in SMALL and name not in settings and isinstance(given, int):
                value = min(value, given)
            if config is not None and hasattr(config, name):
                with contextlib.suppress(RlsuiteError):
                    config = replace(config, **{name: value})
        return config

    def require_policy(self) -> None:
        """Raises `Skip` for an agent that learns no policy."""
        if self.agent.spec.learns == "nothing" or not self.agent.learns:
            raise Skip("it learns no policy")

    def writer(self, **settings: Any) -> Any:
        """The agent, new; raises `Skip` unless it has a policy that writes texts."""
        agent = self.fresh(**settings)
        if not callable(getattr(getattr(agent, "policy", None), "log_probs", None)):
            raise Skip(
                "it acts step by step: no `policy.log_probs(tokens, lengths)` of texts is there to "
                "be asked"
            )
        return agent

    def disturbed(self, scale: float = NOISE, **settings: Any) -> Any:
        """As `writer`, with weights that are off their start: it is no reference any more."""
        agent = self.writer(**settings)
        _disturb(agent, scale)
        return agent

    def learner(self, scale: float = 0.0, **settings: Any) -> Any:
        """An agent whose updates can be watched, off its start by `scale`; else raises `Skip`."""
        agent = self.writer(**{**WHOLE, **settings})
        for name in ("update", "optimizer", "policy.evaluate", "policy.parameters"):
            found = agent
            for part in name.split("."):
                found = getattr(found, part, None)
            if found is None:
                raise Skip(f"its updates cannot be watched: it has no `{name}`")
        if scale:
            _disturb(agent, scale)
        return agent

    def given(self, agent: Any) -> Any:
        """What the agent would learn from first: a `TextBatch`, or numbers of its examples.

        The agent is to be watched in one update afterwards, and thrown away.
        """

        def capture(given: Any) -> None:
            raise _Captured(given)

        agent.update = capture
        try:
            for _ in range(1000):
                agent.learn(1000 * int(self.task.max_new_tokens))
        except _Captured as captured:
            del agent.update
            return captured.given
        raise Skip("`learn` does not reach `update`")

    def batch(self, agent: Any) -> TextBatch:
        """As `given`; raises `Skip` unless the agent learns from texts that it writes."""
        given = self.given(agent)
        if not isinstance(given, TextBatch):
            raise Skip("it learns from given examples, not from texts that it writes")
        return given

    def group_size(self, reason: str) -> int:
        """Texts of a prompt; raises `Skip` where there are no groups."""
        found = self.setting("group_size")
        if found is None:
            raise Skip(f"it has no setting group_size: {reason}")
        return int(found[1])

    def watch(self, agent: Any, given: Any) -> Watched:
        """One update of the agent, whose steps are noted and not taken."""
        watched = Watched([], [])
        agent.optimizer = _spy(agent.policy.parameters(), watched.gradients)
        noted: list[tuple[Any, Any, Any, Any]] = []
        evaluate: Callable[..., Any] = agent.policy.evaluate

        def noting(tokens: Any, lengths: Any, prompt_lengths: Any, *more: Any, **named: Any) -> Any:
            outputs = evaluate(tokens, lengths, prompt_lengths, *more, **named)
            if outputs.log_probs.requires_grad:
                outputs.log_probs.retain_grad()
                noted.append((tokens, lengths, prompt_lengths, outputs))
            return outputs

        agent.policy.evaluate = noting
        try:
            agent.update(given)
        finally:
            del agent.policy.evaluate
        watched.parts.extend(_part(*one) for one in noted)
        return watched


def _part(tokens: Any, lengths: Any, prompt_lengths: Any, outputs: Any) -> Part:
    log_probs, values = outputs.log_probs, outputs.values
    nothing = log_probs.detach() * 0
    gradient = nothing if log_probs.grad is None else log_probs.grad
    return Part(
        tokens=np.asarray(tokens),
        lengths=np.asarray(lengths),
        prompt_lengths=np.asarray(prompt_lengths),
        log_probs=_array(log_probs),
        gradient=_array(gradient),
        values=None if values is None else _array(values),
    )


def _array(tensor: Any) -> Floats:
    found: Floats = tensor.detach().double().cpu().numpy()
    return found


def _spy(parameters: Any, gradients: list[Floats]) -> Any:
    """An optimiser that notes gradients and changes no weight."""
    import torch

    class Spy(torch.optim.Optimizer):
        def step(self, closure: Any = None) -> Any:
            found = [
                _array(torch.zeros_like(p) if p.grad is None else p.grad).ravel()
                for group in self.param_groups
                for p in group["params"]
            ]
            gradients.append(np.concatenate(found))

    return Spy(list(parameters), {"lr": 1.0})


def _disturb(agent: Any, scale: float) -> None:
    """Adds noise to all weights; where they are not known, the agent learns for a while."""
    parameters = getattr(agent.policy, "parameters", None)
    if parameters is None:
        agent.learn(STEPS)
        return
    rng = np.random.default_rng(1)
    for p in parameters():
        noise = scale * rng.standard_normal(tuple(p.shape))
        p.data += p.data.new_tensor(noise)


def altered(batch: TextBatch, rewards: Any, *, no_kl: bool = False) -> TextBatch:
    """The batch with these rewards [n], evenly shared by all reward models.

    `no_kl`: with the policy's own log-probabilities as those of the reference, so that there is no
    divergence to pay for.
    """
    rewards = np.asarray(rewards, np.float64)
    scores = np.repeat(rewards[:, None] / batch.scores.shape[1], batch.scores.shape[1], axis=1)
    own = batch.log_probs if no_kl else batch.ref_log_probs
    return replace(batch, rewards=rewards, scores=scores, ref_log_probs=own)


def half_rewarded(batch: TextBatch) -> TextBatch:
    """Every other text earns 1, and nothing is paid for divergence."""
    return altered(batch, np.arange(len(batch.rewards)) % 2, no_kl=True)


def alignment_subject(
    agent: str | type | AgentSubject | AlignmentSubject,
    *,
    env: str | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    spec: AgentSpec | None = None,
) -> AlignmentSubject:
    """The subject of an agent, its settings and a token task; see `check_alignment`.

    Raises:
        SettingError: the environment is no token task, the agent refuses it, and as for
            `agent_subject`.
        UnknownIdError: no agent, or no environment, has this id.
        UnsupportedSpaceError: the agent cannot act in this environment.
    """
    if isinstance(agent, AlignmentSubject):
        return agent
    found = agent_subject(
        agent, settings=settings, env=env or TOKEN_TASK, env_kwargs=env_kwargs, spec=spec
    )
    subject = AlignmentSubject(agent=found)
    assert subject.task is not None  # refused before any check runs
    try:
        subject.settings  # noqa: B018 (made once: what refuses the task says so once)
    except RlsuiteError:
        raise
    except Exception as error:  # of somebody's agent: it may be any
        raise SettingError(
            f"the agent cannot be made for this task: {type(error).__name__}: {error}"
        ) from error
    return subject


def _token_task(env: Any) -> Any:
    layer = env
    while not isinstance(layer, TokenTask):
        if not isinstance(layer, gym.Wrapper):
            raise SettingError(
                f"the checks of alignment need a token task, such as {TOKEN_TASK!r}; "
                f"{type(layer).__name__} is none: it has no prompts, vocabulary and rollout."
            )
        layer = layer.env
    return layer
