"""Our losses and TRL's own, on the same small model and texts."""

from __future__ import annotations

import pytest

pytest.importorskip("trl", reason="TRL is not installed: pip install trl")
pytest.importorskip("transformers", reason="transformers is not installed: rlsuite[llm]")

import warnings

import numpy as np
import torch

from rlsuite_agents.functional.preference import (
    dpo_loss,
)
from rlsuite_agents.functional.text_policy import kl_terms, token_policy_loss, token_weights

EOS, PAD, SIZE = 14, 15, 16
LENGTHS = torch.tensor([5, 3, 1, 4])
MASK = torch.arange(5) < LENGTHS[:, None]
RNG = np.random.default_rng(0)
PROMPTS = torch.from_numpy(RNG.integers(0, EOS, (4, 3)))
TOKENS = torch.from_numpy(RNG.integers(0, EOS, (4, 5)))
ADVANTAGES = torch.from_numpy(RNG.normal(size=4)).float()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A GPT-2 of two small blocks and a tokenizer of words, as a local folder."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    path = tmp_path_factory.mktemp("model")
    words = [f"w{k}" for k in range(EOS)] + ["<eos>", "<pad>"]
    words = Tokenizer(WordLevel({word: k for k, word in enumerate(words)}, unk_token="w0"))
    words.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="<eos>", pad_token="<pad>", padding_side="left"
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=SIZE,
                n_positions=32,
                n_embd=16,
                n_layer=2,
                n_head=2,
                resid_pdrop=0,
                embd_pdrop=0,
                attn_pdrop=0,
                bos_token_id=EOS,
                eos_token_id=EOS,
                pad_token_id=PAD,
                initializer_range=0.3,
            )
        )
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Their warnings are theirs, and nothing is fetched."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        yield


def loaded(folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def online_trainer(kind, folder, tmp_path, **settings):
    import trl
    from datasets import Dataset

    model, tokenizer = loaded(folder)
    common = {
        "output_dir": str(tmp_path),
        "report_to": [],
        "use_cpu": True,
        "bf16": False,
        "per_device_train_batch_size": 4,
        "num_generations": 2,
        "max_completion_length": 5,
    }
    config = getattr(trl, f"{kind}Config")(**common, **settings)
    trainer = getattr(trl, f"{kind}Trainer")(
        model=model,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=config,
        train_dataset=Dataset.from_dict({"prompt": ["w1 w2"] * 4}),
        processing_class=tokenizer,
    )
    trainer.model.eval()  # no dropout, and no division by accumulated steps
    return trainer


def log_probs_of(model):
    """log π of the completions' tokens, [4, 5]."""
    logits = model(torch.cat([PROMPTS, TOKENS], dim=1)).logits[:, 2:-1]
    return torch.log_softmax(logits, -1).gather(2, TOKENS[..., None])[..., 0]


def inputs_near(log_prob, spread=0.5):
    """What their loss reads: old and reference probabilities not far from the policy's."""
    rng = np.random.default_rng(1)
    old, reference = (
        log_prob.detach() + spread * torch.from_numpy(rng.normal(size=(4, 5))).float()
        for _ in range(2)
    )
    return (
        old,
        reference,
        {
            "prompt_ids": PROMPTS,
            "prompt_mask": torch.ones_like(PROMPTS),
            "completion_ids": TOKENS,
            "completion_mask": MASK.int(),
            "advantages": ADVANTAGES,
            "old_per_token_logps": old,
            "ref_per_token_logps": reference,
            "num_items_in_batch": MASK.sum(),
        },
    )


def require_same(ours, theirs, model):
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)
    assert abs(ours.item()) > 1e-3
    parameters = list(model.parameters())
    for one, other in zip(
        torch.autograd.grad(ours, parameters, retain_graph=True, allow_unused=True),
        torch.autograd.grad(theirs, parameters, allow_unused=True),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("loss_type", "aggregate", "length"),
    [
        ("grpo", "sequence", None),
        ("bnpo", "token", None),
        ("dapo", "token", None),
        ("dr_grpo", "constant", 5),
    ],
)
@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("corrected", [False, True])
def test_grpo_and_its_relatives(folder, tmp_path, loss_type, aggregate, length, level, corrected):
    """Clipped higher above, k3 with β = 0.1; their "sequence" is our "sequence_mean" (GSPO)."""
    beta = 0.1 if level == "token" or not corrected else 0.0  # theirs corrects by the text's ratio
    trainer = online_trainer(
        "GRPO",
        folder,
        tmp_path,
        beta=beta,
        loss_type=loss_type,
        importance_sampling_level=level,
        use_bias_correction_kl=corrected,
        epsilon=0.2,
        epsilon_high=0.28,
    )
    log_prob = log_probs_of(trainer.model)
    old, reference, inputs = inputs_near(log_prob)
    theirs = trainer._compute_loss(trainer.model, inputs)
    ours = token_policy_loss(
        log_prob,
        old,
        ADVANTAGES,
        MASK,
        clip_range=(0.2, 0.28),
        ratio="token" if level == "token" else "sequence_mean",
        aggregate=aggregate,
        max_length=length,
    )
    if beta:
        terms = kl_terms(log_prob, old, reference, MASK, kind="k3", corrected=corrected)
        ours = ours + beta * (token_weights(MASK, aggregate, length, like=terms) * terms).sum()
    require_same(ours, theirs, trainer.model)


def test_rloo(folder, tmp_path):
    trainer = online_trainer("RLOO", folder, tmp_path, epsilon=0.2)
    log_prob = log_probs_of(trainer.model)
    old, _, inputs = inputs_near(log_prob, 0.1)
    inputs["old_logps"] = (old * MASK).sum(1)
    theirs = trainer._compute_loss(trainer.model, inputs)
    ours = token_policy_loss(
        log_prob, old, ADVANTAGES, MASK, clip_range=0.2, ratio="sequence", aggregate="sequence"
    )
    require_same(ours, theirs, trainer.model)


@pytest.mark.parametrize(
    ("variant", "smoothing"), [("sigmoid", 0.0), ("robust", 0.1), ("hinge", 0.0), ("ipo", 0.0)]
)
def test_dpo(folder, tmp_path, variant, smoothing):
    """Their IPO divides log-ratios by the tokens of the answers: our `logp_reduce="mean"`."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    model, tokenizer = loaded(folder)
    config = DPOConfig(
        output_dir=str(tmp_path),
        report_to=[],
        use_cpu=True,
        bf16=False,
        beta=0.3,
        loss_type=variant,
        label_smoothing=smoothing,
        gradient_checkpointing=False,
    )
    rows = {"prompt": ["w1 w2"] * 2, "chosen": [" w3 w4", " w5"], "rejected": [" w6", " w7 w8 w9"]}
    trainer = DPOTrainer(
        model=model, args=config, train_dataset=Dataset.from_dict(rows), processing_class=tokenizer
    )
    trainer.model.eval()
    (batch,) = list(trainer.get_train_dataloader())[:1]
    with torch.no_grad():  # away from the reference, which would make every loss the same
        for parameter in trainer.model.parameters():
            parameter += 0.05 * torch.sin(torch.arange(parameter.numel())).view_as(parameter)
    theirs = trainer._compute_loss(trainer.model, batch, False)
    mask = batch["completion_mask"][:, 1:].bool()

    def of_texts(model):
        logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
        chosen = batch["input_ids"][:, 1:, None]
        log_probs = torch.log_softmax(logits, -1).gather(2, chosen)[..., 0]
        sums = (log_probs * mask).sum(1)
        return (sums / mask.sum(1) if variant == "ipo" else sums).chunk(2)

    with torch.no_grad():
        reference = of_texts(trainer.ref_model)
    ours = dpo_loss(
        *of_texts(trainer.model), *reference, beta=0.3, variant=variant, label_smoothing=smoothing
    )
    require_same(ours, theirs, trainer.model)
