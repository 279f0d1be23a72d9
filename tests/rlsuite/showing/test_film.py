"""Films: every frame in its colours and for its time, written without a screen."""

from __future__ import annotations

import builtins
import importlib
import sys
import types
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

from registry.errors import SettingError
from rlsuite.showing.film import Film, refuse_film


def flat(color: tuple[int, int, int], height: int = 4, width: int = 6) -> np.ndarray:
    return np.full((height, width, 3), color, np.uint8)


def frames_of(path: Path) -> list[tuple[np.ndarray, int]]:
    """Pixels and milliseconds of every frame."""
    found = []
    with Image.open(path) as image:
        for k in range(image.n_frames):
            image.seek(k)
            found.append((np.asarray(image.convert("RGB")), image.info["duration"]))
    return found


def test_a_gif_has_exactly_what_was_shown(tmp_path):
    film = Film(fps=10)
    shown = [flat((255, 255, 255)), flat((213, 94, 0)), flat((243, 244, 246))]
    for frame in shown:
        film.add(frame)
    film.add(flat((0, 0, 0)), ends=True)
    film.write(tmp_path / "a.gif")
    found = frames_of(tmp_path / "a.gif")
    assert len(film) == len(found) == 4
    for (pixels, _), frame in zip(found, [*shown, flat((0, 0, 0))], strict=True):
        np.testing.assert_array_equal(pixels, frame)
    assert [ms for _, ms in found] == [100, 100, 100, 1500]  # the end of an episode stays


def test_many_colours_keep_the_common_ones_and_come_near_the_others(tmp_path):
    rng = np.random.default_rng(0)
    frame = flat((255, 255, 255), 40, 60)
    frame[20:] = rng.integers(0, 256, (20, 60, 3), np.uint8)
    film = Film(fps=5)
    film.add(frame)
    film.write(tmp_path / "a.gif")
    ((pixels, _),) = frames_of(tmp_path / "a.gif")
    np.testing.assert_array_equal(pixels[:20], frame[:20])
    assert np.abs(pixels[20:].astype(int) - frame[20:]).mean() < 40


def test_the_same_frames_give_the_same_bytes(tmp_path):
    for name in ("a.gif", "b.gif"):
        film = Film(fps=3)
        for color in ((1, 2, 3), (9, 9, 9)):
            film.add(flat(color))
        film.write(tmp_path / name)
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


def test_smaller_frames_are_put_on_white(tmp_path):
    film = Film(fps=3)
    film.add(flat((0, 0, 0), 4, 6))
    film.add(flat((0, 0, 0), 2, 3))
    film.write(tmp_path / "a.gif")
    last = frames_of(tmp_path / "a.gif")[-1][0]
    assert last.shape == (4, 6, 3)
    assert last[1, 1].tolist() == [0, 0, 0]
    assert last[3, 5].tolist() == [255, 255, 255]


def test_an_empty_film_is_refused(tmp_path):
    with pytest.raises(SettingError, match="no frame was shown"):
        Film(fps=3).write(tmp_path / "a.gif")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.avi", r"a \.gif or an \.mp4 file, got .*a\.avi"),
        ("nowhere/a.gif", "its folder does not exist"),
        ("folder.gif", "it is a folder"),
    ],
)
def test_what_cannot_be_written_is_refused_at_once(tmp_path, name, said):
    (tmp_path / "folder.gif").mkdir()
    with pytest.raises(SettingError, match=said):
        refuse_film(tmp_path / name)


def test_an_mp4_without_the_extra_is_a_sentence(tmp_path, monkeypatch):
    def missing(name, *args):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(gym.error.DependencyNotInstalled, match=r"pip install 'rlsuite\[video\]'"):
        refuse_film(tmp_path / "a.mp4")


def test_an_mp4_holds_the_last_frame_for_its_time(tmp_path, monkeypatch):
    """Against a writer that counts: the codec itself is imageio's business."""
    written: list[np.ndarray] = []

    class Writer:
        def __init__(self, path, **settings):
            assert settings["fps"] == 4
            assert settings["macro_block_size"] == 2

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        append_data = staticmethod(written.append)

    fake = types.ModuleType("imageio.v2")
    fake.get_writer = Writer
    monkeypatch.setitem(sys.modules, "imageio", types.ModuleType("imageio"))
    monkeypatch.setitem(sys.modules, "imageio.v2", fake)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", types.ModuleType("imageio_ffmpeg"))
    film = Film(fps=4)
    film.add(flat((0, 0, 0)))
    film.add(flat((9, 9, 9)), ends=True)
    film.write(tmp_path / "a.mp4")
    assert [int(frame[0, 0, 0]) for frame in written] == [0] + [9] * 6  # 1.5 s at 4 a second


# imageio-ffmpeg leaves the pipes of its process to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_real_mp4(tmp_path):
    imageio = pytest.importorskip("imageio.v2", reason="the extra video is not installed")
    pytest.importorskip("imageio_ffmpeg", reason="the extra video is not installed")
    film = Film(fps=4)
    for shade in (0, 128, 255):
        film.add(flat((shade, shade, shade), 64, 96))
    film.write(tmp_path / "a.mp4")
    with imageio.get_reader(tmp_path / "a.mp4") as reader:
        shades = [float(frame.mean()) for frame in reader]
    assert shades == pytest.approx([0, 128, 255], abs=6)


def test_a_gif_needs_no_pygame(tmp_path, monkeypatch):
    real = builtins.__import__

    def guarded(name, *args, **kwargs):
        assert not name.startswith(("pygame", "imageio"))
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", guarded)
    film = Film(fps=3)
    film.add(flat((1, 2, 3)))
    film.write(tmp_path / "a.gif")
    assert (tmp_path / "a.gif").stat().st_size > 0
