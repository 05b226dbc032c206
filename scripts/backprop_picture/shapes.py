"""What the picture of backprop is made of: colours, texts, nodes, boxes and arrows."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Line
from matplotlib.textpath import TextPath

POINTS = 0.72
"""Of one unit: the figure is 10 inches wide."""

RADIUS = 25

Pieces = Sequence[tuple[str, str]]
"""Text and the colour of each piece: a name of `Theme`."""


class Theme(NamedTuple):
    """Colours: GitHub's, and Okabe and Ito's blue and orange."""

    page: str
    ink: str
    muted: str
    line: str
    fill: str
    a: str
    delta: str


THEMES = {
    "light": Theme(
        *("#ffffff", "#1f2328", "#59636e", "#818b98", "#f6f8fa", "#0072b2", "#c44f00")
    ),
    "dark": Theme(
        *("#0d1117", "#f0f6fc", "#9198a1", "#757d87", "#151b23", "#56b4e9", "#f0a030")
    ),
}


def write(
    ax: Any, x: float, y: float, text: str, colour: str, size: float, **how: Any
) -> None:
    """Text in the middle of a point, or as ``how`` says."""
    how = {"ha": "center", "va": "center_baseline"} | how
    ax.text(x, y, text, color=colour, fontsize=size * POINTS, **how)


def pieces(
    ax: Any, x: float, y: float, parts: Pieces, theme: Theme, size: float, gap: float
) -> None:
    """Texts of several colours beside each other on one baseline, x their middle."""
    widths = [TextPath((0, 0), text, size).get_extents().width for text, _ in parts]
    left = x - (sum(widths) + gap * (len(parts) - 1)) / 2
    for (text, colour), wide in zip(parts, widths, strict=True):
        shade = getattr(theme, colour)
        write(ax, left, y, text, shade, size, ha="left", va="baseline")
        left += wide + gap


def node(
    ax: Any, x: float, y: float, text: str, ink: str, fill: str, edge: str
) -> None:
    """A value; a full one is kept."""
    ax.add_patch(Circle((x, y), RADIUS, facecolor=fill, edgecolor=edge, lw=1.6))
    write(ax, x, y, text, ink, 24)


def box(ax: Any, x: float, y: float, text: str, number: str, theme: Theme) -> None:
    """What a value passes through, and the equation above it."""
    frame(ax, x - RADIUS, y - RADIUS, 2 * RADIUS, 2 * RADIUS, theme)
    write(ax, x, y, text, theme.ink, 17 if text == "loss" else 22)
    write(ax, x, y - RADIUS - 14, number, theme.muted, 16)


def frame(ax: Any, x: float, y: float, wide: float, high: float, theme: Theme) -> None:
    """A rectangle with round corners."""
    style = "round,pad=0,rounding_size=7"
    look = {"facecolor": theme.fill, "edgecolor": theme.line, "lw": 1.1}
    ax.add_patch(FancyBboxPatch((x, y), wide, high, boxstyle=style, **look))


def line(ax: Any, points: Sequence[tuple[float, float]], colour: str) -> None:
    """A line through the points."""
    ax.plot(
        *zip(*points, strict=True), color=colour, lw=1.8, solid_capstyle="projecting"
    )


def arrow(ax: Any, points: Sequence[tuple[float, float]], colour: str) -> None:
    """A line through the points with a head at its end."""
    style = "-|>,head_length=4.5,head_width=2.6"
    look = {"color": colour, "lw": 1.8, "joinstyle": "miter", "capstyle": "butt"}
    ax.add_patch(FancyArrowPatch(path=Line(points), arrowstyle=style, **look))
