"""Learned rewards of rising capacity, fitted to preferences: what an agent optimises by proxy.

* `"linear"`: one weight per position and letter, and per letter. It cannot see neighbours.
* `"learned"`: that and one weight per pair of neighbours: the features of the gold reward itself.
* `"mlp"`: a network with one hidden layer over all letters at their positions.
* `"tabular"`: one number per text met in a preference; all others score 0.

All of them minimise Σ_i -log σ(r(preferred) - r(rejected)) plus a ridge penalty, in float64 NumPy,
small enough to be fitted whenever they are wanted.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError
from registry.texts import PreferencePairs, RewardModel
from rlsuite_envs.tokens.feature_reward import FeatureReward
from rlsuite_envs.tokens.preferences import sigmoid
from rlsuite_envs.tokens.reward_models import TableReward
from rlsuite_envs.tokens.sampling import completions_of, new_token_mask
from rlsuite_envs.tokens.shapes import LETTER_TOKENS, TextShape
from rlsuite_envs.tokens.tables import MAX_NEW_TOKENS, N_LETTERS

__all__ = ["MLPReward", "fit_bradley_terry", "fit_reward", "n_features", "text_features"]

RIDGE = 1.0
"""λ of the penalty (λ/2)|w|² of the linear models. It also settles what the features leave open:
the one-hot positions, the one-hot bigrams and the length all count the letters."""
DECIMALS = 4
"""Fitted weights are rounded to this many decimals; those of the linear models are then the same on
every machine."""
TABLE_RIDGE = 0.1
"""λ of the table of texts."""
HIDDEN, MLP_RIDGE, MLP_SEED = 32, 4.0, 0
"""Hidden units of the network, λ of its weights, and the seed that they start from."""
NEWTON_STEPS = 50
TOLERANCE = 1e-12

POSITIONS = MAX_NEW_TOKENS * N_LETTERS
BIGRAMS = N_LETTERS * N_LETTERS

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def fit_reward(name: str, pairs: PreferencePairs, shape: TextShape) -> RewardModel:
    """The model of this name, fitted to preferences between texts of letters.

    Args:
        name: `"linear"`, `"learned"`, `"mlp"` or `"tabular"`.
        pairs: At most 5 new letters each.
        shape: Of the task, which names the prompts that `"tabular"` may meet.

    Raises:
        SettingError: a text has more letters than the models have positions.
    """
    longest = max(
        int((pairs.chosen_lengths - pairs.prompt_lengths).max()),
        int((pairs.rejected_lengths - pairs.prompt_lengths).max()),
    )
    if longest > MAX_NEW_TOKENS:
        raise SettingError(
            f"learned rewards know {MAX_NEW_TOKENS} positions; a preference has {longest} new "
            "tokens."
        )
    if name == "mlp":
        return _fit_mlp(pairs)
    if name == "tabular":
        return TableReward(_fit_table(pairs), LETTER_TOKENS, shape)
    return _fit_features(pairs, bigrams=name == "learned")


def n_features() -> int:
    """Length of φ: 5 x 6 positions, 6 x 6 bigrams, 1 length."""
    return POSITIONS + BIGRAMS + 1


def text_features(tokens: Ints, lengths: Ints, prompt_lengths: Ints) -> Floats:
    """φ of texts [B, W]: letters by position, neighbours, number of letters; [B, 67]."""
    features = np.zeros((len(tokens), n_features()))
    for t in range(MAX_NEW_TOKENS):
        place = np.minimum(prompt_lengths + t, tokens.shape[1] - 1)
        everything = np.arange(len(tokens))
        letters = tokens[everything, place]
        rows = np.flatnonzero((prompt_lengths + t < lengths) & (letters < N_LETTERS))
        letter, previous = letters[rows], tokens[rows, place[rows] - 1]
        features[rows, t * N_LETTERS + letter] += 1
        features[rows, POSITIONS + previous * N_LETTERS + letter] += 1
        features[rows, -1] += 1
    return features


def fit_bradley_terry(differences: Floats, ridge: float) -> Floats:
    """The weights w that minimise Σ_i -log σ(w · x_i) + (ridge / 2) |w|², by Newton's method.

    The sum is strictly convex for ridge > 0, so the answer is unique.

    Args:
        differences: x_i = φ(preferred) - φ(rejected), shape [n, d].
        ridge: λ > 0.

    Returns:
        w, shape [d].
    """
    weights = np.zeros(differences.shape[1])
    for _ in range(NEWTON_STEPS):
        wrong = sigmoid(-differences @ weights)  # 1 - σ(w · x), how surprising each pair is
        gradient = ridge * weights - differences.T @ wrong
        curvature = (differences.T * (wrong * (1.0 - wrong))) @ differences
        step = np.linalg.solve(curvature + ridge * np.eye(len(weights)), gradient)
        weights = weights - step
        if np.abs(step).max() < TOLERANCE:
            break
    return weights


def _fit_features(pairs: PreferencePairs, *, bigrams: bool) -> FeatureReward:
    starts = pairs.prompt_lengths
    differences = text_features(pairs.chosen, pairs.chosen_lengths, starts) - text_features(
        pairs.rejected, pairs.rejected_lengths, starts
    )
    seen = np.ones(n_features(), bool)
    seen[POSITIONS : POSITIONS + BIGRAMS] = bigrams
    weights = np.zeros(n_features())
    weights[seen] = np.round(fit_bradley_terry(differences[:, seen], RIDGE), DECIMALS)
    return FeatureReward(
        tuple(map(tuple, weights[:POSITIONS].reshape(MAX_NEW_TOKENS, N_LETTERS).tolist())),
        tuple(map(tuple, weights[POSITIONS:-1].reshape(N_LETTERS, N_LETTERS).tolist())),
        float(weights[-1]),
    )


def _fit_table(pairs: PreferencePairs) -> Mapping[str, float]:
    """A number for each text that a preference names: `{"bc:abc": 0.7}`."""
    from scipy.optimize import minimize

    better = _names(pairs.chosen, pairs.chosen_lengths, pairs.prompt_lengths)
    worse = _names(pairs.rejected, pairs.rejected_lengths, pairs.prompt_lengths)
    names = sorted({*better, *worse})
    number = {name: i for i, name in enumerate(names)}
    win = np.array([number[name] for name in better])
    lose = np.array([number[name] for name in worse])

    def loss(values: Floats) -> tuple[float, Floats]:
        margin = values[win] - values[lose]
        surprise = sigmoid(-margin)
        gradient = TABLE_RIDGE * values
        np.subtract.at(gradient, win, surprise)
        np.add.at(gradient, lose, surprise)
        penalty = 0.5 * TABLE_RIDGE * float(values @ values)
        return float(np.logaddexp(0.0, -margin).sum()) + penalty, gradient

    found = minimize(loss, np.zeros(len(names)), jac=True, method="L-BFGS-B", tol=1e-10)
    return dict(zip(names, np.round(found.x, DECIMALS).tolist(), strict=True))


def _names(tokens: Ints, lengths: Ints, starts: Ints) -> list[str]:
    rows = zip(tokens.tolist(), lengths.tolist(), starts.tolist(), strict=True)
    decode = LETTER_TOKENS.decode
    return [f"{decode(row[:start])}:{decode(row[start:length])}" for row, length, start in rows]


class MLPReward:
    """r(text) = v · tanh(W x + b), x the letters at their positions and the one before, one-hot.

    Args:
        parameters: W [32, d], b [32] and v [32], one after the other.
    """

    def __init__(self, parameters: Floats) -> None:
        self._parameters = parameters

    def score(self, tokens: Ints, lengths: Ints) -> Floats:
        """As `score_completions` after prompts of two letters."""
        return self.score_completions(tokens, lengths, np.full(len(tokens), 2))

    def score_completions(self, tokens: Ints, lengths: Ints, prompt_lengths: Ints) -> Floats:
        """Scores [B] of texts `tokens` [B, W]."""
        inputs = _inputs(tokens, lengths, prompt_lengths)
        weights, bias, outer = _unpack(self._parameters, inputs.shape[1])
        scores: Floats = np.tanh(inputs @ weights.T + bias) @ outer
        return scores


def _inputs(tokens: Ints, lengths: Ints, prompt_lengths: Ints) -> Floats:
    """One-hot letters of 5 positions and of the prompt's last letter, [B, 36]; EOS is no letter."""
    new = completions_of(tokens, prompt_lengths, MAX_NEW_TOKENS)
    letters = new_token_mask(lengths, prompt_lengths, MAX_NEW_TOKENS) & (new < N_LETTERS)
    last = tokens[np.arange(len(tokens)), prompt_lengths - 1][:, None]
    alphabet = np.arange(N_LETTERS)
    hot = (new[..., None] == alphabet) & letters[..., None]
    both = np.concatenate([hot, last[..., None] == alphabet], axis=1)
    return both.reshape(len(tokens), -1).astype(np.float64)


def _unpack(parameters: Floats, n_inputs: int) -> tuple[Floats, Floats, Floats]:
    first = HIDDEN * n_inputs
    weights = parameters[:first].reshape(HIDDEN, n_inputs)
    return weights, parameters[first : first + HIDDEN], parameters[first + HIDDEN :]


def _fit_mlp(pairs: PreferencePairs) -> MLPReward:
    from scipy.optimize import minimize

    better = _inputs(pairs.chosen, pairs.chosen_lengths, pairs.prompt_lengths)
    worse = _inputs(pairs.rejected, pairs.rejected_lengths, pairs.prompt_lengths)
    both, count = np.concatenate([better, worse]), len(better)
    rng = np.random.default_rng(MLP_SEED)
    start = np.concatenate(
        [
            rng.normal(scale=both.shape[1] ** -0.5, size=HIDDEN * both.shape[1]),
            np.zeros(HIDDEN),
            rng.normal(scale=HIDDEN**-0.5, size=HIDDEN),
        ]
    )

    def loss(parameters: Floats) -> tuple[float, Floats]:
        weights, bias, outer = _unpack(parameters, both.shape[1])
        hidden = np.tanh(both @ weights.T + bias)
        scores = hidden @ outer
        margin = scores[:count] - scores[count:]
        surprise = sigmoid(-margin)
        signal = np.concatenate([-surprise, surprise])
        inner = signal[:, None] * outer * (1.0 - hidden**2)
        parts = [(inner.T @ both).ravel(), inner.sum(axis=0), hidden.T @ signal]
        penalty = 0.5 * MLP_RIDGE * float(parameters @ parameters)
        return (
            float(np.logaddexp(0.0, -margin).sum()) + penalty,
            np.concatenate(parts) + MLP_RIDGE * parameters,
        )

    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return MLPReward(np.round(found.x, DECIMALS))
