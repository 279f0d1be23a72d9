"""Bias and variance of advantages from TD over GAE to Monte Carlo, against exact ones."""

import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np

import rlsuite
from rlsuite.statistics import student_t_interval
from rlsuite_agents.functional.returns import generalized_advantages
from rlsuite_agents.tabular.td_zero import TD0, TD0Config

TASK, GAMMA, LAMBDAS, N = "rlsuite:rlsuite/Garnet-v0", 0.95, np.linspace(0, 1, 11), 500
env = gym.make(TASK)
model = env.unwrapped.model  # S states, the last one the end, and A actions
S, A = model.next_state.shape[:2]
reward = (model.probability * model.reward).sum(axis=-1)  # [S, A]
to = np.zeros((S, A, S))  # γ p(s' | s, a) while the episode goes on
for s, a, k in np.argwhere(~model.terminal):
    to[s, a, model.next_state[s, a, k]] += GAMMA * model.probability[s, a, k]
oracle = env.unwrapped.oracle(gamma=GAMMA, limit=False)
v = np.nan_to_num(oracle.policy_values(np.full((S, A), 1 / A)))  # of uniform play

many, rng = rlsuite.make_vec(TASK, N, autoreset_mode="SameStep"), np.random.default_rng(0)
(s, _), steps = many.reset(seed=0), []
for a in rng.integers(A, size=(500, N)):
    s_next, r, over, _, _ = many.step(a)
    steps.append((s * A + a, s, s_next, r, np.where(over, 0, GAMMA)))
    s = s_next
pair, s, s_next, r, discount = map(np.array, zip(*steps, strict=True))  # [T, N]


def bias(critic, lambda_):  # exact, by the model
    delta = reward + to @ critic - critic[:, None]
    follows = np.linalg.solve(np.eye(S) - lambda_ * to.mean(axis=1), delta.mean(axis=1))
    off = (delta + lambda_ * to @ follows - (reward + to @ v))[:-1]
    off -= off.mean(axis=1, keepdims=True)  # no policy gradient sees what all actions share
    return np.sqrt(np.mean(off**2))


def deviation(critic, lambda_):  # given state and action; the last steps lack what follows
    x = generalized_advantages(r, discount, critic[s], critic[s_next], lambda_)[:-100].ravel()
    of = pair[:-100].ravel()
    mean, square = (np.bincount(of, x**k) / np.bincount(of) for k in (1, 2))
    return np.sqrt(np.mean(square - mean**2))


CONFIG = TD0Config(gamma=GAMMA, step_size="power(0.7)")
figure, panels = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for budget in (300, 3_000, 30_000):
    agents = TD0.learn_many(lambda: gym.make(TASK), range(10), budget, CONFIG)
    for axes, measure in zip(panels, (bias, deviation), strict=True):
        rows = [student_t_interval([measure(x.tables.v, each) for x in agents]) for each in LAMBDAS]
        mean, low, high = np.array([(row.estimate, row.low, row.high) for row in rows]).T
        axes.plot(LAMBDAS, mean, label=f"critic of {budget:,} steps")
        axes.fill_between(LAMBDAS, low, high, alpha=0.2)
        axes.set(xlabel="λ: 0 is TD, 1 is Monte Carlo", ylabel=f"{measure.__name__} (RMS)", ylim=0)
        print(f"{budget:6,} steps, {measure.__name__} at λ 0, ½, 1:", mean[[0, 5, 10]].round(3))
panels[0].legend(title="bands: 95%, 10 critics")
figure.savefig("gae_bias_variance.png", dpi=120)
