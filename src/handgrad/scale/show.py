"""The figures of compiled steps: as a table, and as JSON."""

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from handgrad.scale.ahead import Compiled
from handgrad.scale.hlo import Collective
from handgrad.scale.program import Figures

_MEMORY = ("arguments", "outputs", "aliased", "temporaries", "code")
_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def compiled_table(found: Compiled) -> Group:
    """What compiling for a target found, per device and step."""
    target = found.target
    table = Table(
        title=f"{target.text}: {target.devices} x {target.chip.name}, data "
        f"{found.data}, model {found.model}, {found.samples:,} samples a step",
        title_justify="left",
    )
    for name in ("per device and step", "by hand", "jax.value_and_grad", "ratio"):
        table.add_column(name, justify="left" if name[:3] == "per" else "right")
    hand, rival = found.by_hand, found.by_autodiff
    if hand is not None:
        _row(table, "FLOPs", "flops", hand, rival)
        _row(table, "bytes accessed", "accessed", hand, rival)
        _row(table, "peak memory, bytes", "peak", hand, rival)
        for name in _MEMORY:
            _row(table, f"  {name}", name, hand, rival)
        _collectives(table, hand, rival)
    return Group(table, Text(_verdict(found)))


def compiled_json(found: Compiled) -> dict[str, Any]:
    """The same with every figure, for other programs."""
    chip = found.target.chip
    return {
        "target": found.target.text,
        "chip": chip.name,
        "chip_memory": chip.memory,
        "devices": {"data": found.data, "model": found.model},
        "samples": found.samples,
        "parameters": found.parameters,
        "gradient_bytes": found.gradient,
        "fits": found.fits,
        "refusal": found.refusal,
        "by_hand": _json(found.by_hand),
        "by_autodiff": _json(found.by_autodiff),
    }


def short(number: float) -> str:
    """Three digits and a letter for the thousands: 2.68 M."""
    for unit, letter in _UNITS:
        if number >= unit:
            return f"{number / unit:.3g} {letter}"
    return f"{number:.3g}"


def _row(
    table: Table, name: str, field: str, hand: Figures, rival: Figures | None
) -> None:
    ours = getattr(hand, field)
    if rival is None:
        return table.add_row(name, f"{ours:,.0f}", "", "")
    theirs = getattr(rival, field)
    ratio = f"{ours / theirs:.4f}" if theirs else "1" if ours == theirs else ""
    return table.add_row(name, f"{ours:,.0f}", f"{theirs:,.0f}", ratio)


def _collectives(table: Table, hand: Figures, rival: Figures | None) -> None:
    """Those that both do in one row, those that one does in a row of its own."""
    table.add_section()
    theirs = rival.collectives if rival else ()
    alike: dict[tuple[str, int, int], list[int]] = {}
    for place, rows in enumerate((hand.collectives, theirs)):
        for kind, size, devices, times in rows:
            alike.setdefault((kind, size, devices), [0, 0])[place] = times
    for (kind, size, devices), (ours, other) in alike.items():
        name = f"{kind} of {size:,} bytes over {devices}"
        table.add_row(name, f"{ours} x", f"{other} x" if rival else "", "")
    if not alike:
        table.add_row("no collectives", "", "", "")


def _verdict(found: Compiled) -> str:
    memory, name = found.target.chip.memory, found.target.chip.name
    if found.by_hand is None:
        first = found.refusal.strip().splitlines()[0]
        return f"does not fit: the compiler refuses it. {first}\n"
    lines = [
        f"{found.parameters:,} parameters; {found.gradient:,} bytes of gradient per "
        "device."
    ]
    if memory:
        fits = "fits" if found.fits else "does not fit"
        share = found.by_hand.peak / memory
        lines.append(f"{fits}: {share:.2%} of the {memory:,} bytes of a {name}.")
    if loops := found.by_hand.loops:
        lines.append(f"{loops} loops: FLOPs and bytes accessed count each body once.")
    if found.by_autodiff is None:
        lines.append("No step by jax.value_and_grad to compare with.")
    return "\n".join((*lines, ""))


def _json(figures: Figures | None) -> dict[str, Any] | None:
    if figures is None:
        return None
    rows = [Collective._asdict(row) for row in figures.collectives]
    return figures._asdict() | {"collectives": rows}
