"""Bandit policies once more, the obvious way: all runs in lockstep, whole arrays, NumPy and SciPy.

The twins share nothing with the package. Each is called with the time t (pulls so far), what
every run knows, and a generator; it answers the arms to pull, int [R].
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

import rlsuite  # noqa: F401  (registers the agents)
from registry.bandit_models import BanditModel
from registry.catalogue import registry

MEANS = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
K = len(MEANS)


class Knowledge:
    """Pulls n, sums s and sums of squares q of each arm, [R, K]; all pulls and rewards, [t, R]."""

    def __init__(self, runs):
        self.n, self.s, self.q = (np.zeros((runs, K)) for _ in range(3))
        self.arms, self.rewards, self.own = [], [], {}

    def row(self, name, value=0.0, width=K):
        if name not in self.own:
            self.own[name] = np.full((len(self.n), width), float(value))
        return self.own[name]


def largest(index, rng):
    """The first infinite index, else one of the largest, evenly."""
    ties = index == index.max(axis=1, keepdims=True)
    fair = np.where(ties, rng.random(index.shape), -1.0).argmax(axis=1)
    return np.where(np.isinf(index).any(axis=1), ties.argmax(axis=1), fair)


def drawn(pi, rng):
    return (rng.random((len(pi), 1)) > pi.cumsum(axis=1)[:, :-1]).sum(axis=1)


def by_index(rule):
    def policy(t, x, rng):
        with np.errstate(divide="ignore", invalid="ignore"):
            index = rule(t, x)
        return largest(np.where(x.n > 0, index, np.inf), rng)

    return policy


def kl(p, q):
    p, q = np.broadcast_arrays(p, np.clip(q, 1e-15, 1 - 1e-15))
    return special.rel_entr(p, q) + special.rel_entr(1 - p, 1 - q)


def kl_bound(mean, budget):
    low, high = mean.copy(), np.ones_like(mean)
    for _ in range(50):
        middle = (low + high) / 2
        inside = kl(mean, middle) <= budget
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return low


def tuned(t, x):
    variance = x.q / x.n - (x.s / x.n) ** 2 + np.sqrt(2 * np.log(t) / x.n)
    return x.s / x.n + np.sqrt(np.log(t) / x.n * np.minimum(0.25, variance))


def imed(t, x):
    mean = np.nan_to_num(x.s / x.n)
    return -(x.n * kl(mean, mean.max(axis=1, keepdims=True)) + np.log(x.n))


def discounted(t, x):
    n, s = fading(x, 0.99)
    return s / n + 2 * np.sqrt(0.6 * np.log(n.sum(axis=1, keepdims=True)) / n)


def fading(x, discount):
    """Discounted pulls and rewards."""
    n, s = x.row("fading n"), x.row("fading s")
    if x.arms:
        n *= discount
        s *= discount
        runs = np.arange(len(n))
        n[runs, x.arms[-1]] += 1
        s[runs, x.arms[-1]] += x.rewards[-1]
    return n, s


def windowed(t, x, rng):
    n, s, runs = np.zeros_like(x.n), np.zeros_like(x.n), np.arange(len(x.n))
    for arms, rewards in zip(x.arms[-200:], x.rewards[-200:], strict=True):
        n[runs, arms] += 1
        s[runs, arms] += rewards
    with np.errstate(divide="ignore", invalid="ignore"):
        index = s / n + np.sqrt(0.6 * np.log(min(t, 200)) / n) if t else n
    return largest(np.where(n > 0, index, np.inf), rng)


def sample_means(x):
    return np.divide(x.s, x.n, out=np.zeros_like(x.s), where=x.n > 0)


def epsilon_greedy(t, x, rng):
    any_arm, runs = rng.integers(K, size=len(x.n)), len(x.n)
    return np.where(rng.random(runs) < 0.1, any_arm, largest(sample_means(x), rng))


def thompson_nig(t, x, rng):
    mean = sample_means(x)
    spread = np.maximum(x.q - x.n * mean**2, 0.0)
    kappa, a = 1 + x.n, 1 + x.n / 2
    b = 1 + spread / 2 + x.n * mean**2 / (2 * kappa)
    return (x.s / kappa + np.sqrt(b / (a * kappa)) * rng.standard_t(2 * a)).argmax(axis=1)


def discounted_thompson(t, x, rng):
    n, s = fading(x, 0.99)
    return rng.beta(1 + s, 1 + np.maximum(n - s, 0.0)).argmax(axis=1)


def exp3(t, x, rng):
    gains, pi = x.row("gains"), x.row("pi", 1 / K)
    if x.arms:
        runs, arm = np.arange(len(gains)), x.arms[-1]
        gains[runs, arm] += x.rewards[-1] / pi[runs, arm]
    pi[:] = 0.9 * special.softmax(0.1 * gains / K, axis=1) + 0.1 / K
    return drawn(pi, rng)


def exp3_ix(t, x, rng):
    losses, pi, eta = x.row("losses"), x.row("pi", 1 / K), np.sqrt(np.log(K) / (K * (t + 1)))
    if x.arms:
        runs, arm, old = np.arange(len(losses)), x.arms[-1], np.sqrt(np.log(K) / (K * t))
        losses[runs, arm] += (1 - x.rewards[-1]) / (pi[runs, arm] + old / 2)
    pi[:] = special.softmax(-eta * losses, axis=1)
    return drawn(pi, rng)


def gradient(t, x, rng):
    theta, pi, b = x.row("theta"), x.row("pi", 1 / K), x.row("b", width=1)
    m, v = x.row("m"), x.row("v")
    if x.arms:
        advantage = x.rewards[-1][:, None] - b
        b += 0.05 * advantage
        g = advantage * (pi - np.eye(K)[x.arms[-1]])
        m[:], v[:] = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        theta -= 0.05 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    pi[:] = special.softmax(theta, axis=1)
    return drawn(pi, rng)


TWINS = {
    "EpsilonGreedy": epsilon_greedy,
    "Softmax": lambda t, x, rng: drawn(special.softmax(sample_means(x) / 0.1, axis=1), rng),
    "UCB1": by_index(lambda t, x: x.s / x.n + np.sqrt(2 * np.log(t) / x.n)),
    "UCBTuned": by_index(tuned),
    "KLUCB": by_index(lambda t, x: kl_bound(x.s / x.n, np.log(t) / x.n)),
    "KLUCBPlus": by_index(lambda t, x: kl_bound(x.s / x.n, np.log(t / x.n) / x.n)),
    "MOSS": by_index(
        lambda t, x: x.s / x.n + np.sqrt(np.maximum(0, np.log((t + 1) / (K * x.n))) / x.n)
    ),
    "IMED": by_index(imed),
    "BayesUCB": lambda t, x, rng: largest(
        special.betaincinv(1 + x.s, 1 + x.n - x.s, 1 - 1 / (t + 1)), rng
    ),
    "ThompsonSampling": lambda t, x, rng: rng.beta(1 + x.s, 1 + x.n - x.s).argmax(axis=1),
    "GaussianThompsonSampling": lambda t, x, rng: rng.normal(
        x.s / (1 + x.n), 1 / np.sqrt(1 + x.n)
    ).argmax(axis=1),
    "NIGThompsonSampling": thompson_nig,
    "GradientBandit": gradient,
    "Exp3": exp3,
    "Exp3IX": exp3_ix,
    "SlidingWindowUCB": windowed,
    "DiscountedUCB": by_index(discounted),
    "DiscountedThompsonSampling": discounted_thompson,
}


def slow_regrets(name, runs, horizon=500, seed=0):
    """Pseudo-regret of independent runs, [runs]."""
    rng, x, regret = np.random.default_rng(seed), Knowledge(runs), np.zeros(runs)
    for t in range(horizon):
        arm = TWINS[name](t, x, rng)
        reward = (rng.random(runs) < MEANS[arm]).astype(float)
        everyone = np.arange(runs)
        x.n[everyone, arm] += 1
        x.s[everyone, arm] += reward
        x.q[everyone, arm] += reward**2
        x.arms.append(arm)
        x.rewards.append(reward)
        regret += MEANS.max() - MEANS[arm]
    return regret


def our_regrets(name, runs, horizon=500):
    policy = registry.agent_spec(f"rlsuite/{name}-v0").load()
    model = BanditModel(kind="bernoulli", means=MEANS[None], sd=np.zeros(K), horizon=horizon)
    return policy.run_bandits(model, seed=0, runs=range(runs)).regret_at[:, -1]


def standard_error(regrets):
    return regrets.std(ddof=1) / np.sqrt(len(regrets))


def assert_alike(name, runs, twins, horizon):
    """Within four standard errors: 18 comparisons with fixed seeds."""
    ours, slow = our_regrets(name, runs, horizon), slow_regrets(name, twins, horizon)
    error = 4 * np.hypot(standard_error(ours), standard_error(slow))
    assert abs(ours.mean() - slow.mean()) <= error


@pytest.mark.parametrize("name", TWINS)
def test_regret_is_that_of_the_twin(name):
    assert_alike(name, 1_000, 200, 250)


@pytest.mark.slow
@pytest.mark.parametrize("name", TWINS)
def test_regret_is_that_of_the_twin_in_20000_runs(name):
    assert_alike(name, 20_000, 20_000, 500)


# mean regret and half the width of its 95 % interval, 20,000 runs with a second implementation
PUBLISHED = {
    "ThompsonSampling": (12.37, 0.08),
    "UCB1": (53.80, 0.09),
    "GradientBandit": (38.3, 0.15),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_regret_is_as_published_in_20000_runs(name):
    ours, (mean, half_width) = our_regrets(name, 20_000), PUBLISHED[name]
    assert abs(ours.mean() - mean) <= 3 * np.hypot(standard_error(ours), half_width / 1.96)
