"""One step of GRPO: rlsuite's against TRL's `GRPOTrainer`, on the same weights.

    python benchmarks/alignment_step.py [--rounds 15]

GPT-2s of 0.1 and 0.9 million weights, groups of eight texts, one group a batch (TRL's defaults) or
eight, a verifier as reward, k3 in the loss with β = 0.04 and so a frozen reference beside the
policy, one gradient step a batch, float32, one thread. A step is all of it: writing, scoring,
log-probabilities of the reference, gradient, optimiser. Both take turns within TRL's training loop.
Printed are medians of CPU seconds and the median of the rounds' ratios.

Two things make the difference: TRL's cost of launching small operations, which weighs the less the
larger model and batch are, and prompts, which rlsuite reads once for a group and TRL once for each
text. So the ratio falls with the number of texts and rises with the length of the prompt. Needs the
extra `llm`, and trl.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

import gymnasium as gym  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from datasets import Dataset  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from tokenizers.models import WordLevel  # noqa: E402
from tokenizers.pre_tokenizers import Whitespace  # noqa: E402
from trl import GRPOConfig, GRPOTrainer  # noqa: E402

import rlsuite  # noqa: E402
from rlsuite_agents.parts.text_models import load_text_model, save_text_model  # noqa: E402
from rlsuite_agents.parts.text_policy import TextPolicy  # noqa: E402
from rlsuite_agents.parts.transformer import from_gpt2  # noqa: E402

BETA, RATE = 0.04, 1e-5


class Size(NamedTuple):
    """A model, and the texts that it writes."""

    layers: int
    width: int
    heads: int
    vocabulary: int
    prompt: int
    new: int
    prompts: int
    group: int

    @property
    def eos(self) -> int:
        """The last token."""
        return self.vocabulary - 1

    @property
    def pad(self) -> int:
        """The one before."""
        return self.vocabulary - 2


SIZES = (
    Size(2, 64, 2, 64, 16, 16, prompts=1, group=8),
    Size(2, 64, 2, 64, 16, 16, prompts=8, group=8),
    Size(4, 128, 4, 512, 64, 32, prompts=1, group=8),
    Size(4, 128, 4, 512, 64, 32, prompts=8, group=8),
    Size(4, 128, 4, 512, 8, 32, prompts=1, group=8),
    Size(4, 128, 4, 512, 8, 32, prompts=8, group=8),
)


class Numbers(NamedTuple):
    """A vocabulary without letters."""

    size: int
    eos: int

    def encode(self, text: str) -> list[int]:
        """Words that are numbers, as numbers."""
        return [int(word) for word in text.split()]

    def decode(self, tokens: Any) -> str:
        """The numbers as words."""
        return " ".join(str(token) for token in tokens if token < self.size)


def write_models(size: Size, folder: Path) -> None:
    """The same weights as a folder of Hugging Face, with a tokenizer, and as one of rlsuite."""
    words = Tokenizer(WordLevel({f"w{k}": k for k in range(size.vocabulary)}, unk_token="w0"))
    words.pre_tokenizer = Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words,
        eos_token=f"w{size.eos}",
        pad_token=f"w{size.pad}",
        unk_token="w0",
        padding_side="left",
    ).save_pretrained(folder / "theirs")
    config = transformers.GPT2Config(
        vocab_size=size.vocabulary,
        n_positions=size.prompt + size.new,
        n_embd=size.width,
        n_layer=size.layers,
        n_head=size.heads,
        resid_pdrop=0,
        embd_pdrop=0,
        attn_pdrop=0,
        bos_token_id=size.eos,
        eos_token_id=size.eos,
        pad_token_id=size.pad,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.GPT2LMHeadModel(config)
    model.save_pretrained(folder / "theirs")
    vocabulary = Numbers(size.vocabulary, size.eos)
    save_text_model(TextPolicy(from_gpt2(model)), folder / "ours", vocabulary)


def prompts(size: Size) -> list[list[int]]:
    rng = np.random.default_rng(0)
    return [rng.integers(size.pad, size=size.prompt).tolist() for _ in range(size.prompts)]


def ours(size: Size, folder: Path) -> Callable[[], float]:
    """A function that makes one step and returns its CPU seconds."""

    def low_tokens(tokens: Any, lengths: Any) -> Any:
        inside = np.arange(tokens.shape[1]) < lengths[:, None]
        inside[:, : size.prompt] = False
        return ((tokens < size.vocabulary // 2) & inside).sum(1) / inside.sum(1)

    reference = load_text_model(folder / "ours")
    reference.vocabulary = Numbers(size.vocabulary, size.eos)
    env = gym.make(
        "rlsuite/TokenGeneration-v0",
        reference=reference,
        prompts=prompts(size),
        reward=low_tokens,
        max_new_tokens=size.new,
        no_eos=0.0,
        disable_env_checker=True,
    )
    agent = rlsuite.make_agent(
        "rlsuite/GRPO-v0",
        env,
        preset="paper",
        beta=BETA,
        group_size=size.group,
        n_groups=size.prompts,
        learning_rate=RATE,
        start=str(folder / "ours"),
    )
    done: list[Any] = []
    agent.on_update = done.append

    def step() -> float:
        done.clear()
        begin = time.process_time()
        while not done:  # the last token of a batch makes the update
            agent.learn(size.prompts * size.group * size.new // 4)
        return time.process_time() - begin

    return step


class Turns(transformers.TrainerCallback):
    """Lets the other side make a step after each of theirs."""

    def __init__(self, other: Callable[[], float]) -> None:
        self.other, self.begin = other, 0.0
        self.theirs: list[float] = []
        self.ours: list[float] = []

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        """Begins to measure; theirs draws its first batch after this."""
        self.begin = self.begin or time.process_time()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Ends a step of theirs, and makes one of ours."""
        self.theirs.append(time.process_time() - self.begin)
        self.ours.append(self.other())
        self.begin = time.process_time()


def measure(size: Size, folder: Path, rounds: int) -> tuple[list[float], list[float]]:
    """CPU seconds of `rounds` steps of ours and of theirs; the first of each is not counted."""
    write_models(size, folder)
    turns = Turns(ours(size, folder))
    texts = [" ".join(f"w{token}" for token in prompt) for prompt in prompts(size)]
    trainer = GRPOTrainer(
        model=str(folder / "theirs"),
        reward_funcs=lambda completion_ids, **_: [
            float(np.mean(np.array(ids) < size.vocabulary // 2)) for ids in completion_ids
        ],
        args=GRPOConfig(
            output_dir=str(folder),
            report_to=[],
            use_cpu=True,
            bf16=False,
            model_init_kwargs={"dtype": torch.float32},
            per_device_train_batch_size=size.prompts * size.group,
            num_generations=size.group,
            max_completion_length=size.new,
            beta=BETA,
            loss_type="grpo",
            use_bias_correction_kl=False,
            learning_rate=RATE,
            lr_scheduler_type="constant",
            gradient_checkpointing=False,
            logging_strategy="no",
            save_strategy="no",
            disable_tqdm=True,
            max_steps=rounds + 1,
        ),
        train_dataset=Dataset.from_dict({"prompt": texts}),
        processing_class=transformers.AutoTokenizer.from_pretrained(folder / "theirs"),
    )
    trainer.add_callback(turns)
    trainer.train()
    return turns.ours[1:], turns.theirs[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description="One step of GRPO against TRL's.")
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for size in SIZES:
        with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(io.StringIO()):
            mine, theirs = measure(size, Path(name), rounds)
        ratio = np.median(np.array(theirs) / np.array(mine))
        print(
            f"{size.layers} layers, {size.width} wide, {size.prompts * size.group} texts of "
            f"{size.new} after prompts of {size.prompt}: "
            f"rlsuite {np.median(mine):.3f} s, TRL {np.median(theirs):.3f} s a step: "
            f"{ratio:.1f} times as fast"
        )


if __name__ == "__main__":
    main()
