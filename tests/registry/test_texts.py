"""Vocabularies, compared token by token."""

import dataclasses

import pytest

from registry.texts import LetterVocabulary, first_difference


@dataclasses.dataclass(frozen=True)
class Shifted:
    """Letters, and EOS before them."""

    letters: str
    eos: int = 0

    @property
    def size(self):
        return len(self.letters) + 1

    def decode(self, tokens):
        return "".join(self.letters[token - 1] for token in tokens if token != self.eos)


@pytest.mark.parametrize(
    ("one", "other", "token"),
    [
        (LetterVocabulary("abc"), LetterVocabulary("abc"), None),
        (LetterVocabulary("abc"), LetterVocabulary("axc"), 1),
        (LetterVocabulary("abc"), Shifted("abc"), 0),
        (Shifted("abc"), LetterVocabulary("abc"), 0),
        (Shifted("abc"), Shifted("abd"), 3),
    ],
)
def test_the_first_difference_of_two_vocabularies(one, other, token):
    assert first_difference(one, other) == token


def test_other_classes_may_spell_the_same():
    class Same(LetterVocabulary):
        __eq__ = object.__eq__
        __hash__ = object.__hash__

    assert first_difference(Same("abc"), LetterVocabulary("abc")) is None
