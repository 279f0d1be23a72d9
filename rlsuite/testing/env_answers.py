"""Checks of an environment's answers: its model and its oracle against the simulator.

Statistical checks are built to raise a false alarm once in a million runs: a chi-square test per
state and action, its level divided by their number; and for returns the empirical Bernstein bound
(Maurer & Pontil 2009, theorem 4).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from registry.contracts import HasModel, HasOracle
from rlsuite.answer_key import find_answer_key
from rlsuite.testing.env_subject import EnvSubject
from rlsuite.testing.report import Failure, Skip, check, require
from rlsuite.testing.walks import Player, difference, mask_of, plain, rows

__all__ = ["CHECKS"]

ALPHA = 1e-6
"""Chance of a false alarm of one statistical check."""

LONGEST_HORIZON = 500
SHORT_HORIZON = 100
FEWEST_EPISODES = 50

Outcome = tuple[int, float, bool]
"""Next state, reward, terminal."""


class _Dynamics:
    """Outcomes with their probabilities by (state, action), and the start distribution."""

    def __init__(self, env: Any) -> None:
        self.start: NDArray[np.float64] | None = None
        if isinstance(env, HasModel):
            model = env.model
            self.start = np.asarray(model.start)
            columns = (model.probability, model.next_state, model.reward, model.terminal)
            self._columns = tuple(np.array(column) for column in columns)
            self.n_states = len(self._columns[0])
            self._read = self._of_model
        elif isinstance(getattr(env, "P", None), Mapping):
            self.table = env.P  # Gymnasium's toy-text environments
            self.n_states = len(self.table)
            start = getattr(env, "initial_state_distrib", None)
            self.start = None if start is None else np.asarray(start)
            self._read = self._of_toy_text
        else:
            raise Skip("it has no model")
        self._known: dict[tuple[int, int], dict[Outcome, float]] = {}

    def outcomes(self, state: int, action: int) -> dict[Outcome, float]:
        """Equal outcomes merged."""
        if (state, action) not in self._known:
            merged: dict[Outcome, float] = defaultdict(float)
            for probability, *outcome in self._read(state, action):
                if probability > 0:
                    merged[_outcome(*outcome)] += float(probability)
            total = sum(merged.values())
            require(
                abs(total - 1) < 1e-9,
                f"the probabilities of state {state}, action {action} sum to {total}",
            )
            self._known[state, action] = dict(merged)
        return self._known[state, action]

    def _of_model(self, state: int, action: int) -> Any:
        return zip(*(column[state, action] for column in self._columns), strict=True)

    def _of_toy_text(self, state: int, action: int) -> Any:
        return self.table[state][action]


def _outcome(next_state: Any, reward: Any, terminal: Any) -> Outcome:
    return int(next_state), round(float(reward), 9), bool(terminal)


@check
def model_matches_simulator(subject: EnvSubject) -> None:
    """What the simulator draws is possible under its model, and as frequent as it says."""
    env = subject.bare()
    env.reset(seed=0)
    dynamics = _Dynamics(env)
    state_of = _state_reader(subject, env, dynamics.n_states)
    starts: Counter[int] = Counter()
    seen: dict[tuple[int, int], Counter[Outcome]] = defaultdict(Counter)
    player = Player(env.action_space, 0)
    left = subject.samples
    while left > 0:
        observation, info = env.reset()
        _require_same_model(dynamics, env)
        state = state_of(observation)
        starts[state] += 1
        for _ in range(SHORT_HORIZON):
            action = player.choose(mask_of(env, observation, info))
            observation, reward, terminated, truncated, info = env.step(action)
            after = state_of(observation)
            seen[state, int(action)][_outcome(after, reward, terminated)] += 1
            state, left = after, left - 1
            if terminated or truncated:
                break
    tests = len(seen) + 1
    if dynamics.start is not None:
        expected = {s: float(p) for s, p in enumerate(dynamics.start) if p > 0}
        _require_fit(starts, expected, "the start", ALPHA / tests)
    for (state, action), counts in seen.items():
        where = f"state {state}, action {action}"
        _require_fit(counts, dynamics.outcomes(state, action), where, ALPHA / tests)


def _require_same_model(dynamics: _Dynamics, env: Any) -> None:
    if isinstance(env, HasModel):
        now = env.model
        if not np.array_equal(now.probability, dynamics._columns[0]) or not np.array_equal(
            now.next_state, dynamics._columns[1]
        ):
            raise Skip("its model is another one after each reset")


def _state_reader(subject: EnvSubject, env: Any, n_states: int) -> Callable[[Any], int]:
    """A function from observations to the model's numbers of states."""
    if getattr(env.observation_space, "n", None) == n_states:
        return int
    if isinstance(env, HasOracle):
        known = rows(env.oracle(horizon=subject.spec.max_episode_steps).observations())
        numbers = {plain(observation): number for number, observation in enumerate(known)}
        if len(numbers) == n_states:
            return lambda observation: numbers[plain(observation)]
    raise Skip("its observations do not tell the states of its model apart")


def _require_fit(
    counts: Mapping[Any, int], expected: Mapping[Any, float], where: str, level: float
) -> None:
    """No impossible outcome, and a chi-square test of the frequencies."""
    from scipy.stats import chi2

    impossible = [outcome for outcome in counts if outcome not in expected]
    require(
        not impossible,
        f"{where}: the simulator gave {impossible[:1]}, which the model holds impossible; "
        f"(next state, reward, terminal) may be {list(expected)[:4]}",
    )
    total = sum(counts.values())
    cells: list[tuple[float, float]] = []  # expected and observed, at least 5 expected in each
    rest = [0.0, 0.0]
    for outcome, probability in expected.items():
        cell = (probability * total, float(counts.get(outcome, 0)))
        if cell[0] >= 5:
            cells.append(cell)
        else:
            rest = [rest[0] + cell[0], rest[1] + cell[1]]
    if rest[0] >= 5:
        cells.append((rest[0], rest[1]))
    if len(cells) < 2:
        return
    statistic = sum((observed - mean) ** 2 / mean for mean, observed in cells)
    p = float(chi2.sf(statistic, len(cells) - 1))
    require(
        p >= level,
        f"{where}: {total} draws do not fit the model, chi-square {statistic:.1f} on "
        f"{len(cells) - 1} degrees of freedom, p = {p:.1e}",
    )


def _oracle(subject: EnvSubject) -> tuple[Any, Any]:
    """The environment, with a time limit that can be played out, and its oracle."""
    limit = subject.spec.max_episode_steps
    if limit is not None and limit <= LONGEST_HORIZON:
        env = subject.make()
    else:
        limit = SHORT_HORIZON
        env = subject.make(max_episode_steps=limit)
    env.reset(seed=0)
    key = find_answer_key(env)
    if key.oracle is None:
        raise Skip(key.why_not or "it has no oracle")
    oracle: Any = key.oracle
    if subject.metric == "objective":  # what is sampled is the plain reward
        bare: Any = env.unwrapped
        oracle = bare.oracle(horizon=limit, beta=0)
    return env, oracle


@check
def oracle_contract(subject: EnvSubject) -> None:
    """The oracle's figures are finite floats in the right order; tables and functions agree."""
    env, oracle = _oracle(subject)
    require(
        oracle.provenance in ("exact", "bound", "none"), f"its provenance is {oracle.provenance!r}"
    )
    require(oracle.scope in ("task", "instance"), f"its scope is {oracle.scope!r}")
    figures = {name: getattr(oracle, name) for name in ("optimal_return", "baseline_return")}
    for name, value in figures.items():
        require(
            type(value) is float and math.isfinite(value),
            f"{name} is {value!r} ({type(value).__name__}), it should be a finite float",
        )
    top = figures["optimal_return"]
    slack = 1e-9 * max(1.0, abs(top))
    require(
        figures["baseline_return"] <= top + slack, f"the baseline is above the optimum: {figures}"
    )
    stationary = oracle.best_stationary_return
    require(
        stationary is None or stationary <= top + slack,
        f"best_stationary_return {stationary} is above the optimum {top}",
    )
    if not isinstance(env.action_space, Discrete):
        return  # states may be a continuum there, and policies no tables
    observations = _listed(oracle)
    if observations is None:
        return
    require(observations, "observations() is empty")
    for observation in observations[:200]:
        require(
            observation in env.observation_space,
            f"observations() holds {observation!r:.80}, which is not in {env.observation_space}",
        )
    if oracle.provenance == "exact":
        _require_consistent(env, oracle, observations, top + slack)


def _listed(oracle: Any) -> list[Any] | None:
    """All decision states, or None where they cannot be listed."""
    return None if getattr(oracle, "sampled_because", "") else rows(oracle.observations())


def _require_consistent(env: Any, oracle: Any, observations: list[Any], top: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        pi = _random_policy(rng, env, observations, sharp=True)
        value = oracle.policy_return(pi)
        function = oracle.policy_return(lambda batch, pi=pi: pi)
        require(
            value == function, f"a policy is worth {value} as a table and {function} as a function"
        )
        require(value <= top, f"a random policy is worth {value}, more than the optimum {top}")
        require(isinstance(oracle.policy_metrics(pi), Mapping), "policy_metrics is no mapping")


@check
def oracle_matches_sampling(subject: EnvSubject) -> None:
    """Played out, policies earn what the oracle says of them."""
    env, oracle = _oracle(subject)
    if oracle.provenance != "exact" or oracle.scope != "task":
        raise Skip(f"its oracle is of provenance {oracle.provenance!r}, scope {oracle.scope!r}")
    rng = np.random.default_rng(1)
    observations = _listed(oracle) if isinstance(env.action_space, Discrete) else None
    if observations is not None:
        number_of = {plain(observation): row for row, observation in enumerate(observations)}
        pi = _random_policy(rng, env, observations, sharp=False)
        returns = _sampled(env, _table_player(pi, number_of, rng), subject.samples, rng)
        _require_mean(returns, oracle.policy_return(pi), oracle, "a random policy")
    if subject.metric == "objective":  # there the baseline is the reference policy
        return
    player = Player(env.action_space, 2)
    returns = _sampled(env, lambda _, mask: player.choose(mask), subject.samples, rng)
    _require_mean(returns, oracle.baseline_return, oracle, "the uniform policy (baseline_return)")


def _random_policy(
    rng: np.random.Generator, env: Any, observations: list[Any], *, sharp: bool
) -> NDArray[np.float64]:
    """A table [S, A], by the mask where observations carry one."""
    n = int(env.action_space.n)
    pi = rng.dirichlet(np.full(n, 0.05 if sharp else 1.0), size=len(observations))
    if isinstance(observations[0], Mapping) and "action_mask" in observations[0]:
        pi = (pi + 1e-9) * np.array([one["action_mask"] for one in observations])
    return pi / pi.sum(axis=1, keepdims=True)


def _table_player(
    pi: NDArray[np.float64], number_of: dict[Any, int], rng: np.random.Generator
) -> Callable[[Any, Any], int]:
    below, last = np.cumsum(pi, axis=1), pi.shape[1] - 1

    def choose(observation: Any, mask: Any) -> int:
        row = number_of.get(plain(observation))
        if row is None:
            raise Failure(f"oracle.observations() lacks {observation!r:.100}")
        return min(int(np.searchsorted(below[row], rng.random(), side="right")), last)

    return choose


def _sampled(
    env: Any, choose: Callable[[Any, Any], Any], steps: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Returns of episodes, as many as the steps suffice for."""
    returns: list[float] = []
    while steps > 0 or len(returns) < FEWEST_EPISODES:
        observation, info = env.reset(seed=int(rng.integers(2**31)))
        total, over = 0.0, False
        while not over:
            action = choose(observation, mask_of(env, observation, info))
            observation, reward, terminated, truncated, info = env.step(action)
            total, over, steps = total + float(reward), terminated or truncated, steps - 1
        returns.append(total)
    return np.array(returns)


def _require_mean(returns: NDArray[np.float64], exact: float, oracle: Any, name: str) -> None:
    n, spread = len(returns), math.log(2 / ALPHA)
    width = max(returns.max(), oracle.optimal_return) - min(returns.min(), oracle.baseline_return)
    bound = math.sqrt(2 * returns.var(ddof=1) * spread / n) + 7 * width * spread / (3 * (n - 1))
    rounding = 1e-9 * max(1.0, abs(exact))
    require(
        abs(returns.mean() - exact) <= bound + rounding,
        f"{name} is worth {exact:.6g} by the oracle, but earned {returns.mean():.6g} on average of "
        f"{n} episodes (allowed difference {bound:.3g})",
    )


@check
def oracle_knows_the_limit(subject: EnvSubject) -> None:
    """`oracle()` without a horizon means the limit registered for the id."""
    env: Any = subject.bare()
    if not isinstance(env, HasOracle):
        raise Skip("it ships no oracle of its own")
    known = _after_reset(env).oracle()
    told = env.oracle(horizon=subject.spec.max_episode_steps)
    for name in ("optimal_return", "baseline_return"):
        apart = difference(getattr(known, name), getattr(told, name), name)
        require(not apart, f"without a horizon and with the registered one, {apart}")


def _after_reset(env: Any) -> Any:
    env.reset(seed=0)  # arms and layouts may be drawn there
    return env


CHECKS = (
    model_matches_simulator,
    oracle_contract,
    oracle_matches_sampling,
    oracle_knows_the_limit,
)
