"""Models that live in a folder: in rlsuite's own format, or in that of Hugging Face."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from registry.catalogue import registry
from registry.errors import CheckpointError, PluginError, SettingError
from registry.specs import check_id
from registry.texts import Vocabulary

__all__ = ["is_path", "load_folder", "load_registered"]

OWN_LOADERS = {"reference_model": "rlsuite/TextModel-v0", "reward_model": "rlsuite/TextReward-v0"}
"""Who reads folders whose `config.json` has the key `rlsuite`; called with the path."""


def is_path(name: str) -> bool:
    """Whether a string names a folder: one that exists, or what reads like a path and no id."""
    if name.startswith((".", "/", "~")) or Path(name).is_dir():
        return True
    try:
        check_id(name)
    except PluginError:
        return "/" in name
    return False


def load_folder(kind: str, path: str, vocabulary: Vocabulary | None = None) -> Any:
    """The model in a folder.

    Args:
        kind: `"reference_model"` or `"reward_model"`.
        path: Of the folder; nothing is ever downloaded.
        vocabulary: That of the task, which a reward model has to read.

    Raises:
        CheckpointError: there is no model of this kind that could be read.
    """
    folder = Path(path).expanduser()
    config = _config(folder)
    if "rlsuite" in config:
        return registry.get(kind, OWN_LOADERS[kind]).load()(folder)
    from rlsuite_envs.tokens.hugging_face import HuggingFaceReference, HuggingFaceReward

    if kind == "reference_model":
        return HuggingFaceReference(folder)
    assert vocabulary is not None
    return HuggingFaceReward(folder, vocabulary)


def load_registered(kind: str, identifier: str) -> Any:
    """What the factory registered under an id makes, of the entry's `folder` where it has one.

    Raises:
        UnknownIdError: there is no such id.
        SettingError: it reads models from folders, and so needs one.
    """
    if identifier == OWN_LOADERS[kind]:
        raise SettingError(
            f"{identifier!r} reads models that agents have saved: name the folder instead, such as "
            "'./folder'."
        )
    entry = registry.get(kind, identifier)
    return entry.load()(*([entry.meta["folder"]] if "folder" in entry.meta else []))


def _config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise CheckpointError(f"there is no folder {str(folder)!r} to read a model from.")
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"the folder {str(folder)!r} holds no model: it has no config.json.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{str(path)!r} cannot be read: {error}.") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{str(path)!r} must hold a JSON object, got {config!r:.60}.")
    return config
