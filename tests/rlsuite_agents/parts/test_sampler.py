"""Sampling whole texts: against the full forward pass, against stepping, alone and in company."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import DivergenceError, InvalidObservationError, SettingError
from registry.texts import ExtendsPrefixes, SamplesTexts, ScoresTokens
from rlsuite_agents.parts.rows import shared_prompts
from rlsuite_agents.parts.sampler import inverse_cdf
from rlsuite_agents.parts.text_policy import TextPolicy, completion_mask
from rlsuite_agents.parts.transformer import Transformer, TransformerConfig

V, EOS, PAD = 7, 6, 7
PROMPTS = np.array([[0, 1, 2], [3, 4, PAD], [5, PAD, PAD], [2, 2, 2]])
LENGTHS = np.array([3, 2, 1, 3])


class Table:
    """A reference: the next token by the last one; it never writes token 4."""

    def __init__(self, seed=0):
        weights = np.random.default_rng(seed).random((V, V))
        weights[:, 4] = 0.0
        with np.errstate(divide="ignore"):
            self.rows = np.log(weights / weights.sum(axis=1, keepdims=True))

    def log_probs(self, tokens, lengths):
        last = tokens[np.arange(len(tokens)), lengths - 1]
        assert np.all(last != EOS), "asked for a text that has ended"
        return self.rows[last]


def policy(seed=0, *, reference=None, scale=1.0, tied=True, context=16, **keywords):
    """A policy with weights large enough that it looks far back."""
    config = TransformerConfig(vocabulary=V, context=context, layers=2, width=16, tied=tied)
    rng = np.random.default_rng(seed)
    network = Transformer(config, rng)
    with torch.no_grad():
        for weights in network.parameters():
            weights += scale * torch.from_numpy(rng.normal(0, 0.3, weights.shape)).float()
    return TextPolicy(network, reference=reference, **keywords)


def stepped(pi, prompt, uniforms):
    """The slow twin: the whole prefix is read again for each token."""
    text, log_probs = list(prompt), []
    for u in uniforms:
        log_pi = pi.log_probs(np.array([text]), np.array([len(text)]))[0].astype(np.float64)
        cumulative = np.cumsum(np.exp(log_pi))
        token = int(np.argmax(cumulative / cumulative[-1] > u))
        text.append(token)
        log_probs.append(log_pi[token])
        if token == EOS:
            break
    return text, log_probs


@pytest.mark.parametrize("reference", [None, Table()], ids=["alone", "on a reference"])
@pytest.mark.parametrize("seed", range(4))
def test_sampling_equals_stepping(seed, reference):
    pi = policy(seed, reference=reference, temperature=1.3)
    uniforms = np.random.default_rng(seed).random((12, 6))
    prompts, lengths = np.tile(PROMPTS, (3, 1)), np.tile(LENGTHS, 3)
    texts = pi.sample(prompts, lengths, uniforms, eos=EOS, pad=PAD)
    for row in range(12):
        text, log_probs = stepped(pi, prompts[row, : lengths[row]], uniforms[row])
        assert texts.lengths[row] == len(text)
        assert texts.tokens[row].tolist() == text + [PAD] * (9 - len(text))
        wanted = log_probs + [0.0] * (6 - len(log_probs))
        np.testing.assert_allclose(texts.log_probs[row], wanted, atol=1e-5)
    assert len(set(texts.lengths - lengths)) > 1, "the test wants texts of unlike length"


@pytest.mark.parametrize("reference", [None, Table()], ids=["alone", "on a reference"])
def test_the_trainer_sees_what_the_sampler_saw(reference):
    pi = policy(reference=reference, value_head=True, temperature=0.8)
    with torch.no_grad():
        pi.value += torch.linspace(-1, 1, len(pi.value))
    texts = pi.sample(PROMPTS, LENGTHS, np.random.default_rng(5).random((4, 6)), eos=EOS, pad=PAD)
    seen = pi.evaluate(texts.tokens, texts.lengths, LENGTHS, 6)
    np.testing.assert_allclose(seen.log_probs.detach().numpy(), texts.log_probs, atol=1e-5)
    np.testing.assert_allclose(seen.values.detach().numpy(), texts.values, atol=1e-5)
    full = pi.token_log_probs(texts.tokens, texts.lengths, LENGTHS)
    for row, start in enumerate(LENGTHS):
        np.testing.assert_allclose(full[row, start : start + 6], texts.log_probs[row], atol=1e-5)
        assert np.all(full[row, :start] == 0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_a_row_does_not_see_its_company(seed):
    """Alone, in another order, and with more padding: the same text."""
    pi, rng = policy(1), np.random.default_rng(seed)
    uniforms, order = rng.random((4, 5)), rng.permutation(4)
    together = pi.sample(PROMPTS, LENGTHS, uniforms, eos=EOS, pad=PAD)
    wider = np.full((4, 5), PAD)
    wider[:, :3] = PROMPTS[order]
    mixed = pi.sample(wider, LENGTHS[order], uniforms[order], eos=EOS, pad=PAD)
    row = order[0]
    alone = pi.sample(
        PROMPTS[row : row + 1, : LENGTHS[row]],
        LENGTHS[row : row + 1],
        uniforms[row : row + 1],
        eos=EOS,
        pad=PAD,
    )
    for other, at in ((mixed, 0), (alone, 0)):
        length = together.lengths[row]
        assert other.lengths[at] == length
        assert other.tokens[at, :length].tolist() == together.tokens[row, :length].tolist()
        np.testing.assert_allclose(other.log_probs[at], together.log_probs[row], atol=1e-5)


def test_a_prompt_that_texts_share_is_read_once(monkeypatch):
    """Texts beside others of their prompt are what they are alone, and so is the gradient."""
    rows, uniforms = np.tile(np.arange(4), 3), np.random.default_rng(3).random((12, 9))
    prompts, lengths = PROMPTS[rows], LENGTHS[rows]
    pi, read = policy(context=12, value_head=True), []
    with torch.no_grad():
        pi.value += torch.linspace(-1, 1, len(pi.value))
    run = Transformer.run

    def noted(self, tokens, *others):
        read.append(tokens.shape)
        return run(self, tokens, *others)

    monkeypatch.setattr(Transformer, "run", noted)
    texts = pi.sample(prompts, lengths, uniforms, eos=EOS, pad=PAD)
    together = pi.evaluate(texts.tokens, texts.lengths, lengths, 9)
    longest = int((texts.lengths - lengths).max())
    assert read == [(4, 3), (4, 3), (12, longest - 1)], "four prompts of up to three tokens"
    assert longest > 3
    assert len(set(texts.lengths - lengths)) > 1, "the test wants texts of unlike length"
    alone = []
    for row in range(12):
        one = (slice(row, row + 1), slice(0, texts.lengths[row]))
        outputs = pi.evaluate(texts.tokens[one], texts.lengths[one[:1]], lengths[one[:1]], 9)
        for name in ("log_probs", "entropies", "values"):
            wanted = getattr(outputs, name)[0].detach()
            np.testing.assert_allclose(getattr(together, name)[row].detach(), wanted, atol=1e-5)
        alone.append((outputs.log_probs + outputs.values).sum())
    np.testing.assert_allclose(together.log_probs.detach(), texts.log_probs, atol=1e-5)
    gradients = [
        torch.autograd.grad(total, pi.parameters())
        for total in ((together.log_probs + together.values).sum(), torch.stack(alone).sum())
    ]
    for found, wanted in zip(*gradients, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-4 * float(wanted.abs().max() + 1))


def test_shared_prompts_by_hand():
    """What stands behind a prompt does not count, and neither does padding."""
    texts = np.array([[1, 2, 3], [1, 2, PAD], [1, 3, 3], [1, 2, 5]])
    first, of = shared_prompts(texts, np.array([2, 2, 2, 1]))
    assert first.tolist() == [0, 2, 3]
    assert of.tolist() == [0, 0, 1, 2]


def test_padding_is_never_looked_at():
    pi = policy()
    tokens = np.array([[0, 1, 2, PAD, PAD], [3, 4, 5, 0, 1]])
    lengths = np.array([3, 5])
    other = tokens.copy()
    other[0, 3:] = [5, -99]
    np.testing.assert_array_equal(pi.log_probs(tokens, lengths), pi.log_probs(other, lengths))
    alone = pi.log_probs(tokens[:1, :3], lengths[:1])
    np.testing.assert_allclose(pi.log_probs(tokens, lengths)[:1], alone, atol=1e-5)


@pytest.mark.parametrize("reference", [None, Table()], ids=["alone", "on a reference"])
def test_prefixes_are_extended_dropped_and_repeated(reference):
    pi = policy(2, reference=reference)
    log_pi, state = pi.start(PROMPTS, LENGTHS)
    np.testing.assert_allclose(log_pi, pi.log_probs(PROMPTS, LENGTHS), atol=1e-5)
    texts = [PROMPTS[b, : LENGTHS[b]].tolist() for b in range(4)]
    rng = np.random.default_rng(0)
    for _ in range(4):
        parents, tokens = rng.integers(len(texts), size=6), rng.integers(6, size=6)
        texts = [texts[p] + [a] for p, a in zip(parents.tolist(), tokens.tolist(), strict=True)]
        log_pi, state = pi.extend(state, parents, tokens)
        for row, text in enumerate(texts):
            wanted = pi.log_probs(np.array([text]), np.array([len(text)]))[0]
            np.testing.assert_allclose(log_pi[row], wanted, atol=1e-5)


def test_it_answers_all_contracts():
    pi = policy()
    for contract in (SamplesTexts, ExtendsPrefixes, ScoresTokens):
        assert isinstance(pi, contract)


def test_starts_as_the_reference_exactly():
    """Output weights 0: log π - log ref is 0, not nearly 0, and what ref never writes is -inf."""
    pi = policy(3, reference=Table(), tied=False, scale=0.0, temperature=0.7)
    texts = pi.sample(PROMPTS, LENGTHS, np.random.default_rng(0).random((4, 6)), eos=EOS, pad=PAD)
    outputs = pi.evaluate(texts.tokens, texts.lengths, LENGTHS, 6)
    log_ref = torch.log_softmax(pi.base_of(texts.tokens, texts.lengths, LENGTHS, 6) / 0.7, dim=-1)
    row, column = np.nonzero(completion_mask(texts.lengths, LENGTHS, 6))
    wanted = log_ref[row, column, texts.tokens[row, LENGTHS[row] + column]]
    assert torch.equal(outputs.log_probs[row, column], wanted)
    assert np.all(pi.log_probs(PROMPTS, LENGTHS)[:, 4] == -np.inf)
    outputs.log_probs.sum().backward()
    assert pi.network.output.grad.abs().sum() > 0
    assert not any(torch.isnan(p.grad).any() for p in pi.parameters() if p.grad is not None)


def test_entropy_by_hand():
    """Two tokens possible, of probability 1/4 and 3/4: H = 0.5623 nats; impossible ones count 0."""
    row = np.full(V, -np.inf)
    row[[0, 6]] = np.log([0.25, 0.75])

    class Two:
        def log_probs(self, tokens, lengths):
            return np.tile(row, (len(tokens), 1))

    pi = policy(reference=Two(), tied=False, scale=0.0)
    outputs = pi.evaluate(np.array([[1, 0, EOS, PAD]]), np.array([3]), np.array([1]), 3)
    np.testing.assert_allclose(
        outputs.entropies.detach()[0], [0.56233514, 0.56233514, 0], rtol=1e-6
    )
    np.testing.assert_allclose(
        outputs.log_probs.detach()[0], [np.log(0.25), np.log(0.75), 0], rtol=1e-6
    )


def test_inverse_cdf_by_hand():
    """Masses 0, 1/2, 0, 1/2, 0: u below 1/2 is token 1, all else token 3."""
    with np.errstate(divide="ignore"):
        log_pi = torch.from_numpy(np.log([0.0, 0.5, 0.0, 0.5, 0.0])).float()
    draws = torch.tensor([0.0, 0.49, 0.5, 0.99, 1.0], dtype=torch.float64)
    assert inverse_cdf(log_pi.expand(5, -1), draws).tolist() == [1, 1, 3, 3, 3]


def test_sampled_frequencies_are_the_probabilities():
    """20,000 first tokens: each frequency within 4.5 standard errors (7 x 7e-6 to be wrong)."""
    pi, n = policy(4), 20_000
    prompts, lengths = np.tile([[0, 1]], (n, 1)), np.full(n, 2)
    texts = pi.sample(prompts, lengths, np.random.default_rng(0).random((n, 1)), eos=EOS, pad=PAD)
    p = np.exp(pi.log_probs(prompts[:1], lengths[:1])[0])
    frequency = np.bincount(texts.tokens[:, 2], minlength=V) / n
    assert np.all(np.abs(frequency - p) < 4.5 * np.sqrt(p * (1 - p) / n))


def test_a_text_without_new_tokens_counts_nothing():
    pi = policy(value_head=True)
    outputs = pi.evaluate(np.array([[1, PAD], [1, 2]]), np.array([1, 2]), np.array([1, 1]), 2)
    assert outputs.log_probs[0].tolist() == outputs.entropies[0].tolist() == [0.0, 0.0]
    assert outputs.log_probs[1, 0] < 0 == outputs.log_probs[1, 1]


def test_completion_mask_by_hand():
    got = completion_mask(np.array([3, 5]), np.array([2, 2]), 4)
    assert got.tolist() == [[True, False, False, False], [True, True, True, False]]


def test_refusals():
    pi = policy(context=4)
    one = np.array([1])
    with pytest.raises(InvalidObservationError, match="token 9 at place 0 of row 0 is outside"):
        pi.log_probs(np.array([[9]]), one)
    with pytest.raises(InvalidObservationError, match="1 to 4 tokens"):
        pi.log_probs(np.zeros((1, 5), int), np.array([5]))
    with pytest.raises(InvalidObservationError, match="2 places, and no text of 3 tokens"):
        pi.log_probs(np.zeros((1, 2), int), np.array([3]))
    with pytest.raises(InvalidObservationError, match="3 new tokens counted"):
        pi.sample(np.zeros((1, 2), int), np.array([2]), np.zeros((1, 3)), eos=EOS, pad=PAD)
    with pytest.raises(InvalidObservationError, match="lengths from 0 to 1"):
        pi.log_probs(np.zeros((1, 1), int), np.array([0]))
    with pytest.raises(SettingError, match="temperature is a finite number above 0, got 0"):
        policy(temperature=0)
    with pytest.raises(SettingError, match="precision is 'float32' or 'bfloat16', got 'half'"):
        policy(precision="half")
    with torch.no_grad():
        pi.network.tokens[0, 0] = torch.nan
    with pytest.raises(DivergenceError, match="not finite any more"):
        pi.sample(np.zeros((1, 1), int), one, np.zeros((1, 2)), eos=EOS, pad=PAD)


def test_bfloat16_is_near():
    """Matrix products in 8 bits of mantissa: nearby, and sampler and trainer alike."""
    exact, rough = policy(5), policy(5, precision="bfloat16")
    args = (PROMPTS, LENGTHS)
    np.testing.assert_allclose(rough.log_probs(*args), exact.log_probs(*args), atol=0.2)
    assert np.abs(rough.log_probs(*args) - exact.log_probs(*args)).max() > 1e-4
