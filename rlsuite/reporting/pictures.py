"""Pictures of what was learned: for each task a few frames of one episode of a trained policy.

The policies are those that a benchmark keeps beside its store; nothing is trained. For each task it
is the run in the middle of the agent with the best mean, so neither a lucky nor an unlucky one, and
its first evaluation episode. The same store gives the same pictures.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError
from registry.specs import TaskSpec
from rlsuite.records import RunRecord
from rlsuite.reporting.axes import thin

__all__ = ["Filmstrip", "Frame", "film_strip", "task_pictures"]

FRAMES = 5
"""Frames of a strip: the start, the end, and what lies evenly between."""

SIDE = 320
"""Pixels of the longer side of a frame; larger ones are made smaller."""

STEPS = 2_000
"""Steps after which an episode is filmed no further."""

TASKS = 40
"""Tasks of a report that get pictures: the first ones."""

PAGE_BYTES = 3 * 2**20
"""Size of all pictures together above which no more are made."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A PNG, and the step after which it was taken."""

    step: int
    png: bytes

    @property
    def uri(self) -> str:
        """The picture as part of a page."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Filmstrip:
    """One episode of a trained policy in a few frames; or `note`, why it could not be shown.

    `episode_return` is None where the episode was not filmed to its end.
    """

    agent: str
    seed: int
    frames: tuple[Frame, ...] = ()
    steps: int = 0
    episode_return: float | None = None
    note: str = ""


def task_pictures(records: Sequence[RunRecord], store: Path) -> dict[str, Filmstrip]:
    """A strip for each task that has a picture and a policy beside the store, by task id.

    Args:
        records: finished cells of the store.
        store: its file.
    """
    from rlsuite.running.reusing import policies_folder

    found: dict[str, Filmstrip] = {}
    if not policies_folder(store).is_dir():
        return found
    size = 0
    for task, record, policy in _candidates(records, store):
        if len(found) == TASKS or size > PAGE_BYTES:
            break
        strip = _strip_of(record, policy)
        if strip is not None:
            found[task] = strip
            size += sum(len(frame.png) for frame in strip.frames)
    return found


def _candidates(records: Sequence[RunRecord], store: Path) -> Iterator[tuple[str, RunRecord, Path]]:
    """Each task with the run to show and the file of its policy, if there is one."""
    from rlsuite.running.policies import FINAL
    from rlsuite.running.reusing import shelf_of

    by_task: dict[str, dict[str, list[RunRecord]]] = {}
    for record in records:
        if record.state == "ok" and record.mean_return is not None:
            agents = by_task.setdefault(record.task, {})
            agents.setdefault(record.agent, []).append(record)
    for task in sorted(by_task):
        best = max(sorted(by_task[task].items()), key=lambda item: _mean(item[1]))[1]
        ordered = sorted(best, key=lambda r: (_return(r), r.seed))
        middle = ordered[(len(ordered) - 1) // 2]
        policy = shelf_of(store, middle.key).file(FINAL)
        if policy.is_file():
            yield task, middle, policy


def _return(record: RunRecord) -> float:
    assert record.mean_return is not None
    return record.mean_return


def _mean(records: Sequence[RunRecord]) -> float:
    return sum(map(_return, records)) / len(records)


def _strip_of(record: RunRecord, policy: Path) -> Filmstrip | None:
    """The strip of a run; None where its environment has no picture or its agent is no name."""
    from rlsuite.sessions import load_policy
    from rlsuite.showing.playing import with_picture

    device = str(record.key.identity["device"])
    blank = Filmstrip(agent=record.agent, seed=record.seed)
    try:
        task = with_picture(task_of(record.key.identity["task"]))
    except SettingError:
        return None
    except Exception as error:  # of somebody's environment: it may be any
        return replace(blank, note=f"{type(error).__name__}: {error}")
    try:
        agent = load_policy(record.agent_id, policy, task, {}, device=device)
        greedy = bool(record.key.identity["evaluation"]["deterministic"])
        return film_strip(agent, task, blank, deterministic=greedy)
    except Exception as error:  # of somebody's agent or environment: it may be any
        return replace(blank, note=f"{type(error).__name__}: {error}")


def task_of(identity: Mapping[str, Any]) -> TaskSpec:
    """The task as a key holds it."""
    fields = dict(identity)
    fields["wrappers"] = tuple((name, keywords) for name, keywords, _ in identity["wrappers"])
    return TaskSpec(**fields)


def film_strip(agent: Any, task: TaskSpec, blank: Filmstrip, *, deterministic: bool) -> Filmstrip:
    """Plays the first evaluation episode of a run and takes a few frames of it.

    Args:
        agent: what can predict.
        task: with `render_mode="rgb_array"` among its keywords.
        blank: names the agent and the seed, which is the root of the episode.
        deterministic: whether the agent is greedy.

    Raises:
        SettingError: the environment gives no picture.
    """
    from rlsuite.episodes import Seat, driver_for
    from rlsuite.isolation import global_streams, no_screen, one_thread
    from rlsuite.making import make_environment

    with no_screen(), closing(make_environment(task)) as env, global_streams(), one_thread():
        driver, seat = driver_for(agent, env, deterministic), Seat(env)
        seat.start(0, blank.seed)
        driver.start(seat, blank.seed)
        kept, stride, record = [(0, _picture(env))], 1, None
        while record is None and seat.length < STEPS:
            record = seat.step(driver.actions([seat])[0], STEPS)
            if seat.length % stride == 0:
                kept.append((seat.length, _picture(env)))
            if len(kept) > 8 * FRAMES:  # so that few frames of a long episode are drawn and held
                kept, stride = kept[::2], 2 * stride
        if kept[-1][0] != seat.length:
            kept.append((seat.length, _picture(env)))
    chosen = [kept[index] for index in thin(len(kept), FRAMES)]
    ended = record is not None and not record.capped
    return replace(
        blank,
        frames=tuple(Frame(step, _png(picture)) for step, picture in chosen),
        steps=seat.length,
        episode_return=seat.total if ended else None,
    )


def _picture(env: Any) -> NDArray[np.uint8]:
    picture = env.render()
    if not isinstance(picture, np.ndarray) or picture.ndim != 3:
        raise SettingError(f"render() gave {type(picture).__name__}, not a picture [H, W, 3].")
    return picture


def _png(picture: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    image = Image.fromarray(picture)
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    small = image.quantize(64, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    out = io.BytesIO()
    small.save(out, format="PNG", optimize=True)
    return out.getvalue()
