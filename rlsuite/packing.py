"""Records to text and bytes and back, bit for bit, without pickle."""

from __future__ import annotations

import dataclasses
import json
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlsuite.records import CurvePoint, EpisodeRecord, RunKey, RunRecord, TrainingCurve

__all__ = ["Blobs", "pack", "unpack"]

Blobs = dict[str, tuple[str, int, bytes]]
"""Arrays by name, `(dtype, length, bytes)`: little-endian, compressed by zlib with its checksum."""

EPISODE_TYPES = {
    "index": "<i8",
    "seed": "<u8",
    "episode_return": "<f8",
    "length": "<i8",
    "terminated": "|u1",
    "truncated": "|u1",
    "capped": "|u1",
}
TRAINING_TYPES = {
    "step": "<i8",
    "mean": "<f8",
    "minimum": "<f8",
    "maximum": "<f8",
    "length": "<f8",
    "regret": "<f8",
    "episodes": "<i8",
}
APART = ("episodes", "training", "curve", "key")


def pack(record: RunRecord) -> tuple[str, Blobs]:
    """A record as JSON and arrays."""
    plain = {
        field.name: getattr(record, field.name)
        for field in dataclasses.fields(record)
        if field.name not in APART
    }
    plain["key"] = record.key.identity
    plain["curve"] = [dataclasses.asdict(point) for point in record.curve]
    blobs: Blobs = {}
    for name, dtype in EPISODE_TYPES.items():
        column = np.array([getattr(e, name) for e in record.episodes], dtype=dtype)
        blobs[f"episodes.{name}"] = _packed(column)
    if record.training is not None:
        for name, dtype in TRAINING_TYPES.items():
            blobs[f"training.{name}"] = _packed(getattr(record.training, name).astype(dtype))
    return json.dumps(_encoded(plain), allow_nan=False), blobs


def unpack(text: str, blobs: Blobs) -> RunRecord:
    """The inverse of `pack`.

    Raises:
        ValueError, KeyError, TypeError, zlib.error: the text or the arrays are damaged.
    """
    plain = _decoded(json.loads(text))
    columns = {name: _unpacked(blobs[f"episodes.{name}"]) for name in EPISODE_TYPES}
    episodes = tuple(
        EpisodeRecord(
            index=int(row[0]),
            seed=int(row[1]),
            episode_return=float(row[2]),
            length=int(row[3]),
            terminated=bool(row[4]),
            truncated=bool(row[5]),
            capped=bool(row[6]),
        )
        for row in zip(*columns.values(), strict=True)
    )
    training = None
    if "training.step" in blobs:
        training = TrainingCurve(
            **{name: _unpacked(blobs[f"training.{name}"]) for name in TRAINING_TYPES}
        )
    plain["key"] = RunKey(identity=plain["key"])
    plain["curve"] = tuple(CurvePoint(**point) for point in plain["curve"])
    plain["notes"] = tuple(plain["notes"])
    return RunRecord(**plain, episodes=episodes, training=training)


def _packed(array: NDArray[Any]) -> tuple[str, int, bytes]:
    return array.dtype.str, len(array), zlib.compress(array.tobytes(), 6)


def _unpacked(blob: tuple[str, int, bytes]) -> NDArray[Any]:
    dtype, length, data = blob
    kind = np.dtype(dtype)
    limit = length * kind.itemsize
    inflater = zlib.decompressobj()
    raw = inflater.decompress(data, limit + 1)  # never more than what was promised
    if len(raw) != limit or not inflater.eof:
        raise ValueError(f"an array of {limit} bytes holds {len(raw)}")
    return np.frombuffer(raw, dtype=kind).copy()


def _encoded(value: Any) -> Any:
    """JSON knows neither NaN nor infinity: they are written `{"float": "nan"}`."""
    if isinstance(value, Mapping):
        return {str(key): _encoded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encoded(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _encoded(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    return value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"float"}:
            return float(value["float"])
        return {key: _decoded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return value
