"""Checks of what an update learns from: credit, EOS, groups, parts of a batch, settings."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections import defaultdict
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from registry.errors import RlsuiteError
from registry.texts import TextBatch
from rlsuite.episodes import stack
from rlsuite.testing import agent_learning
from rlsuite.testing.agent_subject import predict, statement
from rlsuite.testing.alignment_subject import (
    NOISE,
    AlignmentSubject,
    Part,
    Watched,
    altered,
    half_rewarded,
)
from rlsuite.testing.report import Failure, Skip, check, require

__all__ = ["CHECKS"]

Floats = NDArray[np.float64]

DISCOUNTS = ("gamma", "discount")
LAMBDAS = ("lambda_", "gae_lambda")
NOTHING = 1e-7
"""Share of the last token's gradient below which a token is counted as without one."""
RELATIVE = 1e-3
"""How far two gradients, or two returns, may be apart that are the same but for rounding."""
LEARNED = 0.15
"""By how much the probability of the token that pays rises where it gets the credit."""
LOOKS = 8
"""How often it is looked at."""
CLIPPING = ("clip_range", "clip_range_vf")
"""Settings that bound what the later gradient steps of an update may do."""
STEPS = ("n_epochs", "minibatches")
"""Settings whose product is the gradient steps of an update."""
SWEEP = 3
"""A place in the code that reads more settings than this only copies or checks them."""


@check
def gamma_is_one(subject: AlignmentSubject) -> None:
    """Rewards are not discounted: the first token's return is the score."""
    found = subject.setting(*DISCOUNTS)
    if found is None:
        raise Skip("it has no setting gamma")
    name, gamma = found
    length = int(subject.task.max_new_tokens)
    if gamma == 0:
        raise Failure(
            f"{name}=0: the score comes with the last token, and no other one ever hears of it. "
            f"Training looks calm all the same. Set {name}=1"
        )
    require(
        gamma == 1,
        f"{name}={gamma}: of a text of {length} tokens the first one is credited with "
        f"{gamma ** (length - 1):.3g} of the score, so that short texts are worth more and the "
        f"optimum is another one. Set {name}=1",
    )


@check
def first_token_credited(subject: AlignmentSubject) -> None:
    """The first token of a text hears of a score that comes at its end, all of it."""
    try:
        agent = subject.learner(**dict.fromkeys(LAMBDAS, 1.0))
    except Skip:
        _credited_by_steps(subject)
        return
    ratios = [ratio for part in _rewarded(subject, agent).parts for ratio in _first_to_last(part)]
    if not ratios:
        raise Failure(
            "no text of two tokens or more has a gradient, though every other one of them earns 1 "
            "and the rest 0: look at what turns rewards into advantages"
        )
    ratio = float(np.median(ratios))
    named = (subject.setting(*DISCOUNTS) or ("gamma", None))[0]
    require(
        ratio > NOTHING,
        "the score reaches the last token of a text and not the first, whose gradient is "
        f"{ratio:.1g} of it. Set {named}=1, and sum rewards to the end of the text",
    )
    whole = subject.setting(*LAMBDAS) is None or _set(agent, LAMBDAS) == 1.0
    if whole and not _valued(subject):
        require(
            abs(ratio - 1) <= 0.01,
            f"the first token of a text is credited with {ratio:.3g} times what its last one is, "
            f"though all of the score comes at the end: rewards are discounted. Set {named}=1",
        )


def _set(agent: Any, names: tuple[str, ...]) -> Any:
    settings = getattr(agent, "settings", None)
    return next((getattr(settings, name) for name in names if hasattr(settings, name)), None)


def _valued(subject: AlignmentSubject) -> bool:
    """Whether a value head says anything yet that a return is compared with."""
    agent = subject.learner()
    return any(p.values is not None and np.any(p.values) for p in _rewarded(subject, agent).parts)


def _rewarded(subject: AlignmentSubject, agent: Any) -> Watched:
    """One update in which half of the texts earn 1; of an agent with examples, one on them."""
    given = subject.given(agent)
    return subject.watch(agent, half_rewarded(given) if isinstance(given, TextBatch) else given)


def _first_to_last(part: Part) -> list[float]:
    """|Gradient| of the first token over the last one's, of texts whose last one has any."""
    rows = np.arange(len(part.counts))
    first, last = part.gradient[:, 0], part.gradient[rows, part.counts - 1]
    live = (part.counts > 1) & (last != 0)
    return [float(r) for r in np.abs(first[live] / last[live])]


class _PaysFirst(gym.Wrapper[Any, Any, Any, Any]):
    """At its end a text earns 1 if it began with a certain token, else 0."""

    def __init__(self, env: gym.Env[Any, Any], token: int) -> None:
        super().__init__(env)
        self.token = token
        self.first: int | None = None

    def reset(self, **keywords: Any) -> tuple[Any, dict[str, Any]]:
        self.first = None
        return self.env.reset(**keywords)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.first = int(action) if self.first is None else self.first
        observation, _, terminated, truncated, info = self.env.step(action)
        paid = float((terminated or truncated) and self.first == self.token)
        return observation, paid, terminated, truncated, info


def _credited_by_steps(subject: AlignmentSubject) -> None:
    """An agent that acts step by step learns which first token pays at the end of the text."""
    subject.require_policy()
    token = _rarest(subject)
    env, _ = subject.agent.courses(lambda: _PaysFirst(subject.environment(), token))
    agent = subject.agent.build(env)
    stated = statement(agent)
    if stated is None:
        raise Skip("it states no action_probabilities, and its updates cannot be watched")
    seen = stack(_beginnings(subject))

    def share() -> float:
        return float(np.mean(stated(seen, deterministic=False)[:, token]))

    before, calls = share(), itertools.count(1)
    steps = subject.credit_steps // subject.agent.width

    def goes_on(_: Any) -> bool:
        return next(calls) % (steps // LOOKS) != 0 or share() < before + LEARNED

    agent.learn(subject.agent.whole(steps), goes_on)  # in one go: some forget unfinished rollouts
    found = share()
    if found >= before + LEARNED:
        return
    named = subject.setting(*DISCOUNTS)
    what = f"Set {named[0]}=1 (it is {named[1]})" if named else "Do not discount rewards"
    raise Failure(
        f"where a text earns 1 for beginning with token {token} and 0 otherwise, the token's "
        f"probability went from {before:.2f} to {found:.2f} in {subject.credit_steps} steps: the "
        f"first token does not hear of the score. {what}; if it is only slow, raise learning_rate"
    )


def _beginnings(subject: AlignmentSubject) -> list[Any]:
    """Observations after every prompt."""
    env = subject.environment()
    return [env.reset(seed=0, options={"prompt": p})[0] for p in subject.task.prompts[:16]]


def _rarest(subject: AlignmentSubject) -> int:
    """The token that the reference begins a text with least often, among those that it does."""
    task = subject.task
    batch = task.rollout(task.reference_model, subject.texts, rng=np.random.default_rng(9))
    first = batch.tokens[np.arange(len(batch.tokens)), batch.prompt_lengths]
    tokens, counts = np.unique(first[first != task.vocabulary.eos], return_counts=True)
    if not len(tokens):
        raise Skip("the reference begins no text with another token than EOS")
    return int(tokens[np.argmin(counts)])


@check
def eos_in_loss(subject: AlignmentSubject) -> None:
    """EOS is learned like every other token, and padding is not."""
    agent = subject.learner()
    parts, eos = _rewarded(subject, agent).parts, subject.task.vocabulary.eos
    ended = forgotten = 0
    for part in parts:
        columns = np.arange(part.gradient.shape[1])
        beyond = (columns >= part.counts[:, None]) & (part.log_probs != 0)  # a constant is no loss
        require(
            not np.any(part.gradient[beyond]),
            "the loss of padding has a gradient: mask what stands after the last token of a text",
        )
        rows = np.arange(len(part.counts))
        inside = part.gradient[rows, part.counts - 1]
        others = np.abs(part.gradient).sum(axis=1) - np.abs(inside)
        live = (part.last == eos) & ((others > 0) | (inside != 0))
        ended += int(live.sum())
        forgotten += int((live & (inside == 0)).sum())
    require(
        ended > 0,
        "no text that ends with EOS has a gradient: none was sampled (raise max_new_tokens), or "
        "their tokens are masked out of the loss",
    )
    require(
        forgotten == 0,
        f"EOS has no gradient in {forgotten} of {ended} texts that are learned from: it is outside "
        "the loss mask, and stopping is never learned. Set the mask up to `lengths`, EOS included, "
        "and PAD to something else than EOS",
    )


@check
def groups_share_prompt(subject: AlignmentSubject) -> None:
    """The texts of a group answer the same prompt."""
    size = subject.group_size("it compares no texts of one prompt")
    batch = subject.batch(subject.learner())
    require(
        len(batch.prompts) % size == 0,
        f"a batch of {len(batch.prompts)} texts has no whole groups of group_size={size}",
    )
    for group, numbers in enumerate(batch.prompts.reshape(-1, size)):
        require(
            np.ptp(numbers) == 0,
            f"group {group} holds answers to the prompts {sorted(set(numbers.tolist()))}: a text "
            f"would be judged by answers to other prompts. Sample with group_size={size}, and keep "
            "the rows of a group together",
        )


@check
def groups_stand_alone(subject: AlignmentSubject) -> None:
    """What all texts of a group earn more changes nothing, nor does their order."""
    size = subject.group_size("it compares no texts of one prompt")
    batch = subject.batch(subject.learner(NOISE))
    n, rng = len(batch.rewards), np.random.default_rng(6)
    rewards = rng.standard_normal(n)
    raised = rewards + np.repeat(5 * rng.standard_normal(n // size), size)
    order = rng.permuted(np.arange(n).reshape(-1, size), axis=1).ravel()
    plain = altered(batch, rewards)
    variants = {
        "adding a number to all rewards of a group": altered(batch, raised),
        "permuting texts within groups": _reordered(plain, order),
    }
    reference = subject.watch(_same(subject), plain).gradient
    for what, variant in variants.items():
        gradient = subject.watch(_same(subject), variant).gradient
        apart = _angle(reference, gradient)
        require(
            apart <= RELATIVE,
            f"{what} turns the gradient (1 - cosine is {apart:.2g}): advantages do not compare the "
            "texts of one prompt. Compare rows g·group_size to (g + 1)·group_size - 1, group_size "
            f"{size}, and subtract their own mean",
        )


def _same(subject: AlignmentSubject, **settings: Any) -> Any:
    """An agent in the state in which it would get its first batch: the same each time."""
    agent = subject.learner(NOISE, **settings)
    subject.given(agent)
    return agent


def _reordered(batch: TextBatch, order: Any) -> TextBatch:
    fields = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)}
    rows: dict[str, Any] = {k: None if v is None else v[order] for k, v in fields.items()}
    return TextBatch(**rows)


def _angle(one: Floats, other: Floats) -> float:
    """1 - cosine; 0 for two nothings."""
    norms = float(np.linalg.norm(one) * np.linalg.norm(other))
    if norms == 0:
        return float(np.any(one) != np.any(other))
    return 1.0 - float(one @ other) / norms


@check
def dead_groups_told(subject: AlignmentSubject) -> None:
    """Its metric `dead_groups` is the share of groups without a difference, group by group."""
    size = subject.group_size("it compares no texts of one prompt")
    agent = subject.learner(NOISE)
    batch = subject.batch(agent)
    groups = np.random.default_rng(7).standard_normal((len(batch.rewards) // size, size))
    groups[::2] = np.arange(len(groups[::2]))[:, None]  # alike in a group, not in the batch
    subject.watch(agent, altered(batch, groups.ravel()))
    told = getattr(getattr(agent, "metrics", None), "dead_groups", None)
    if told is None:
        raise Skip("its metrics have no dead_groups")
    dead = float(np.mean(np.ptp(groups, axis=1) == 0))
    require(
        abs(told - dead) < 1e-6,
        f"metrics.dead_groups is {told:.3g} where {dead:.3g} of the groups have "
        "equal rewards: count it from the standard deviation of each group, not of the batch "
        "(std, scale_advantage)",
    )


@check
def accumulation_invariance(subject: AlignmentSubject) -> None:
    """A gradient computed in 8, 4, 2 parts is that of the whole."""
    if not hasattr(subject.agent.config, "microbatches"):
        raise Skip("it has no setting microbatches: gradients are computed in one piece")
    whole = None
    for parts in (1, 2, 4, 8):
        agent = subject.learner(NOISE, microbatches=parts)
        gradient = _random_rewards(subject, agent).gradient
        whole = gradient if whole is None else whole
        length = max(float(np.linalg.norm(whole)), 1e-12)
        apart = float(np.linalg.norm(gradient - whole)) / length
        require(
            apart <= RELATIVE,
            f"the gradient in microbatches={parts} is {apart:.2g} of its length away from that in "
            "one piece: each part is divided by its own tokens. Divide by those of the whole "
            "update (aggregate, microbatches)",
        )


def _random_rewards(subject: AlignmentSubject, agent: Any) -> Watched:
    given = subject.given(agent)
    if isinstance(given, TextBatch):
        given = altered(given, np.random.default_rng(8).standard_normal(len(given.rewards)))
    return subject.watch(agent, given)


@check
def kl_penalty_lowers_kl(subject: AlignmentSubject) -> None:
    """Where all texts earn the same, a step brings the policy closer to the reference."""
    if subject.setting("kl_in") == ("kl_in", "none"):
        raise Skip("kl_in is 'none': nothing holds it at the reference")
    if not hasattr(subject.agent.config, "beta"):
        raise Skip("it has no setting beta: nothing holds it at the reference")
    oracle = _oracle(subject)
    sizes = {"n_groups": 64, "n_texts": 512}
    agent = subject.learner(3 * NOISE, **sizes)
    if getattr(agent, "beta", None) == 0:
        raise Skip("beta is 0: nothing holds it at the reference")
    batch = subject.batch(agent)
    gradient = subject.watch(agent, altered(batch, np.zeros(len(batch.rewards)))).gradient
    before = oracle.policy_metrics(agent.policy)["kl"]
    _step(agent, gradient, 0.01)
    after = oracle.policy_metrics(agent.policy)["kl"]
    require(
        after < before,
        f"a small step on texts of equal reward takes KL(π ‖ ref) from {before:.4g} to "
        f"{after:.4g}: the penalty has the wrong sign, or is not in the loss. Subtract "
        "beta * log(π/ref) from the reward (kl_in, kl_estimator)",
    )


def _oracle(subject: AlignmentSubject) -> Any:
    try:
        return subject.task.oracle()
    except (AttributeError, RlsuiteError) as error:
        raise Skip(f"the task has no exact KL: {error}") from error


def _step(agent: Any, gradient: Floats, length: float) -> None:
    """Moves all weights by `length` down the gradient."""
    direction, place = -length * gradient / max(float(np.linalg.norm(gradient)), 1e-12), 0
    for p in agent.policy.parameters():
        part = direction[place : place + p.numel()].reshape(tuple(p.shape))
        p.data += p.data.new_tensor(part)
        place += p.numel()


@check
def settings_used(subject: AlignmentSubject) -> None:
    """Every setting with a value is read, not only copied; a `clip_range` asked for can clip."""
    config = subject.agent.config
    if config is None or not dataclasses.is_dataclass(config):
        raise Skip("it names no dataclass of settings in config_type")
    try:
        subject.learner()
    except Skip:
        agent_learning.settings_read.function(subject.agent)
        return
    unread = _unread(subject)
    require(
        not unread,
        f"nothing reads {', '.join(f'{k}={v!r}' for k, v in unread.items())}: what was asked for "
        "is ignored. Leave it out, or choose the method that reads it",
    )
    given = {k: v for k, v in subject.agent.settings.items() if k in CLIPPING and v != "none"}
    require(
        not given or any((subject.setting(name) or ("", 1))[1] > 1 for name in STEPS),
        f"{' and '.join(f'{k}={v!r}' for k, v in given.items())} clips nothing: with one gradient "
        "step a batch the policy is the one that wrote. Leave it out, or make several steps "
        "(n_epochs, minibatches)",
    )


def _unread(subject: AlignmentSubject) -> dict[str, Any]:
    """Settings with a value that are not read while the agent is made, learns and predicts."""
    config = subject.changed({})
    kind = type(config)
    names = {f.name for f in dataclasses.fields(config)}
    places: dict[Any, set[str]] = defaultdict(set)

    def noted(self: Any, name: str) -> Any:
        if name in names:
            frame = sys._getframe(1)
            if not _checking(frame):
                places[frame.f_code, frame.f_lasti].add(name)
        return object.__getattribute__(self, name)

    watched_kind = type(kind.__name__, (kind,), {"__slots__": (), "__getattribute__": noted})
    watched: Any = object.__new__(watched_kind)
    for name in names:
        object.__setattr__(watched, name, getattr(config, name))
    places.clear()
    env, _ = subject.agent.courses()
    agent = subject.agent.build(env, 0, watched)
    given = subject.given(agent)
    agent.update(given)
    for deterministic in (True, False):
        predict(agent, env.reset(seed=0)[0], deterministic=deterministic)
    used = getattr(agent, "settings", config)
    read = {name for found in places.values() if len(found) <= SWEEP for name in found}
    values = {name: object.__getattribute__(used, name) for name in names}
    return {k: values[k] for k in sorted(names - read) if values[k] is not None and k != "preset"}


def _checking(frame: Any) -> bool:
    """Whether a setting is read in order to be checked."""
    while frame is not None:
        if frame.f_code.co_name == "__post_init__":
            return True
        frame = frame.f_back
    return False


CHECKS = (
    gamma_is_one,
    first_token_credited,
    eos_in_loss,
    groups_share_prompt,
    groups_stand_alone,
    dead_groups_told,
    accumulation_invariance,
    kl_penalty_lowers_kl,
    settings_used,
)
