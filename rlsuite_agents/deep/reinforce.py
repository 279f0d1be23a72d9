"""REINFORCE, with or without a baseline (Williams 1992; Sutton & Barto, 2nd ed., 13.3 and 13.4).

    θ ← θ + α (G_t - v̂(S_t, w)) ∇ log π(A_t|S_t, θ)                              (eq. 13.11)
    w ← w + α (G_t - v̂(S_t, w)) ∇ v̂(S_t, w)

Differs from the boxes: one Adam step is taken on the mean over all time steps of a few episodes;
the factor γ^t is left out, as almost everywhere; at a time limit, which is not a terminal state,
the return goes on with v̂(S_T). Without a baseline there is no v̂ to go on with, and the return is
cut there: biased where episodes end by a limit.

For texts, `kl_beta` takes β (log π(A_t|S_t) - log ref(A_t|S_t)) off each reward, so that the mean
return is the KL-regularised objective (Stiennon et al. 2020, eq. 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import mse_loss

from registry.contracts import Callback, Transition
from registry.errors import SettingError
from registry.seeding import Stream, generator
from rlsuite_agents.functional.policy_gradient import policy_gradient_loss
from rlsuite_agents.functional.returns import discounted_returns
from rlsuite_agents.loops import Session, learn_online
from rlsuite_agents.parts.agent_checkpoint import load_agent_checkpoint, save_agent_checkpoint
from rlsuite_agents.parts.checkpoint import Checkpoint
from rlsuite_agents.parts.device import resolve_device, single_thread
from rlsuite_agents.parts.features import Encoder
from rlsuite_agents.parts.networks import MLP, evaluate_rows, forward, host_layers
from rlsuite_agents.parts.optimizer_state import optimizer_arrays, restore_optimizer
from rlsuite_agents.parts.predict import draw, mask_rows, predict_actions
from rlsuite_agents.parts.settings import check_range
from rlsuite_agents.parts.spaces import discrete_size

__all__ = ["Reinforce", "ReinforceConfig"]


def _check_counts(name: str, values: tuple[Any, ...]) -> None:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise SettingError(
                f"ReinforceConfig.{name} is made of whole numbers of at least 1, got {value!r}."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class ReinforceConfig:
    """Settings of `Reinforce`."""

    step_size: float = 0.01  # α of Adam, for policy and baseline; above 0
    gamma: float = 0.99  # γ, in [0, 1]
    baseline: Literal["value", "none"] = "value"  # v̂, learned beside the policy, or 0
    kl_beta: float = 0.0  # β of the KL term in the return, at least 0
    episodes_per_update: int = 4  # at least 1
    hidden_sizes: tuple[int, ...] = (64,)  # tanh layers of each network; () is linear

    def __post_init__(self) -> None:
        check_range(self, "step_size", "(0, inf]")
        check_range(self, "gamma", "[0, 1]")
        check_range(self, "kl_beta", "[0, inf]")
        if self.baseline not in ("value", "none"):
            raise SettingError(
                f"ReinforceConfig.baseline must be 'value' or 'none', got {self.baseline!r}."
            )
        if not isinstance(self.hidden_sizes, tuple | list):
            raise SettingError(
                "ReinforceConfig.hidden_sizes must be a tuple of widths, got "
                f"{self.hidden_sizes!r}."
            )
        object.__setattr__(self, "hidden_sizes", tuple(self.hidden_sizes))
        _check_counts("episodes_per_update", (self.episodes_per_update,))
        _check_counts("hidden_sizes", self.hidden_sizes)


class Reinforce:
    """Monte-Carlo policy gradient for `Discrete` actions, on any observation a network can read.

    It starts from the uniform policy. It learns in torch and acts in NumPy, on the same weights.
    """

    id = "rlsuite/Reinforce-v0"
    config_type = ReinforceConfig

    def __init__(
        self,
        env: Any,
        config: ReinforceConfig = ReinforceConfig(),
        *,
        seed: int,
        device: str = "cpu",
    ) -> None:
        self.env, self.config, self.num_timesteps = env, config, 0
        self.device = resolve_device(device)
        self.rng = generator(seed, Stream.AGENT, 0)
        self.prediction_rng = generator(seed, Stream.AGENT, 1)
        self.session = Session(env, seed)
        self._n_actions = discrete_size(env.action_space, "Reinforce's action space")
        self._encoder = Encoder(env.observation_space)
        weights = generator(seed, Stream.AGENT, 2)
        sizes = (self._encoder.size, *config.hidden_sizes)
        self.policy = MLP((*sizes, self._n_actions), weights, self.device)
        self.value = MLP((*sizes, 1), weights, self.device) if config.baseline == "value" else None
        networks = [self.policy] if self.value is None else [self.policy, self.value]
        parameters = [p for network in networks for p in network.parameters()]
        self._optimizer = torch.optim.Adam(parameters, lr=config.step_size, fused=True)
        self._episode = _Steps()  # the running one: its fourth column holds rewards
        self._batch = _Steps()  # whole ones that wait for the update: there it holds returns
        self._episodes = 0  # in the batch
        self._refresh()

    def act(
        self, observation: Any, mask: Any, rng: np.random.Generator
    ) -> tuple[int, dict[str, Any]]:
        """An action drawn from π, and what `observe` needs: its features and log-probability."""
        features = self._encoder.one(observation)
        allowed = None if mask is None else np.asarray(mask, dtype=bool)
        log_pi = _log_softmax(forward(self._policy_layers, features), allowed)
        action = draw(np.exp(log_pi), rng)
        extras = {"features": features, "log_prob": float(log_pi[action]), "mask": allowed}
        return action, extras

    def observe(self, transition: Transition) -> None:
        """Notes one step; at the end of the last episode of a batch, learns from the batch.

        Raises:
            SettingError: `kl_beta` is set, but the environment gives no `info["ref_logprob"]`.
        """
        t = transition
        mask = t.extras["mask"]
        mask = np.ones(self._n_actions, dtype=bool) if mask is None else mask
        reward = t.reward - self._kl_penalty(t)
        self._episode.add(t.extras["features"], t.action, mask, reward)
        if not (t.terminated or t.truncated):
            return
        bootstrap = 0.0 if t.terminated else self._value_of(t.next_observation)
        discounts = np.full(len(self._episode), self.config.gamma)
        returns = discounted_returns(self._episode.outcomes, discounts, bootstrap)
        self._batch.extend(self._episode, returns.tolist())
        self._episode = _Steps()
        self._episodes += 1
        if self._episodes == self.config.episodes_per_update:
            self._update()

    def _kl_penalty(self, t: Transition) -> float:
        """β (log π(A|S) - log ref(A|S)) of one step."""
        if not self.config.kl_beta:
            return 0.0
        reference = t.info.get("ref_logprob")
        if reference is None or not math.isfinite(reference):
            raise SettingError(
                f"kl_beta is {self.config.kl_beta}, which needs the reference's log-probability of "
                f'each action in info["ref_logprob"]; the environment gives {reference!r}. '
                "Set kl_beta to 0 where there is no reference policy."
            )
        return self.config.kl_beta * (t.extras["log_prob"] - float(reference))

    def _value_of(self, observation: Any) -> float:
        """v̂(S), 0 without a baseline."""
        if self._value_layers is None:
            return 0.0
        return float(forward(self._value_layers, self._encoder.one(observation))[0])

    def _update(self) -> None:
        """One Adam step on all episodes of the batch."""
        features, actions, masks, returns = (
            torch.from_numpy(column).to(self.device) for column in self._batch.columns()
        )
        with single_thread():
            logits = self.policy(features).masked_fill(~masks, -torch.inf)
            log_prob = torch.log_softmax(logits, dim=1).gather(1, actions[:, None])[:, 0]
            if self.value is None:
                loss = policy_gradient_loss(log_prob, returns)
            else:
                values = self.value(features)[:, 0]
                loss = policy_gradient_loss(log_prob, returns - values.detach())
                loss = loss + 0.5 * mse_loss(values, returns)  # no weight is in both networks
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
        self._batch, self._episodes = _Steps(), 0
        self._refresh()

    def _refresh(self) -> None:
        """The weights that act: on a CPU the very memory that torch writes to."""
        self._policy_layers = host_layers(self.policy)
        self._value_layers = None if self.value is None else host_layers(self.value)

    def learn(self, total_timesteps: int, callback: Callback | None = None) -> Reinforce:
        """Takes exactly `total_timesteps` further steps; may be called again.

        An episode that the budget cuts is kept: the next call goes on with it.

        Args:
            total_timesteps: at least 0.
            callback: called with the agent after each step; False stops.

        Raises:
            SettingError: the number is not whole or is negative, or `kl_beta` needs a reference.
            InvalidObservationError: the environment returned NaN.
        """
        with single_thread():
            return learn_online(self, total_timesteps, callback)

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
        *,
        mask: Any = None,
        rngs: Any = None,
    ) -> tuple[Any, Any]:
        """Actions for one observation or a batch, and the state as it came: there is none."""
        return predict_actions(self, observation, deterministic, mask, rngs), state

    def action_probabilities(
        self, observations: Any, *, deterministic: bool, mask: Any = None
    ) -> NDArray[np.float64]:
        """π(a|s), [B, A]; each row is computed as if it were alone.

        Args:
            observations: a batch of B.
            deterministic: all probability on the best action, the lowest index among equals.
            mask: allowed actions, [B, A]; None is the observations' own `action_mask`, or all.
        """
        rows, _ = self._encoder.rows(observations)
        allowed = mask_rows(observations, mask)
        log_pi = _log_softmax(evaluate_rows(self._policy_layers, rows), allowed)
        if deterministic:
            return np.eye(self._n_actions)[log_pi.argmax(axis=1)]
        return np.exp(log_pi)

    def state_values(self, observations: Any) -> NDArray[np.float64]:
        """v̂(s) of a batch, shape [B]; 0 without a baseline."""
        rows, _ = self._encoder.rows(observations)
        if self._value_layers is None:
            return np.zeros(len(rows))
        return evaluate_rows(self._value_layers, rows)[:, 0].astype(np.float64)

    def save(self, path: str | PathLike[str]) -> None:
        """Writes all that is needed to go on bit for bit; see `parts.agent_checkpoint`."""
        arrays = {
            **_weights("policy", self.policy),
            **_weights("value", self.value),
            **optimizer_arrays(self._optimizer),
            **self._episode.named("episode", self._encoder.size, self._n_actions),
            **self._batch.named("batch", self._encoder.size, self._n_actions),
        }
        save_agent_checkpoint(self, path, arrays, {"episodes": self._episodes})

    @classmethod
    def load(cls, path: str | PathLike[str], env: Any = None, device: str = "cpu") -> Reinforce:
        """Reads a checkpoint; without `env` the agent can predict, but not learn.

        Raises:
            CheckpointError: the file cannot be used, or belongs to another environment.
        """
        agent, found = load_agent_checkpoint(cls, path, env, device)
        agent._restore(found)
        return agent

    def _restore(self, found: Checkpoint) -> None:
        for name, network in (("policy", self.policy), ("value", self.value)):
            if network is not None:
                shapes = {k: tuple(w.shape) for k, w in network.state_dict().items()}
                read = {k: found.array(f"{name}.{k}", s, np.float32) for k, s in shapes.items()}
                network.load_state_dict({k: torch.from_numpy(v) for k, v in read.items()})
        restore_optimizer(self._optimizer, found)
        self._episode = _Steps.read(found, "episode", self._encoder.size, self._n_actions)
        self._batch = _Steps.read(found, "batch", self._encoder.size, self._n_actions)
        self._episodes = int(found.value("own", dict).get("episodes", 0))
        self._refresh()


class _Steps:
    """Columns of time steps: features, actions, masks, and rewards or returns."""

    def __init__(self) -> None:
        self.features: list[NDArray[np.float32]] = []
        self.actions: list[int] = []
        self.masks: list[NDArray[np.bool_]] = []
        self.outcomes: list[float] = []

    def __len__(self) -> int:
        return len(self.actions)

    def add(
        self,
        features: NDArray[np.float32],
        action: int,
        mask: NDArray[np.bool_],
        outcome: float,
    ) -> None:
        self.features.append(features)
        self.actions.append(action)
        self.masks.append(mask)
        self.outcomes.append(outcome)

    def extend(self, other: _Steps, outcomes: list[float]) -> None:
        """The steps of another one, with other outcomes."""
        self.features += other.features
        self.actions += other.actions
        self.masks += other.masks
        self.outcomes += outcomes

    def columns(self) -> tuple[NDArray[Any], ...]:
        """As arrays: float32 [T, d], int64 [T], bool [T, A], float32 [T]."""
        return (
            np.stack(self.features),
            np.array(self.actions, np.int64),
            np.stack(self.masks),
            np.array(self.outcomes, np.float32),
        )

    def named(self, name: str, width: int, n_actions: int) -> dict[str, NDArray[Any]]:
        """As arrays for a checkpoint, where there may be no step at all."""
        return {
            f"{name}.features": np.array(self.features, np.float32).reshape(-1, width),
            f"{name}.actions": np.array(self.actions, np.int64),
            f"{name}.masks": np.array(self.masks, np.bool_).reshape(-1, n_actions),
            f"{name}.outcomes": np.array(self.outcomes, np.float64),
        }

    @classmethod
    def read(cls, found: Checkpoint, name: str, width: int, n_actions: int) -> _Steps:
        """The inverse of `named`."""
        steps = cls()
        n = len(found.arrays.get(f"{name}.actions", ()))
        steps.features = list(found.array(f"{name}.features", (n, width), np.float32))
        steps.actions = found.array(f"{name}.actions", (n,), np.int64).tolist()
        steps.masks = list(found.array(f"{name}.masks", (n, n_actions), np.bool_))
        steps.outcomes = found.array(f"{name}.outcomes", (n,), np.float64).tolist()
        return steps


def _log_softmax(
    logits: NDArray[np.float32], allowed: NDArray[np.bool_] | None
) -> NDArray[np.float64]:
    """The logarithm of π over the last axis, -inf where an action is not allowed."""
    x = logits.astype(np.float64)
    if allowed is not None:
        x = np.where(allowed, x, -np.inf)
    x = x - x.max(axis=-1, keepdims=True)
    log_pi: NDArray[np.float64] = x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
    return log_pi


def _weights(name: str, network: MLP | None) -> dict[str, NDArray[Any]]:
    if network is None:
        return {}
    return {f"{name}.{k}": w.detach().cpu().numpy() for k, w in network.state_dict().items()}
