"""n-step tree backup: off-policy control without importance sampling (Precup et al. 2000).

    G_{t:t+n} = R_{t+1} + γ Σ_{a ≠ A_{t+1}} π(a|S_{t+1}) Q(S_{t+1}, a)
                        + γ π(A_{t+1}|S_{t+1}) G_{t+1:t+n}                             (eq. 7.16)

Sutton & Barto, 2nd ed., section 7.5. Where n steps end the last one is R + γ Σ_a π(a|S) Q(S, a),
at the end of the episode R. The target policy π is the greedy one, or with `target="exploring"` the
one that explores. With n = 1 these are Q-learning and Expected Sarsa, bit for bit.

Differs from the box: an action that ties for the largest value counts as the greedy one; π is the
policy by the present Q; at a time limit the expectation of S_T stands behind the steps that are
left, because S_T is not terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Transition
from registry.seeding import Stream, generator
from rlsuite_agents.functional.exploration import greedy
from rlsuite_agents.functional.practice import Practice, expected_value, explore, step_size, visit
from rlsuite_agents.functional.recent import Recent, drop, keep_mask, place, recent_of, remember
from rlsuite_agents.loops import Session, learn, learn_many
from rlsuite_agents.parts.agent_checkpoint import copy_of_q, load_tables, save_tables
from rlsuite_agents.parts.memory import restore_recent
from rlsuite_agents.parts.practice import action_probabilities, check_practice, practice_of
from rlsuite_agents.parts.predict import predict
from rlsuite_agents.parts.settings import check_choice, check_count
from rlsuite_agents.parts.spaces import table_sizes
from rlsuite_agents.parts.table_loop import Rules

__all__ = ["NStepTreeBackup", "NStepTreeBackupConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class NStepTreeBackupConfig:
    """Settings of `NStepTreeBackup`."""

    n: int = 4  # rewards in a target, at least 1
    target: Literal["greedy", "exploring"] = "greedy"  # the policy π that is learned
    step_size: float | str = 0.5  # α, in (0, 1], or "power(p)": n(s, a)^-p
    epsilon: float | str = 0.1  # ε, the probability of any action, in [0, 1], or its schedule
    gamma: float = 1.0  # γ, in [0, 1]
    exploration: str = "greedy"  # else: "greedy", "boltzmann(τ)", "ucb(c)", "count_bonus(β)"
    initial_value: float = 0.0  # Q before the first update; high values are optimistic

    def __post_init__(self) -> None:
        check_practice(self)
        check_count(self, "n", 1)
        check_choice(self, "target", ("greedy", "exploring"))


DEFAULT = NStepTreeBackupConfig()


class Tables(NamedTuple):
    """What the rules read and write."""

    q: NDArray[np.float64]  # [S, A]
    recent: Recent  # the steps that Q has not learned from yet, at most n
    allowed: NDArray[np.bool_]  # the actions allowed in their states, [n, A]
    greedy_target: bool
    practice: Practice
    gamma: float


def act(x: Tables, s: int, mask: Any, rng: Any) -> int:
    """An exploring action."""
    return explore(x.practice, x.q[s], s, mask, rng)


def observe(x: Tables, t: Transition, rng: Any) -> None:
    """Learns from the step n steps back, at an end from all that are left; draws nothing."""
    s, a = t.observation, t.action
    i = remember(x.recent, s, a, t.reward + visit(x.practice, s, a))
    keep_mask(x.allowed[i], t.mask)
    over = t.terminated or t.truncated
    while x.recent.kept[0] == len(x.recent.states) or (over and x.recent.kept[0] > 0):
        learn_oldest(x, t)


def learn_oldest(x: Tables, t: Transition) -> None:
    """An update of the oldest pair, by the tree over the steps that are kept; `t` is the last."""
    g = 0.0 if t.terminated else backed_up(x, t.next_observation, t.next_mask, -1, 0.0)
    for k in range(x.recent.kept[0] - 1, -1, -1):
        i = place(x.recent, k)
        s, a, g = x.recent.states[i], x.recent.actions[i], x.recent.rewards[i] + x.gamma * g
        if k > 0:
            g = backed_up(x, s, x.allowed[i], a, g)
    x.q[s, a] += step_size(x.practice, s, a) * (g - x.q[s, a])
    drop(x.recent)


def backed_up(x: Tables, s: int, mask: Any, taken: int, g: float) -> float:
    """Σ_a π(a|s) Q(s, a), in which g stands for the value of the action taken; -1 is none."""
    if not x.greedy_target:
        return expected_value(x.practice, x.q[s], s, mask, taken, g)
    best = x.q[s, greedy(x.q[s], mask)]
    return g if taken >= 0 and x.q[s, taken] >= best else best


class NStepTreeBackup:
    """n-step tree backup on a table: observations and actions are `Discrete`."""

    id = "rlsuite/NStepTreeBackup-v0"
    config_type = NStepTreeBackupConfig
    rules = Rules(act, observe)
    learn, learn_many = learn, classmethod(learn_many)
    predict, action_probabilities = predict, action_probabilities
    save, load = save_tables, load_tables(restore_recent)
    q = property(copy_of_q)

    def __init__(
        self, env: Any, config: NStepTreeBackupConfig = DEFAULT, *, seed: int, device: str = "cpu"
    ) -> None:
        shape = table_sizes(env, device, "NStepTreeBackup")
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)
        self.tables = Tables(
            q=np.full(shape, float(config.initial_value)),
            recent=recent_of(config.n),
            allowed=np.ones((config.n, shape[1]), bool),
            greedy_target=config.target == "greedy",
            practice=practice_of(config, *shape),
            gamma=float(config.gamma),
        )

    def act(self, observation: Any, mask: Any, rng: np.random.Generator) -> tuple[int, Any]:
        """An exploring action."""
        return int(act(self.tables, observation, mask, rng)), {}

    def observe(self, transition: Transition) -> None:
        """Keeps one transition, and learns from the one n steps back."""
        observe(self.tables, transition, self.rng)
