"""A checkpoint gives back what it was given, and every damage is one sentence."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import save_file

from registry.errors import CheckpointError, SettingError
from rlsuite_agents.parts import checkpoint
from rlsuite_agents.parts.checkpoint import (
    generator_state,
    load_checkpoint,
    restore_generator,
    save_checkpoint,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    rate: float = 0.1
    layers: tuple[int, ...] = (64, 64)

    def __post_init__(self):
        if not 0 < self.rate <= 1:
            raise SettingError(f"Config.rate must be in (0, 1], got {self.rate!r}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Narrower:
    rate: float = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Wider:
    rate: float = 0.1
    layers: tuple[int, ...] = (64, 64)
    momentum: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Stricter(Config):
    layers: tuple[int, ...] = ()

    def __post_init__(self):
        raise SettingError("Stricter.layers must be empty, got two.")


def write(path, **changes):
    kwargs = {
        "agent": "test/Agent-v0",
        "config": Config(rate=0.25, layers=(3, 5)),
        "arrays": {"w": np.arange(6.0).reshape(2, 3), "n": np.array(7), "none": np.zeros((0, 2))},
        "state": {"steps": 3, "deep": {"x": [0.1, np.float64(0.2)]}, "flag": True, "none": None},
    }
    save_checkpoint(path, **{**kwargs, **changes})
    return path


def read(path, agent="test/Agent-v0", config_type=Config):
    return load_checkpoint(path, agent=agent, config_type=config_type)


def test_round_trip(tmp_path):
    found = read(write(tmp_path / "a.ckpt"))
    assert found.config == Config(rate=0.25, layers=(3, 5))
    assert found.state == {"steps": 3, "deep": {"x": [0.1, 0.2]}, "flag": True, "none": None}
    np.testing.assert_array_equal(found.array("w", (2, 3)), [[0, 1, 2], [3, 4, 5]])
    assert found.array("n", (), np.int64) == 7
    assert found.array("none", (0, 2)).shape == (0, 2)
    assert found.value("steps", int) == 3
    assert found.value("none", (int, type(None))) is None


@given(
    array=hnp.arrays(
        st.sampled_from([np.float64, np.float32, np.int64, np.bool_, np.uint8]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0),
        elements={"allow_nan": False, "allow_infinity": False},
    )
)
def test_any_array_comes_back_bit_for_bit(array, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "property.ckpt"
    for layout in (array, array.T, array[::-1] if array.ndim else array):
        write(path, arrays={"x": layout})
        back = read(path).array("x", layout.shape, layout.dtype)
        assert back.tobytes() == layout.tobytes()


def test_a_loaded_array_can_be_written_to(tmp_path):
    found = read(write(tmp_path / "a.ckpt"))
    found.array("w", (2, 3))[0, 0] = 5.0
    assert found.array("w", (2, 3))[0, 0] == 0.0


def test_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint .*gone\.ckpt: it does not exist"):
        read(tmp_path / "gone.ckpt")


def test_folder_instead_of_a_file(tmp_path):
    with pytest.raises(CheckpointError, match="it is a folder"):
        read(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated_file(tmp_path, share):
    path = write(tmp_path / "a.ckpt")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match="truncated, or not a checkpoint"):
        read(path)


@pytest.mark.parametrize("content", [b"just some text\n" * 20, b"{}", b"\x80\x04K\x01."])
def test_some_other_file(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="truncated, or not a checkpoint"):
        read(path)


def test_foreign_safetensors(tmp_path):
    save_file({"w": np.zeros(2)}, tmp_path / "weights.safetensors")
    with pytest.raises(CheckpointError, match="but not a checkpoint of rlsuite"):
        read(tmp_path / "weights.safetensors")


def test_unreadable_header(tmp_path):
    save_file({}, tmp_path / "a.ckpt", metadata={"rlsuite": "0 [1"})
    with pytest.raises(CheckpointError, match="its header is not readable"):
        read(tmp_path / "a.ckpt")


def test_every_flipped_bit_is_noticed(tmp_path):
    path = write(tmp_path / "a.ckpt", state={})
    content = path.read_bytes()
    for position in np.random.default_rng(0).integers(8, len(content), size=60):
        damaged = bytearray(content)
        damaged[position] ^= 1
        path.write_bytes(bytes(damaged))
        with pytest.raises(CheckpointError):
            read(path)


def test_checksum(tmp_path):
    path = write(tmp_path / "a.ckpt")
    content = bytearray(path.read_bytes())
    content[-3] ^= 4  # inside a weight
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="do not match its checksum"):
        read(path)


def test_other_agent(tmp_path):
    path = write(tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="of 'test/Agent-v0', not of 'test/Other-v0'"):
        read(path, agent="test/Other-v0")


def test_newer_version(tmp_path, monkeypatch):
    path = tmp_path / "a.ckpt"
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    write(path)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=r"format 2, written by rlsuite .* reads format 1"):
        read(path)


def test_unknown_setting(tmp_path):
    with pytest.raises(CheckpointError, match="has the setting 'layers'"):
        read(write(tmp_path / "a.ckpt"), config_type=Narrower)


def test_missing_setting(tmp_path):
    with pytest.raises(CheckpointError, match="lacks the setting 'momentum'"):
        read(write(tmp_path / "a.ckpt"), config_type=Wider)


def test_refused_setting(tmp_path):
    with pytest.raises(CheckpointError, match=r"a setting that is refused: Stricter\.layers"):
        read(write(tmp_path / "a.ckpt"), config_type=Stricter)


def test_missing_array_wrong_shape_and_wrong_dtype(tmp_path):
    found = read(write(tmp_path / "a.ckpt"))
    with pytest.raises(CheckpointError, match="lacks the array 'b'; it holds"):
        found.array("b", (2,))
    with pytest.raises(CheckpointError, match=r"'w' should be float64 of shape \(3, 2\)"):
        found.array("w", (3, 2))
    with pytest.raises(CheckpointError, match="'w' should be float32"):
        found.array("w", (2, 3), np.float32)


@pytest.mark.parametrize(("name", "kind"), [("steps", str), ("flag", int), ("gone", int)])
def test_wrong_value(tmp_path, name, kind):
    found = read(write(tmp_path / "a.ckpt"))
    with pytest.raises(CheckpointError, match=f"'{name}' should be of type {kind.__name__}"):
        found.value(name, kind)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_weights_are_not_written_and_not_read(tmp_path, bad):
    path = write(tmp_path / "a.ckpt")
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match="was not written: the array 'w' holds NaN"):
        write(path, arrays={"w": np.array([1.0, bad])})
    assert path.read_bytes() == before
    write(path, arrays={"w": np.array([1.0, bad])}, allow_nan=frozenset({"w"}))
    found = read(path)
    with pytest.raises(CheckpointError, match="the array 'w' holds NaN"):
        found.array("w", (2,))
    assert found.array("w", (2,), nan=True)[0] == 1.0


@pytest.mark.parametrize("state", [{"x": object()}, {"x": float("nan")}])
def test_state_that_json_cannot_hold(tmp_path, state):
    with pytest.raises(CheckpointError, match="state is not plain JSON"):
        write(tmp_path / "a.ckpt", state=state)
    assert list(tmp_path.iterdir()) == []


def test_missing_folder(tmp_path):
    with pytest.raises(CheckpointError, match=r"was not written: No such file.*in a folder that"):
        write(tmp_path / "no" / "a.ckpt")


def test_full_disk_leaves_the_old_checkpoint_and_no_litter(tmp_path, monkeypatch):
    path = write(tmp_path / "a.ckpt")
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        write(path, state={"steps": 4})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", [np.random.PCG64, np.random.MT19937, np.random.Philox])
def test_a_generator_goes_on_where_it_was(tmp_path, kind):
    rng = np.random.Generator(kind(3))
    rng.random(5)
    path = write(tmp_path / "a.ckpt", state={"rng": generator_state(rng)})
    expected = rng.random(7)
    other = np.random.Generator(kind(0))
    restore_generator(other, read(path).state["rng"])
    np.testing.assert_array_equal(other.random(7), expected)


def test_generator_state_of_another_kind():
    state = generator_state(np.random.Generator(np.random.MT19937(0)))
    with pytest.raises(CheckpointError, match="not the state of a PCG64 generator"):
        restore_generator(np.random.default_rng(0), state)
    with pytest.raises(CheckpointError, match="not the state of a PCG64 generator"):
        restore_generator(np.random.default_rng(0), None)


def test_damaged_generator_state():
    state = generator_state(np.random.default_rng(0))
    with pytest.raises(CheckpointError, match="state of a PCG64 generator is damaged"):
        restore_generator(np.random.default_rng(0), {**state, "state": {"state": 1}})


def test_equal_agents_give_equal_bytes(tmp_path):
    files = [write(tmp_path / f"{k}.ckpt").read_bytes() for k in range(8)]
    assert len(set(files)) == 1


@pytest.mark.skipif(os.name != "posix", reason="permissions of Unix")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_checkpoint_is_as_open_as_the_umask_says(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write(tmp_path / "a.safetensors")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.safetensors").stat().st_mode) == mode
