"""The figures on the page of the environment are those of the code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rlsuite_envs.tokens.token_generation import TokenGeneration

PAGE = Path(__file__).parents[3] / "docs" / "environments" / "token_generation.md"


@pytest.fixture(scope="module")
def page():
    return PAGE.read_text(encoding="utf-8")


def test_the_returns(page):
    oracle = TokenGeneration().oracle()
    best = oracle.policy_metrics(oracle.optimal_policy())
    states = len(oracle.soft_values())
    uniform = oracle.policy_return(np.full((states, 7), 1 / 7))
    learned = TokenGeneration(reward="learned").oracle()
    for figure in (
        f"J* = {oracle.optimal_return:.12f}",
        f"J(ref) = {oracle.baseline_return:.12f}",
        f'`reward="learned"` {learned.optimal_return:.12f}',
        f"E[reward] = {best['expected_reward']:.3f} at a divergence of {best['kl']:.3f} nats",
        f"J = {uniform:.3f}",
        f"S = {states:,}",
    ):
        assert figure in page


def test_the_metrics(page):
    oracle = TokenGeneration(reward="learned", max_new_tokens=2).oracle()
    metrics = oracle.policy_metrics(oracle.reference_policy())
    assert [name for name in metrics if f"`{name}`" not in page] == []
