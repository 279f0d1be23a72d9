"""Models of Hugging Face behind the same interface, and ours with their weights."""

import numpy as np
import pytest
import torch

from registry.errors import CheckpointError
from registry.texts import LetterVocabulary
from rlsuite_agents.parts.causal_lm import CausalLM
from rlsuite_agents.parts.text_models import load_text_model, save_text_model
from rlsuite_agents.parts.text_policy import TextPolicy
from rlsuite_agents.parts.transformer import from_gpt2

transformers = pytest.importorskip(
    "transformers", reason="models of Hugging Face need the extra `llm`"
)

V, EOS, PAD = 13, 12, 13
PROMPTS = np.array([[0, 1, 2], [3, 4, PAD], [5, PAD, PAD], [2, 2, 2]])
LENGTHS = np.array([3, 2, 1, 3])


def gpt2(seed=0, **settings):
    """A GPT-2 of two layers whose weights are large enough that it looks far back."""
    config = transformers.GPT2Config(
        vocab_size=V, n_positions=12, n_embd=16, n_layer=2, n_head=2, **settings
    )
    return scrambled(transformers.GPT2LMHeadModel(config), seed)


def llama(seed=0):
    """Rotary places, no biases, grouped heads, output weights of its own."""
    config = transformers.LlamaConfig(
        vocab_size=V,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=12,
        tie_word_embeddings=False,
    )
    return scrambled(transformers.LlamaForCausalLM(config), seed)


def scrambled(model, seed):
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for weights in model.parameters():
            weights += torch.from_numpy(rng.normal(0, 0.3, weights.shape)).float()
    return model.eval()


@pytest.mark.parametrize("model", [gpt2(), llama()], ids=["gpt2", "llama"])
def test_it_samples_extends_and_trains_like_ours(model):
    pi = TextPolicy(CausalLM(model))
    texts = pi.sample(PROMPTS, LENGTHS, np.random.default_rng(1).random((4, 6)), eos=EOS, pad=PAD)
    outputs = pi.evaluate(texts.tokens, texts.lengths, LENGTHS, 6)
    np.testing.assert_allclose(outputs.log_probs.detach(), texts.log_probs, atol=1e-5)
    log_pi, state = pi.start(PROMPTS, LENGTHS)
    np.testing.assert_allclose(log_pi, pi.log_probs(PROMPTS, LENGTHS), atol=1e-5)
    rows, tokens = np.array([2, 0, 0, 1, 3]), np.array([1, 2, 3, 4, 5])
    log_pi, _ = pi.extend(state, rows, tokens)
    for row in range(5):
        text = [*PROMPTS[rows[row], : LENGTHS[rows[row]]], tokens[row]]
        wanted = pi.log_probs(np.array([text]), np.array([len(text)]))[0]
        np.testing.assert_allclose(log_pi[row], wanted, atol=1e-5)


@pytest.mark.parametrize("model", [gpt2(), llama()], ids=["gpt2", "llama"])
def test_its_log_probs_are_those_of_transformers(model):
    pi = TextPolicy(CausalLM(model))
    with torch.no_grad():
        for row, length in enumerate(LENGTHS):
            prompt = torch.from_numpy(PROMPTS[row : row + 1, :length])
            wanted = model(prompt).logits[0, -1].log_softmax(-1)
            got = pi.log_probs(PROMPTS[row : row + 1], LENGTHS[row : row + 1])[0]
            np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_our_transformer_with_their_weights_is_theirs():
    """One architecture, two programs: the hidden states of GPT-2 to float32 precision."""
    model = gpt2(3)
    ours = TextPolicy(from_gpt2(model))
    theirs = TextPolicy(CausalLM(model))
    tokens = np.random.default_rng(0).integers(V, size=(5, 12))
    lengths = np.array([12, 7, 1, 12, 4])
    np.testing.assert_allclose(
        ours.log_probs(tokens, lengths), theirs.log_probs(tokens, lengths), atol=1e-5
    )
    draws = np.random.default_rng(2).random((4, 8))
    one, other = (pi.sample(PROMPTS, LENGTHS, draws, eos=EOS, pad=PAD) for pi in (ours, theirs))
    np.testing.assert_array_equal(one.tokens, other.tokens)


def test_a_gpt2_of_another_kind_is_refused():
    with pytest.raises(CheckpointError, match="activation_function 'relu'"):
        from_gpt2(gpt2(activation_function="relu"))


def test_a_folder_is_read_trained_and_written(tmp_path):
    model = gpt2(4)
    model.save_pretrained(tmp_path / "model")
    policy = load_text_model(tmp_path / "model")
    np.testing.assert_array_equal(
        policy.log_probs(PROMPTS, LENGTHS), TextPolicy(CausalLM(model)).log_probs(PROMPTS, LENGTHS)
    )
    with torch.no_grad():
        policy.parameters()[0].mul_(1.5)
    save_text_model(policy, tmp_path / "trained", LetterVocabulary("abcdefghijkl"))
    again = load_text_model(tmp_path / "trained")
    np.testing.assert_array_equal(
        again.log_probs(PROMPTS, LENGTHS), policy.log_probs(PROMPTS, LENGTHS)
    )


def test_damaged_folders(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read"):
        load_text_model(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(CheckpointError, match="holds no causal language model"):
        load_text_model(tmp_path)
