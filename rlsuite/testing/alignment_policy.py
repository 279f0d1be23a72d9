"""Checks of the policy: what it looks at, whom it samples for, and where it starts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.texts import ScoresTokens, TextBatch
from rlsuite.episodes import stack
from rlsuite.testing.agent_subject import statement
from rlsuite.testing.alignment_subject import NOISE, STEPS, AlignmentSubject
from rlsuite.testing.alignment_task import Twins, twins
from rlsuite.testing.report import Failure, Skip, check, require
from rlsuite.testing.walks import difference

__all__ = ["CHECKS"]

Floats = NDArray[np.float64]

CLOSE = 1e-4
"""Nats that log-probabilities of one text may be apart: float32, summed in another order."""
SAME = 1e-9
"""Outputs that are closer than this do not depend on what was changed."""
DEVIATIONS = 6.0
"""Standard deviations that a count may be off: by chance about once in 10^9."""
EXPECTED = 10.0
"""Tokens that have to be expected of a kind before their number is judged."""
NUMBERS = 4_000_000
"""Probabilities that one check asks for at most."""


@check
def history_in_policy(subject: AlignmentSubject) -> None:
    """What the policy does next depends on the tokens that were written earlier."""
    pairs = twins(subject)
    _require_apart(_answers(subject, pairs), pairs, "policy")


@check
def history_in_values(subject: AlignmentSubject) -> None:
    """What the policy thinks a text is worth depends on the tokens that were written earlier."""
    pairs = twins(subject)
    if callable(getattr(subject.agent.agent_type, "state_values", None)):
        _require_seen(pairs)
        agent = _trained(subject)
        found = [np.asarray(agent.state_values(stack(p.observations)), float) for p in pairs]
        _require_apart([(v[0], v[1]) for v in found], pairs, "values")
        return
    agent = subject.disturbed()
    if not getattr(agent.policy, "value_head", False):
        raise Skip("it has no values")
    answers = []
    for pair in pairs:
        tokens, lengths, prompts = _rows(pair)
        longer = np.concatenate([tokens, tokens[:, -1:]], axis=1)  # v̂ stands before a new token
        outputs = agent.policy.evaluate(longer, lengths + 1, prompts, tokens.shape[1])
        last = lengths[0] - prompts[0]
        answers.append(tuple(outputs.values.detach().double().cpu().numpy()[:, last]))
    _require_apart(answers, pairs, "values")


def _answers(subject: AlignmentSubject, pairs: list[Twins]) -> list[tuple[Any, Any]]:
    """What the policy says after each of two texts."""
    try:
        agent = subject.disturbed()
    except Skip:
        _require_seen(pairs)
        return _stated(subject, pairs)
    rows = [agent.policy.log_probs(*_rows(pair)[:2]) for pair in pairs]
    return [(np.exp(np.float64(r[0])), np.exp(np.float64(r[1]))) for r in rows]


def _stated(subject: AlignmentSubject, pairs: list[Twins]) -> list[tuple[Any, Any]]:
    """The probabilities that an agent states for observations, once it has learned a little."""
    agent = _trained(subject)
    stated = statement(agent)
    if stated is None:
        raise Skip("it states no action_probabilities")
    rows = [np.asarray(stated(stack(p.observations), deterministic=False)) for p in pairs]
    values = np.concatenate(rows)
    if len(np.unique(values)) <= 3:  # greedy, or ε-greedy: equal actions say nothing
        raise Skip("it acts greedily: the same action in two states tells nothing about them")
    return [(r[0], r[1]) for r in rows]


def _trained(subject: AlignmentSubject) -> Any:
    """A step agent that has learned for a while; the same one for all who look at it."""
    subject.require_policy()
    if "trained" not in subject.notes:
        agent = subject.fresh()
        agent.learn(subject.agent.whole(math.ceil(STEPS / subject.agent.width)))
        subject.notes["trained"] = agent
    return subject.notes["trained"]


def _require_seen(pairs: list[Twins]) -> None:
    if not any(difference(*pair.observations) for pair in pairs):
        raise Skip("the observations are the same already: see history_in_observations")


def _require_apart(answers: list[tuple[Any, Any]], pairs: list[Twins], what: str) -> None:
    apart = [float(np.max(np.abs(np.subtract(*two)))) for two in answers]
    if max(apart) > SAME:
        return
    raise Failure(
        f"{pairs[0]} give the same {what}: the agent reads a state without the tokens written "
        "before the last one. Give its network the whole text, `tokens` up to `length`: a longer "
        "context, attention over all places, no reset of the cache between tokens"
    )


def _rows(pair: Twins) -> tuple[Any, Any, Any]:
    tokens = np.array([[*pair.prompt, *text] for text in pair.texts], np.int64)
    n = len(tokens)
    return tokens, np.full(n, tokens.shape[1]), np.full(n, len(pair.prompt))


@check
def padding_invariance(subject: AlignmentSubject) -> None:
    """A text has the same log-probabilities alone and in a batch, whatever the padding is."""
    try:
        agent = subject.disturbed()
    except Skip:
        _rows_of_steps(subject)
        return
    batch, policy = _some(_written(subject, agent), 12), agent.policy
    size = subject.task.vocabulary.size
    outside = np.arange(batch.tokens.shape[1]) >= batch.lengths[:, None]
    filled = {
        "PAD": batch.tokens,
        "other tokens": np.where(outside, np.arange(len(outside))[:, None] % size, batch.tokens),
    }
    asked: list[tuple[str, tuple[Any, ...]]] = [("log_probs", (batch.lengths - 1,))]
    if isinstance(policy, ScoresTokens):
        asked.append(("token_log_probs", (batch.lengths, batch.prompt_lengths)))
    for name, arguments in asked:
        function = getattr(policy, name)
        alone = [
            function(batch.tokens[i : i + 1, :n], *(a[i : i + 1] for a in arguments))[0]
            for i, n in enumerate(batch.lengths)
        ]
        for what, tokens in filled.items():
            together = function(tokens, *arguments)
            apart = max(
                _apart(one, row[: len(one)]) for one, row in zip(alone, together, strict=True)
            )
            require(
                apart <= CLOSE,
                f"policy.{name} of a text alone and beside longer ones, padded with {what}, is "
                f"{apart:.2g} nats apart: padding is looked at, or shifts the positions. Pad on "
                "the right, mask attention beyond `lengths`, and count positions from the text's "
                "own start",
            )


def _rows_of_steps(subject: AlignmentSubject) -> None:
    """The same for an agent that states probabilities of observations."""
    agent = _trained(subject)
    stated = statement(agent)
    if stated is None:
        raise Skip("it states no action_probabilities")
    seen = [one for pair in twins(subject) for one in pair.observations]
    together = np.asarray(stated(stack(seen), deterministic=False))
    alone = [np.asarray(stated(stack([one]), deterministic=False))[0] for one in seen]
    apart = float(np.max(np.abs(together - np.array(alone))))
    require(
        apart <= CLOSE,
        f"action_probabilities of an observation alone and in a batch are {apart:.2g} apart: its "
        "rows look at each other (batch normalisation, padding)",
    )


@check
def sampler_agrees_with_trainer(subject: AlignmentSubject) -> None:
    """The log-probabilities that sampling gave are those that training finds for the same texts."""
    agent = subject.disturbed()
    batch, policy = _written(subject, agent), agent.policy
    if not isinstance(policy, ScoresTokens):
        raise Skip("its policy gives no token_log_probs of whole texts")
    columns = np.minimum(
        batch.prompt_lengths[:, None] + np.arange(batch.mask.shape[1]), batch.tokens.shape[1] - 1
    )
    whole = policy.token_log_probs(batch.tokens, batch.lengths, batch.prompt_lengths)
    scored = np.where(batch.mask, np.take_along_axis(np.asarray(whole), columns, axis=1), 0.0)
    _require_agreement(batch.log_probs, scored, "policy.token_log_probs")
    try:
        learner = subject.learner(NOISE)
        written = subject.batch(learner)
    except Skip:
        return
    if getattr(learner, "writer", learner.policy) is not learner.policy:
        return  # others write what it learns from
    known = dict(zip(_keys(written.tokens, written.lengths), written.log_probs, strict=True))
    for part in subject.watch(learner, written).parts:
        told = np.array([known[key] for key in _keys(part.tokens, part.lengths)])
        _require_agreement(told[:, : part.log_probs.shape[1]], part.log_probs, "the update")


def _keys(tokens: Any, lengths: Any) -> list[bytes]:
    return [row[:n].astype(np.int64).tobytes() for row, n in zip(tokens, lengths, strict=True)]


def _require_agreement(sampled: Floats, trained: Floats, where: str) -> None:
    apart = _apart(sampled, trained)
    require(
        apart <= CLOSE,
        f"sampling says up to {apart:.2g} nats other log-probabilities than {where} on the same "
        "texts: the first ratio is not 1. Use one temperature, one precision and the same "
        "positions in both",
    )


def _apart(one: Any, other: Any) -> float:
    with np.errstate(invalid="ignore"):
        apart = np.abs(np.asarray(one, float) - np.asarray(other, float))
    return float(np.nanmax(apart, initial=0.0))


@check
def samples_follow_policy(subject: AlignmentSubject) -> None:
    """Tokens are sampled as often as the policy says: no top-k, top-p, minimum length."""
    agent = subject.disturbed()
    batch, size = _written(subject, agent), subject.task.vocabulary.size
    rows, columns = np.nonzero(batch.mask)
    chosen = np.random.default_rng(5).permutation(len(rows))[: max(1, NUMBERS // size)]
    rows, columns = rows[chosen], columns[chosen]
    places = batch.prompt_lengths[rows] + columns
    taken = batch.tokens[rows, places]
    pi = np.exp(np.asarray(agent.policy.log_probs(batch.tokens[rows], places), np.float64))
    order = np.argsort(-pi, axis=1, kind="stable")
    rank = np.argsort(order, axis=1)
    low = 0
    while low < size:
        high = max(low + 1, 2 * low)
        inside = (rank >= low) & (rank < high)
        what = f"the likeliest {high} tokens" if not low else f"tokens of rank {low + 1} to {high}"
        _require_share(taken, pi, inside, what)
        low = high
    for column in range(batch.mask.shape[1]):
        at = columns == column
        inside = np.broadcast_to(np.arange(size) == subject.task.vocabulary.eos, pi.shape)
        _require_share(taken[at], pi[at], inside[at], f"EOS as token {column + 1}")


def _require_share(taken: Any, pi: Floats, inside: Any, what: str) -> None:
    share = (pi * inside).sum(axis=1)
    expected, spread = float(share.sum()), float(np.sqrt((share * (1 - share)).sum()))
    if min(expected, len(taken) - expected) < EXPECTED:
        return
    seen = int(np.take_along_axis(inside, taken[:, None], axis=1).sum())
    require(
        abs(seen - expected) <= DEVIATIONS * spread,
        f"{what} were sampled {seen} times, where the policy says {expected:.0f}: the sampler "
        "filters, and KL and ratios are of another policy. Take top_k, top_p, min_length and "
        "ignored EOS away, and use one temperature for sampling and training",
    )


@check
def kl_zero_at_start(subject: AlignmentSubject) -> None:
    """A policy that starts as the reference has KL 0, exactly."""
    agent = subject.writer()
    start = subject.setting("start")
    reference = _keyword(subject, "reference")
    if start is None:
        raise Skip("it has no setting start, so it need not start as the reference")
    if start[1] not in ("reference", reference):
        raise Skip(f"it starts from {start[1]!r}, which need not be the reference")
    batch = _texts_of_reference(subject)
    rows = np.repeat(np.arange(len(batch.tokens)), batch.mask.sum(axis=1))
    places = batch.prompt_lengths[rows] + np.nonzero(batch.mask)[1]
    ours = np.asarray(agent.policy.log_probs(batch.tokens[rows], places), float)
    theirs = np.asarray(subject.task.reference_model.log_probs(batch.tokens[rows], places), float)
    apart = _apart(ours, theirs)
    require(
        apart <= CLOSE,
        f"with start={start[1]!r} the first policy is up to {apart:.2g} nats away from the "
        "reference: KL does not start at 0, and the penalty pulls towards something else. Start "
        "from the model that is the reference (start, or the keyword reference of the "
        "environment), without dropout and at temperature 1",
    )


@check
def kl_not_negative(subject: AlignmentSubject) -> None:
    """The mean of log(π/ref) over sampled texts is not below 0 by more than chance."""
    agent = subject.disturbed()
    batch = _written(subject, agent)
    kl = (batch.log_probs - batch.ref_log_probs).sum(axis=1)
    kl = kl[np.isfinite(kl)]  # a text that the reference never writes is infinitely far away
    error = float(kl.std(ddof=1)) / math.sqrt(len(kl))
    require(
        kl.mean() >= -3 * error - CLOSE,
        f"the mean of log(π/ref) over {len(kl)} texts is {kl.mean():.3g}, {-kl.mean() / error:.1f} "
        "standard errors below 0, which no KL divergence is: the texts are not the policy's own. "
        "Look at sampling filters (top_k, min_length, ignored EOS), temperature and padding",
    )


def _keyword(subject: AlignmentSubject, name: str) -> Any:
    assert subject.agent.env is not None
    return subject.agent.env.env_kwargs.get(name)


def _written(subject: AlignmentSubject, agent: Any) -> TextBatch:
    """Texts of the policy."""
    batch: TextBatch = subject.task.rollout(
        agent.policy, subject.texts, rng=np.random.default_rng(3)
    )
    return batch


def _texts_of_reference(subject: AlignmentSubject) -> TextBatch:
    batch: TextBatch = subject.task.rollout(
        subject.task.reference_model, 64, rng=np.random.default_rng(3)
    )
    return batch


def _some(batch: TextBatch, n: int) -> Any:
    """The rows of some texts, the shortest and the longest among them."""
    order = np.argsort(batch.lengths, kind="stable")
    return _Rows(batch, order[np.linspace(0, len(order) - 1, n).astype(int)])


class _Rows:
    """Some rows of a batch."""

    def __init__(self, batch: TextBatch, rows: Any) -> None:
        self.tokens, self.lengths = batch.tokens[rows], batch.lengths[rows]
        self.prompt_lengths = batch.prompt_lengths[rows]


CHECKS = (
    history_in_policy,
    history_in_values,
    padding_invariance,
    sampler_agrees_with_trainer,
    samples_follow_policy,
    kl_zero_at_start,
    kl_not_negative,
)
