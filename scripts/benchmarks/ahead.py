"""Compiled steps for accelerators that are not here, against jax.value_and_grad.

python scripts/benchmarks/ahead.py                     # a few minutes of two cores
python scripts/benchmarks/ahead.py --targets v5e:2x2 h100:8

For digits and 784-512-512-10, data parallel: FLOPs, bytes accessed and temporary bytes
of the training step, over those of the same step with jax.value_and_grad; and what the
devices sum, beside the gradient. A row holds where no ratio is above 1 and the sum is
the gradient and scalars. Needs libtpu for TPUs and XLA's plugin for CUDA for H100s, no
accelerator. Prints a table, and writes ahead.json to --output.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import tyro
from common import print_header, print_row, write_json

from handgrad.scale.ahead import Compiled, compile_ahead
from handgrad.scale.program import Figures
from handgrad.scale.show import compiled_json
from handgrad.scale.step import Job, make_job, stand_in
from handgrad.scale.targets import parse_target
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
    output: Path = Path("build/benchmarks")
    """The folder of ahead.json."""


def main(argv: Sequence[str] | None = None) -> None:
    """Compile, print, write."""
    command = tyro.cli(Command, args=argv, description=__doc__)
    jax.config.update("jax_platforms", "cpu")
    print("By hand over jax.value_and_grad:\n")
    print_header(HEADER)
    rows = []
    for name, samples, job in jobs():
        for text in command.targets:
            found = compile_ahead(job, parse_target(text), per_device=samples)
            print_row([f"{name} at {samples}", text, *cells(found)])
            rows.append({"network": name} | compiled_json(found))
    write_json(command.output, "ahead", {"rows": rows})


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
    right = found.data == 1 or found.gradient <= large <= found.gradient + SCALARS
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
