"""Arms of a bandit: what they have paid so far, how often they were pulled, how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from rlsuite_envs.rendering.canvas import (
    BLUE,
    CELL,
    FAINT,
    INK,
    LINE,
    MUTED,
    ORANGE,
    PAPER,
    SKY,
    Canvas,
    Frame,
)
from rlsuite_envs.rendering.font import text_width
from rlsuite_envs.rendering.grid import number

__all__ = ["Bounds", "Pulls", "frame", "interval", "text"]

WIDTH, LEFT, RIGHT = 560, 66, 16
TOP, PLOT, BARS, FOOT = 40, 188, 56, 54
"""Pixels: above the plot, the plot of the means, the bars of the counts, labels and caption."""

CONTEXT = 40
"""Pixels that a context takes above the plot."""

Z = 1.959963984540054
"""The 97.5% point of the normal distribution."""

WIDE = 24
"""More features than this do not fit into a row."""

LABEL, APART = 26, 10
"""Pixels that the count above a bar needs, and at least between two labels of arms."""

DENSE = 60
"""More arms than this are drawn thin: intervals without caps, means without a rim."""


@dataclass(slots=True)
class Pulls:
    """What was seen of the arms in this episode.

    Attributes:
        counts: Pulls of each arm.
        sums: Sum of its rewards.
        squares: Sum of their squares.
        last: Arm and reward of the last pull.
    """

    counts: list[int]
    sums: list[float]
    squares: list[float]
    last: tuple[int, float] | None = field(default=None)

    @classmethod
    def none(cls, n_arms: int) -> Pulls:
        """Before the first pull."""
        return cls([0] * n_arms, [0.0] * n_arms, [0.0] * n_arms)

    def saw(self, arm: int, reward: float) -> None:
        """Counts a pull."""
        self.counts[arm] += 1
        self.sums[arm] += reward
        self.squares[arm] += reward * reward
        self.last = (arm, reward)

    def forget(self) -> None:
        """Back to the start of an episode."""
        n = len(self.counts)
        self.counts, self.sums, self.squares, self.last = [0] * n, [0.0] * n, [0.0] * n, None


@dataclass(frozen=True, slots=True)
class Bounds:
    """The axis of the means, and whether rewards are 0 or 1."""

    low: float
    high: float
    binary: bool


def interval(pulls: Pulls, arm: int, binary: bool) -> tuple[float, float] | None:
    """A 95% interval of the arm's mean: Wilson's for rewards of 0 or 1, else the normal one.

    None where there are too few pulls for one: none at all, or one that is not 0 or 1.
    """
    n = pulls.counts[arm]
    if n < (1 if binary else 2):
        return None
    mean = pulls.sums[arm] / n
    if binary:
        middle = (mean + Z * Z / (2 * n)) / (1 + Z * Z / n)
        half = Z / (1 + Z * Z / n) * math.sqrt(mean * (1 - mean) / n + Z * Z / (4 * n * n))
        return middle - half, middle + half
    spread = max(pulls.squares[arm] - n * mean * mean, 0.0) / (n - 1)
    half = Z * math.sqrt(spread / n)
    return mean - half, mean + half


def frame(
    pulls: Pulls,
    bounds: Bounds,
    caption: str,
    *,
    context: Sequence[float] | None = None,
    truth: Sequence[float] | None = None,
) -> Frame:
    """The picture of a bandit: uint8 [height, 560, 3].

    Args:
        pulls: What was seen so far.
        bounds: The axis of the means.
        caption: A few words below.
        context: The features, plus and minus ones, drawn as filled and empty squares.
        truth: The true mean of each arm, drawn as diamonds; None keeps it secret.
    """
    top = TOP + (0 if context is None else CONTEXT)
    canvas = Canvas(top + PLOT + BARS + FOOT, WIDTH)
    if context is not None:
        _draw_context(canvas, context)
    if pulls.last is not None:
        x, width = _column(pulls, pulls.last[0])
        canvas.box(x, top - 10, width, PLOT + BARS + 36, CELL, radius=min(6, width / 2))
    _draw_axis(canvas, top, bounds)
    for arm in range(len(pulls.counts)):
        _draw_arm(canvas, top, pulls, bounds, arm)
    _draw_labels(canvas, top + PLOT + BARS, pulls)
    if truth is not None:
        _draw_truth(canvas, top, pulls, bounds, truth)
    below = 14 if _label_step(len(pulls.counts)) == 1 else 11
    canvas.text(LEFT, canvas.pixels.shape[0] - below, caption, 10, MUTED)
    return canvas.pixels


def text(
    pulls: Pulls,
    bounds: Bounds,
    caption: str,
    *,
    context: Sequence[float] | None = None,
    truth: Sequence[float] | None = None,
) -> str:
    """The same as a table: arm, pulls, mean, 95% interval."""
    lines = (
        [] if context is None else ["context " + "".join("+" if x > 0 else "-" for x in context)]
    )
    lines.append(f"  arm  pulls    mean  95% interval{'' if truth is None else '      true'}")
    for arm, n in enumerate(pulls.counts):
        last = ">" if pulls.last is not None and pulls.last[0] == arm else " "
        mean = f"{pulls.sums[arm] / n:7.3f}" if n else "      -"
        ends = interval(pulls, arm, bounds.binary)
        shown = "-" if ends is None else f"[{ends[0]:.3f}, {ends[1]:.3f}]"
        row = f"{last} {arm:3d}  {n:5d} {mean}  {shown}"
        lines.append(row if truth is None else f"{row:<36}{truth[arm]:7.3f}")
    return "\n".join([*lines, caption]) + "\n"


def _column(pulls: Pulls, arm: int) -> tuple[float, float]:
    """Left edge and width of an arm's column."""
    width = (WIDTH - LEFT - RIGHT) / len(pulls.counts)
    shown = min(width, 72.0)
    return LEFT + arm * width + (width - shown) / 2, shown


def _height(top: int, bounds: Bounds, value: float) -> float:
    share = (value - bounds.low) / (bounds.high - bounds.low)
    return top + PLOT * (1.0 - min(max(share, 0.0), 1.0))


def _draw_context(canvas: Canvas, context: Sequence[float]) -> None:
    canvas.text(LEFT - 10, 34, "context", 9, MUTED, anchor="right", weight=0.12)
    if len(context) > WIDE:
        _draw_wide_context(canvas, context)
        return
    side = min(20.0, (WIDTH - LEFT - RIGHT) / len(context) - 4)
    for i, feature in enumerate(context):
        x = LEFT + i * (side + 4)
        canvas.box(x, 18, side, side, BLUE, radius=3)
        if feature <= 0:
            canvas.box(x + 1.5, 19.5, side - 3, side - 3, PAPER, radius=2)


def _draw_wide_context(canvas: Canvas, context: Sequence[float]) -> None:
    """Many features as a block of cells, square if their number is: small images are seen as such.

    A cell is filled in the upper half of the range of the features shown.
    """
    side = math.isqrt(len(context))
    columns = side if side * side == len(context) else math.ceil(len(context) / 4)
    rows = math.ceil(len(context) / columns)
    cell = min(40.0 / rows, (WIDTH - LEFT - RIGHT) / columns)
    half = (max(context) + min(context)) / 2.0
    for i, feature in enumerate(context):
        y, x = divmod(i, columns)
        color = BLUE if feature > half else LINE
        canvas.box(LEFT + x * cell, 6 + y * cell, cell - 0.5, cell - 0.5, color)


def _draw_axis(canvas: Canvas, top: int, bounds: Bounds) -> None:
    """Lines at quarters of the axis, and the line on which the counts stand."""
    canvas.text(LEFT, top - 16, "mean reward and its 95% interval", 9, MUTED, weight=0.12)
    for i in range(5):
        value = bounds.low + (bounds.high - bounds.low) * i / 4
        y = round(_height(top, bounds, value))
        canvas.fill(LEFT, y, WIDTH - LEFT - RIGHT, 1, LINE)
        canvas.text(
            LEFT - 10, y + 5, number(round(value, 2)), 9, MUTED, anchor="right", weight=0.12
        )
    canvas.fill(LEFT, top + PLOT + BARS, WIDTH - LEFT - RIGHT, 1, FAINT)
    canvas.text(LEFT - 10, top + PLOT + BARS, "pulls", 9, MUTED, anchor="right", weight=0.12)


def _draw_arm(canvas: Canvas, top: int, pulls: Pulls, bounds: Bounds, arm: int) -> None:
    left, width = _column(pulls, arm)
    center, n = left + width / 2, pulls.counts[arm]
    base = top + PLOT + BARS
    bar = (BARS - 26) * n / max(1, *pulls.counts)
    half = min(0.3 * width, 18.0)
    canvas.box(center - half, base - bar, 2 * half, bar, SKY)
    if width >= LABEL:
        canvas.text(center, base - bar - 5, str(n), 8, INK, anchor="center")
    dense = len(pulls.counts) > DENSE
    ends = interval(pulls, arm, bounds.binary)
    thick = min(0.4 * width, 1.5) if dense else max(min(0.09 * width, 5.0), 1.5)
    if ends is not None:
        low, high = (_height(top, bounds, end) for end in ends)
        canvas.line([(center, low), (center, high)], thick, SKY)
        cap = min(0.16 * width, 9.0)
        for y in () if dense else (low, high):
            canvas.line([(center - cap, y), (center + cap, y)], thick * 0.7, SKY)
    if n:
        y = _height(top, bounds, pulls.sums[arm] / n)
        if dense:
            canvas.disc(center, y, min(max(0.4 * width, 1.8), 3.0), BLUE)
            return
        canvas.disc(center, y, thick + 3.5, PAPER)
        canvas.disc(center, y, thick + 2.0, BLUE)


def _label_step(n_arms: int) -> int:
    """Every how many arms one is labelled, so that labels stay apart: 1, 2, 5, 10, 20, 50, ..."""
    room = (WIDTH - LEFT - RIGHT) / n_arms
    needed = (text_width(str(n_arms - 1), 10) + APART) / room
    unit = 1
    while 5 * unit < needed:
        unit *= 10
    return next(step for step in (unit, 2 * unit, 5 * unit) if step >= needed)


def _draw_labels(canvas: Canvas, base: int, pulls: Pulls) -> None:
    """The numbers of the arms, and where some are left out, what they number."""
    step = _label_step(len(pulls.counts))
    # apart from the caption, which would else be read as one more row of numbers
    foot = base + (18 if step == 1 else 16)
    if step > 1:
        canvas.text(LEFT - 10, foot, "arm", 9, MUTED, anchor="right", weight=0.12)
    for arm in range(0, len(pulls.counts), step):
        left, width = _column(pulls, arm)
        color = BLUE if pulls.last is not None and pulls.last[0] == arm else MUTED
        canvas.text(left + width / 2, foot, str(arm), 10, color, anchor="center", weight=0.15)


def _draw_truth(
    canvas: Canvas, top: int, pulls: Pulls, bounds: Bounds, truth: Sequence[float]
) -> None:
    for arm, mean in enumerate(truth):
        left, width = _column(pulls, arm)
        x, y, r = left + width / 2, _height(top, bounds, mean), max(min(0.12 * width, 7.0), 2.5)
        rim = 0.5 if len(truth) > DENSE else 1.5
        for color, size in ((PAPER, r + rim), (ORANGE, r)):
            canvas.polygon([(x, y - size), (x + size, y), (x, y + size), (x - size, y)], color)
