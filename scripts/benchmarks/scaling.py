"""A network of a billion parameters on 1 to 256 chips that are not here, on paper.

python scripts/benchmarks/scaling.py                   # ten minutes of two cores
python scripts/benchmarks/scaling.py --targets v5e:2x2/4 v5e:16x16/8

14336-5x14336-1000 in float32, trained by Adam with 512 samples per chip. For every
target and number of devices along `model` (after the slash): memory and communication
per chip as the compiled program has them, and how long a step takes on paper, by what
the chips' makers publish. Prints the tables of docs/scale.md, and writes scaling.json
to --output. Needs libtpu for TPUs and XLA's plugin for CUDA for H100s, no accelerator.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import tyro
from common import print_header, print_row, write_json

from handgrad.scale.ahead import Compiled, compile_ahead
from handgrad.scale.program import Figures
from handgrad.scale.roofline import Times, limit, sent, times
from handgrad.scale.show import compiled_json
from handgrad.scale.step import Job, make_job, stand_in
from handgrad.scale.targets import parse_target
from handgrad.training.settings import Data, Model, Optimizer, Settings, Training

WIDTH, HIDDEN, CLASSES, SAMPLES = 14336, 5, 1000, 512
_V5E = ("v5e:1x1", "v5e:2x2", "v5e:4x4", "v5e:8x8", "v5e:16x16")

MEMORY = (
    *("target", "data x model", "arguments, GB", "temporaries, GB", "peak, GB"),
    *("of the chip", "sent, MB", "collectives"),
)
TIMES = (
    *("target", "data x model", "compute, ms", "memory, ms", "links, ms"),
    *("samples/s on paper", "per chip, of one alone"),
)
LIMITS = ("target", "data x model", "links over compute, at any batch", "samples/chip")


@dataclass(frozen=True)
class Command:
    """A network of a billion parameters on 1 to 256 chips, on paper."""

    targets: tuple[str, ...] = (
        *(f"{text}/1" for text in _V5E),
        *(f"{text}/4" for text in _V5E[1:]),
        *("v5p:1x1x1/1", "v5p:4x8x8/1", "v5p:4x8x8/4"),
        *("v6e:1x1/1", "v6e:16x16/1", "v6e:16x16/4"),
        *("h100:1/1", "h100:8/1", "h100:8/4"),
    )
    """What to compile for, and the devices along `model`: TARGET/MODEL."""
    output: Path = Path("runs/benchmarks")
    """The folder of scaling.json."""


def main(argv: Sequence[str] | None = None) -> None:
    """Compile, print, write."""
    command = tyro.cli(Command, args=argv, description=__doc__)
    jax.config.update("jax_platforms", "cpu")
    job, found = billion(), []
    for text in command.targets:
        target, _, model = text.partition("/")
        split = int(model or 1)
        found.append(
            compile_ahead(
                job,
                parse_target(target),
                model=split,
                per_device=SAMPLES * split,
                rival=False,
            )
        )
    print(f"{found[0].parameters:,} parameters, {SAMPLES} samples per chip\n")
    show(MEMORY, [memory_row(one) for one in found])
    show(TIMES, [times_row(one, found) for one in found if one.by_hand])
    show(LIMITS, [row for one in found for row in limit_rows(one)])
    rows = [compiled_json(one) for one in found]
    write_json(command, "scaling", {"rows": rows})


def billion() -> Job:
    """Its step."""
    settings = Settings(
        name="billion",
        data=Data(source="npy", path="."),
        model=Model(hidden=(WIDTH,) * HIDDEN),
        optimizer=Optimizer(name="adam", learning_rate=1e-3),
        training=Training(epochs=1, batch_size=SAMPLES),
    )
    return make_job(settings, stand_in(settings, WIDTH, CLASSES))


def memory_row(one: Compiled) -> list[str]:
    """Bytes per chip."""
    figures = one.by_hand
    if figures is None:
        return [*names(one), "", "", "", "does not fit", "", ""]
    share = figures.peak / one.target.chip.memory
    kinds: dict[str, int] = {}
    for row in figures.collectives:
        if row.size > 2**20:
            kinds[row.kind] = kinds.get(row.kind, 0) + row.times
    return [
        *names(one),
        *(f"{b / 1e9:.2f}" for b in (figures.arguments, figures.temporaries)),
        f"{figures.peak / 1e9:.2f}",
        f"{share:.0%}" if one.fits else f"{share:.0%}, does not fit",
        f"{total_sent(figures) / 1e6:,.0f}",
        ", ".join(f"{times} {kind}" for kind, times in kinds.items()),
    ]


def times_row(one: Compiled, others: Sequence[Compiled]) -> list[str]:
    """Milliseconds of a step, and the rate that they allow."""
    first = next(o for o in others if o.target.chip == one.target.chip and o.by_hand)
    bounds = [f"{1e3 * seconds:.1f}" for seconds in bound(one)]
    rate = one.samples / bound(one).step
    alone = first.samples / bound(first).step / first.target.devices
    share = rate / one.target.devices / alone
    return [*names(one), *bounds, f"{rate:,.0f}", f"{share:.0%}"]


def limit_rows(one: Compiled) -> list[list[str]]:
    """Where more chips stop helping; for meshes whose axes can be told apart."""
    if one.by_hand is None or one.data < 2 or one.data == one.model:
        return []
    chip, per_chip = one.target.chip, one.samples / one.target.devices
    samples, overhead = limit(one.by_hand, chip, one.data, per_chip)
    return [[*names(one), f"{overhead:.0%}", f"{samples:,.0f}"]]


def bound(one: Compiled) -> Times:
    """Of a compiled step that fits."""
    assert one.by_hand is not None
    return times(one.by_hand, one.target.chip)


def total_sent(figures: Figures) -> float:
    """Bytes that a chip sends in a step."""
    return sum(map(sent, figures.collectives))


def names(one: Compiled) -> list[str]:
    """The first columns."""
    return [one.target.text, f"{one.data} x {one.model}"]


def show(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table, as Markdown has it."""
    print_header(header)
    for cells in rows:
        print_row(cells)
    print()


if __name__ == "__main__":
    main()
