"""handgrad compile-ahead: a training step, compiled for machines that are not here."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import tyro

from handgrad.scale.ahead import compile_ahead
from handgrad.scale.compilers import missing
from handgrad.scale.show import compiled_json, compiled_table
from handgrad.scale.step import make_job, stand_in
from handgrad.scale.targets import EXAMPLES, Target, parse_target
from handgrad.training.commands.exit_code import exit_code
from handgrad.training.data import Dataset, load_data
from handgrad.training.errors import TrainingError
from handgrad.training.files import replace_json
from handgrad.training.settings import Settings, check_settings, load_settings
from handgrad.training.views.terminal import Terminal


@dataclass(frozen=True)
class CompileAhead:
    """Compile the training step of a settings file for accelerators that are not here.

    Prints, per device and step, what the compiled program says of itself: FLOPs, bytes
    accessed, memory, collectives, and whether it fits the chip; beside the same step
    with jax.value_and_grad in the place of the gradient by hand. Needs libtpu for a TPU
    (pip install 'handgrad[ahead]'), XLA's plugin for CUDA for an H100 (pip install
    'handgrad[ahead-gpu]'), and no accelerator.
    """

    config: Annotated[Path, tyro.conf.Positional]
    """The settings file (TOML)."""
    target: tuple[str, ...]
    """One or more of: a TPU and the sides of its slice (v5e:2x2, v5p:4x4x8,
    v6e:16x16), H100s and how many (h100:8), or CPU devices of this machine (cpu:4)."""
    model: int = 1
    """Devices that share the units of a layer; the others share the samples."""
    per_device: int | None = None
    """Samples of each device along the samples; unless given, the batch of the settings
    is shared out."""
    inputs: int | None = None
    """Features of a sample, with --classes: the data are then not read."""
    classes: int | None = None
    """Classes, with --inputs."""
    json: Path | None = None
    """Write the figures to this file as well."""


def main(argv: Sequence[str] | None = None) -> int:
    """Compile as the command line says; the exit code."""
    return exit_code(lambda: _compile(tyro.cli(CompileAhead, args=argv)))


def _compile(command: CompileAhead) -> None:
    targets = list(map(parse_target, command.target))
    _check(command, targets)
    settings = load_settings(command.config)
    _prepare(targets)
    job, console, found = make_job(settings, _data(command, settings)), Terminal(), []
    for target in targets:
        with console.status(f"compiling for {target.text}"):
            one = compile_ahead(
                job,
                target,
                model=command.model,
                per_device=command.per_device,
                batch_size=settings.training.batch_size,
            )
        console.print(compiled_table(one))
        found.append(compiled_json(one))
    if command.json is not None:
        replace_json(command.json, found)


def _check(command: CompileAhead, targets: list[Target]) -> None:
    if not targets:
        raise TrainingError(f"`target` must be given, such as {EXAMPLES}.")
    if (command.inputs is None) != (command.classes is None):
        raise TrainingError("`inputs` and `classes` must be given together.")
    for name in ("inputs", "classes", "per_device"):
        value = getattr(command, name)
        if value is not None and value < 1:
            raise TrainingError(f"`{name}` must be 1 or more, got {value}.")
    for target in targets:
        if need := missing(target):
            raise TrainingError(
                f"`target` {target.text} must have its compiler, which is not "
                f"installed: {need}"
            )


def _prepare(targets: list[Target]) -> None:
    """This process is for compiling alone: it takes no accelerator that is here, and
    has as many CPU devices as are asked for."""
    jax.config.update("jax_platforms", "cpu")
    cpus = [target.devices for target in targets if target.chip.kind == "cpu"]
    with suppress(RuntimeError):  # where JAX has begun already
        jax.config.update("jax_num_cpu_devices", max(cpus, default=1))


def _data(command: CompileAhead, settings: Settings) -> Dataset:
    if command.inputs is not None and command.classes is not None:
        return stand_in(settings, command.inputs, command.classes)
    try:
        check_settings(settings)
        return load_data(settings.data)
    except TrainingError as error:
        raise TrainingError(
            f"{error} Without the data, give --inputs and --classes."
        ) from error
