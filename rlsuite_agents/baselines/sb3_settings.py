"""Settings of Stable-Baselines3's agents: their names and defaults, checked at the door."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal

from registry.errors import SettingError
from rlsuite_agents.parts.schedules import linear_start

__all__ = ["A2CConfig", "DQNConfig", "PPOConfig", "SACConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PPOConfig:
    """Settings of `PPO`. A rate "lin_x" falls linearly from x to 0 over `total_timesteps`."""

    num_envs: int = 1  # environments stepped together, at least 1
    total_timesteps: int | None = None  # horizon of the schedules; None: of the first `learn`
    learning_rate: float | str = 3e-4  # of Adam, above 0, or "lin_x"
    n_steps: int = 2048  # steps of each environment in a rollout, at least 1
    batch_size: int = 64  # of a minibatch, at least 2
    n_epochs: int = 10  # passes over each rollout, at least 1
    gamma: float = 0.99  # γ, in [0, 1]
    gae_lambda: float = 0.95  # λ, in [0, 1]
    clip_range: float | str = 0.2  # ε of the ratio, above 0, or "lin_x"
    clip_range_vf: float | str | None = None  # the same of the values; None: not clipped
    normalize_advantage: bool = True  # per minibatch
    ent_coef: float = 0.0  # weight of the entropy bonus, at least 0
    vf_coef: float = 0.5  # weight of the value loss, at least 0
    max_grad_norm: float = 0.5  # above 0
    target_kl: float | None = None  # stops the epochs beyond 1.5 times this; None: never
    net_arch: tuple[int, ...] = (64, 64)  # hidden layers of policy and value network, each
    activation: Literal["tanh", "relu"] = "tanh"  # between them
    normalize_observations: bool = False  # by their running mean and standard deviation
    normalize_rewards: bool = False  # by the running standard deviation of the return

    def __post_init__(self) -> None:
        _check(self)
        if self.normalize_advantage and self.n_steps * self.num_envs < 2:
            raise SettingError(
                "PPOConfig: advantages of a rollout of one step cannot be normalised; raise "
                "n_steps or num_envs, or set normalize_advantage to False."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class A2CConfig:
    """Settings of `A2C`. A rate "lin_x" falls linearly from x to 0 over `total_timesteps`."""

    num_envs: int = 1  # environments stepped together, at least 1
    total_timesteps: int | None = None  # horizon of the schedules; None: of the first `learn`
    learning_rate: float | str = 7e-4  # above 0, or "lin_x"
    n_steps: int = 5  # steps of each environment in a rollout, at least 1
    gamma: float = 0.99  # γ, in [0, 1]
    gae_lambda: float = 1.0  # λ, in [0, 1]
    ent_coef: float = 0.0  # weight of the entropy bonus, at least 0
    vf_coef: float = 0.5  # weight of the value loss, at least 0
    max_grad_norm: float = 0.5  # above 0
    rms_prop_eps: float = 1e-5  # ε of RMSprop, above 0
    use_rms_prop: bool = True  # RMSprop, or else Adam
    normalize_advantage: bool = False  # per rollout
    net_arch: tuple[int, ...] = (64, 64)  # hidden layers of policy and value network, each
    activation: Literal["tanh", "relu"] = "tanh"  # between them
    normalize_observations: bool = False  # by their running mean and standard deviation
    normalize_rewards: bool = False  # by the running standard deviation of the return

    def __post_init__(self) -> None:
        _check(self)
        if not self.use_rms_prop and self.rms_prop_eps != 1e-5:
            raise SettingError("A2CConfig.rms_prop_eps is read only where use_rms_prop is True.")
        if self.normalize_advantage and self.n_steps * self.num_envs < 2:
            raise SettingError(
                "A2CConfig: advantages of a rollout of one step cannot be normalised; raise "
                "n_steps or num_envs, or set normalize_advantage to False."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class DQNConfig:
    """Settings of `DQN`. A rate "lin_x" falls linearly from x to 0 over `total_timesteps`."""

    total_timesteps: int | None = None  # horizon of the schedules; None: of the first `learn`
    learning_rate: float | str = 1e-4  # of Adam, above 0, or "lin_x"
    buffer_size: int = 1_000_000  # transitions kept, at least 1
    learning_starts: int = 100  # random steps before the first update, at least 0
    batch_size: int = 32  # at least 1
    tau: float = 1.0  # share of the network that enters the target network, in (0, 1]
    gamma: float = 0.99  # γ, in [0, 1]
    train_freq: int = 4  # steps between updates, at least 1
    gradient_steps: int = 1  # at an update, at least 0; -1: one for each step since the last
    n_steps: int = 1  # of the n-step return, at least 1
    target_update_interval: int = 10_000  # steps between updates of the target network
    exploration_fraction: float = 0.1  # of the horizon, in which ε falls; in (0, 1]
    exploration_initial_eps: float = 1.0  # ε at first, in [0, 1]
    exploration_final_eps: float = 0.05  # ε in the end, in [0, 1]
    max_grad_norm: float = 10.0  # above 0
    net_arch: tuple[int, ...] = (64, 64)  # hidden layers
    activation: Literal["tanh", "relu"] = "relu"  # between them

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class SACConfig:
    """Settings of `SAC`. A rate "lin_x" falls linearly from x to 0 over `total_timesteps`."""

    total_timesteps: int | None = None  # horizon of the schedules; None: of the first `learn`
    learning_rate: float | str = 3e-4  # of Adam, for all networks; above 0, or "lin_x"
    buffer_size: int = 1_000_000  # transitions kept, at least 1
    learning_starts: int = 100  # random steps before the first update, at least 0
    batch_size: int = 256  # at least 1
    tau: float = 0.005  # share of the critics that enters the target critics, in (0, 1]
    gamma: float = 0.99  # γ, in [0, 1]
    train_freq: int = 1  # steps between updates, at least 1
    gradient_steps: int = 1  # at an update, at least 0; -1: one for each step since the last
    n_steps: int = 1  # of the n-step return, at least 1
    ent_coef: float | str = "auto"  # temperature, at least 0; "auto" or "auto_x": learned, from x
    target_update_interval: int = 1  # updates between those of the target critics, at least 1
    target_entropy: float | str = "auto"  # of a learned temperature; "auto": -(action dimensions)
    net_arch: tuple[int, ...] = (256, 256)  # hidden layers of policy and critics, each
    activation: Literal["tanh", "relu"] = "relu"  # between them

    def __post_init__(self) -> None:
        _check(self)
        if self.target_entropy != "auto" and not isinstance(self.ent_coef, str):
            raise SettingError(
                'SACConfig.target_entropy is read only where ent_coef is learned, "auto" or '
                f'"auto_x", got target_entropy {self.target_entropy!r} and ent_coef '
                f"{self.ent_coef!r}."
            )


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _positive(value: Any) -> bool:
    return _number(value) and value > 0


def _not_negative(value: Any) -> bool:
    return _number(value) and value >= 0


def _share(value: Any) -> bool:
    return _number(value) and 0 <= value <= 1


def _positive_share(value: Any) -> bool:
    return _number(value) and 0 < value <= 1


def _rate(value: Any) -> bool:
    return _positive(linear_start(value) if isinstance(value, str) else value)


def _at_least(least: int) -> Callable[[Any], bool]:
    def holds(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= least

    return holds


def _or_none(rule: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or rule(value)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _temperature(value: Any) -> bool:
    if not isinstance(value, str):
        return _not_negative(value)
    start = re.fullmatch(r"auto(?:_(.+))?", value)
    if start is None:
        return False
    try:
        return start[1] is None or _positive(float(start[1]))
    except ValueError:
        return False


def _widths(value: Any) -> bool:
    return isinstance(value, tuple) and all(map(_at_least(1), value))


_Rule = tuple[Callable[[Any], bool], str]
_COUNT: _Rule = (_at_least(1), "a whole number of at least 1")
_POSITIVE: _Rule = (_positive, "a number above 0")
_WEIGHT: _Rule = (_not_negative, "a number of at least 0")
_SHARE: _Rule = (_share, "a number in [0, 1]")
_POSITIVE_SHARE: _Rule = (_positive_share, "a number in (0, 1]")
_RATE: _Rule = (_rate, 'a number above 0, or "lin_x" with such an x')
_FLAG: _Rule = (_flag, "True or False")
_RULES: dict[str, _Rule] = {
    "num_envs": _COUNT,
    "total_timesteps": (_or_none(_at_least(1)), "a whole number of at least 1, or None"),
    "learning_rate": _RATE,
    "n_steps": _COUNT,
    "batch_size": _COUNT,
    "n_epochs": _COUNT,
    "gamma": _SHARE,
    "gae_lambda": _SHARE,
    "clip_range": _RATE,
    "clip_range_vf": (_or_none(_rate), f"{_RATE[1]}, or None"),
    "normalize_advantage": _FLAG,
    "ent_coef": _WEIGHT,
    "vf_coef": _WEIGHT,
    "max_grad_norm": _POSITIVE,
    "target_kl": (_or_none(_positive), "a number above 0, or None"),
    "rms_prop_eps": _POSITIVE,
    "use_rms_prop": _FLAG,
    "buffer_size": _COUNT,
    "learning_starts": (_at_least(0), "a whole number of at least 0"),
    "tau": _POSITIVE_SHARE,
    "train_freq": _COUNT,
    "gradient_steps": (_at_least(-1), "a whole number of at least 0, or -1"),
    "target_update_interval": _COUNT,
    "exploration_fraction": _POSITIVE_SHARE,
    "exploration_initial_eps": _SHARE,
    "exploration_final_eps": _SHARE,
    "normalize_observations": _FLAG,
    "normalize_rewards": _FLAG,
    "target_entropy": (lambda value: value == "auto" or _number(value), '"auto" or a number'),
    "net_arch": (_widths, "a tuple of whole numbers of at least 1"),
    "activation": (lambda value: value in ("tanh", "relu"), '"tanh" or "relu"'),
}

_TEMPERATURE: _Rule = (_temperature, 'a number of at least 0, "auto", or "auto_x" with x above 0')


def _check(config: Any) -> None:
    """Every setting against its rule; a list of widths, as TOML writes it, becomes a tuple."""
    if isinstance(config.net_arch, list):
        object.__setattr__(config, "net_arch", tuple(config.net_arch))
    for field in fields(config):
        learned = field.name == "ent_coef" and isinstance(config, SACConfig)
        holds, text = _TEMPERATURE if learned else _RULES[field.name]
        value = getattr(config, field.name)
        if not holds(value):
            raise SettingError(
                f"{type(config).__name__}.{field.name} must be {text}, got {value!r}."
            )
    if isinstance(config, PPOConfig) and config.batch_size < 2:
        raise SettingError(f"PPOConfig.batch_size must be at least 2, got {config.batch_size!r}.")
