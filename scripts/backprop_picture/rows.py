"""The picture of backprop, row by row: forward, backward, pairs, contractions."""

from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .shapes import (
    POINTS,
    RADIUS,
    Pieces,
    Theme,
    arrow,
    box,
    frame,
    line,
    node,
    pieces,
    write,
)

WIDTH, HEIGHT = 1000, 480
"""Of the picture, in the units of all numbers below; y points down."""

FORWARD, BACKWARD, PAIRS, BUS, CARDS = 68, 176, 282, 336, 360
"""y of the two lanes, of the pairs, and of what hangs off them."""

ALPHA, WEIGHT, PRE, HIDDEN, END = (210, 620), (322, 730), (430, 835), 525, 945
"""x of a_0 and a_1, W_1 and W_2, d_1 and d_2, h between the layers, and the loss."""

OUTER: Pieces = (("$a$", "a"), (r"$\delta^{\!\!\top}$", "delta"))
CONTRACTIONS: tuple[tuple[str, Pieces, str], ...] = (
    ("gradient", (("sum of", "ink"), *OUTER), "B4, B5"),
    (
        "per-sample norms",
        ((r"$\Vert a\Vert$", "a"), (r"$\Vert\delta\Vert$", "delta")),
        "no gradient formed",
    ),
    ("clipped sum", (("sum of $c$", "ink"), *OUTER), "private training"),
    (
        "second moment",
        (("mean of", "ink"), ("$a^2$", "a"), (r"$(\delta^2)^{\!\!\top}$", "delta")),
        "and variance",
    ),
    (
        "curvature",
        (
            (r"$a\,a^{\!\!\top}$", "a"),
            ("and", "ink"),
            (r"$\delta\,\delta^{\!\!\top}$", "delta"),
        ),
        "Kronecker factors",
    ),
)


def draw(theme: Theme) -> Figure:
    """The picture in the colours of a theme."""
    figure = Figure(figsize=(WIDTH * POINTS / 72, HEIGHT * POINTS / 72))
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(HEIGHT, 0))
    ax.set_axis_off()
    headings(ax, theme)
    forward(ax, theme)
    backward(ax, theme)
    pairs(ax, theme)
    contractions(ax, theme)
    return figure


def headings(ax: Any, theme: Theme) -> None:
    """What each row says, at its left."""
    rows = (
        (FORWARD, "forward", "keeps $a$", theme.a),
        (BACKWARD, "backward", r"makes $\delta$", theme.delta),
        (PAIRS, "contraction", "gives the rest", theme.ink),
    )
    for y, first, second, colour in rows:
        write(ax, 16, y - 12, first, colour, 21, ha="left", weight="bold")
        write(ax, 16, y + 15, second, colour, 21, ha="left")


def forward(ax: Any, theme: Theme) -> None:
    """a_0 to the right, through each W and h, into the loss."""
    y = FORWARD
    stops = [ALPHA[0], WEIGHT[0], PRE[0], HIDDEN, ALPHA[1], WEIGHT[1], PRE[1], END]
    for x, beyond in zip(stops, stops[1:], strict=False):
        arrow(ax, [(x + RADIUS, y), (beyond - RADIUS, y)], theme.a)
    for k in (0, 1):
        node(ax, ALPHA[k], y, f"$a_{k}$", theme.page, theme.a, theme.a)
        box(ax, WEIGHT[k], y, f"$W_{k + 1}$", "F1", theme)
        node(ax, PRE[k], y, f"$d_{k + 1}$", theme.a, "none", theme.a)
    box(ax, HIDDEN, y, "$h$", "F2", theme)
    box(ax, END, y, "loss", "F3, L1", theme)


def backward(ax: Any, theme: Theme) -> None:
    """delta_2 from the loss, and delta_1 from it through W_2 and h'."""
    y, colour = BACKWARD, theme.delta
    arrow(ax, [(END, FORWARD + RADIUS), (END, y), (PRE[1] + RADIUS, y)], colour)
    write(ax, END + 20, (FORWARD + RADIUS + y) / 2, "B3", theme.muted, 16)
    stops = [PRE[1], WEIGHT[1], HIDDEN, PRE[0]]
    for x, beyond in zip(stops, stops[1:], strict=False):
        arrow(ax, [(x - RADIUS, y), (beyond + RADIUS, y)], colour)
    for k in (0, 1):
        node(ax, PRE[k], y, rf"$\delta_{k + 1}$", theme.page, colour, colour)
    box(ax, WEIGHT[1], y, "$W_2$", "B6", theme)
    box(ax, HIDDEN, y, r"$h\,'$", "B7", theme)


def pairs(ax: Any, theme: Theme) -> None:
    """Under each W what enters it going forward, and what leaves it going backward."""
    for k in (0, 1):
        x, wide, high = WEIGHT[k], 56, 23
        down = [(ALPHA[k], FORWARD + RADIUS), (ALPHA[k], PAIRS), (x - wide, PAIRS)]
        if k == 1:  # under the arrow from W_2 to h'
            line(ax, [down[0], (down[0][0], BACKWARD - 9)], theme.a)
            down[0] = (down[0][0], BACKWARD + 9)
        arrow(ax, down, theme.a)
        down = [(PRE[k], BACKWARD + RADIUS), (PRE[k], PAIRS), (x + wide, PAIRS)]
        arrow(ax, down, theme.delta)
        line(ax, [(x, PAIRS + high), (x, BUS)], theme.line)
        frame(ax, x - wide, PAIRS - high, 2 * wide, 2 * high, theme)
        pair = ((f"$a_{k}$,", "a"), (rf"$\delta_{k + 1}$", "delta"))
        pieces(ax, x, PAIRS + 7, pair, theme, 24, gap=11)


def contractions(ax: Any, theme: Theme) -> None:
    """What hangs off the pairs, a card each."""
    gap, margin = 12, 8
    wide = (WIDTH - 2 * margin - gap * (len(CONTRACTIONS) - 1)) / len(CONTRACTIONS)
    centres = [margin + wide / 2 + i * (wide + gap) for i in range(len(CONTRACTIONS))]
    line(ax, [(centres[0], BUS), (centres[-1], BUS)], theme.line)
    for x, (title, formula, note) in zip(centres, CONTRACTIONS, strict=True):
        arrow(ax, [(x, BUS), (x, CARDS)], theme.line)
        frame(ax, x - wide / 2, CARDS, wide, HEIGHT - CARDS - 6, theme)
        write(ax, x, CARDS + 25, title, theme.ink, 16.5, weight="bold")
        pieces(ax, x, CARDS + 63, formula, theme, 19, gap=7)
        write(ax, x, CARDS + 90, note, theme.muted, 16)
