"""Reward models: a transformer that reads a finished text and says one number at its last token."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rlsuite_agents.parts.checkpoint import Checkpoint
from rlsuite_agents.parts.device import single_thread
from rlsuite_agents.parts.rows import readable
from rlsuite_agents.parts.weights import restore_weights, weight_arrays

__all__ = ["TextReward"]


class TextReward:
    """r(text) = w · h + b - shift, h the hidden state of the text's last token, EOS included.

    It starts at 0 everywhere.

    Args:
        network: Hidden states, as of `TextPolicy`.
        shift: What is taken off every score; it changes no preference.
    """

    def __init__(self, network: Any, shift: float = 0.0) -> None:
        device = next(network.parameters()).device
        self.network, self.shift = network, shift
        self.head = nn.Parameter(torch.zeros(network.width + 1, device=device))
        self.vocabulary: Any = None
        self.digest = ""

    @property
    def vocab_size(self) -> int:
        """V."""
        return int(self.network.vocabulary)

    @property
    def context(self) -> int:
        """Most tokens of prompt and text."""
        return int(self.network.context)

    def arrays(self, name: str = "reward") -> dict[str, NDArray[Any]]:
        """All weights by name, for a checkpoint."""
        head = self.head.detach().cpu().numpy()
        return {**weight_arrays(self.network, f"{name}.network"), f"{name}.head": head}

    def restore(self, found: Checkpoint, name: str = "reward") -> None:
        """Takes the weights of `arrays`; raises `CheckpointError` where they do not fit."""
        restore_weights(self.network, found, f"{name}.network")
        head = found.array(f"{name}.head", tuple(self.head.shape), np.float32)
        with torch.no_grad():
            self.head.copy_(torch.from_numpy(head))

    def parameters(self) -> list[nn.Parameter]:
        """What is trained. Output weights of their own are not: no token is written."""
        unused = getattr(self.network, "output", None)
        return [*(p for p in self.network.parameters() if p is not unused), self.head]

    def evaluate(self, tokens: NDArray[np.int64], lengths: NDArray[np.int64]) -> Tensor:
        """Scores [B] of texts [B, T], right-padded, as a tensor with gradient.

        Raises:
            InvalidObservationError: a token is outside the vocabulary, or a text is too long.
        """
        device = self.head.device
        read = self.network(readable(self.network, tokens, lengths).to(device))
        last = torch.from_numpy(np.asarray(lengths, np.int64) - 1).to(device)
        hidden = read[torch.arange(len(last), device=device), last]
        return hidden @ self.head[:-1] + self.head[-1] - self.shift

    def score(self, tokens: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
        """Scores [B] of finished texts [B, T], right-padded.

        Raises:
            InvalidObservationError: as for `evaluate`.
        """
        with single_thread(), torch.inference_mode():
            return self.evaluate(np.asarray(tokens), np.asarray(lengths)).double().cpu().numpy()
