"""Random MDPs and policies, and slow, obvious twins of what the oracle computes."""

from __future__ import annotations

import numpy as np
import pytest

from rlsuite_envs.tabular.mdp import TabularMDP


def _random_mdp(seed, states=5, actions=3, outcomes=3, ending=0.2):
    """Repeated outcomes, impossible outcomes, several starts: all that a table may hold."""
    rng = np.random.default_rng(seed)
    shape = (states, actions, outcomes)
    probability = rng.dirichlet(np.ones(outcomes), size=shape[:2])
    impossible = (rng.random(shape[:2]) < 0.3) & (outcomes > 1)
    probability[impossible, 0] = 0.0
    probability[impossible] /= probability[impossible].sum(axis=-1, keepdims=True)
    return TabularMDP(
        next_state=rng.integers(states, size=shape),
        probability=probability,
        reward=rng.integers(-3, 4, size=shape) / 2,
        terminal=rng.random(shape) < ending,
        start=rng.dirichlet(np.ones(states)),
    )


def _enumerate_return(mdp, pi, horizon, gamma=1.0):
    """J(π): probability times return, summed over every single course of an episode."""

    def rest(s, t):
        if t == horizon:
            return 0.0
        table = pi[t] if pi.ndim == 3 else pi
        total = 0.0
        for a in range(mdp.n_actions):
            for k in range(mdp.n_outcomes):
                weight = table[s, a] * mdp.probability[s, a, k]
                if weight > 0:
                    worth = mdp.reward[s, a, k]
                    if not mdp.terminal[s, a, k]:
                        worth += gamma * rest(mdp.next_state[s, a, k], t + 1)
                    total += weight * worth
        return total

    return sum(mdp.start[s] * rest(s, 0) for s in range(mdp.n_states))


def _random_policy(seed, mdp, horizon=None):
    rng = np.random.default_rng(seed)
    size = (mdp.n_states,) if horizon is None else (horizon, mdp.n_states)
    return rng.dirichlet(np.ones(mdp.n_actions), size=size)


@pytest.fixture(scope="session")
def random_mdp():
    return _random_mdp


@pytest.fixture(scope="session")
def random_policy():
    return _random_policy


@pytest.fixture(scope="session")
def enumerate_return():
    return _enumerate_return


@pytest.fixture(scope="session")
def deterministic():
    """An MDP from `{state: {action: (next state, reward, terminal)}}`, starting in state 0."""

    def make(table):
        shape = (len(table), len(table[0]), 1)
        cells = [table[s][a] for s in range(shape[0]) for a in range(shape[1])]
        next_state, reward, terminal = (np.array(column) for column in zip(*cells, strict=True))
        return TabularMDP(
            next_state=next_state.reshape(shape),
            probability=np.ones(shape),
            reward=reward.reshape(shape),
            terminal=terminal.astype(bool).reshape(shape),
            start=np.eye(shape[0])[0],
        )

    return make
