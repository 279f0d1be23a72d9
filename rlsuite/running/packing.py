"""Records to text and bytes and back, bit for bit, without pickle."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.bandit_runs import BanditBlock
from rlsuite.records import (
    CurvePoint,
    EpisodeRecord,
    RunKey,
    RunRecord,
    TrainingCurve,
    UpdateCurve,
)

__all__ = [
    "Blobs",
    "decoded",
    "encoded",
    "from_bytes",
    "pack",
    "to_bytes",
    "unpack",
    "unpack_lean",
    "unpacked",
]

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
UPDATES, VALUES = "updates.", "updates.values."
"""Where the arrays of updates are: `updates.step`, `updates.count`, `updates.values.<metric>`."""

BLOCK = "block."
"""Where the arrays of a block of runs are."""

APART = ("episodes", "training", "updates", "curve", "key", "block")


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
    if record.updates is not None:
        blobs[f"{UPDATES}step"] = _packed(record.updates.step.astype("<i8"))
        blobs[f"{UPDATES}count"] = _packed(record.updates.updates.astype("<i8"))
        for name, column in record.updates.values.items():
            blobs[VALUES + name] = _packed(column.astype("<f4"))
    if record.block is not None:
        blobs |= _packed_block(record.block)
    return json.dumps(encoded(plain), allow_nan=False), blobs


def _packed_block(block: BanditBlock) -> Blobs:
    """Rows of arrays one after the other; how many runs and steps there are is an array too."""
    columns: dict[str, NDArray[Any]] = {
        field.name: value.ravel().astype("<i8" if value.dtype.kind == "i" else "<f8")
        for field in dataclasses.fields(block)
        if isinstance(value := getattr(block, field.name), np.ndarray)
    }
    columns["size"] = np.array([block.runs, block.horizon, block.compiled], dtype="<i8")
    return {BLOCK + name: _packed(column) for name, column in columns.items()}


def _unpacked_block(blobs: Blobs) -> BanditBlock | None:
    if f"{BLOCK}size" not in blobs:
        return None
    columns: dict[str, Any] = {
        name.removeprefix(BLOCK): unpacked(blob)
        for name, blob in blobs.items()
        if name.startswith(BLOCK)
    }
    runs, horizon, compiled = columns.pop("size").tolist()
    for name in ("regret_at", "simple_regret_at"):
        columns[name] = columns[name].reshape(runs, len(columns["marks"]))
    return BanditBlock(runs=runs, horizon=horizon, compiled=bool(compiled), **columns)


def unpack(text: str, blobs: Blobs) -> RunRecord:
    """The inverse of `pack`; without any array the record has episodes, training, updates no more.

    Raises:
        ValueError, KeyError, TypeError, zlib.error: the text or the arrays are damaged.
    """
    plain = _plain(text)
    if not blobs:
        return RunRecord(**plain)
    columns = [unpacked(blobs[f"episodes.{name}"]) for name in EPISODE_TYPES]
    flags = [column.astype(bool) if column.dtype == np.uint8 else column for column in columns]
    rows = zip(*(column.tolist() for column in flags), strict=True)
    episodes = tuple([EpisodeRecord(**dict(zip(EPISODE_TYPES, row, strict=True))) for row in rows])
    training = None
    if "training.step" in blobs:
        training = TrainingCurve(
            **{name: unpacked(blobs[f"training.{name}"]) for name in TRAINING_TYPES}
        )
    updates = None
    if f"{UPDATES}step" in blobs:
        names = [name for name in blobs if name.startswith(VALUES)]
        updates = UpdateCurve(
            step=unpacked(blobs[f"{UPDATES}step"]),
            updates=unpacked(blobs[f"{UPDATES}count"]),
            values={name.removeprefix(VALUES): unpacked(blobs[name]) for name in names},
        )
    return RunRecord(
        **plain,
        episodes=episodes,
        training=training,
        updates=updates,
        block=_unpacked_block(blobs),
    )


def unpack_lean(text: str, shared: dict[str, Any]) -> RunRecord:
    """The same without arrays; mappings that many records have in common are held once.

    Args:
        text: of `pack`.
        shared: what was met before, by its text; empty for the first record.

    Raises:
        ValueError, KeyError, TypeError: the text is damaged.
    """
    plain = _plain(text)
    for holder in (plain, plain["key"].identity):
        for name, value in holder.items():
            if value.__class__ is dict:
                holder[name] = shared.setdefault(repr(value), value)
    return RunRecord(**plain)


def _plain(text: str) -> dict[str, Any]:
    """The fields of a record but for its arrays."""
    hook = _decoded_object if '"float"' in text else None  # a call for each object is slow
    plain: dict[str, Any] = json.loads(text, object_hook=hook)
    plain["key"] = RunKey(identity=plain["key"])
    plain["curve"] = tuple([CurvePoint(**point) for point in plain["curve"]])
    plain["notes"] = tuple(plain["notes"])
    return plain


def to_bytes(record: RunRecord) -> bytes:
    """A record as one string of bytes, for a pipe or a file; `from_bytes` is the inverse.

    A line with the SHA-256 of the rest, a line of JSON, and the arrays one after the other.
    """
    text, blobs = pack(record)
    layout = [[name, dtype, length, len(data)] for name, (dtype, length, data) in blobs.items()]
    body = json.dumps({"record": text, "arrays": layout}).encode() + b"\n"
    body += b"".join(data for _, _, data in blobs.values())
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def from_bytes(data: bytes) -> RunRecord:
    """The record of `to_bytes`.

    Raises:
        ValueError: the bytes are torn or damaged.
    """
    digest, _, body = data.partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise ValueError(f"a record of {len(data)} bytes is torn or damaged")
    head, _, arrays = body.partition(b"\n")
    header = json.loads(head)
    blobs: Blobs = {}
    start = 0
    for name, dtype, length, size in header["arrays"]:
        blobs[name] = (dtype, length, arrays[start : start + size])
        start += size
    return unpack(header["record"], blobs)


def _packed(array: NDArray[Any]) -> tuple[str, int, bytes]:
    return array.dtype.str, len(array), zlib.compress(array.tobytes(), 6)


def unpacked(blob: tuple[str, int, bytes]) -> NDArray[Any]:
    """One array.

    Raises:
        ValueError, TypeError, zlib.error: it is damaged.
    """
    dtype, length, data = blob
    kind = np.dtype(dtype)
    limit = length * kind.itemsize
    inflater = zlib.decompressobj()
    raw = inflater.decompress(data, limit + 1)  # never more than what was promised
    if len(raw) != limit or not inflater.eof:
        raise ValueError(f"an array of {limit} bytes holds {len(raw)}")
    return np.frombuffer(raw, dtype=kind).copy()


def encoded(value: Any) -> Any:
    """JSON knows neither NaN nor infinity: they are written `{"float": "nan"}`."""
    if isinstance(value, Mapping):
        return {str(key): encoded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encoded(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return encoded(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    return value


def decoded(value: Any) -> Any:
    """The inverse of `encoded`; lists stay lists."""
    if isinstance(value, dict):
        return _decoded_object({key: decoded(item) for key, item in value.items()})
    if isinstance(value, list):
        return [decoded(item) for item in value]
    return value


def _decoded_object(value: dict[str, Any]) -> Any:
    return float(value["float"]) if value.keys() == {"float"} else value
