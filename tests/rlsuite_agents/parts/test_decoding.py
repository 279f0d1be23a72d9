"""The cache of compiled loops against torch's, and torch's against the whole text."""

import numpy as np
import pytest
import torch

from registry.errors import SettingError
from rlsuite_agents.parts.decoding import HostCache
from rlsuite_agents.parts.transformer import Cache, Transformer, TransformerConfig


def network(seed=0, **shape):
    config = TransformerConfig(
        **{"vocabulary": 9, "context": 16, "layers": 3, "width": 24, **shape}
    )
    rng = np.random.default_rng(seed)
    made = Transformer(config, rng)
    with torch.no_grad():
        for weights in made.parameters():
            weights += torch.from_numpy(rng.normal(0, 0.3, weights.shape)).float()
    return made


@pytest.mark.parametrize("lengths", [[4, 4, 4], [4, 1, 2]], ids=["even", "ragged"])
@pytest.mark.parametrize("heads", [1, 2, 8])
@pytest.mark.parametrize("kind", [Cache, HostCache])
@torch.inference_mode()
def test_a_cache_gives_what_reading_the_whole_text_gives(kind, heads, lengths):
    """Four tokens more, in a cache with room for one of them, so that it has to grow."""
    model, rng = network(heads=heads), np.random.default_rng(1)
    prompts, lengths = torch.from_numpy(rng.integers(9, size=(3, 4))), torch.tensor(lengths)
    texts = [prompts[b, :n].tolist() for b, n in enumerate(lengths.tolist())]
    cache = kind(model, 3, 5)
    hidden = cache.start(prompts, lengths)
    for step in range(5):
        for b, text in enumerate(texts):
            whole = model(torch.tensor([text]))[0, -1]
            np.testing.assert_allclose(hidden[b], whole, atol=1e-5)
        if step == 2:  # rows dropped, repeated and moved
            rows = torch.tensor([2, 2, 0])
            cache, texts = cache.select(rows), [list(texts[row]) for row in rows]
        tokens = torch.from_numpy(rng.integers(9, size=3))
        for text, token in zip(texts, tokens.tolist(), strict=True):
            text.append(token)
        hidden = cache.extend(tokens)


def test_which_cache_is_taken():
    model = network()
    assert isinstance(model.cache(1, 2), HostCache)
    with torch.autocast("cpu", torch.bfloat16):
        assert isinstance(model.cache(1, 2), Cache)


def test_causality():
    """What comes later changes nothing before it."""
    model = network()
    tokens = torch.from_numpy(np.random.default_rng(0).integers(9, size=(2, 8)))
    other = tokens.clone()
    other[:, 5:] = (other[:, 5:] + 1) % 9
    with torch.inference_mode():
        one, two = model(tokens), model(other)
    torch.testing.assert_close(one[:, :5], two[:, :5], atol=1e-6, rtol=0)
    assert (one[:, 5:] - two[:, 5:]).abs().amax(dim=-1).min() > 1e-3


def test_one_head_by_hand():
    """Width 1, one layer: the norm makes every state 0 gain + bias, so all is bias.

    With every gain 0 and bias 1: v = 1 · 2, whatever is attended to; x ← 0.5 + 2 · 3 = 6.5;
    gelu(1 · 0.5) = 0.3457; x ← 6.5 + 0.3457 · 4; the last norm gives its bias.
    """
    model = Transformer(
        TransformerConfig(vocabulary=2, context=2, layers=1, width=1, heads=1),
        np.random.default_rng(0),
    )
    block = model.blocks[0]
    with torch.no_grad():
        for weights in model.parameters():
            weights.zero_()
        model.tokens.fill_(0.25)
        model.places.fill_(0.25)
        block.bias1.fill_(1.0)
        block.qkv[0, 2], block.mix[0, 0] = 2.0, 3.0
        block.bias2.fill_(1.0)
        block.up[0, 0], block.down[0, 0] = 0.5, 4.0
    model.norm_gain.data.fill_(1.0)
    x = []
    hook = block.register_forward_hook(lambda _, __, out: x.append(out.detach().clone()))
    assert model(torch.tensor([[0, 1]])).tolist() == [[[0.0], [0.0]]]
    hook.remove()
    # tanh form of gelu: 0.25 (1 + tanh(√(2/π) (0.5 + 0.044715 / 8))) = 0.345714
    np.testing.assert_allclose(x[0][:, 0], [6.5 + 4 * 0.345714] * 2, rtol=1e-6)


def test_refusals():
    with pytest.raises(SettingError, match="width must be a multiple of heads, got a width of 24"):
        network(heads=7)
    with pytest.raises(SettingError, match=r"TransformerConfig\.layers must be a whole number"):
        network(layers=0)
