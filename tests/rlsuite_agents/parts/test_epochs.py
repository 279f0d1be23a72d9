"""Passes over examples: each once an epoch, cut anywhere, gone on with anywhere."""

import numpy as np
import pytest

from registry.errors import CheckpointError
from rlsuite_agents.parts.epochs import Epochs


def taken(epochs, total, most):
    """Minibatches met in `total` examples, asked for at most `most` at a time."""
    batches = []
    while total:
        n, rows = epochs.take(min(most, total))
        total -= n
        if rows is not None:
            batches.append(rows.tolist())
    return batches


def test_each_epoch_is_a_permutation_in_minibatches():
    epochs = Epochs(7, 3, np.random.default_rng(0))
    batches = taken(epochs, 14, 100)
    assert [len(batch) for batch in batches] == [3, 3, 1, 3, 3, 1]
    for epoch in (batches[:3], batches[3:]):
        assert sorted(row for batch in epoch for row in batch) == list(range(7))
    assert batches[:3] != batches[3:]
    assert epochs.number == 2


@pytest.mark.parametrize("most", [1, 2, 5])
def test_cuts_do_not_matter(most):
    whole = taken(Epochs(7, 3, np.random.default_rng(0)), 30, 100)
    assert taken(Epochs(7, 3, np.random.default_rng(0)), 30, most) == whole


@pytest.mark.parametrize("stop", range(0, 20, 3))
def test_it_goes_on_where_it_stood(stop):
    whole = taken(Epochs(7, 3, np.random.default_rng(0)), 30, 1)
    first = Epochs(7, 3, np.random.default_rng(0))
    before = taken(first, stop, 1)
    second = Epochs(7, 3, np.random.default_rng(9))
    second.restore(first.state())
    assert before + taken(second, 30 - stop, 1) == whole
    assert second.number == 4


@pytest.mark.parametrize("change", [{"first": 7}, {"seen": -1}, {"number": -1}])
def test_numbers_out_of_range_are_refused(change):
    epochs = Epochs(7, 3, np.random.default_rng(0))
    with pytest.raises(CheckpointError, match="stood in its 7 examples is damaged"):
        epochs.restore({**epochs.state(), **change})
    with pytest.raises(CheckpointError, match="stood in its examples is damaged"):
        epochs.restore({"first": 1})
