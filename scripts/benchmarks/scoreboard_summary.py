"""The scoreboard's rows, counted, printed and drawn."""

from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = dict[str, Any]

OURS = "check_gradients"
ABOVE = 1.6
"""A bug is above the floor if it moves some leaf by this many floors, or more."""


def summarise(rows: list[Row]) -> dict[str, Any]:
    """Counts by dtype and tool, by cause, and what check_gradients missed."""
    tools = [OURS, *dict.fromkeys(t for row in rows for t in row.get("rivals", {}))]
    dtypes = list(dict.fromkeys(row["dtype"] for row in rows))
    planted = [row for row in rows if row["bug"]]
    above = [row for row in planted if row["above"] > ABOVE]
    return {
        "bugs": len({row["bug"] for row in planted}),
        "tools": {d: {t: _tool(_of(rows, d), t) for t in tools} for d in dtypes},
        "named": {d: _named(_of(above, d)) for d in dtypes},
        "causes": {d: _causes(_of(above, d), tools) for d in dtypes},
        "missed": [_short(row) for row in above if not row["caught"]],
        "alarms": [_short(row) for row in rows if not row["bug"] and row["caught"]],
        "misnamed": _misnamed(above),
    }


def _of(rows: list[Row], dtype: str) -> list[Row]:
    return [row for row in rows if row["dtype"] == dtype]


def _answer(row: Row, tool: str) -> tuple[bool, float] | None:
    """(rejected, seconds) of a tool; None where it does not apply."""
    if tool == OURS:
        return row["caught"], row["seconds"] + row.get("prepare", 0.0)
    return row.get("rivals", {}).get(tool)


def _tool(rows: list[Row], tool: str) -> Row:
    """What one tool did in one dtype."""
    answers = [(row, a) for row in rows if (a := _answer(row, tool)) is not None]
    planted = [(row, a) for row, a in answers if row["bug"]]
    above = [(row, a) for row, a in planted if row["above"] > ABOVE]
    right = [a for row, a in answers if not row["bug"]]
    return {
        "planted": len(planted),
        "caught": sum(bool(a[0]) for _, a in above),
        "above": len(above),
        "alarms": sum(bool(a[0]) for a in right),
        "right": len(right),
        "seconds": float(np.median([a[1] for a in right])) if right else None,
    }


def _named(rows: list[Row]) -> Row:
    """Of the bugs that were caught: leaves and causes named."""
    caught = [row for row in rows if row["caught"]]
    keys = ("exact", "cause_numbers", "cause_catalogue")
    return {"caught": len(caught)} | {k: sum(bool(r[k]) for r in caught) for k in keys}


def _causes(rows: list[Row], tools: list[str]) -> Row:
    """Cause -> tool -> share caught."""
    found: Row = {}
    for cause in sorted({row["cause"] for row in rows}):
        mine = [row for row in rows if row["cause"] == cause]
        found[cause] = {}
        for tool in tools:
            answers = [a for row in mine if (a := _answer(row, tool)) is not None]
            share = float(np.mean([bool(a[0]) for a in answers])) if answers else None
            found[cause][tool] = share
    return found


def _misnamed(rows: list[Row]) -> list[Row]:
    """Bugs whose cause the catalogue did not name: how often, and what it named."""
    counted: dict[tuple[str, ...], int] = {}
    for row in rows:
        if row["caught"] and not row["cause_catalogue"]:
            key = (row["dtype"], row["bug"], row["cause"], ", ".join(row["named"]))
            counted[key] = counted.get(key, 0) + 1
    ordered = sorted(counted.items(), key=lambda item: -item[1])
    return [
        {"dtype": d, "bug": b, "cause": c, "named": named, "times": times}
        for (d, b, c, named), times in ordered
    ]


def _short(row: Row) -> str:
    return f"{row['dtype']} {row['network']} seed {row['seed']} {row['bug']}".rstrip()


def failed(summary: dict[str, Any]) -> bool:
    """Whether check_gradients missed a bug, or called a right gradient wrong."""
    return bool(summary["missed"] or summary["alarms"])


def print_tables(summary: dict[str, Any]) -> None:
    """The tables, on the terminal."""
    console = Console(width=100)
    console.print(_tools_table(summary))
    console.print(_named_table(summary))
    for title in ("missed", "alarms"):
        console.print(f"{title}: {', '.join(summary[title]) or 'none'}")
    for row in summary["misnamed"][:20]:
        console.print(
            f"  {row['times']} x {row['dtype']} {row['bug']}: {row['cause']} "
            f"called {row['named']}"
        )


def _tools_table(summary: dict[str, Any]) -> Table:
    """What each tool caught."""
    title = f"{summary['bugs']} planted bugs; caught of those above the floor"
    table = Table(title=title)
    heads = ("dtype", "tool", "planted", "caught", "false alarms", "seconds each")
    for head in heads:
        table.add_column(head, justify="left" if head in ("dtype", "tool") else "right")
    for dtype, tools in summary["tools"].items():
        for tool, n in tools.items():
            if n["right"]:
                caught = f"{n['caught']} of {n['above']}"
                alarms = f"{n['alarms']} of {n['right']}"
                seconds = f"{n['seconds']:.3f}"
                table.add_row(dtype, tool, str(n["planted"]), caught, alarms, seconds)
    return table


def _named_table(summary: dict[str, Any]) -> Table:
    """How often leaves and cause were named."""
    table = Table(title=f"what {OURS} says of those that it caught")
    heads = ("dtype", "leaves exact", "cause, with catalogue", "from numbers alone")
    for head in heads:
        table.add_column(head, justify="left" if head == "dtype" else "right")
    for dtype, n in summary["named"].items():
        keys = ("exact", "cause_catalogue", "cause_numbers")
        shares = [f"{100 * n[key] / max(n['caught'], 1):.1f} %" for key in keys]
        table.add_row(dtype, *shares)
    return table


def draw(summary: dict[str, Any]) -> "Figure":
    """Share caught, by cause and tool, one panel for each dtype."""
    from matplotlib.figure import Figure

    panels = summary["causes"]
    causes = sorted({cause for panel in panels.values() for cause in panel})
    tools = list(next(iter(summary["tools"].values())))
    width = 3.2 + 0.62 * len(tools) * len(panels)
    figure = Figure(figsize=(width, 1.9 + 0.3 * len(causes)), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, (dtype, panel) in zip(axes, panels.items(), strict=True):
        shares = np.array(
            [
                [np.nan if (s := panel.get(c, {}).get(t)) is None else s for t in tools]
                for c in causes
            ]
        )
        ax.imshow(shares, vmin=0, vmax=1, cmap="RdYlBu", aspect="auto")
        for (i, j), share in np.ndenumerate(shares):
            text = "-" if np.isnan(share) else f"{100 * share:.0f}"
            shade = "black" if np.isnan(share) or 0.2 < share < 0.85 else "white"
            ax.text(j, i, text, ha="center", va="center", fontsize=8, color=shade)
        ax.set_xticks(range(len(tools)), tools, rotation=40, ha="right", fontsize=8)
        ax.set_yticks(range(len(causes)), causes, fontsize=8)
        ax.set_title(dtype, fontsize=10)
    figure.suptitle("planted bugs caught, in per cent", fontsize=11)
    return figure
