"""Logged data to and from Minari, the data sets of the Farama Foundation. Needs the extra `minari`.

Minari keeps whole episodes: T + 1 observations, T actions, rewards and flags. What else logged data
hold is kept as infos, and where they come from in the metadata, so that a data set comes back as it
was. Nothing is downloaded.
"""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete

from registry.errors import DataError, SettingError
from registry.logged_data import OPTIONAL, LoggedData
from rlsuite.collecting import described
from rlsuite.making import check_environment_id

__all__ = ["from_minari", "to_minari"]

ABOUT = "rlsuite_about"
"""The entry of the metadata that holds `about`."""

DATASET_ID = re.compile(r"([-\w]+/)*[-\w]+-v\d+")


def to_minari(data: LoggedData, dataset_id: str, *, env: gym.Env[Any, Any] | None = None) -> None:
    """Writes a new Minari data set, in HDF5, without loss.

    Args:
        data: Whole episodes one after the other, the last one ended, as `rlsuite.collect` makes
            them.
        dataset_id: `name-v0`, or `namespace/name-v0`. It lies where Minari keeps its data sets:
            in the folder `MINARI_DATASETS_PATH`, or in `~/.minari/datasets`.
        env: The environment that the data come from; None: the one that `about` names.

    Raises:
        SettingError: Minari is not installed, or the id is malformed or taken.
        DataError: the transitions are no whole episodes, or of other spaces than the environment,
            or it is not known.
    """
    minari = _minari()
    if not DATASET_ID.fullmatch(dataset_id):
        raise SettingError(
            f"the id of a Minari data set reads 'name-v0' or 'namespace/name-v0', got "
            f"{dataset_id!r}."
        )
    place = minari.storage.get_dataset_path(dataset_id)
    if place.exists():
        raise SettingError(f"there is a Minari data set {dataset_id!r} in {place} already.")
    made = _environment(data) if env is None else env
    data.check_spaces(made.observation_space, made.action_space)
    episodes = [minari.data_collector.EpisodeBuffer(**one) for one in _episodes(data)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of author and the like, which nobody here knows
            kept = minari.create_dataset_from_buffers(
                dataset_id,
                episodes,
                env=made.spec,
                observation_space=made.observation_space,
                action_space=made.action_space,
                algorithm_name=str(data.about.get("agent", data.about.get("policy", "unknown"))),
                jpeg_encoding=False,
            )
        kept.storage.update_metadata({ABOUT: json.dumps(data.about)})
    except Exception:
        shutil.rmtree(place, ignore_errors=True)  # half a data set is none
        raise
    finally:
        if env is None:
            made.close()


def from_minari(dataset: Any) -> LoggedData:
    """Reads a Minari data set with numbers of `Discrete` and `Box` spaces.

    Where the last step of an episode is marked as neither terminated nor truncated, the collecting
    was cut off there, and it counts as truncated.

    Args:
        dataset: Its id, of a data set that lies on this machine, or a `minari.MinariDataset`.

    Raises:
        SettingError: Minari is not installed.
        DataError: there is no such data set, it is empty, or holds other spaces.
    """
    minari = _minari()
    if isinstance(dataset, str):
        try:
            dataset = minari.load_dataset(dataset)
        except (FileNotFoundError, ValueError) as error:
            raise DataError(
                f"there is no Minari data set {dataset!r} on this machine that can be read "
                f"({' '.join(str(error).split())}). `minari download` fetches one, and `minari "
                "list local` shows what is there."
            ) from error
    for name in ("observation_space", "action_space"):
        space = getattr(dataset, name)
        if not isinstance(space, Discrete | Box):
            raise DataError(
                f"logged data are numbers of Discrete and Box spaces, and {dataset.id!r} has the "
                f"{name} {space}."
            )
    parts = [_columns(episode) for episode in dataset.iterate_episodes()]
    if not parts:
        raise DataError(f"the Minari data set {dataset.id!r} has no episodes.")
    names = [name for name in parts[0] if all(name in part for part in parts)]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in names}
    return LoggedData(**columns, about=_about(dataset))


def _episodes(data: LoggedData) -> Iterator[dict[str, Any]]:
    """The fields of a buffer for each episode; raises `DataError` where they are not whole."""
    if not data.ends[-1]:
        raise DataError(
            "a Minari data set holds whole episodes, and the last transition ends none: set "
            "truncated there, as rlsuite.collect does."
        )
    joined = data.next_observation[:-1] == data.observation[1:]
    torn = ~joined.reshape(len(joined), -1).all(axis=1) & ~data.ends[:-1]
    if torn.any():
        row = int(np.flatnonzero(torn)[0])
        raise DataError(
            f"transition {row + 1} does not begin where transition {row} led to, and no episode "
            "ends between them: a Minari data set holds episodes in order."
        )
    last = np.flatnonzero(data.ends) + 1
    for first, end in zip([0, *last[:-1].tolist()], last.tolist(), strict=True):
        part = slice(first, end)
        after = data.next_observation[end - 1 : end]
        infos = {name: array[part] for name, array in data.arrays().items() if name in OPTIONAL}
        yield {
            "observations": np.concatenate([data.observation[part], after]),
            "actions": data.action[part],
            "rewards": data.reward[part],
            "terminations": data.terminated[part],
            "truncations": data.truncated[part],
            "infos": infos or None,
        }


def _columns(episode: Any) -> dict[str, Any]:
    """The fields of logged data of one episode, [T]."""
    observations, terminated = np.asarray(episode.observations), np.array(episode.terminations)
    truncated = np.array(episode.truncations)
    truncated[-1:] |= ~terminated[-1:]
    infos = episode.infos or {}
    return {
        "observation": observations[:-1],
        "action": np.asarray(episode.actions),
        "reward": np.asarray(episode.rewards),
        "next_observation": observations[1:],
        "terminated": terminated,
        "truncated": truncated,
        **{name: infos[name] for name in OPTIONAL if name in infos},
    }


def _about(dataset: Any) -> dict[str, Any]:
    """What was known of data of ours; else the id, and the environment if there is one."""
    kept = dataset.storage.metadata.get(ABOUT)
    if kept is not None:
        ours: dict[str, Any] = json.loads(kept)
        return ours
    about: dict[str, Any] = {"minari": dataset.id}
    if dataset.env_spec is not None:
        about["environment"] = described(dataset.env_spec)
    return about


def _environment(data: LoggedData) -> gym.Env[Any, Any]:
    known = data.about.get("environment", {})
    if "id" not in known:
        raise DataError(
            "these data do not say which environment they come from: hand one over, env=..."
        )
    return gym.make(
        check_environment_id(known["id"]),
        max_episode_steps=known.get("max_episode_steps"),
        **known.get("kwargs", {}),
    )


def _minari() -> Any:
    try:
        import h5py  # noqa: F401  what Minari writes and most of its data sets are
        import minari.data_collector
        import minari.storage
    except ImportError as error:
        raise SettingError(
            "Minari data sets need the extra minari: pip install 'rlsuite[minari]'."
        ) from error
    return minari
