"""Bandits whose arms change with the clock: drifting and adversarial ones."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from registry.errors import InvalidActionError, OracleError, SettingError
from rlsuite_envs.bandits.adversarial import AdversarialBandit, phased_rewards
from rlsuite_envs.bandits.drifting import DriftingBandit

tables = st.tuples(st.integers(2, 8), st.integers(1, 4)).flatmap(
    lambda shape: hnp.arrays(np.float64, shape, elements=st.floats(0, 1))
)


class TestDrifting:
    def test_abrupt_by_hand(self):
        env = DriftingBandit([[0.1, 0.9], [0.6, 0.2]], changes=[3], horizon=5)
        env.reset(seed=4)
        u = np.random.Generator(np.random.PCG64(4)).random(5)
        means = [0.9, 0.9, 0.9, 0.2, 0.2]
        for t, mean in enumerate(means):
            _, reward, terminated, truncated, info = env.step(1)
            assert reward == float(u[t] < mean)
            assert info["expected_reward"] == mean
            assert info["optimal_action"] == (1 if t < 3 else 0)
            assert info["regret"] == pytest.approx(0.0 if t < 3 else 0.4)
            assert (terminated, truncated) == (False, t == 4)
        env.reset()
        assert env.step(0)[4]["expected_reward"] == 0.1  # the clock was set back

    def test_gradual_by_hand(self):
        model = DriftingBandit([[0.0, 1.0], [1.0, 0.5]], drift="gradual", horizon=5).bandit_model(
            np.random.default_rng(0)
        )
        assert model.means.tolist() == [[0, 1], [0.25, 0.875], [0.5, 0.75], [0.75, 0.625], [1, 0.5]]
        assert model.best.tolist() == [1, 1, 1, 0, 0]
        assert model.lai_robbins is None

    def test_gradual_holds_the_last_row_after_the_last_change(self):
        env = DriftingBandit([[0.0], [1.0]], drift="gradual", changes=[2], horizon=4)
        assert env.oracle().means[:, 0, 0].tolist() == [0.0, 0.5, 1.0, 1.0]

    def test_known_answers(self):
        oracle = DriftingBandit().oracle()
        assert oracle.optimal_return == pytest.approx(900.0)
        assert oracle.baseline_return == pytest.approx(500.0)
        assert oracle.best_stationary_return == pytest.approx(500.0)
        assert oracle.regret_per_step() == pytest.approx(0.4)
        assert DriftingBandit().oracle(500).best_stationary_return == pytest.approx(450.0)

    @given(tables)
    def test_summed_regret_and_oracle_agree(self, rows):
        env = DriftingBandit(rows.tolist(), horizon=len(rows) + 3)
        env.reset(seed=0)
        total = sum(env.step(0)[4]["regret"] for _ in range(env.horizon))
        oracle = env.oracle()
        arm_0 = np.eye(rows.shape[1])[:1]
        assert total == pytest.approx(oracle.optimal_return - oracle.policy_return(arm_0))
        assert oracle.best_stationary_return <= oracle.optimal_return + 1e-12

    @pytest.mark.parametrize(
        ("keywords", "sentence"),
        [
            ({"means": [[0.5]]}, "at least two rows of probabilities in [0, 1]"),
            ({"means": [[0.5], [1.5]]}, "at least two rows of probabilities in [0, 1]"),
            ({"means": [[0.5], [float("nan")]]}, "at least two rows of probabilities"),
            ({"means": [[0.5], [0.5, 0.5]]}, "with one for each arm"),
            ({"drift": "seasonal"}, "drift must be 'abrupt' or 'gradual', got 'seasonal'"),
            ({"changes": [0]}, "changes must be a whole number of at least 1, got 0"),
            ({"changes": [1000]}, "1 rising steps from 1 to 999"),
            ({"changes": [3, 5]}, "1 rising steps from 1 to 999"),
            ({"changes": 5}, "changes must be a sequence of steps, got 5"),
            ({"horizon": 1}, "horizon must be at least 2, a step for each row"),
        ],
    )
    def test_bad_keywords_get_a_sentence(self, keywords, sentence):
        with pytest.raises(SettingError, match=re.escape(sentence)):
            DriftingBandit(**keywords)


class TestAdversarial:
    TABLE = ((0.0, 1.0), (1.0, 0.0), (1.0, 0.5))

    def test_by_hand(self):
        """Arm 0 pays 2 in all, arm 1 only 1.5: regret is measured against arm 0."""
        env = AdversarialBandit(self.TABLE)
        env.reset(seed=0)
        before = env.np_random.bit_generator.state
        steps = [env.step(1) for _ in range(3)]
        assert [step[1] for step in steps] == [1.0, 0.0, 0.5]
        assert [step[4]["regret"] for step in steps] == [-1.0, 1.0, 0.5]
        assert {step[4]["optimal_action"] for step in steps} == {0}
        assert [step[3] for step in steps] == [False, False, True]
        assert env.np_random.bit_generator.state == before  # nothing is drawn
        oracle = env.oracle()
        assert (oracle.optimal_return, oracle.best_stationary_return) == (3.0, 2.0)
        assert oracle.baseline_return == 1.75
        assert oracle.measure_return == 2.0  # of arm 0, which is not that of a clairvoyant
        assert oracle.regret_per_step() == pytest.approx(0.25 / 3)

    @given(tables)
    def test_summed_regret_is_that_against_the_best_fixed_arm(self, table):
        env = AdversarialBandit(table.tolist())
        env.reset(seed=0)
        total = sum(env.step(0)[4]["regret"] for _ in range(len(table)))
        oracle = env.oracle()
        assert oracle.measure_return - total == pytest.approx(table[:, 0].sum(), abs=1e-12)
        uniform = oracle.baseline_return + oracle.horizon * oracle.regret_per_step()
        assert oracle.measure_return == pytest.approx(uniform, abs=1e-12)
        assert total == pytest.approx(table.sum(axis=0).max() - table[:, 0].sum(), abs=1e-12)
        assert total >= -1e-12
        model = env.bandit_model(np.random.default_rng(0))
        assert model.gaps[:, 0].sum() == pytest.approx(total, abs=1e-12)

    def test_a_shorter_horizon_is_another_task(self):
        env = AdversarialBandit(self.TABLE, horizon=1)
        assert env.oracle().best_stationary_return == 1.0
        env.reset(seed=0)
        assert env.step(0)[4]["optimal_action"] == 1

    def test_phases_have_the_means_they_claim(self):
        """20,000 steps: in each half the share of ones lies within 4 standard errors."""
        table = phased_rewards(20_000, 3, 0.2, seed=0)
        high, k = [], 0
        while len(high) < 20_000:
            high += [k % 2 == 1] * int(1.6**k)
            k += 1
        for level, base in ((False, 0.1), (True, 0.7)):
            part = table[np.array(high[:20_000]) == level]
            for arm, mean in enumerate((base + 0.2, base, base)):
                error = np.sqrt(mean * (1 - mean) / len(part))
                assert abs(part[:, arm].mean() - mean) <= 4 * error

    def test_the_table_depends_on_its_seed_alone(self):
        one, other = AdversarialBandit(), AdversarialBandit(table_seed=1)
        np.testing.assert_array_equal(one.oracle().means, AdversarialBandit().oracle().means)
        assert not np.array_equal(one.oracle().means, other.oracle().means)

    def test_goes_on_identically(self):
        env, twin = AdversarialBandit(), AdversarialBandit()
        env.reset(seed=9)
        env.step(3)
        twin.set_state(json.loads(json.dumps(env.get_state())))
        assert [env.step(a)[1:] for a in range(5)] == [twin.step(a)[1:] for a in range(5)]

    def test_an_arm_that_does_not_exist(self):
        env = AdversarialBandit(self.TABLE)
        env.reset(seed=0)
        with pytest.raises(InvalidActionError, match="a whole number from 0 to 1"):
            env.step(2)

    @pytest.mark.parametrize(
        ("keywords", "sentence"),
        [
            ({"rewards": [[0.5, 1.5]]}, "must be in [0, 1], but step 0 pays 1.5 for arm 1."),
            (
                {"rewards": [[0.5], [-1.0], [2.0]]},
                "step 1 pays -1.0 for arm 0, and 1 more are outside.",
            ),
            ({"rewards": [[float("nan")]]}, "step 0 pays nan for arm 0"),
            ({"rewards": [0.5, 0.5]}, "a table of numbers in [0, 1] with a row for each step"),
            ({"rewards": []}, "a table of numbers in [0, 1]"),
            ({"rewards": "ab"}, "a table of numbers in [0, 1]"),
            ({"rewards": [[0.5]], "horizon": 2}, "horizon must be at most 1, the number of rows"),
            ({"rewards": [[0.5]], "gap": 0.1}, "gap=0.1 is for the table that is drawn"),
            ({"rewards": [[0.5]], "n_arms": 3}, "n_arms=3 is for the table that is drawn"),
            ({"rewards": [[0.5]], "table_seed": 0}, "table_seed=0 is for the table that is drawn"),
            ({"gap": 0.0}, "gap must be a number above 0 and at most 1, got 0.0"),
            ({"n_arms": 1}, "n_arms must be a whole number of at least 2, got 1"),
            ({"table_seed": -1}, "table_seed must be a whole number of at least 0, got -1"),
        ],
    )
    def test_bad_keywords_get_a_sentence(self, keywords, sentence):
        with pytest.raises(SettingError, match=re.escape(sentence)):
            AdversarialBandit(**keywords)


def test_a_policy_of_a_changing_bandit_has_rows_for_contexts_or_for_time():
    oracle = DriftingBandit(horizon=4).oracle()
    pi = np.zeros((4, 1, 5))
    pi[:, 0, 0] = 1
    assert oracle.policy_return(pi) == pytest.approx(0.1 * 2 + 0.9 * 2)
    assert oracle.policy_return(pi[0]) == oracle.policy_return(pi)
    with pytest.raises(OracleError, match="has the shape"):
        oracle.policy_return(np.ones((3, 1, 5)) / 5)
