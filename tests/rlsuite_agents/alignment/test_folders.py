"""GRPO and DPO that start from a local folder of Hugging Face; large ones in bfloat16 on a GPU."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch

import rlsuite
from registry.errors import SettingError
from rlsuite_agents.parts.causal_lm import CausalLM
from rlsuite_agents.parts.text_models import load_text_model, save_text_model
from rlsuite_agents.parts.text_policy import TextPolicy

transformers = pytest.importorskip(
    "transformers", reason="models of Hugging Face need the extra `llm`"
)

TASK = "rlsuite/TokenGeneration-v0"
LETTERS, EOS = 7, 6


def saved(folder, **shape):
    """A GPT-2 with the task's seven tokens."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.GPT2Config(
            vocab_size=LETTERS,
            n_positions=16,
            bos_token_id=EOS,
            eos_token_id=EOS,
            initializer_range=0.2,
            **shape,
        )
        model = transformers.GPT2LMHeadModel(config)
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def folder(tmp_path):
    return saved(tmp_path / "model", n_embd=16, n_layer=2, n_head=2)


def on_its_own_reference(folder, device="cpu"):
    """The task whose reference is the model itself, so that KL = 0 at first."""
    return gym.make(TASK, reference=load_text_model(folder, device))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("GRPO", {"preset": "paper", "beta": 0.2, "n_groups": 8}),
        ("RLHFPPO", {"n_texts": 64}),
        ("DPO", {"n_pairs": 4_000, "batch_size": 100}),
    ],
)
def test_a_folder_learns_and_is_saved_and_goes_on(folder, tmp_path, name, settings):
    env = on_its_own_reference(folder)
    settings = {**settings, "start": folder, "learning_rate": 0.01}
    agent = rlsuite.make_agent(f"rlsuite/{name}-v0", env, **settings)
    oracle = env.unwrapped.oracle()

    def objective(one):
        observations = oracle.observations()
        return oracle.policy_return(one.action_probabilities(observations, deterministic=False))

    assert objective(agent) == pytest.approx(oracle.baseline_return, abs=1e-5)
    agent.learn(4_000)
    assert objective(agent) > oracle.baseline_return + 0.1
    agent.save(tmp_path / "agent")
    loaded = type(agent).load(tmp_path / "agent", env=on_its_own_reference(folder))
    for one in (agent, loaded):
        one.learn(500)
    assert objective(loaded) == objective(agent)
    digest = save_text_model(agent.policy, tmp_path / "tuned", env.unwrapped.vocabulary)
    assert len(digest) == 64
    tuned = load_text_model(tmp_path / "tuned")
    tokens, lengths = np.array([[0, 1, 2]]), np.array([3])
    np.testing.assert_allclose(
        tuned.log_probs(tokens, lengths), agent.policy.log_probs(tokens, lengths), atol=1e-5
    )


@pytest.mark.parametrize(
    ("name", "settings"),
    [("GRPO", {"n_groups": 8}), ("DPO", {"n_pairs": 4_000, "batch_size": 100})],
)
def test_bfloat16_learns_and_keeps_its_weights_in_float32(name, settings):
    agent = rlsuite.make_agent(f"rlsuite/{name}-v0", TASK, precision="bfloat16", **settings)
    oracle = agent.task.oracle()

    def objective():
        pi = agent.action_probabilities(oracle.observations(), deterministic=False)
        return oracle.policy_return(pi)

    assert objective() == pytest.approx(oracle.baseline_return, abs=1e-5)
    agent.learn(4_000)
    assert objective() > oracle.baseline_return + 0.5
    assert {p.dtype for p in agent.policy.parameters()} == {torch.float32}


def test_a_model_of_another_vocabulary_is_refused(tmp_path):
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=5, n_positions=16, n_embd=16, n_layer=1, n_head=2)
    )
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(SettingError, match="5 tokens, but the task's vocabulary has 7"):
        rlsuite.make_agent("rlsuite/GRPO-v0", TASK, start=str(tmp_path / "model"))


@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["GRPO", "DPO"])
def test_a_hundred_million_weights_learn_in_bfloat16_on_a_gpu(tmp_path, name):
    folder = saved(tmp_path / "model", n_embd=768, n_layer=14, n_head=12)
    env = on_its_own_reference(folder, "cuda")
    settings = {
        "GRPO": {"preset": "paper", "n_groups": 32, "microbatches": 2},
        "DPO": {"n_pairs": 2_000, "microbatches": 2},
    }[name]
    agent = rlsuite.make_agent(
        f"rlsuite/{name}-v0",
        env,
        device="cuda",
        start=folder,
        precision="bfloat16",
        learning_rate=1e-5,
        beta=0.1,
        **settings,
    )
    assert sum(p.numel() for p in agent.policy.parameters()) > 99e6
    seen = []
    agent.on_update = seen.append
    agent.learn(20_000 if name == "GRPO" else 4_000)
    assert isinstance(agent.policy, TextPolicy)
    assert isinstance(agent.policy.network, CausalLM)
    figure = "reward" if name == "GRPO" else "accuracy"
    first, last = (np.mean([getattr(m, figure) for m in some]) for some in (seen[:3], seen[-3:]))
    assert last > first
