"""What check_gradients.py shows: rows for JSON, a table, a picture."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from handgrad.gradcheck import Leaf, Report

from .cases import Case, Settings

Row = dict[str, Any]


def row(case: Case, report: Report) -> Row:
    """A case and what was found, as JSON takes it."""
    found = report.to_dict()
    return {**vars(case), **found, "excess": max(map(excess, report.leaves))}


def excess(leaf: Leaf) -> float:
    """The error in units of its floor; 1e9 where that is not finite."""
    return leaf.excess if np.isfinite(leaf.excess) else 1e9


def table(rows: Sequence[Row], settings: Settings) -> Table:
    """Activations by dtypes: the largest error in units of its floor."""
    found = Table(title="largest error of a leaf, in units of its rounding floor")
    found.add_column("activation")
    for dtype in settings.dtypes:
        found.add_column(dtype, justify="right")
    for name in settings.activations:
        cells = []
        for dtype in settings.dtypes:
            mine = [r for r in rows if (r["activation"], r["dtype"]) == (name, dtype)]
            wrong = sum(not r["ok"] for r in mine)
            worst = max((r["excess"] for r in mine), default=0.0)
            cells.append(f"{worst:.2f}" + (f"  {wrong} WRONG" if wrong else ""))
        found.add_row(name, *cells)
    return found


def picture(rows: Sequence[Row]) -> Figure:
    """Every leaf of every case: its error in units of its floor, by activation."""
    dtypes = list(dict.fromkeys(row["dtype"] for row in rows))
    names = list(dict.fromkeys(row["activation"] for row in rows))
    figure = Figure(
        figsize=(1.8 + 3 * len(dtypes), 1.8 + 0.25 * len(names)), layout="constrained"
    )
    panels = figure.subplots(1, len(dtypes), sharex=True, sharey=True, squeeze=False)
    for ax, dtype in zip(panels[0], dtypes, strict=True):
        mine = [row for row in rows if row["dtype"] == dtype]
        leaves = [(row, leaf) for row in mine for leaf in row["leaves"]]
        for ok, colour, marker in ((True, "#0072b2", "|"), (False, "#d55e00", "X")):
            some = [(r, leaf) for r, leaf in leaves if (leaf["ok"] is not False) == ok]
            x = [max(min(leaf["excess"], 1e9), 1e-3) for _, leaf in some]
            y = [names.index(r["activation"]) for r, _ in some]
            ax.plot(x, y, marker, color=colour, alpha=0.6)
        ax.axvline(1, color="black", lw=1)
        ax.set_xscale("log")
        ax.set_xlim(left=7e-4, right=max(10, ax.get_xlim()[1]))
        ax.set_title(dtype, fontsize=10)
        ax.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_yticks(range(len(names)), names)
    panels[0][0].invert_yaxis()
    figure.supxlabel("error in units of the rounding floor; wrong beyond 1", fontsize=9)
    return figure
