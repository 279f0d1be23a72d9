"""The committed numbers are those that the documented draws give."""

from __future__ import annotations

import math

import numpy as np

from rlsuite_envs.tokens import tables


def test_the_tables_are_drawn_again():
    rng = np.random.default_rng(0)

    def draw(rows, columns, number):
        return tuple(tuple(number(rng.random()) for _ in range(columns)) for _ in range(rows))

    assert draw(6, 7, lambda u: 1 + math.floor(8 * u)) == tables.REFERENCE_WEIGHTS
    assert draw(5, 6, lambda u: (math.floor(5 * u) - 2) / 4) == tables.POSITION
    assert draw(6, 6, lambda u: (math.floor(5 * u) - 2) / 4) == tables.BIGRAM


def test_the_first_row_of_the_reference():
    assert tables.REFERENCE_WEIGHTS[0] == (6, 3, 1, 1, 7, 8, 5)


def test_the_vocabulary():
    assert len(tables.LETTERS) == tables.N_LETTERS == tables.EOS
    assert tables.N_TOKENS == tables.N_LETTERS + 1 == tables.PAD
    assert tables.PROMPTS == tuple((p, p + 1) for p in range(4))
    assert len(tables.POSITION) == tables.MAX_NEW_TOKENS
