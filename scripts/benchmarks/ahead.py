"""Compiled steps for accelerators that are not here, against jax.value_and_grad.

python scripts/benchmarks/ahead.py                     # a few minutes of two cores
python scripts/benchmarks/ahead.py --targets v5e:2x2 h100:8

For digits and 784-512-512-10, data parallel: FLOPs, bytes accessed and temporary bytes
of the training step, over those of the same step with jax.value_and_grad; and what the
devices sum, beside the gradient. A row holds where no ratio is above 1 and the sum is
the gradient and scalars. Needs libtpu for TPUs and XLA's plugin for CUDA for H100s, no
accelerator; where one is missing, its targets are left out, and a row says so. Prints a
table, and writes ahead.json to --output.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import tyro
from common import bound, not_measured, print_header, print_row, write_json

from handgrad.scale.ahead import Compiled, compile_ahead
from handgrad.scale.compilers import missing
from handgrad.scale.program import Figures
from handgrad.scale.show import compiled_json
from handgrad.scale.step import Job, make_job, stand_in
from handgrad.scale.targets import CHIPS, Target, parse_target
from handgrad.training.settings import load_settings

CONFIGS = Path(__file__).parents[2] / "configs"
SCALARS = 64  # bytes: the loss, and what the samples weigh
HEADER = (
    *("network, samples per device", "target", "FLOPs", "bytes accessed"),
    *("temporaries", "bytes summed", "at most 1"),
)
COMPARED = {"flops": "FLOPs", "accessed": "bytes", "temporaries": "temporaries"}


@dataclass(frozen=True)
class Command:
    """Compiled steps for accelerators that are not here, against jax.value_and_grad."""

    targets: tuple[str, ...] = (
        *("v5e:1x1", "v5e:2x2", "v5e:16x16", "v5p:2x2x1", "v5p:4x4x8"),
        *("v6e:2x2", "v6e:16x16", "h100:1", "h100:8"),
    )
    """What to compile for."""
    output: Path = Path("runs/benchmarks")
    """The folder of ahead.json."""


def main(argv: Sequence[str] | None = None) -> None:
    """Compile, print, write."""
    command = tyro.cli(Command, args=argv, description=__doc__)
    jax.config.update("jax_platforms", "cpu")
    targets = [parse_target(text) for text in command.targets]
    print("By hand over jax.value_and_grad:\n")
    print_header(HEADER)
    rows, compiled = [], []
    for name, samples, job in jobs():
        for target in targets:
            if missing(target):
                continue
            found = compile_ahead(job, target, per_device=samples)
            print_row([f"{name} at {samples}", target.text, *cells(found)])
            rows.append({"network": name} | compiled_json(found))
            compiled.append(found)
    bounds = [row for chip in CHIPS for row in bounds_of(chip, targets, compiled)]
    write_json(command, "ahead", {"rows": rows, "bounds": bounds})


def bounds_of(
    name: str, targets: Sequence[Target], compiled: Sequence[Compiled]
) -> list[dict[str, Any]]:
    """What is asked on a kind of chip, of the worst of its steps that fit."""
    mine = [target for target in targets if target.chip == CHIPS[name]]
    what = f"compiled step on {name} over jax.value_and_grad's"
    if mine and (need := missing(mine[0])):
        return [not_measured(what, f"it needs {need}")]
    steps = [one for one in compiled if one.target in mine]
    pairs = [(s.by_hand, s.by_autodiff) for s in steps if s.by_hand and s.by_autodiff]
    if not pairs:
        return []
    most = {
        words: max(ratio(*pair, figure) for pair in pairs)
        for figure, words in COMPARED.items()
    }
    beyond = max(map(beyond_gradient, steps))
    return [
        *(bound(f"{what}: {words}", worst, 1.0) for words, worst in most.items()),
        bound(f"summed on {name} beyond the gradient", beyond, SCALARS, unit=" bytes"),
    ]


def beyond_gradient(found: Compiled) -> float:
    """Bytes that the devices sum beside the gradient; infinite where it is not summed,
    and 0 on one device."""
    if found.data == 1 or found.by_hand is None:
        return 0.0
    large, _ = summed(found.by_hand)
    return large - found.gradient if large >= found.gradient else float("inf")


def jobs() -> Iterator[tuple[str, int, Job]]:
    """Name, samples per device and step of each network."""
    digits = load_settings(CONFIGS / "digits.toml")
    yield "digits", 64, make_job(digits, stand_in(digits, 64, 10))
    mnist = load_settings(CONFIGS / "mnist.toml")
    plain = replace(mnist, model=replace(mnist.model, hidden_dropout=0.0))
    for samples in (128, 1024):
        yield "784-512-512-10", samples, make_job(plain, stand_in(plain, 784, 10))


def cells(found: Compiled) -> list[str]:
    """The ratios, what is summed, and whether all that is asked for holds."""
    hand, rival = found.by_hand, found.by_autodiff
    if hand is None or rival is None:
        return ["", "", "", "", "does not fit"]
    ratios = [ratio(hand, rival, name) for name in COMPARED]
    large, scalars = summed(hand)
    right = beyond_gradient(found) <= SCALARS
    short = [w for w, r in zip(COMPARED.values(), ratios, strict=True) if r > 1]
    short += [] if right else ["summed"]
    beside = f"{large:,} and {scalars}" if found.data > 1 else "none"
    verdict = f"falls short: {', '.join(short)}" if short else "holds"
    return [*(f"{r:.5f}" for r in ratios), beside, verdict]


def ratio(hand: Figures, rival: Figures, name: str) -> float:
    """1 where both have none."""
    ours, theirs = getattr(hand, name), getattr(rival, name)
    return 1.0 if ours == theirs else ours / theirs if theirs else float("inf")


def summed(figures: Figures) -> tuple[int, int]:
    """Bytes of the sums that are more than scalars, and of those that are scalars."""
    sizes: list[Any] = [
        (row.size * row.times, row.size > SCALARS) for row in figures.collectives
    ]
    large = sum(size for size, is_large in sizes if is_large)
    return large, sum(size for size, is_large in sizes if not is_large)


if __name__ == "__main__":
    main()
