"""Two results side by side: the figures by hand, what pairs them, and every difference named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from registry.errors import SettingError, StoreError
from rlsuite.data.comparing import compare, compare_sides
from rlsuite.data.sides import Side, two_sides
from rlsuite.records import EpisodeRecord, RunKey, RunRecord
from rlsuite.statistics import difference_interval, iqm, mean, student_t_interval
from rlsuite.store import Store


def run(value, seed, *, task="t", agent="q", quantity="score", root=None, state="ok", **changes):
    """A run with one figure; `root` is what its two evaluation episodes are drawn from."""
    identity = {"task": task, "agent": agent, "seed": seed, **changes.pop("identity", {})}
    settings = {"step_size": 0.5, **changes.pop("settings", {})}
    episodes = () if root is None else tuple(episode(k, 100 * root + k) for k in range(2))
    figures = {quantity: value} if state == "ok" else {}
    return RunRecord(
        key=RunKey(identity={**identity, "settings": settings}),
        task=task,
        env_id=task,
        family="f",
        metric="learning_regret" if quantity == "regret" else "final_return",
        agent=agent,
        agent_id=f"x/{agent}-v0",
        settings=settings,
        seed=seed,
        total_timesteps=100,
        state=state,
        episodes=episodes,
        **{**figures, **changes},
    )


def episode(index, seed):
    return EpisodeRecord(
        index=index, seed=seed, episode_return=0.0, length=1, terminated=True, truncated=False
    )


def side(name, *records):
    return Side.make(name, records)


A, B = [0.1, 0.5, 0.3, 0.2], [0.9, 1.0, 0.7, 0.6]


def test_one_agent_is_compared_seed_by_seed():
    one = side("before", *(run(v, k) for k, v in enumerate(A)))
    two = side("after", *(run(v, k, settings={"step_size": 0.1}) for k, v in enumerate(B)))
    found = compare_sides(one, two)
    (row,) = found.rows
    expected = student_t_interval(np.subtract(B, A))
    bounds = row.difference.low, row.difference.high
    assert bounds == pytest.approx((expected.low, expected.high))
    assert (row.a, row.b) == (pytest.approx(0.275), pytest.approx(0.8))
    assert (row.runs, row.failed, row.paired, row.agent) == ((4, 4), (0, 0), True, "q")
    assert row.improvement.estimate == 1.0
    assert row.verdict == "better"
    assert (found.common, found.identical, found.only_a, found.only_b) == (4, 0, (), ())
    assert found.differing == ("settings.step_size: 0.5 in A, 0.1 in B (4)",)


def test_other_seeds_are_not_paired():
    one = side("a", *(run(v, k) for k, v in enumerate(A)))
    two = side("b", *(run(v, k + 1) for k, v in enumerate(B)))
    (row,) = compare_sides(one, two).rows
    assert (row.paired, row.difference) == (False, difference_interval(B, A, mean))


def test_two_agents_on_the_same_episodes_are_paired():
    one = side("a", *(run(v, k, root=k) for k, v in enumerate(A)))
    same = side("b", *(run(v, k, root=k) for k, v in enumerate(B)))
    other = side("b", *(run(v, k, root=k + 1) for k, v in enumerate(B)))
    (row,) = compare_sides(one, same, agents=True).rows
    assert row.paired
    expected = student_t_interval(np.subtract(B, A))
    assert (row.difference.low, row.difference.high) == pytest.approx((expected.low, expected.high))
    (row,) = compare_sides(one, other, agents=True).rows
    assert not row.paired


def test_small_regret_is_good():
    one = side("a", *(run(10.0 * v, k, quantity="regret") for k, v in enumerate(B)))
    two = side("b", *(run(v, k, quantity="regret") for k, v in enumerate(A)))
    (row,) = compare_sides(one, two).rows
    assert (row.quantity, row.verdict) == ("regret", "better")
    assert row.difference.estimate < 0
    assert row.improvement.estimate == 1.0


def test_several_tasks_are_aggregated_as_leaderboards_do():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 5, 3))
    sides = [
        side(name, *(run(v, n, task=f"t{m}") for (n, m), v in np.ndenumerate(values)))
        for name, values in (("a", x), ("b", y))
    ]
    found = compare_sides(*sides)
    *single, total = found.rows
    assert [row.tasks for row in single] == [("t0",), ("t1",), ("t2",)]
    assert (total.tasks, total.quantity) == (("t0", "t1", "t2"), "IQM score")
    assert total.difference.estimate == pytest.approx(float(iqm(y[None])[0] - iqm(x[None])[0]))
    assert total.difference.low < total.difference.estimate < total.difference.high


def test_what_is_equal_is_no_change():
    """Also where rounding leaves a difference in the last bit."""
    one = side("a", *(run(v, k) for k, v in enumerate(A)))
    found = compare_sides(one, one)
    assert (found.identical, found.differing) == (4, ())
    assert [row.verdict for row in found.rows] == ["equal"]
    noisy = [side(n, *(run(v, k) for k in range(3))) for n, v in (("a", 0.3), ("b", 0.1 + 0.2))]
    found = compare_sides(*noisy)
    assert found.identical == 0
    assert [row.verdict for row in found.rows] == ["equal"]


def test_verdicts_are_corrected_for_the_number_of_rows():
    """p = 0.03 is clear alone, and not among eleven rows."""
    x = np.array([0.0, 1.0, 2.0, 3.0])
    y = np.add(x, [2.0, 4.0, 1.5, 4.5])

    def both(tasks):
        found = []
        for name, values in (("a", x), ("b", y)):
            runs = [run(v, k, task="shifted") for k, v in enumerate(values)]
            rest = [run(v, k, task=f"t{m}") for m in range(tasks) for k, v in enumerate(x + 0.01)]
            noise = [
                replace(r, score=r.score + (0.1 * (-1) ** r.seed) * (name == "b")) for r in rest
            ]
            found.append(side(name, *runs, *noise))
        return compare_sides(*found)

    (alone,) = [row for row in both(0).rows if row.tasks == ("shifted",)]
    (among,) = [row for row in both(9).rows if row.tasks == ("shifted",)]
    assert 0.01 < alone.p_holm < 0.05
    assert (alone.verdict, among.verdict) == ("better", "unclear")
    assert among.p_holm > 0.05


def test_failed_runs_are_counted_and_single_runs_have_no_verdict():
    one = side("a", run(0.1, 0), run(0.0, 1, state="failed", error="boom"))
    two = side("b", run(0.4, 0), run(0.3, 1))
    (row,) = compare_sides(one, two).rows
    assert (row.runs, row.failed) == ((1, 2), (1, 0))
    assert (row.verdict, row.p_holm, row.difference.low) == ("no interval", None, None)
    none = side("a", run(0.0, 1, state="failed", error="boom"))
    found = compare_sides(none, two)
    assert found.rows == ()
    assert found.uncompared == ("q on t: no finished run of A has a score.",)


def test_what_only_one_side_has_is_named():
    one = side("a", run(0.1, 0), run(0.1, 1), run(0.1, 0, task="old"))
    two = side("b", run(0.1, 0), run(0.1, 1), run(0.1, 2))
    found = compare_sides(one, two)
    assert found.only_a == (("old", "q", 0),)
    assert found.only_b == (("t", "q", 2),)
    with pytest.raises(SettingError, match="have no task and agent in common"):
        compare_sides(one, side("b", run(0.1, 0, task="other")))


def test_versions_and_machines_that_differ_are_named():
    hashes = "a" * 64, "b" * 64
    one, two = (
        side(
            name,
            run(
                0.1,
                0,
                identity={"rlsuite": {"sources": [source]}},
                fingerprint={"numpy": version, "cpu": "same"},
            ),
        )
        for name, source, version in (("a", hashes[0], "2.3"), ("b", hashes[1], "2.4"))
    )
    assert compare_sides(one, two).differing == (
        'fingerprint.numpy: "2.3" in A, "2.4" in B (1)',
        f'rlsuite.sources: ["{hashes[0][:12]}"] in A, ["{hashes[1][:12]}"] in B (1)',
    )


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "s.sqlite"
    with Store(path) as opened:
        for name, values in (("q", A), ("sarsa", B)):
            for seed, value in enumerate(values):
                opened.put(run(value, seed, agent=name))
    return path


def test_two_agents_of_a_store(store):
    found = compare("q", "x/sarsa-v0", store)
    (row,) = found.rows
    assert (found.a, found.b, found.agents, found.common) == ("q", "sarsa", True, 4)
    assert row.difference == difference_interval(B, A, mean)
    assert row.agent == ""
    assert found.differing == ()  # settings and ids are the agents' own


def test_two_stores(store, tmp_path):
    found = compare(str(store), str(store))
    assert (found.agents, found.common, found.identical) == (False, 8, 8)
    one, two, agents = two_sides(str(store), str(store))
    assert (one, agents) == (two, False)


def test_what_cannot_be_compared_is_a_sentence(store, tmp_path):
    with pytest.raises(SettingError, match=r"holds no agent 'sarse'. Did you mean 'sarsa'"):
        compare("q", "sarse", store)
    with pytest.raises(SettingError, match="is a store and 'q' is not: compare two stores, or"):
        compare(str(store), "q", store)
    with pytest.raises(StoreError, match="there is no store"):
        compare("q", "sarsa", tmp_path / "none.sqlite")
    empty = tmp_path / "empty.sqlite"
    Store(empty).close()
    with pytest.raises(SettingError, match="is empty: there is nothing to compare"):
        compare(str(empty), str(store))
    with Store(store) as opened:
        opened.put(replace(run(0.1, 0, agent="q2"), agent_id="x/q-v0"))
    with pytest.raises(
        SettingError, match="'x/q-v0' is the id of several agents: name one of q, q2"
    ):
        compare("x/q-v0", "sarsa", store)
