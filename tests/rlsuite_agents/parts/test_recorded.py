"""A step of the network at fixed addresses: against the cache that grows, and on a GPU replayed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlsuite_agents.parts import sampler
from rlsuite_agents.parts.recorded import RecordedCache, recorded
from rlsuite_agents.parts.text_policy import TextPolicy
from rlsuite_agents.parts.transformer import Cache, Transformer, TransformerConfig

V = 9
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def network(device="cpu"):
    rng = np.random.default_rng(0)
    config = TransformerConfig(vocabulary=V, context=16, layers=3, width=24, heads=2)
    return Transformer(config, rng).to(device)


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("lengths", [[4, 4, 4], [4, 1, 2]], ids=["even", "ragged"])
@torch.inference_mode()
def test_fixed_addresses_change_nothing(lengths, half):
    """The second time on what the first one left behind."""
    model, rng = network(), np.random.default_rng(1)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        for _ in range(2):
            prompts = torch.from_numpy(rng.integers(V, size=(3, 4)))
            cache = Cache(model, 3, 9)
            cache.start(prompts, torch.tensor(lengths))
            fixed = recorded(cache, 9)
            for _ in range(5):
                tokens = torch.from_numpy(rng.integers(V, size=3))
                found, wanted = fixed.extend(tokens).float(), cache.extend(tokens).float()
                np.testing.assert_allclose(found, wanted, atol=0.05 if half else 1e-5)


@torch.inference_mode()
def test_the_latest_recording_is_kept():
    model = network()
    cache = Cache(model, 2, 5)
    cache.start(torch.zeros(2, 3, dtype=torch.long), torch.tensor([3, 2]))
    first = recorded(cache, 6)
    assert recorded(cache, 6) is first
    assert recorded(cache, 7) is not first
    assert isinstance(model.recording, RecordedCache)
    assert model.recording.key == (2, 7, False)


@GPU
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_replayed_step_writes_the_same_texts(precision, monkeypatch):
    """Before and after the weights change in place, as an optimiser changes them."""
    policy = TextPolicy(network("cuda"), precision=precision)
    prompts, lengths = np.array([[1, 2, 3], [4, 5, V], [4, 5, V]]), np.array([3, 2, 2])
    uniforms = np.random.default_rng(0).random((3, 8))
    for _ in range(2):
        replayed = policy.sample(prompts, lengths, uniforms, eos=V - 1, pad=V)
        assert policy.network.recording.graph is not None
        with monkeypatch.context() as patch:
            patch.setattr(sampler, "recorded", lambda cache, _: cache)
            plain = policy.sample(prompts, lengths, uniforms, eos=V - 1, pad=V)
        close = 1e-4 if precision == "float32" else 0.05
        assert np.mean(replayed.tokens == plain.tokens) > 0.9
        same = (replayed.tokens == plain.tokens).all(axis=1)
        np.testing.assert_allclose(replayed.log_probs[same], plain.log_probs[same], atol=close)
        rng = np.random.default_rng(1)
        with torch.no_grad():
            for weights in policy.parameters():
                weights += weights.new_tensor(rng.normal(0, 0.05, weights.shape))
