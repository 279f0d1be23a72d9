"""The sanity ladder: tiny tasks in order of difficulty; the first that fails names the fault.

Every rung is climbed within `ladder_steps` steps, in the settings of the subject. Where the known
answer depends on them, `gamma` is set, `target_update_interval`, since a target that stands still
for thousands of steps needs a longer budget, and of agents that plan `horizon`. An answer counts
when it stands at three looks in a row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from registry.errors import InvalidObservationError
from rlsuite.testing.agent_subject import AgentSubject, predict
from rlsuite.testing.report import Failure, Skip, check, require
from rlsuite.testing.sanity import (
    ConstantReward,
    Form,
    OneStep,
    OneTransition,
    TinyTask,
    TwoDoors,
    TwoSteps,
)

__all__ = ["CHECKS"]

LOOKS = 100  # at most, over the budget
IN_A_ROW = 3
LEARNERS = ("values", "policy")
PREDICTORS = ("prediction", *LEARNERS)


def _climb(
    subject: AgentSubject,
    make: Callable[[Form], TinyTask],
    solved: Callable[[Any], bool],
    *,
    limit: int = 20,
    config: Any = None,
) -> Any:
    """Trains until `solved(agent)` three times in a row, or to the end of the budget."""
    subject.require_budget()
    env, _ = subject.courses(lambda: subject.tiny(make, limit))
    agent = subject.build(env, seed=0, config=config)
    every = max(1, subject.ladder_steps // LOOKS)
    row = calls = 0

    def look(learner: Any) -> bool:
        nonlocal row, calls
        calls += 1
        if calls % every == 0:
            row = row + 1 if solved(learner) else 0
        return row < IN_A_ROW

    agent.learn(subject.whole(subject.ladder_steps), callback=look)
    return agent


def _require_learns(subject: AgentSubject, kinds: tuple[str, ...], what: str) -> None:
    subject.require_learning()
    if subject.spec.learns not in kinds:
        raise Skip(f"it learns {subject.spec.learns!r}, and this asks for {what}")


def _value(agent: Any, batch: Any) -> float:
    """V of the first state, by `state_values(observations)` or the table `q`."""
    if callable(getattr(agent, "state_values", None)):
        return float(np.asarray(agent.state_values(batch))[0])
    q = getattr(agent, "q", None)
    if isinstance(q, np.ndarray) and q.ndim == 2:
        return float(q[0].max())
    raise Skip("its values cannot be read: it offers neither state_values(observations) nor q")


@check
def one_transition_overfitted(subject: AgentSubject) -> None:
    """Rung 1: one transition with reward 0.7, met again and again, is worth 0.7."""
    _require_learns(subject, PREDICTORS, "values")
    batch, target = OneTransition(subject.form).every(), OneTransition.REWARD
    agent = _climb(subject, OneTransition, lambda a: abs(_value(a, batch) - target) < 0.02)
    value = _value(agent, batch)
    require(
        abs(value - target) < 0.05,
        f"after {agent.num_timesteps} times the same transition, the value is {value:.3f} and "
        f"not {target}",
    )


@check
def one_step_task(subject: AgentSubject) -> None:
    """Rung 2: of four actions, one pays 1 and the others -0.1; it finds the one.

    An agent that refuses negative rewards is given 1 and 0.
    """
    _require_learns(subject, ("bandit", *LEARNERS), "the best action")
    for best in (1, 3):
        try:
            _best_of_four(subject, best, -0.1)
        except InvalidObservationError:
            _best_of_four(subject, best, 0.0)


def _best_of_four(subject: AgentSubject, best: int, low: float) -> None:
    batch = OneStep(subject.form).every()

    def greedy(agent: Any) -> int:
        return int(predict(agent, batch, deterministic=True)[0])

    agent = _climb(
        subject,
        lambda form: OneStep(form, best=best, low=low),
        lambda a: greedy(a) == best,
    )
    require(
        greedy(agent) == best,
        f"after {agent.num_timesteps} steps it plays action {greedy(agent)}, though action {best} "
        f"pays 1 and the others {low}",
    )


@check
def two_step_credit(subject: AgentSubject) -> None:
    """Rung 3: the first action decides what the second step pays; it gets the credit."""
    _require_learns(subject, LEARNERS, "looking ahead")
    batch = TwoSteps(subject.form).every()

    def first(agent: Any) -> int:
        return int(predict(agent, batch, deterministic=True)[0])

    for best in (0, 1):
        agent = _climb(
            subject,
            lambda form, best=best: TwoSteps(form, best=best),  # type: ignore[misc]
            lambda a, best=best: first(a) == best,  # type: ignore[misc]
        )
        require(
            first(agent) == best,
            f"after {agent.num_timesteps} steps it begins with action {first(agent)}, though "
            f"action {best} leads to the reward of 1",
        )


@check
def stochastic_policy(subject: AgentSubject) -> None:
    """Rung 4: two rooms that look alike; it learns to be random, as no greedy policy can be."""
    _require_learns(subject, ("policy",), "a stochastic policy")
    batch = TwoDoors(subject.form).every()
    wanted = -2.7  # half and half earns -2.00, uniform -5.03, the best greedy policy -5.50

    def value(agent: Any) -> float:
        return TwoDoors.value(_pi(agent, batch))

    agent = _climb(subject, TwoDoors, lambda a: value(a) >= wanted, limit=TwoDoors.LIMIT)
    require(
        value(agent) >= wanted,
        f"after {agent.num_timesteps} steps its policy {np.round(_pi(agent, batch), 3)} earns "
        f"{value(agent):.2f}; half and half between the first two actions earns -2",
    )


def _pi(agent: Any, batch: Any) -> Any:
    """π(·|s) of the first state; by 500 draws where the agent does not state it."""
    if callable(getattr(agent, "action_probabilities", None)):
        return np.asarray(agent.action_probabilities(batch, deterministic=False))[0]
    drawn = [int(predict(agent, batch, deterministic=False)[0]) for _ in range(500)]
    return np.bincount(drawn, minlength=TwoDoors.N_ACTIONS) / len(drawn)


@check
def truncation_bootstrapped(subject: AgentSubject) -> None:
    """Reward 1 for ever under a time limit of 2, γ = 0.5: V is 2, and not 1.33.

    V = 1 / (1 - γ) where the target goes on beyond the limit; a limit taken for a terminal state
    gives 1.5 and 1, on average 1.33 for states that look alike.
    """
    _require_learns(subject, PREDICTORS, "values")
    gamma, target = 0.5, 2.0
    config = subject.configure(gamma=gamma, target_update_interval=100)
    if subject.spec.budget_unit == "sweeps":  # a plan ends at the limit, unless told otherwise
        config = subject.configure(gamma=gamma, horizon="none")
    if getattr(config, "gamma", None) != gamma:
        raise Skip("it has no setting `gamma`")
    batch = ConstantReward(subject.form).every()

    def close(agent: Any) -> bool:
        return abs(_value(agent, batch) - target) < 0.1

    agent = _climb(subject, ConstantReward, close, limit=ConstantReward.LIMIT, config=config)
    value = _value(agent, batch)
    if abs(value - target) >= 0.2:
        raise Failure(
            f"V is {value:.3f} after {agent.num_timesteps} steps, it should be 1 / (1 - γ) = "
            f"{target}; about 1.33 means that a time limit is taken for a terminal state"
        )


CHECKS = (
    one_transition_overfitted,
    one_step_task,
    two_step_credit,
    stochastic_policy,
    truncation_bootstrapped,
)
