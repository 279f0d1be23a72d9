"""Models of Hugging Face behind the same interface, and ours with their weights."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

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


def kind(name, **settings):
    """A model of two layers: rotary places, grouped heads, output weights of its own."""
    config = getattr(transformers, f"{name}Config")(
        vocab_size=V,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=12,
        tie_word_embeddings=False,
        **{"bos_token_id": None, "eos_token_id": EOS, "pad_token_id": None, **settings},
    )
    return scrambled(getattr(transformers, f"{name.removesuffix('Text')}ForCausalLM")(config), 0)


def opt():
    """A body within a body, whose last hidden states are narrower than the others."""
    config = transformers.OPTConfig(
        vocab_size=V, hidden_size=16, ffn_dim=24, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=12, word_embed_proj_dim=8, pad_token_id=0,
    )  # fmt: skip
    return scrambled(transformers.OPTForCausalLM(config), 0)


def bloom():
    """Distances instead of places, and no end to them."""
    config = transformers.BloomConfig(vocab_size=V, hidden_size=16, n_layer=2, n_head=2)
    return scrambled(transformers.BloomForCausalLM(config), 0)


def scrambled(model, seed):
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for weights in model.parameters():
            weights += torch.from_numpy(rng.normal(0, 0.3, weights.shape)).float()
    return model.eval()


KINDS = {
    "gpt2": gpt2(),
    "llama": kind("Llama"),
    "scaled": kind("Cohere", logit_scale=0.25),
    "divided": kind("Granite", logits_scaling=4.0),
    "capped, a window of 3": kind(
        "Gemma2", final_logit_softcapping=2.0, sliding_window=3, head_dim=4
    ),
    "a window of 3": kind("Mistral", sliding_window=3),
    "experts": kind("Mixtral", num_local_experts=2),
    "a body within": opt(),
    "distances": bloom(),
}


@pytest.mark.parametrize("model", KINDS.values(), ids=KINDS)
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


@pytest.mark.parametrize("model", KINDS.values(), ids=KINDS)
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


def test_values_are_read_off_narrower_states():
    pi = TextPolicy(CausalLM(opt()), value_head=True)
    outputs = pi.evaluate(PROMPTS[:1], LENGTHS[:1], np.array([1]), 2)
    outputs.values.sum().backward()
    assert pi.value.grad.shape == (8 + 1,)


class Impatient(transformers.GPT2LMHeadModel):
    """Its logits depend on the last token besides its hidden state."""

    def forward(self, input_ids=None, **keywords):
        outputs = super().forward(input_ids, **keywords)
        if input_ids is not None:
            outputs.logits = outputs.logits + input_ids[..., None]
        return outputs


def test_logits_of_more_than_hidden_states_are_refused():
    with pytest.raises(CheckpointError, match="kind Impatient cannot be trained here"):
        CausalLM(Impatient(gpt2().config))


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


def tokenizer(letters="abcdefghijkl", **named):
    """A letter is a token; EOS is the last one."""
    import tokenizers

    words = {letter: number for number, letter in enumerate([*letters, "<end>"])}
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<end>"))
    named = {"eos_token": "<end>", **named}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=model, **named)


def test_its_tokens_are_those_of_its_tokenizer(tmp_path):
    """Rows beyond them fill up; a folder that is written holds the tokenizer again."""
    gpt2().save_pretrained(tmp_path / "model")
    tokenizer("abcdefg").save_pretrained(tmp_path / "model")
    policy = load_text_model(tmp_path / "model")
    assert (policy.vocab_size, policy.vocabulary.size, policy.vocabulary.eos) == (8, 8, 7)
    found = policy.log_probs(np.array([[0, 1]]), np.array([2]))
    np.testing.assert_allclose(np.exp(found).sum(), 1.0, atol=1e-6)
    save_text_model(policy, tmp_path / "again", policy.vocabulary)
    assert load_text_model(tmp_path / "again").vocabulary == policy.vocabulary


def test_reading_and_writing_shows_no_bars(tmp_path, capfd):
    gpt2().save_pretrained(tmp_path / "model")
    transformers.utils.logging.enable_progress_bar()
    capfd.readouterr()
    policy = load_text_model(tmp_path / "model")
    save_text_model(policy, tmp_path / "again", None)
    assert capfd.readouterr() == ("", "")


def test_reading_draws_nothing(tmp_path):
    gpt2().save_pretrained(tmp_path)
    before = torch.random.get_rng_state()
    load_text_model(tmp_path)
    assert torch.equal(torch.random.get_rng_state(), before)


def drop_weights(path):
    kept = load_file(path / "model.safetensors")
    kept = {name: weights for name, weights in kept.items() if "h.1.mlp" not in name}
    save_file(kept, path / "model.safetensors", metadata={"format": "pt"})


def spoil_weights(path):
    model = gpt2()
    with torch.no_grad():
        model.transformer.ln_f.weight[3] = torch.nan
    model.save_pretrained(path)


def classifier(path):
    config = transformers.GPT2Config(
        vocab_size=V, n_positions=12, n_embd=16, n_layer=2, n_head=2, num_labels=1
    )
    transformers.GPT2ForSequenceClassification(config).save_pretrained(path)


def own_places(path):
    """BART's decoder counts its places by itself, padding too."""
    config = transformers.BartConfig(
        vocab_size=V, d_model=16, decoder_layers=2, decoder_attention_heads=2, decoder_ffn_dim=24,
        max_position_embeddings=12, is_decoder=True, is_encoder_decoder=False, pad_token_id=1,
    )  # fmt: skip
    scrambled(transformers.BartForCausalLM(config), 0).save_pretrained(path)


def recurrent(path):
    config = transformers.MambaConfig(
        vocab_size=V, hidden_size=16, num_hidden_layers=1, state_size=4,
        bos_token_id=0, eos_token_id=EOS, pad_token_id=0,
    )  # fmt: skip
    transformers.MambaForCausalLM(config).save_pretrained(path)


def hybrid(path):
    """One block of two has attention."""
    config = transformers.RecurrentGemmaConfig(
        vocab_size=V, hidden_size=16, intermediate_size=24, num_hidden_layers=2, head_dim=4,
        num_attention_heads=4, lru_width=16, attention_window_size=8, bos_token_id=0,
        eos_token_id=EOS, pad_token_id=0, block_types=["recurrent", "attention"],
    )  # fmt: skip
    transformers.RecurrentGemmaForCausalLM(config).save_pretrained(path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda p: (p / "model.safetensors").write_bytes(b"123456789" * 9),
            "holds no causal language model that can be read",
        ),
        (drop_weights, r"the weights transformer\.h\.1\.mlp.* are missing or of another shape"),
        (spoil_weights, r"damaged: the weights transformer\.ln_f\.weight are not all finite"),
        (classifier, "holds no causal language model, but a GPT2ForSequenceClassification"),
        (recurrent, "is a MambaForCausalLM, which keeps no keys and values"),
        (hybrid, "is of a kind that is not read here: "),
        (own_places, "after a prompt that is padded it says something else"),
        (
            lambda p: tokenizer("abcdefghijklmn").save_pretrained(p),
            "the tokenizer has 15 tokens, the model knows 13",
        ),
        (
            lambda p: (p / "tokenizer.json").write_text("{}"),
            "holds no tokenizer that can be read",
        ),
        (
            lambda p: tokenizer(eos_token=None).save_pretrained(p),
            "names no end-of-text token",
        ),
    ],
)
def test_folders_of_no_language_model(tmp_path, damage, message):
    """Nothing is trained that is not the model of the folder."""
    path = tmp_path / "model"
    gpt2().save_pretrained(path)
    load_text_model(path)
    damage(path)
    with pytest.raises(CheckpointError, match=message):
        load_text_model(path)


def test_damaged_folders(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read"):
        load_text_model(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(CheckpointError, match="holds no causal language model"):
        load_text_model(tmp_path)
