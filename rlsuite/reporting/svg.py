"""Pieces of SVG: places, colours, texts, markers. Every text is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

__all__ = [
    "CHAR",
    "GRID",
    "WIDTH",
    "at",
    "colour",
    "compact",
    "dash",
    "marker",
    "minus",
    "points",
    "short",
    "svg",
    "text",
    "tooltip",
]

WIDTH = 400
_COLOURS = (
    "#0072b2",
    "#d55e00",
    "#00875f",
    "#a5498b",
    "#a87600",
    "#4d5663",
    "#3f9fd8",
    "#8a5a36",
)
_DASHES = ("", "7 3", "2 3", "9 3 2 3")
CHAR = 6.8  # width of an average character at 12 px

GRID = 'stroke="currentColor" stroke-width="1" opacity="0.16"'
_TEXT_OPACITY = {"tick": "0.75", "axis-title": "0.75", "reference": "0.85"}


def compact(value: float, largest: float | None = None) -> str:
    """A tick's label with a proper minus sign: `0.25`, `1,500`, `20k`, `1.5M`.

    `largest` settles the unit for a whole axis, so that 0, 5k and 10k stand together.
    """
    size = abs(value if largest is None else largest)
    for limit, factor, suffix in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if size >= limit and value:
            return minus(f"{value / factor:.6g}{suffix}")
    return minus(f"{value:,.6g}")


def marker(
    x: float, y: float, style: int, size: float, words: str = "", opacity: float = 1.0
) -> str:
    """A circle, square, triangle or diamond, with its value as a tooltip."""
    shape = (style + style // len(_COLOURS)) % 4
    paint = f'style="fill:{colour(style)}"' + (f' opacity="{opacity}"' if opacity < 1 else "")
    tip = tooltip(words) if words else ""
    if shape == 0:
        return f'<circle cx="{at(x)}" cy="{at(y)}" r="{size}" {paint}>{tip}</circle>'
    a = size * 0.95
    corners = {
        1: [(x - a, y - a), (x + a, y - a), (x + a, y + a), (x - a, y + a)],
        2: [(x, y - 1.3 * a), (x + 1.2 * a, y + a), (x - 1.2 * a, y + a)],
        3: [(x, y - 1.4 * a), (x + 1.4 * a, y), (x, y + 1.4 * a), (x - 1.4 * a, y)],
    }[shape]
    return f'<polygon points="{points(corners)}" {paint}>{tip}</polygon>'


def text(x: float, y: float, words: str, anchor: str = "start", css: str = "label") -> str:
    """Words at a place, escaped; `css` is their class and settles how faint they are."""
    where = f'x="{at(x)}" y="{at(y)}"' + (f' text-anchor="{anchor}"' if anchor != "start" else "")
    faint = f' opacity="{_TEXT_OPACITY[css]}"' if css in _TEXT_OPACITY else ""
    return f'<text class="{css}" {where}{faint}>{escape(words)}</text>'


def svg(ident: str, title: str, description: str, height: float, parts: Sequence[str]) -> str:
    """The whole drawing, with its title and description for readers who do not see it."""
    name = escape(ident)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {WIDTH} {at(height)}" '
        f'role="img" aria-labelledby="{name}-title {name}-desc" font-size="12" '
        f'fill="currentColor"><title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-desc">{escape(description)}</desc>{"".join(parts)}</svg>'
    )


def tooltip(words: str) -> str:
    """What a pointer resting on the surrounding element shows."""
    return f"<title>{escape(words)}</title>"


def short(label: str, limit: int) -> str:
    """The label, or its beginning with an ellipsis."""
    return label if len(label) <= limit else f"{label[: limit - 1]}…"


def colour(style: int) -> str:
    """The colour of a series as a CSS variable with a fallback; eight differ, then they repeat."""
    index = style % len(_COLOURS)
    return f"var(--series-{index + 1},{_COLOURS[index]})"


def dash(style: int) -> str:
    """Neighbouring styles differ in dash; the pattern shifts when the colours start again."""
    pattern = _DASHES[(style + style // len(_COLOURS)) % len(_DASHES)]
    return f'stroke-dasharray="{pattern}" ' if pattern else ""


def points(corners: Sequence[tuple[float, float]]) -> str:
    """Corners as the attribute `points` wants them."""
    return " ".join(f"{at(a)},{at(b)}" for a, b in corners)


def at(value: float) -> str:
    """A coordinate to a tenth of a unit."""
    return f"{value:.1f}".removesuffix(".0")


def minus(words: str) -> str:
    """A number with a minus sign in place of its hyphen."""
    return words.replace("-", "−")
