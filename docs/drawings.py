"""Draws the pictures of docs/agents/, from the package's own functions: python docs/drawings.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import rlsuite
from rlsuite_agents.functional.actor_critic import categorical_gradient
from rlsuite_agents.functional.returns import generalized_advantages

FOLDER = Path(__file__).resolve().parent / "drawings"
CLIP = 0.2
REWARDS, VALUES, GAMMA = (1.0, 0.0, 0.0, 0.0, 10.0), (5.0, 4.0, 3.0, 2.0, 1.0), 0.99


def clipped_objective(ratio: float, advantage: float) -> tuple[float, float]:
    """min(r A, clip(r, 1 - ε, 1 + ε) A) of one step and its slope in r, as PPO computes them."""
    log_pi = np.log(np.array([[0.5, 0.5]]))
    d_logits, sums = np.empty((1, 2)), np.zeros(5)
    old = log_pi[0, :1] - np.log(ratio)
    one = np.array([0])
    mask = np.zeros((0, 0), np.bool_)
    categorical_gradient(
        *(log_pi, mask, one, old, np.array([advantage]), one, CLIP, 0.0, d_logits, sums)
    )
    by_logit = -d_logits[0, 0]  # ∂ log π / ∂ logit is 1 - ½, and ∂r / ∂ log π is r
    return -float(sums[0]), float(by_logit / 0.5 / ratio)


def worked_advantages(lambda_: float) -> NDArray[np.float64]:
    """Generalised advantages of the worked example: five steps, then a terminal state."""
    discounts = [GAMMA] * 4 + [0.0]
    return generalized_advantages(REWARDS, discounts, VALUES, [*VALUES[1:], 99.0], lambda_)


def draw_clipped_objective(path: Path) -> None:
    """Both signs of the advantage, side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    ratios = np.linspace(0.4, 1.6, 241)
    for axes, advantage in zip(figure.subplots(1, 2), (1.0, -1.0), strict=True):
        axes.plot(ratios, ratios * advantage, "--", color="0.55", label="r A, not clipped")
        held = [clipped_objective(r, advantage)[0] for r in ratios]
        axes.plot(ratios, held, color="#0072b2", linewidth=2.5, label="PPO's objective")
        axes.axvspan(1 - CLIP, 1 + CLIP, color="0.93", zorder=0)
        axes.plot(1, advantage, "o", color="#d55e00", label="where an update starts")
        what = "better than expected" if advantage > 0 else "worse than expected"
        axes.set_title(f"A = {advantage:+.0f}: {what}")
        axes.set_xlabel("r = π / π_old")
        axes.legend(loc="upper left" if advantage > 0 else "lower left", fontsize=8)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def draw_advantages(path: Path) -> None:
    """Advantages of the worked example over λ."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.subplots()
    lambdas = np.linspace(0, 1, 101)
    curves = np.array([worked_advantages(lambda_) for lambda_ in lambdas])
    for t, style in enumerate(("-", "--", "-.", ":", "-")):
        axes.plot(lambdas, curves[:, t], style, linewidth=2, label=f"A_{t}")
    axes.axvline(0.95, color="0.8", zorder=0)
    axes.set_xlabel("λ (grey: 0.95)")
    axes.set_ylabel("advantage")
    axes.legend(ncols=5, fontsize=8)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def target_network_run(interval: int, seed: int, blocks: int) -> NDArray[np.float64]:
    """DQN on CartPole with a target network that follows every `interval` steps, [blocks, 3].

    After each 1,000 steps: how many there were, the mean Q(S, A) of the latest minibatch, and the
    mean return of the latest 100 episodes.
    """
    settings = {"target_update_interval": interval, "exploration_steps": 5_000}
    agent = rlsuite.make_agent("rlsuite/DQN-v0", "CartPole-v1", seed=seed, **settings)
    rows = []
    for _ in range(blocks):
        metrics = agent.learn(1_000).metrics
        rows.append((agent.num_timesteps, metrics.q_mean, metrics.episode_return))
    return np.array(rows)


def draw_target_networks(path: Path, seeds: int = 5, blocks: int = 30) -> None:
    """Q values and returns over training, with a target network and without one."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for interval, color, label in (
        (500, "#0072b2", "θ⁻ follows every 500 steps"),
        (1, "#d55e00", "every step: no target network"),
    ):
        runs = [target_network_run(interval, seed, blocks) for seed in range(seeds)]
        for seed, (steps, q, returns) in enumerate(run.T for run in runs):
            left.plot(steps, q, color=color, label=None if seed else label)
            right.plot(steps, returns, color=color)
    left.axhline(100, color="0.6", linestyle="--", zorder=0, label="1 / (1 - γ), the most there is")
    left.set_yscale("log")
    left.set_title("mean Q(S, A) of a minibatch")
    left.legend(fontsize=8)
    right.set_title("return, mean of 100 episodes")
    for axes in (left, right):
        axes.set_xlabel("steps")
    figure.savefig(path, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    draw_clipped_objective(FOLDER / "ppo_clip.png")
    draw_advantages(FOLDER / "ppo_gae.png")
    draw_target_networks(FOLDER / "dqn_target_network.png")
