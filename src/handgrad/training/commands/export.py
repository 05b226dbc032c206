"""handgrad export: the model of a run for other programs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from handgrad.training.commands.exit_code import exit_code
from handgrad.training.commands.inputs import run_model
from handgrad.training.records.export import Format, export_model


@dataclass(frozen=True)
class Export:
    """Export the model of a run: raw features in, probabilities out, any batch size.

    onnx: for any ONNX runtime. jax: for jax.export.deserialize, on CPU, CUDA and TPU.
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The folder of a run, or a model.safetensors."""
    format: Format = "onnx"
    """onnx or jax."""
    out: Path | None = None
    """Where to write; model.onnx or model.jax beside the model without it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Export as the command line says; the exit code."""
    return exit_code(lambda: _export(tyro.cli(Export, args=argv)))


def _export(command: Export) -> None:
    model = run_model(command.run)
    folder = command.run if command.run.is_dir() else command.run.parent
    out = command.out or folder / f"model.{command.format}"
    export_model(out, model, command.format)
    print(out)
