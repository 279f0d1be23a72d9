"""Models of transformers, trained for a second on this repository's own documentation."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import rlsuite  # noqa: F401  (registers the environments)
from registry.errors import CheckpointError, DataError, OracleError, SettingError
from registry.texts import ExtendsPrefixes, ScoresTokens
from rlsuite_envs.tokens.folders import is_path
from rlsuite_envs.tokens.sampling import pick
from rlsuite_envs.tokens.tabulation import tabulate

transformers = pytest.importorskip("transformers", reason="needs the extra llm")
torch = pytest.importorskip("torch")

DOCS = Path(__file__).resolve().parents[3] / "docs"
ID = "rlsuite/TokenGeneration-v0"
PROMPTS = ["The agent", "An environment is"]


def tokenizer_of(texts, size=300, **special):
    """A byte-pair encoding, trained on texts."""
    import tokenizers

    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<end>", "<pad>"],
        show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(texts, trainer)
    named = {"eos_token": "<end>", "pad_token": "<pad>", **special}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)


def config(kind=None, **changes):
    defaults = {"n_positions": 40, "n_embd": 24, "n_layer": 2, "n_head": 2, "vocab_size": 300}
    ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}
    return (kind or transformers.GPT2Config)(**{**defaults, **ends, **changes})


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A language model and a classifier, with their tokenizer, saved."""
    transformers.utils.logging.disable_progress_bar()
    root = tmp_path_factory.mktemp("models")
    pages = [path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))[:12]]
    tokenizer = tokenizer_of(pages)
    ids = torch.tensor(tokenizer.encode("".join(pages))[:20_000])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.GPT2LMHeadModel(config())
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        losses = []
        for _ in range(30):
            rows = ids[torch.randint(0, len(ids) - 32, (16, 1)) + torch.arange(32)]
            loss = torch.nn.functional.cross_entropy(
                model(rows).logits[:, :-1].flatten(0, 1), rows[:, 1:].flatten()
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        judge = transformers.GPT2ForSequenceClassification(config(num_labels=1, n_layer=1))
    assert losses[-1] < losses[0] - 1
    for name, one in (("writer", model), ("judge", judge)):
        one.save_pretrained(root / name)
        tokenizer.save_pretrained(root / name)
    return root


@pytest.fixture(scope="module")
def env(folders):
    return gym.make(
        ID,
        reference=str(folders / "writer"),
        reward=str(folders / "judge"),
        prompts=PROMPTS,
        max_new_tokens=16,
    ).unwrapped


def test_the_task_speaks_the_tokens_of_the_tokenizer(env):
    assert env.action_space.n == 300
    assert (env.vocabulary.size, env.vocabulary.eos) == (300, 0)
    assert [env.vocabulary.decode(prompt) for prompt in env.prompts] == PROMPTS
    assert not env.world.tabulated
    observation, info = env.reset(seed=0, options={"prompt": "The age"})
    assert observation in env.observation_space
    assert info["action_mask"].all()
    with pytest.raises(OracleError, match="sample estimates"):
        env.oracle()


def test_rollouts_with_the_cache_write_what_stepping_writes(env):
    model = env.reference_model
    assert isinstance(model, ExtendsPrefixes)
    assert isinstance(model, ScoresTokens)
    n = 6
    batch = env.rollout(model, n, rng=np.random.default_rng(2))
    twin = np.random.default_rng(2)
    twin.random(n)
    uniforms = twin.random((n, 16))
    np.testing.assert_allclose(batch.log_probs, batch.ref_log_probs, atol=1e-5)
    for i in range(n):
        observation, _ = env.reset(seed=0, options={"prompt": env.prompts[batch.prompts[i]]})
        ended, t = False, 0
        while not ended:
            length = np.array([observation["length"]])
            logs = model.log_probs(observation["tokens"][None], length).astype(float)
            token = pick(logs, uniforms[i, t : t + 1])[0]
            observation, reward, ended, _, info = env.step(token)
            assert batch.log_probs[i, t] == pytest.approx(info["ref_logprob"], abs=1e-5)
            t += 1
        np.testing.assert_array_equal(batch.tokens[i], observation["tokens"])
        assert batch.rewards[i] == pytest.approx(reward, abs=1e-5)


def test_padding_and_branches_change_nothing(env):
    model = env.reference_model
    rng = np.random.default_rng(0)
    tokens, lengths = rng.integers(2, 300, (3, 12)), np.array([4, 6, 5])
    alone = [model.log_probs(tokens[i : i + 1, :n], np.array([n])) for i, n in enumerate(lengths)]
    np.testing.assert_allclose(model.log_probs(tokens, lengths), np.concatenate(alone), atol=1e-5)
    logs, state = model.start(tokens, lengths)
    np.testing.assert_allclose(logs, np.concatenate(alone), atol=1e-5)
    branches, state = model.extend(state, np.array([0, 0, 2]), np.array([7, 8, 9]))
    longer = np.full((3, 7), 300)
    longer[0, :5], longer[1, :5], longer[2, :6] = (
        [*tokens[0, :4], 7],
        [*tokens[0, :4], 8],
        [*tokens[2, :5], 9],
    )
    wanted = model.log_probs(longer, np.array([5, 5, 6]))
    np.testing.assert_allclose(branches, wanted, atol=1e-5)


def small(kind, **changes):
    """A model of 300 tokens whose weights are large enough that it looks back."""
    shape = {
        "vocab_size": 300, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 40, "bos_token_id": 0,
        "eos_token_id": 0, "pad_token_id": 1,
    }  # fmt: skip
    model = kind(kind.config_class(**{**shape, **changes}))
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for weights in model.parameters():
            weights += torch.from_numpy(rng.normal(0, 0.3, weights.shape)).float()
    return model.eval()


def test_padding_takes_no_place_of_a_window(folders, tmp_path):
    """Three tokens are seen back: prompts of 2 and 9 tokens, side by side."""
    model = small(transformers.MistralForCausalLM, num_key_value_heads=2, sliding_window=3)
    path = damaged(folders, tmp_path, "writer", model.save_pretrained)
    env = gym.make(
        ID, reference=path, prompts=[[5, 6], list(range(2, 11))], max_new_tokens=6,
        reward=lambda t, n: n * 1.0,
    ).unwrapped  # fmt: skip
    batch = env.rollout(env.reference_model, 8, rng=np.random.default_rng(0))
    np.testing.assert_allclose(batch.log_probs, batch.ref_log_probs, atol=1e-5)
    for row, start, length, said in zip(
        batch.tokens, batch.prompt_lengths, batch.lengths, batch.log_probs, strict=True
    ):
        with torch.no_grad():
            logs = model(torch.tensor(row[None, :length])).logits[0].log_softmax(-1)
        wanted = logs[range(start - 1, length - 1), row[start:length]]
        np.testing.assert_allclose(said[: length - start], wanted, atol=1e-5)


def test_weights_are_read_as_float32(folders, tmp_path):
    """As agents read them, so that KL(start ‖ reference) = 0 where both are one folder."""
    half = small(transformers.GPT2LMHeadModel).bfloat16()
    path = damaged(folders, tmp_path, "writer", half.save_pretrained)
    env = gym.make(ID, reference=path, prompts=PROMPTS, reward=lambda t, n: n * 1.0)
    tokens = np.array([[5, 6, 7]])
    with torch.no_grad():
        wanted = half.float()(torch.from_numpy(tokens)).logits[0, -1].log_softmax(-1)
    found = env.unwrapped.reference_model.log_probs(tokens, np.array([3]))
    np.testing.assert_allclose(found[0], wanted, atol=1e-5)


def test_a_small_tree_of_a_real_model_has_an_exact_answer(folders):
    """One new token: 300 texts a prompt."""
    env = gym.make(
        ID,
        reference=str(folders / "writer"),
        reward=lambda tokens, lengths: lengths * 0.1,
        prompts=PROMPTS,
        max_new_tokens=1,
    ).unwrapped
    oracle = env.oracle()
    assert oracle.policy_return(env.reference_model) == pytest.approx(oracle.baseline_return)
    table = tabulate(env.reference_model, "mine", env.world.tree)
    np.testing.assert_allclose(table, env.world.log_reference, atol=1e-6)
    assert 0 < oracle.optimal_return - oracle.baseline_return < 1


def test_the_classifier_reads_what_the_tokens_spell(env, folders):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders / "judge")
    judge = transformers.AutoModelForSequenceClassification.from_pretrained(folders / "judge")
    text = [*env.vocabulary.encode("The agent learns"), 0]
    row = np.full((1, 40), 300)
    row[0, : len(text)] = text
    ids = torch.tensor([[*tokenizer.encode("The agent learns"), 0]])
    with torch.no_grad():
        wanted = float(judge.eval()(ids, attention_mask=torch.ones_like(ids)).logits[0, 0])
    judged = env.world.judges[0].model.score(row, np.array([len(text)]))
    assert judged[0] == pytest.approx(wanted, abs=1e-6)


def test_the_classifier_reads_the_special_tokens_around_a_text(tmp_path):
    """BERT pools the place of [CLS]; [SEP], the end of every text, is not written twice."""
    words = {token: n for n, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])}
    for letter in "abcdef":
        words |= {letter: len(words), f"##{letter}": len(words) + 1}
    kind = transformers.BertForSequenceClassification
    judge = small(kind, vocab_size=len(words), num_labels=1, pad_token_id=0)
    judge.save_pretrained(tmp_path)
    for ends in ({}, {"eos_token": "[SEP]"}):
        tokenizer = transformers.BertTokenizerFast(vocab=words, **ends)
        tokenizer.save_pretrained(tmp_path)
        env = gym.make(ID, reward=str(tmp_path), no_eos=0.0).unwrapped
        ended, cut = [0, 1, 2, 3, 6, 7, 7], [0, 1, 2, 3, 4, 5, 0]
        found = env.score(np.array([ended, cut]), np.array([5, 7]))
        for text, score in zip(("abcd", "abcdefa"), found, strict=True):
            with torch.no_grad():
                wanted = judge(**tokenizer(text, return_tensors="pt")).logits.item()
            assert score == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("where", ["places", "tokenizer"])
def test_texts_that_the_classifier_cannot_read(folders, tmp_path, where):
    path = Path(damaged(folders, tmp_path, "judge", lambda p: None))
    if where == "places":
        short = transformers.GPT2ForSequenceClassification(config(n_positions=4, num_labels=1))
        short.save_pretrained(path)
    else:
        tokenizer = transformers.AutoTokenizer.from_pretrained(path)
        tokenizer.model_max_length = 4
        tokenizer.save_pretrained(path)
    env = gym.make(ID, reward=str(path), max_new_tokens=3).unwrapped
    with pytest.raises(SettingError, match="reads at most 4 tokens, and a text of this task has"):
        env.oracle()


def test_a_prompt_may_begin_with_the_token_that_begins_texts(folders):
    """By its number, or as it is spelt; GPT-2 and others take EOS for it."""
    prompts = [[0, 40], "<end>The agent"]
    env = gym.make(
        ID, reference=str(folders / "writer"), prompts=prompts, reward=lambda t, n: n * 1.0,
        max_new_tokens=3,
    ).unwrapped  # fmt: skip
    assert [prompt[0] for prompt in env.prompts] == [0, 0]
    assert env.vocabulary.decode(env.prompts[1]) == "The agent"
    batch = env.rollout(env.reference_model, 4, rng=np.random.default_rng(0))
    np.testing.assert_allclose(batch.log_probs, batch.ref_log_probs, atol=1e-5)


def test_a_letters_task_judged_by_a_classifier(folders):
    env = gym.make(ID, reward=str(folders / "judge"), max_new_tokens=2).unwrapped
    assert np.isfinite(env.oracle().optimal_return)


def test_preferences_of_a_file_are_encoded(env, tmp_path):
    path = tmp_path / "pairs.jsonl"
    lines = [{"prompt": "The agent", "chosen": " learns", "rejected": " is"}] * 2
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    pairs = env.preferences(rng=np.random.default_rng(0), source=str(path))
    text = pairs.chosen[1, : pairs.chosen_lengths[1]].tolist()
    assert text[-1] == 0
    assert env.vocabulary.decode(text) == "The agent learns"
    path.write_text('{"prompt": "The agent"}', encoding="utf-8")
    with pytest.raises(DataError, match=r"line 1 of .* keys \['prompt', 'chosen', 'rejected'\]"):
        env.preferences(rng=np.random.default_rng(0), source=str(path))


def damaged(folders, tmp_path, name, damage):
    """A copy of a folder, after `damage(path)`."""
    copy = tmp_path / name
    shutil.copytree(folders / name, copy)
    damage(copy)
    return str(copy)


def replace_tokenizer(**named):
    return lambda path: tokenizer_of(["abc"], **named).save_pretrained(path)


def without(key):
    def change(path):
        for name in ("tokenizer_config.json", "special_tokens_map.json"):
            if (path / name).exists():
                settings = json.loads((path / name).read_text())
                settings.pop(key, None)
                (path / name).write_text(json.dumps(settings))

    return change


def fewer_rows(path):
    transformers.GPT2LMHeadModel(config(vocab_size=200)).save_pretrained(path)


def other_weights(path):
    transformers.GPT2LMHeadModel(config(n_layer=1)).save_pretrained(path)
    config(n_layer=3).save_pretrained(path)


def no_tokenizer(path):
    for pattern in ("tokenizer*", "special*"):
        for file in path.glob(pattern):
            file.unlink()


def not_finite(path):
    model = transformers.GPT2LMHeadModel(config())
    with torch.no_grad():
        model.transformer.wpe.weight[-1, -1] = torch.inf
    model.save_pretrained(path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: shutil.rmtree(p), "there is no folder"),
        (lambda p: (p / "config.json").unlink(), "it has no config.json"),
        (lambda p: (p / "config.json").write_text("{"), "config.json' cannot be read"),
        (lambda p: (p / "config.json").write_text("[]"), "must hold a JSON object"),
        (lambda p: (p / "model.safetensors").write_bytes(b"12"), "no causal language model that"),
        (lambda p: (p / "model.safetensors").unlink(), "no causal language model that"),
        (lambda p: (p / "tokenizer.json").write_text("{}"), "no tokenizer that can be read"),
        (other_weights, "are missing or of another shape"),
        (fewer_rows, "the tokenizer has 300 tokens, the model knows 200"),
        (without("eos_token"), "names no end-of-text token"),
        (no_tokenizer, "holds a model and no tokenizer"),
        (not_finite, r"damaged: the weights transformer\.wpe\.weight are not all finite"),
        (
            lambda p: transformers.GPT2ForSequenceClassification(config()).save_pretrained(p),
            "but a GPT2ForSequenceClassification",
        ),
    ],
)
def test_damaged_language_models(folders, tmp_path, damage, message):
    path = damaged(folders, tmp_path, "writer", damage)
    with pytest.raises(CheckpointError, match=message):
        gym.make(ID, reference=path, prompts=PROMPTS, reward=lambda t, n: n * 1.0)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda p: transformers.GPT2ForSequenceClassification(
                config(num_labels=3)
            ).save_pretrained(p),
            "has 3 labels; a reward model has one",
        ),
        (replace_tokenizer(pad_token="<end>"), "pad with a token of its own"),
        (without("pad_token"), "not with nothing or with the end-of-text token"),
        (no_tokenizer, "holds a model and no tokenizer"),
    ],
)
def test_damaged_classifiers(folders, tmp_path, damage, message):
    with pytest.raises(CheckpointError, match=message):
        gym.make(ID, reward=damaged(folders, tmp_path, "judge", damage))


def test_a_prompt_that_the_model_cannot_read(folders):
    with pytest.raises(SettingError, match="a prompt of this task has at most 24 tokens; got"):
        gym.make(
            ID,
            reference=str(folders / "writer"),
            prompts=["q" * 25],
            reward=lambda t, n: n * 1.0,
            max_new_tokens=16,
        )


def test_the_global_generator_of_torch_ends_as_it_was_found(folders):
    before = torch.random.get_rng_state()
    gym.make(ID, reward=str(folders / "judge"), max_new_tokens=1)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_paths_and_ids_are_told_apart(tmp_path):
    assert is_path("./model")
    assert is_path("/models/one")
    assert is_path("models/one")
    assert is_path(str(tmp_path))
    assert not is_path("rlsuite/GoldReward-v0")
    assert not is_path("gold")


def test_without_the_extra_the_message_names_it(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(SettingError, match=r"needs transformers: pip install 'rlsuite\[llm\]'"):
        gym.make(ID, reward=str(folders / "judge"))
