"""Results as a picture: the error of each leaf against its rounding floor."""

from typing import TYPE_CHECKING

import numpy as np

from handgrad.gradcheck.report.results import Leaf, Results
from handgrad.gradcheck.report.table import headline, shorten

if TYPE_CHECKING:  # mutants: imported to draw
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOOKS = {
    "right": ("o", "#0072b2"),
    "convention": ("D", "#009e73"),
    "wrong": ("X", "#d55e00"),
    "untested": ("s", "#7f7f7f"),
}
"""Marker and colour of each verdict; told apart without colour as well."""

SMALLEST = 1e-18
"""An error of exactly zero is drawn here: a logarithm has no zero."""


def figure(results: Results) -> "Figure":
    """Draw relative error and rounding floor of every leaf that has numbers.

    Args:
      results: what to draw.

    Returns:
      A figure, not registered with pyplot; save it with ``savefig``.
    """
    from matplotlib.figure import Figure

    leaves = [leaf for leaf in results.leaves if np.isfinite(leaf.floor)]
    height = 1.6 + 0.3 * max(len(leaves), 2)  # mutants: looks
    drawn = Figure(figsize=(8.5, height), layout="constrained")
    axes = drawn.subplots()
    for row, leaf in enumerate(leaves):
        _draw(axes, row, leaf)
    _dress(axes, headline(results), leaves)
    return drawn


def _draw(axes: "Axes", row: int, leaf: Leaf) -> None:
    floor = max(leaf.floor, SMALLEST)
    axes.barh(row, floor, left=0, height=0.62, color="#d9d9d9", zorder=1)
    error = strictest(leaf)
    marker, colour = LOOKS[leaf.verdict]
    axes.plot(max(error, SMALLEST), row, marker, color=colour, ms=7, zorder=3)
    if leaf.cause:
        axes.annotate(
            leaf.cause,
            (error, row),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=colour,
        )


def strictest(leaf: Leaf) -> float:
    """The relative error by the measure that decided: beyond the bar where wrong."""
    error = leaf.floor * leaf.excess
    return error if np.isfinite(error) else 1e3


def _dress(axes: "Axes", title: str, leaves: list[Leaf]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    errors = [strictest(leaf) for leaf in leaves]
    values = [v for v in [*errors, *(leaf.floor for leaf in leaves)] if v > 0]
    finite = [v for v in values if np.isfinite(v)] or [1e-7, 1.0]
    axes.set_xscale("log")
    axes.set_xlim(min(finite) / 5, max(max(finite), 1e-3) * 200)  # mutants: looks
    axes.set_yticks(range(len(leaves)), [shorten(leaf.path, 40) for leaf in leaves])
    axes.set_ylim(len(leaves) - 0.4, -0.6)  # mutants: looks
    axes.set_xlabel(
        "relative error against autodiff in float64 (the strictest of four measures)"
    )
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    present = {leaf.verdict for leaf in leaves}
    handles: list[Line2D | Patch] = [Patch(color="#d9d9d9", label="rounding")]
    for verdict, (marker, colour) in LOOKS.items():
        if verdict in present:
            mark = Line2D([], [], ls="", marker=marker, color=colour, label=verdict)
            handles.append(mark)
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
