"""Checks of how an agent acts: spaces, batches, the deterministic flag, masks, evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from rlsuite.episodes import stack
from rlsuite.isolation import seed_global_streams
from rlsuite.testing.agent_subject import AgentSubject, predict, statement, takes
from rlsuite.testing.report import Skip, check, require
from rlsuite.testing.sanity import Walk, limited
from rlsuite.testing.walks import difference

__all__ = ["CHECKS"]

DRAWS = 4_000
ALPHA = 1e-6
"""Chance of a false alarm of the statistical check."""


def _masks(masks: list[Any]) -> Any:
    return None if masks[0] is None else np.stack(masks)


@check
def actions_in_space(subject: AgentSubject) -> None:
    """One observation gives one action of the space, a batch one for each, of the right dtype."""
    agent, _ = subject.trained()
    space = subject.task().action_space
    observations, _ = subject.observations()
    for deterministic in (True, False):
        one = predict(agent, observations[0], deterministic=deterministic)
        many = predict(agent, stack(observations), deterministic=deterministic)
        _require_action(one, space, "the action for one observation")
        require(
            isinstance(many, np.ndarray) and len(many) == len(observations),
            f"a batch of {len(observations)} gives {many!r:.80}, it should be an array with as "
            "many rows",
        )
        for action in many:
            _require_action(action, space, "an action of a batch")


def _require_action(action: Any, space: Any, what: str) -> None:
    array = np.asarray(action)
    shown = f"{what} is {action!r:.60} ({type(action).__name__})"
    if isinstance(space, Discrete):
        require(
            array.shape == () and array.dtype == space.dtype,
            f"{shown} of shape {array.shape} and dtype {array.dtype}, it should be one "
            f"{space.dtype}",
        )
        array = array[()]
    elif isinstance(space, Box):
        require(
            array.shape == space.shape and array.dtype == space.dtype,
            f"{shown} of shape {array.shape} and dtype {array.dtype}, it should be "
            f"{space.dtype}{space.shape}",
        )
    require(space.contains(array), f"{shown}, which is not in {space}")


@check
def batch_of_one(subject: AgentSubject) -> None:
    """A row of a batch gives what the observation gives alone."""
    agent, _ = subject.trained()
    observations, _ = subject.observations()
    many = predict(agent, stack(observations), deterministic=True)
    for number, observation in enumerate(observations):
        alone = predict(agent, observation, deterministic=True)
        batch = predict(agent, stack([observation]), deterministic=True)
        require(
            np.shape(batch) == (1, *np.shape(alone)),
            f"a batch of one gives shape {np.shape(batch)}, one observation {np.shape(alone)}",
        )
        for other, name in ((batch[0], "a batch of one"), (many[number], "a larger batch")):
            require(
                np.array_equal(alone, other),
                f"observation {number} gives {alone!r:.60} alone, but {other!r:.60} in {name}",
            )


@check
def deterministic_flag(subject: AgentSubject) -> None:
    """`deterministic=True` is always the same action, the lowest-index likeliest one."""
    agent, _ = subject.trained()
    if not takes(agent.predict, "deterministic"):
        raise Skip("predict takes no `deterministic`")
    observations, masks = subject.observations()
    batch = stack(observations)
    first = predict(agent, batch, deterministic=True)
    for attempt in range(5):
        seed_global_streams(attempt)
        predict(agent, batch, deterministic=False)
        again = predict(agent, batch, deterministic=True)
        require(
            np.array_equal(first, again), f"it gives {first!r:.80} first, and {again!r:.80} later"
        )
    probabilities_of = subject.statement(agent)
    if probabilities_of is None or masks[0] is not None:
        return
    stated = np.asarray(probabilities_of(batch, deterministic=True))
    require(
        np.array_equal(np.sort(stated, axis=1)[:, -1], np.ones(len(stated))),
        f"action_probabilities(deterministic=True) is {stated[0]}, it should be 1 for one action",
    )
    require(
        np.array_equal(stated.argmax(axis=1), first),
        f"predict gives {first!r:.80}, action_probabilities {stated.argmax(axis=1)!r:.80}",
    )


@check
def probabilities(subject: AgentSubject) -> None:
    """`action_probabilities` are float64 [B, A], sum to 1, and sampled actions follow them.

    Frequencies of 4,000 draws are within the Bernstein bound for one false alarm in a million.
    """
    agent, _ = subject.trained()
    probabilities_of = statement(agent)
    if probabilities_of is None:
        raise Skip("it offers no action_probabilities")
    env = subject.task()
    if not isinstance(env.action_space, Discrete):
        raise Skip("its actions are not Discrete")
    observations, masks = subject.observations(1)
    batch, n = stack(observations), int(env.action_space.n)
    p = probabilities_of(batch, deterministic=False, mask=_masks(masks))
    _require_rows(p, (1, n))
    keywords = {"mask": np.stack(masks * 500)} if masks[0] is not None else {}
    if keywords and not takes(agent.predict, "mask"):
        raise Skip("the environment masks actions, and predict takes no mask")
    rows = stack(observations * 500)
    drawn = [predict(agent, rows, deterministic=False, **keywords) for _ in range(DRAWS // 500)]
    frequency = np.bincount(np.concatenate(drawn), minlength=n) / DRAWS
    spread = np.log(2 * n / ALPHA)
    bound = np.sqrt(2 * p[0] * (1 - p[0]) * spread / DRAWS) + 2 * spread / (3 * DRAWS)
    bound[p[0] == 0] = 0.0
    require(
        np.all(np.abs(frequency - p[0]) <= bound),
        f"predict draws with frequencies {frequency}, action_probabilities says {p[0]}",
    )


def _require_rows(p: Any, shape: tuple[int, int]) -> None:
    good = isinstance(p, np.ndarray) and p.dtype == np.float64 and p.shape == shape
    kind = f"{p.dtype}{list(p.shape)}" if isinstance(p, np.ndarray) else type(p).__name__
    require(good, f"action_probabilities gives {kind}, it should be float64{list(shape)}")
    require(
        np.all(p >= 0) and np.allclose(p.sum(axis=1), 1.0, atol=1e-6),
        f"the probabilities {p[0]} do not sum to 1",
    )


@check
def own_generator_per_row(subject: AgentSubject) -> None:
    """With `rngs=`, row i is drawn from generator i, whatever stands beside it."""
    agent, _ = subject.trained()
    if not takes(agent.predict, "rngs"):
        raise Skip("predict takes no `rngs`")
    # many rows, since a policy that seldom explores draws the same action from most generators
    observations = subject.observations()[0] * 40

    def generators(numbers: Any) -> list[np.random.Generator]:
        return [np.random.default_rng(k) for k in numbers]

    n = len(observations)
    many = predict(agent, stack(observations), deterministic=False, rngs=generators(range(n)))
    for k, observation in enumerate(observations):
        alone = predict(agent, observation, deterministic=False, rngs=generators([k]))
        require(
            np.array_equal(many[k], alone),
            f"row {k} draws {many[k]!r:.60} in a batch and {alone!r:.60} alone",
        )


@check
def masks_obeyed(subject: AgentSubject) -> None:
    """Masked actions are never played while learning, never predicted, of probability 0."""
    subject.require_discrete_actions()
    tasks: list[Walk] = []

    def masked() -> Any:
        tasks.append(Walk(subject.form, masked=True))
        return limited(tasks[-1])

    env, _ = subject.courses(masked)
    agent = subject.build(env)
    if not takes(agent.predict, "mask"):
        raise Skip("predict takes no `mask`")
    if subject.learns:
        agent.learn(subject.whole(subject.steps))
    violations = sum(task.violations for task in tasks)
    require(not violations, f"while learning it played a masked action {violations} times")
    batch = Walk(subject.form).every()
    n_states = Walk.N
    for blocked in range(3):
        mask = np.ones((n_states, 3), np.int8)
        mask[:, blocked] = 0
        _require_blocked(agent, batch, mask, blocked)


def _require_blocked(agent: Any, batch: Any, mask: NDArray[np.int8], blocked: int) -> None:
    for deterministic in (True, False):
        for _ in range(10):
            actions = predict(agent, batch, deterministic=deterministic, mask=mask)
            require(
                blocked not in np.asarray(actions).tolist(),
                f"predict(deterministic={deterministic}) plays action {blocked}, which is masked",
            )
        probabilities_of = statement(agent)
        if probabilities_of is not None:
            p = probabilities_of(batch, deterministic=deterministic, mask=mask)
            require(
                np.all(p[:, blocked] == 0) and np.allclose(p.sum(axis=1), 1.0),
                f"with action {blocked} masked, the probabilities are {p[0]}",
            )


@check
def evaluation_changes_nothing(subject: AgentSubject) -> None:
    """Predicting between two calls of `learn` changes neither what is learned nor what is done."""
    subject.require_learning()
    half = subject.whole(subject.steps // 2)
    plain_env, plain_courses = subject.courses()
    asked_env, asked_courses = subject.courses()
    plain, asked = subject.build(plain_env), subject.build(asked_env)
    observations, _ = subject.observations()
    for agent in (plain, asked):
        agent.learn(half)
    before = subject.fingerprint(asked)
    for _ in range(3):
        predict(asked, stack(observations), deterministic=True)
    require(
        before == subject.fingerprint(asked), "predict(deterministic=True) changed its checkpoint"
    )
    for _ in range(7):
        predict(asked, stack(observations), deterministic=False)
        predict(asked, observations[0], deterministic=False)
    subject.behaviour(asked)
    for agent in (plain, asked):
        agent.learn(half)
    for one, other in zip(plain_courses, asked_courses, strict=True):
        apart = difference(one.events, other.events, "the training")
        require(not apart, f"predicting in between disturbed {apart}")
    same = np.array_equal(subject.behaviour(plain), subject.behaviour(asked))
    require(same, "predicting in between changed what was learned")


@check
def sb3_evaluate_policy(subject: AgentSubject) -> None:
    """Stable-Baselines3's `evaluate_policy` takes it as it is."""
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.monitor import Monitor

    agent, _ = subject.trained()
    mean, deviation = evaluate_policy(agent, Monitor(subject.task()), n_eval_episodes=3)
    require(np.isfinite([mean, deviation]).all(), f"it returned {mean} and {deviation}")


CHECKS = (
    actions_in_space,
    batch_of_one,
    deterministic_flag,
    probabilities,
    own_generator_per_row,
    masks_obeyed,
    evaluation_changes_nothing,
    sb3_evaluate_policy,
)
