"""Sampling texts: rlsuite's sampler against Hugging Face `generate`, on the same weights.

    python benchmarks/token_sampling.py [--rounds 15] [--device cuda]

A GPT-2 of 4 layers, 128 wide, with a vocabulary of 512; 32 new tokens after prompts of 8, no text
ends early. Both take turns on one thread, ours also returns log-probabilities. Printed are medians
of new tokens a second of CPU time, and the median of the rounds' ratios. On a GPU the model has 10
million weights (8 layers, 320 wide), rlsuite replays each token's step as a CUDA graph, and seconds
are those of a clock on the wall. Needs the extra `llm`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
import transformers

from rlsuite_agents.parts.device import single_thread
from rlsuite_agents.parts.text_policy import TextPolicy
from rlsuite_agents.parts.transformer import from_gpt2

VOCABULARY, PROMPT, NEW = 512, 8, 32
NO_TOKEN = VOCABULARY  # ends no text, so that all are of one length
SHAPES = {
    "cpu": {"n_embd": 128, "n_layer": 4, "n_head": 4},
    "cuda": {"n_embd": 320, "n_layer": 8, "n_head": 5},
}


def model(device: str) -> transformers.GPT2LMHeadModel:
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=64,
        bos_token_id=None,
        eos_token_id=None,
        **SHAPES[device],
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return transformers.GPT2LMHeadModel(config).eval().to(device)


def clock(device: str) -> float:
    """Seconds of CPU time, or on the wall when the GPU has done what it was told."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def contenders(batch: int, device: str) -> dict[str, Callable[[], int]]:
    """Functions that write `batch` texts and return how many tokens are new."""
    theirs = model(device)
    policy = TextPolicy(from_gpt2(theirs).to(device))
    rng = np.random.default_rng(0)
    prompts = rng.integers(VOCABULARY, size=(batch, PROMPT))
    lengths = np.full(batch, PROMPT)
    tensor = torch.from_numpy(prompts).to(device)
    mask = torch.ones_like(tensor)

    def ours() -> int:
        uniforms = rng.random((batch, NEW))
        texts = policy.sample(prompts, lengths, uniforms, eos=NO_TOKEN, pad=NO_TOKEN)
        return int((texts.lengths - lengths).sum())

    def generate() -> int:
        texts = theirs.generate(
            tensor,
            attention_mask=mask,
            do_sample=True,
            top_k=0,
            max_new_tokens=NEW,
            pad_token_id=0,
        )
        return texts.numel() - tensor.numel()

    return {"rlsuite": ours, "generate": generate}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15, help="measurements of each")
    parser.add_argument("--device", choices=list(SHAPES), default="cpu")
    arguments = parser.parse_args()
    rounds, device = arguments.rounds, arguments.device
    print(f"{'texts':>5} {'rlsuite':>10} {'generate':>10} {'ratio':>7}   tokens a second")
    for batch in (1, 8, 64):
        runs = contenders(batch, device)
        speeds: dict[str, list[float]] = {name: [] for name in runs}
        with single_thread():
            for number in range(rounds + 1):
                for name, run in runs.items():
                    start = clock(device)
                    tokens = run()
                    if number:  # the first round warms up
                        speeds[name].append(tokens / (clock(device) - start))
        ratio = np.median(np.divide(speeds["rlsuite"], speeds["generate"]))
        mine, other = (np.median(speeds[name]) for name in runs)
        print(f"{batch:5d} {mine:10,.0f} {other:10,.0f} {ratio:6.2f}x")


if __name__ == "__main__":
    main()
