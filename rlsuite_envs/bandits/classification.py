"""A data set for classification as a bandit: guess the class, learn only whether it was right."""

from __future__ import annotations

import csv
import importlib.resources
import re
from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from registry.bandit_models import ContextualModel
from registry.errors import DataError, SettingError
from rlsuite_envs.bandits.base import Bandit
from rlsuite_envs.bandits.contexts import Contexts
from rlsuite_envs.rendering.arms import Bounds

__all__ = ["ClassificationBandit", "load_digits"]

Labels = NDArray[Any]
Features = NDArray[np.float64]
Scale = Literal["unit", "none"]

WHOLE = re.compile(r"-?(0|[1-9]\d*)(\.0+)?")
"""A whole number as text; no 007, which is a name."""


class ClassificationBandit(Bandit):
    """See the features of an example, name its class, be paid 1 if that is right and else 0.

    Every example of the data is equally likely at every step, drawn with replacement. An arm is a
    class: number i is the i-th of `classes`. The observation is the example of the next decision.

    Draws: a reset and a step take one uniform u each, for the next example, number floor(n u).

    An episode has `horizon` steps and is then truncated; it never terminates. The `info` of a step
    belongs to the example that was seen: `regret` (1 minus the reward, a float), `expected_reward`
    (the reward, a float) and `optimal_action` (the right arm, an int). The `info` of a reset is
    empty.

    Args:
        data: `"digits"`: 1,797 handwritten digits in 8 x 8 pixels, the test set of Alpaydin &
            Kaynak (1998). Or features [n, d] and labels [n], as a pair of arrays. Or the path of a
            `.csv` file with a header, or of a `.parquet` file, whose columns are numbers but for
            that of the labels. Labels are whole numbers, or strings.
        label: Name of the column of labels in a file; `"label"` unless given. Only with a path.
        classes: The labels that are arms, in this order. None: those found in the data, sorted.
        scale: `"unit"` maps each feature to [0, 1], from its smallest to its largest value (all 0
            where it is constant); `"none"` leaves them.
        horizon: Steps of an episode, at least 1.
        render_mode: None, `"human"`, `"rgb_array"` or `"ansi"`.

    Raises:
        SettingError: a keyword is outside its range, or does not go with the data.
        DataError: the data cannot be read or used: no numbers, NaN, labels that are no class.
    """

    def __init__(
        self,
        data: str | PathLike[str] | tuple[Any, Any] = "digits",
        *,
        label: str | None = None,
        classes: Sequence[Any] | None = None,
        scale: Scale = "unit",
        horizon: int = 1000,
        render_mode: str | None = None,
    ) -> None:
        if scale not in ("unit", "none"):
            raise SettingError(f"scale must be 'unit' or 'none', got {scale!r}.")
        features, labels = _checked(*_loaded(data, label))
        self.classes, arms = _arms_of(labels, classes)
        if scale == "unit":
            low = features.min(axis=0)
            width = features.max(axis=0) - low
            features = (features - low) / np.where(width > 0.0, width, 1.0)
        reach = (0.0, 1.0) if scale == "unit" else (-np.inf, np.inf)
        self._contexts = Contexts(
            features.astype(np.float32),
            np.eye(len(self.classes))[arms],
            Box(*reach, (features.shape[1],), np.float32),
            payment="exact",
        )
        bounds = Bounds(low=0.0, high=1.0, binary=True)
        super().__init__(self._contexts, horizon=horizon, render_mode=render_mode, bounds=bounds)

    def contextual_model(self, rng: np.random.Generator) -> ContextualModel:
        """A run of `horizon` decisions; see `registry.bandit_models`."""
        return self._contexts.model(self.horizon, rng)


def load_digits() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pixels [1797, 64], 0 to 16, row by row, and the digits that they show, [1797].

    The test set of E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI
    Machine Learning Repository, 1998 (CC BY 4.0), in the order in which scikit-learn ships it.
    """
    with importlib.resources.files(__package__).joinpath("data/digits.npz").open("rb") as file:
        with np.load(file, allow_pickle=False) as arrays:
            return arrays["pixels"], arrays["digits"]


def _loaded(data: Any, label: str | None) -> tuple[Any, Any]:
    """Features and labels, not yet checked."""
    is_path = isinstance(data, str | PathLike) and data != "digits"
    if label is not None and not is_path:
        raise SettingError(f"label={label!r} names a column of a file: it goes with a path alone.")
    if not isinstance(data, str | PathLike):
        if not isinstance(data, tuple | list) or len(data) != 2:
            raise SettingError(
                "data must be 'digits', a pair (features, labels), or the path of a .csv or "
                f".parquet file; got {data!r:.200}."
            )
        return data[0], data[1]
    if not is_path:
        return load_digits()
    return _from_file(Path(fspath(data)).expanduser(), "label" if label is None else label)


def _from_file(path: Path, label: str) -> tuple[Any, Any]:
    """Features and labels of a file."""
    readers = {".csv": _read_csv, ".parquet": _read_parquet}
    if path.suffix not in readers:
        raise SettingError(f"data must be 'digits' or end in .csv or .parquet, got {str(path)!r}.")
    try:
        names, columns = readers[path.suffix](path)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if label not in names:
        raise DataError(
            f"{path} has no column {label!r}, whose values are the classes; label= names it. Its "
            f"columns are {', '.join(names)[:200]}."
        )
    where = names.index(label)
    labels = columns[where]
    others = {i: column for i, column in enumerate(columns) if i != where}
    if path.suffix == ".csv":  # text, until it is read
        labels = _whole(labels)
        for i, column in others.items():
            _check_numbers(path, names[i], column)
    return (list(zip(*others.values(), strict=True)) if others else []), labels


def _whole(labels: list[str]) -> list[Any]:
    """Labels of a CSV file as whole numbers if all of them are written so, else as they are."""
    if all(WHOLE.fullmatch(text) for text in labels):
        return [int(text.partition(".")[0]) for text in labels]
    return labels


def _check_numbers(path: Path, name: str, column: list[str]) -> None:
    """Raises `DataError` where a cell of a CSV file is no number."""
    for line, text in enumerate(column, start=2):
        try:
            float(text)
        except ValueError as error:
            raise DataError(
                f"the features must be numbers, but line {line} of {path} has {text!r} in the "
                f"column {name!r}."
            ) from error


def _read_csv(path: Path) -> tuple[list[str], list[Any]]:
    """Names and columns of a file with a header."""
    with path.open(newline="", encoding="utf-8") as file:
        names, *rows = list(csv.reader(file)) or [[]]
    wrong = [i for i, row in enumerate(rows, start=2) if len(row) != len(names)]
    if wrong:
        raise ValueError(f"line {wrong[0]} has another number of fields than the header")
    return names, [list(column) for column in zip(*rows, strict=True)] or [[] for _ in names]


def _read_parquet(path: Path) -> tuple[list[str], list[Any]]:
    """Names and columns of a file; needs pyarrow."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise SettingError(
            "Parquet files need pyarrow: install it with `pip install 'rlsuite[parquet]'`, or use "
            "a .csv file."
        ) from error
    table = parquet.read_table(path)
    return table.column_names, [column.to_pylist() for column in table.columns]


def _checked(features: Any, labels: Any) -> tuple[Features, Labels]:
    """Features [n, d], finite, and labels [n]; raises `DataError` where they are not."""
    try:
        table = np.array(features, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"the features must be numbers: {error}.") from error
    names = _as_labels(labels)
    if table.ndim != 2 or 0 in table.shape or names.shape != table.shape[:1]:
        raise DataError(
            "the features must be a table [n, d] of at least one number and the labels [n]; got "
            f"the shapes {table.shape} and {names.shape}."
        )
    holes = np.argwhere(~np.isfinite(table))
    if len(holes):
        row, column = holes[0].tolist()
        raise DataError(
            f"the features must be finite, but example {row} has {table[row, column]} as feature "
            f"{column} ({len(holes)} such entries in all): fill them in, or leave these out."
        )
    return table, names


def _as_labels(labels: Any) -> Labels:
    """Labels as whole numbers or strings; raises `DataError` where one is neither."""
    names = np.asarray(labels)
    if names.dtype.kind in "biuUS":
        return names
    each = names.ravel().tolist()
    text = [isinstance(one, str) for one in each]
    whole = [isinstance(one, int) or (isinstance(one, float) and one.is_integer()) for one in each]
    if all(text):  # a column of a data frame
        return names.astype(str)
    if all(whole):  # a column that had gaps, or came through a tool that knows floats alone
        return names.astype(np.int64)
    example = (text if text[0] else whole).index(False)
    raise DataError(
        f"the labels must be whole numbers or strings, but that of example {example} is "
        f"{each[example]!r:.80}."
    )


def _arms_of(labels: Labels, classes: Sequence[Any] | None) -> tuple[list[Any], NDArray[np.int64]]:
    """The classes, and the number of the class of each label."""
    found = np.unique(labels).tolist()
    arms = found if classes is None else list(classes)
    if len(set(arms)) != len(arms) or len(arms) < 2:
        raise SettingError(f"classes must be at least two different labels, got {arms!r:.200}.")
    missing = [name for name in found if name not in set(arms)]
    if missing:
        raise DataError(
            f"classes {arms!r:.200} do not cover the labels of the data: {missing[0]!r} is not "
            "among them."
        )
    number = {name: i for i, name in enumerate(arms)}
    return arms, np.array([number[name] for name in labels.tolist()], np.int64)
