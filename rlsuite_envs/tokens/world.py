"""All of a token task but the episode: its texts, its models, its answers.

The single and the vector environment, whole-sequence rollouts and the oracle ask the same world, so
they cannot disagree. Where there are few prefixes the reference policy is a table; elsewhere it is
asked as texts are written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import InvalidObservationError, OracleError, SettingError
from registry.texts import LetterVocabulary, PreferencePairs, RewardModel, TextBatch, Vocabulary
from rlsuite_envs.checks import check_count, check_real
from rlsuite_envs.tokens.capability import distinct, perplexity
from rlsuite_envs.tokens.feature_reward import GOLD, gold_applies
from rlsuite_envs.tokens.learned import N_PREFERENCES, fitted_reward
from rlsuite_envs.tokens.oracle import TokenOracle
from rlsuite_envs.tokens.preferences import read_preferences, sigmoid
from rlsuite_envs.tokens.proxies import fit_reward
from rlsuite_envs.tokens.reference_models import checked_rows, resolve_reference
from rlsuite_envs.tokens.reward_models import LEARNED, resolve_rewards
from rlsuite_envs.tokens.sampling import (
    completions_of,
    new_token_mask,
    sample_texts,
    token_log_probs,
)
from rlsuite_envs.tokens.scoring import WIDTH, Judge, at_one_width
from rlsuite_envs.tokens.shapes import (
    LETTER_TOKENS,
    TextShape,
    check_prompts,
    check_texts,
    check_vocabulary,
)
from rlsuite_envs.tokens.tables import MAX_NEW_TOKENS, PROMPTS
from rlsuite_envs.tokens.tabulation import tabulate
from rlsuite_envs.tokens.tree import PrefixTree, tree_of

__all__ = ["NODE_CAP", "TokenWorld"]

NODE_CAP = 2_000_000
"""Most finished texts, over all prompts, of a task that is answered exactly."""
TABLE_CAP = 20_000
"""Most decision states of a task whose reference policy is tabulated when it is made."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class TokenWorld:
    """A token task, from the keywords of `TokenGeneration`; see there.

    Attributes:
        vocabulary: Its tokens.
        shape: What its texts look like.
        reference_model: The reference policy.
        judges: The reward models.
        has_gold: Whether the closed-form gold reward applies to its texts.
        tabulated: Whether the reference policy is a table.
    """

    def __init__(
        self,
        *,
        reward: Any,
        reward_scales: Any,
        reference: Any,
        prompts: Any,
        preferences: Any,
        no_eos: Any,
        beta: Any,
        max_new_tokens: Any,
    ) -> None:
        self.no_eos = check_real("no_eos", no_eos, "a finite number", -math.inf, math.inf)
        self.beta = check_beta(beta)
        limit = check_count("max_new_tokens", max_new_tokens)
        self.reference_model, name = resolve_reference(reference)
        self._called = f"the reference model {name}"
        own = getattr(self.reference_model, "vocabulary", None)
        self.vocabulary: Vocabulary = LETTER_TOKENS if own is None else own
        check_vocabulary(self.vocabulary, self._called)
        self.shape = self._shape(prompts, limit)
        letters = getattr(self.vocabulary, "letters", "")
        gold_fits = gold_applies(self.shape, letters)
        texts = self.shape.n_prompts * self.shape.n_texts
        self.tabulated = texts <= NODE_CAP and texts // (self.shape.size - 1) <= TABLE_CAP
        self._check_use_of_gold(reward, preferences, gold_fits)
        self._preferences = preferences
        self.judges = resolve_rewards(
            reward, reward_scales, self.vocabulary, self.shape, self._learn
        )
        self.has_gold = gold_fits and len(self.judges) == 1
        self._try_models()

    @property
    def n_rewards(self) -> int:
        """K, the number of reward models."""
        return len(self.judges)

    @property
    def gold_is_reward(self) -> bool:
        """Whether the reward is the gold reward itself."""
        return self.judges[0].model is GOLD and self.judges[0].scale == 1.0

    @cached_property
    def tree(self) -> PrefixTree:
        """All texts.

        Raises:
            OracleError: there are too many of them.
        """
        count = self.shape.n_prompts * self.shape.n_texts
        if count > NODE_CAP:
            raise OracleError(
                f"this task has {_many(count)} texts, and is answered exactly only up to "
                f"{NODE_CAP:,}: figures about it are sample estimates."
            )
        return tree_of(self.shape)

    @cached_property
    def log_reference(self) -> Floats:
        """Log ref(a | s) in every decision state, [P, N, V]."""
        return tabulate(self.reference_model, self._called, self.tree)

    def next_log_probs(self, tokens: Ints, lengths: Ints) -> Floats:
        """Log ref(a | text so far) of prefixes [B, W], asked of the model itself: [B, V].

        At one width; see `scoring.at_one_width`.
        """

        def ask(rows: Ints) -> Floats:
            answer = self.reference_model.log_probs(tokens[rows], lengths[rows])
            return checked_rows(answer, (WIDTH, self.shape.size), self._called)

        return at_one_width(ask, len(lengths))

    def parts(self, tokens: Ints, lengths: Ints, prompt_lengths: Ints) -> Floats:
        """What each reward model says about finished texts, without `no_eos`: [B, K]."""
        judged = [judge.scores(tokens, lengths, prompt_lengths) for judge in self.judges]
        return np.stack(judged, axis=1)

    def judged(
        self, tokens: Ints, lengths: Ints, prompt_lengths: Ints
    ) -> tuple[Floats, Floats | None]:
        """`parts`, and what the gold reward model says, without `no_eos`: [B], or None."""
        parts = self.parts(tokens, lengths, prompt_lengths)
        return parts, self._gold(parts, tokens, lengths, prompt_lengths)

    def _gold(
        self, parts: Floats, tokens: Ints, lengths: Ints, prompt_lengths: Ints
    ) -> Floats | None:
        if not self.has_gold:
            return None
        if self.gold_is_reward:
            return parts[:, 0]
        return GOLD.score_completions(tokens, lengths, prompt_lengths)

    def cut(self, tokens: Ints, lengths: Ints) -> NDArray[np.bool_]:
        """Which finished texts the limit cut off, [B]."""
        last: NDArray[np.bool_] = tokens[np.arange(len(tokens)), lengths - 1] != self.shape.eos
        return last

    def check_finished(
        self, tokens: Any, lengths: Any, prompt_lengths: Any
    ) -> tuple[Ints, Ints, Ints]:
        """Texts of users as arrays, with the lengths of their prompts.

        Raises:
            InvalidObservationError: a row is no finished text of this task.
            SettingError: prompts are of unlike lengths, and `prompt_lengths` is None.
        """
        starts = self.shape.prompt_lengths
        if prompt_lengths is None and len(set(starts.tolist())) > 1:
            raise SettingError(
                "the prompts of this task are of unlike lengths: pass prompt_lengths, [B]."
            )
        given = starts[0] if prompt_lengths is None else prompt_lengths
        tokens, lengths = check_texts(
            tokens, lengths, self.shape, given, other_prompts=not self.tabulated
        )
        begin = np.broadcast_to(np.asarray(given, np.int64), lengths.shape)
        cut, limit = self.cut(tokens, lengths), begin + self.shape.max_new_tokens
        wrong = (lengths > limit) | (cut & (lengths != limit))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InvalidObservationError(
                f"row {row} of length {lengths[row]} is no finished text: one ends with EOS "
                f"({self.shape.eos}) or has {self.shape.max_new_tokens} letters after the prompt."
            )
        return tokens, lengths, begin

    def rollout(
        self,
        policy: Any,
        n: int,
        *,
        rng: np.random.Generator,
        prompts: Sequence[int] | Ints | None = None,
        group_size: int = 1,
    ) -> TextBatch:
        """See `registry.texts.TokenTask.rollout`."""
        _check_generator(rng)
        numbers = self._numbers(check_count("n", n), group_size, prompts, rng)
        shape = self.shape
        uniforms = rng.random((n, shape.max_new_tokens))
        starts = shape.prompt_lengths[numbers]
        rows = shape.prompt_rows()[numbers, : shape.prompt_width]
        texts = sample_texts(policy, rows, starts, uniforms, shape)
        judged = [judge.in_blocks(texts.tokens, texts.lengths, starts) for judge in self.judges]
        parts = np.stack(judged, axis=1)
        cut = self.cut(texts.tokens, texts.lengths)
        added = np.where(cut, self.no_eos, 0.0)
        gold = self._gold(parts, texts.tokens, texts.lengths, starts)
        return TextBatch(
            prompts=numbers,
            prompt_lengths=starts,
            tokens=texts.tokens,
            lengths=texts.lengths,
            mask=new_token_mask(texts.lengths, starts, shape.max_new_tokens),
            log_probs=np.asarray(texts.log_probs, np.float64),
            ref_log_probs=self._reference_log_probs(numbers, texts.tokens, texts.lengths),
            scores=parts,
            rewards=parts.sum(axis=1) + added,
            no_eos=cut,
            gold=None if gold is None else gold + added,
            values=None if texts.values is None else np.asarray(texts.values, np.float64),
        )

    def preferences(
        self, n: int, *, rng: np.random.Generator, source: str = "gold"
    ) -> PreferencePairs:
        """See `TokenGeneration.preferences`."""
        if source not in ("gold", "reward"):
            return read_preferences(source, self.vocabulary, self.shape)
        if source == "gold" and not self.has_gold:
            raise SettingError(
                "this task has no gold reward to prefer by: use source='reward' or the path of a "
                "file of preferences."
            )
        count = check_count("n", n)
        batch = self.rollout(self.reference_model, 2 * count, rng=rng, group_size=2)
        worth = batch.rewards if source == "reward" else batch.gold
        assert worth is not None
        first = np.arange(0, 2 * count, 2)
        won = rng.random(count) < sigmoid(worth[first] - worth[first + 1])
        better, worse = np.where(won, first, first + 1), np.where(won, first + 1, first)
        return PreferencePairs(
            prompt_lengths=batch.prompt_lengths[first],
            chosen=batch.tokens[better],
            chosen_lengths=batch.lengths[better],
            rejected=batch.tokens[worse],
            rejected_lengths=batch.lengths[worse],
        )

    def sampled_metrics(self, policy: Any, n: int, rng: np.random.Generator) -> Mapping[str, float]:
        """See `TokenGeneration.sampled_metrics`."""
        shape, written = self.shape, self.rollout(policy, n, rng=rng)
        held_out = self.rollout(self.reference_model, n, rng=rng)
        with np.errstate(invalid="ignore"):  # -inf - -inf: where no policy goes
            kl = (written.log_probs - written.ref_log_probs).sum(axis=1)
            objective = written.rewards - self.beta * kl
        log_pi = token_log_probs(
            policy, held_out.tokens, held_out.lengths, held_out.prompt_lengths, shape
        )
        found: dict[str, float | None] = {
            "objective": float(objective.mean()),
            "objective_error": float(objective.std(ddof=1)) / math.sqrt(n) if n > 1 else None,
            "expected_reward": float(written.rewards.mean()),
            "kl": float(kl.mean()),
            "eos_rate": 1.0 - float(written.no_eos.mean()),
            "mean_length": float(written.mask.sum(axis=1).mean()),
            "perplexity": perplexity(log_pi.sum(), held_out.mask.sum()),
        }
        if written.gold is not None and not self.gold_is_reward:
            found["expected_gold"] = float(written.gold.mean())
        new = completions_of(written.tokens, written.prompt_lengths, shape.max_new_tokens)
        new = np.where(written.mask, new, shape.size)
        for length in (1, 2):
            found[f"distinct_{length}"] = distinct(new, length, shape.size, shape.eos)
        return {k: v for k, v in found.items() if v is not None and math.isfinite(v)}

    def oracle(self, horizon: int | None, beta: float | None) -> TokenOracle:
        """See `TokenGeneration.oracle`."""
        limit = self.shape.max_new_tokens
        if horizon is not None and check_count("horizon", horizon) < limit:
            raise OracleError(
                f"a time limit of {horizon} steps cuts texts of up to {limit} tokens "
                "off before they are scored, and there is no exact answer for that: use a limit of "
                f"at least {limit}, or make the environment with max_new_tokens={horizon}."
            )
        tree = self.tree
        return TokenOracle(
            tree,
            self.log_reference,
            self._all_rewards[0],
            beta=self.beta if beta is None else check_beta(beta),
            gold=self._all_rewards[1],
        )

    @cached_property
    def _all_rewards(self) -> tuple[Floats, Floats | None]:
        """Reward of every finished text [P, M], and the gold reward where that is another one."""
        tree = self.tree
        added = np.where(np.arange(tree.n_texts) < tree.n_prefixes, 0.0, self.no_eos)
        judged = [judge.all_scores(tree) for judge in self.judges]
        rewards = np.sum(judged, axis=0) + added
        if self.gold_is_reward or not self.has_gold:
            return rewards, None
        return rewards, Judge(GOLD, "'gold'").all_scores(tree) + added

    def _shape(self, prompts: Any, limit: int) -> TextShape:
        size, eos = self.vocabulary.size, self.vocabulary.eos
        declared = getattr(self.reference_model, "vocab_size", size)
        if declared != size:
            raise SettingError(
                f"{self._called} gives {declared} tokens, its vocabulary has "
                f"{size}: model and tokenizer belong together."
            )
        if prompts is None and getattr(self.vocabulary, "letters", "") != LETTER_TOKENS.letters:
            raise SettingError(
                f"{self._called} has a vocabulary of its own: name the "
                "prompts, as texts or lists of tokens, with prompts=[...]."
            )
        context = getattr(self.reference_model, "context", None)
        room = None if context is None else context - limit
        if room is not None and room < 1:
            raise SettingError(
                f"max_new_tokens={limit} leaves no room for a prompt: {self._called} reads at most "
                f"{context} tokens."
            )
        found = check_prompts(PROMPTS if prompts is None else prompts, self.vocabulary, room)
        return TextShape(size=size, eos=eos, prompts=found, max_new_tokens=limit)

    def _check_use_of_gold(self, reward: Any, preferences: Any, gold_fits: bool) -> None:
        named = [one for one in _listed(reward) if isinstance(one, str)]
        closed = [one for one in named if one == "gold" or one in LEARNED]
        if closed and not gold_fits:
            if isinstance(self.vocabulary, LetterVocabulary):
                raise SettingError(
                    f"max_new_tokens must be from 1 to {MAX_NEW_TOKENS} for reward={closed[0]!r}, "
                    f"the positions that its tables cover, got {self.shape.max_new_tokens}."
                )
            raise SettingError(
                f"reward={closed[0]!r} scores the letters {LETTER_TOKENS.letters} alone: with a "
                "vocabulary of its own the task needs a reward of its own."
            )
        if preferences is not None and not any(one in LEARNED for one in named):
            raise SettingError(
                f"preferences are what a learned reward is fitted to ({', '.join(LEARNED)}); with "
                f"reward={reward!r} they would change nothing, got {preferences!r}."
            )

    def _learn(self, name: str) -> RewardModel:
        """The learned reward of this name, fitted once per process."""
        given = self._preferences
        if isinstance(given, str):
            pairs = read_preferences(given, self.vocabulary, self.shape)
            return fit_reward(name, pairs, self.shape)
        count = N_PREFERENCES if given is None else check_count("preferences", given)
        return fitted_reward(name, self.log_reference, self.shape, count)

    def _try_models(self) -> None:
        """Asks about the prompts and the empty completions: malformed models stay outside."""
        rows, starts = self.shape.prompt_rows()[:WIDTH], self.shape.prompt_lengths[:WIDTH]
        if self.tabulated:
            assert self.log_reference.size
        else:
            self.next_log_probs(rows[:1], starts[:1])
        rows[np.arange(len(rows)), starts] = self.shape.eos
        for judge in self.judges:
            judge.ask(rows, starts + 1, starts)

    def _numbers(
        self,
        n: int,
        group_size: int,
        prompts: Sequence[int] | Ints | None,
        rng: np.random.Generator,
    ) -> Ints:
        """The prompt of every row, [n]."""
        size = check_count("group_size", group_size)
        if n % size:
            raise SettingError(f"n must be a multiple of group_size={size}, got {n}.")
        count = self.shape.n_prompts
        if prompts is None:
            drawn = (count * rng.random(n // size)).astype(np.int64)
            return np.repeat(drawn, size)
        given = np.asarray(prompts)
        known = given.dtype.kind in "iu" and given.shape == (n // size,)
        if not known or given.min() < 0 or given.max() >= count:
            raise SettingError(
                f"prompts are numbers from 0 to {count - 1}, one for each of the {n // size} "
                f"groups; got {prompts!r}."
            )
        return np.repeat(given.astype(np.int64), size)

    def _reference_log_probs(self, numbers: Ints, tokens: Ints, lengths: Ints) -> Floats:
        """Log ref of every new token, [n, T]; 0 after the end."""
        shape, starts = self.shape, self.shape.prompt_lengths[numbers]
        if not self.tabulated:
            return token_log_probs(self.reference_model, tokens, lengths, starts, shape)
        tree, limit = self.tree, shape.max_new_tokens
        new, mask = completions_of(tokens, starts, limit), new_token_mask(lengths, starts, limit)
        result, k = np.zeros(mask.shape), np.zeros(len(numbers), np.int64)
        for t in range(limit):
            rows = np.flatnonzero(mask[:, t])
            token = new[rows, t]
            result[rows, t] = self.log_reference[numbers[rows], k[rows], token]
            k[rows] = tree.n_letters * k[rows] + 1 + tree.ranks[token]
        return result


def check_beta(beta: object) -> float:
    """β as a float; raises `SettingError` unless it is finite and at least 0."""
    return check_real("beta", beta, "a finite number of at least 0", 0.0, math.inf)


def _check_generator(rng: object) -> None:
    if not isinstance(rng, np.random.Generator):
        raise SettingError(
            f"rng must be a generator of NumPy, such as numpy.random.default_rng(0), got {rng!r}."
        )


def _listed(reward: Any) -> list[Any]:
    return list(reward) if isinstance(reward, list | tuple) else [reward]


def _many(count: int) -> str:
    return f"{count:,}" if count < 10**12 else f"10^{len(str(count)) - 1}"
