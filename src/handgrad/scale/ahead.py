"""A training step compiled for accelerators that are not here, beside the same step
with `jax.value_and_grad` in the place of the gradient by hand."""

from typing import NamedTuple

import jax
from jax.experimental import mesh_utils
from jax.sharding import Mesh

from handgrad.scale.compilers import compiler_options, topology
from handgrad.scale.placement import DATA, MODEL, bytes_per_device, parameter_specs
from handgrad.scale.program import Figures, read_program
from handgrad.scale.step import Job, arguments, place_step, with_autodiff
from handgrad.scale.targets import Target
from handgrad.training.engine.numbers import off
from handgrad.training.errors import TrainingError


class Compiled(NamedTuple):
    """What compiling a step for a target found; figures are those of one device."""

    target: Target
    data: int  # devices along `data`
    model: int  # devices along `model`
    samples: int  # of a step, on all devices together
    parameters: int  # of the network
    gradient: int  # bytes of the gradient on one device
    by_hand: Figures | None  # None: the compiler refuses it, it does not fit
    by_autodiff: Figures | None  # None also where there is no such step
    refusal: str  # the compiler's words, or nothing

    @property
    def fits(self) -> bool | None:
        """Whether a chip has the memory; None where the chip is of no known size."""
        memory = self.target.chip.memory
        if self.by_hand is None:
            return False
        return self.by_hand.peak <= memory if memory else None


def mesh_of(target: Target, model: int) -> Mesh:
    """All devices of a target, ``model`` neighbours along `model`.

    Raises:
      TrainingError: where ``model`` does not divide them, and as `topology`.
    """
    if model < 1 or target.devices % model:
        raise TrainingError(
            f"`model` must divide the {target.devices} devices of {target.text}, got "
            f"{model}."
        )
    devices = mesh_utils.create_device_mesh(
        (target.devices // model, model),
        topology(target).devices,
        allow_split_physical_axes=True,
    )
    return Mesh(devices, (DATA, MODEL))


def compile_ahead(
    job: Job,
    target: Target,
    *,
    model: int = 1,
    per_device: int | None = None,
    batch_size: int = 1,
    rival: bool = True,
) -> Compiled:
    """Compile a step for a target and read the compiled program.

    Args:
      job: of `make_job`.
      target: of `parse_target`.
      model: devices along `model`.
      per_device: samples of each device along `data`; None shares out the batch.
      batch_size: samples of a step, where ``per_device`` does not say.
      rival: whether to compile the step by autodiff as well; there is none where the
        gradients of the samples are clipped.

    Returns:
      The figures of both.

    Raises:
      TrainingError: for what does not divide, and as `topology`.
    """
    mesh = mesh_of(target, model)
    data = target.devices // model
    samples = batch_size if per_device is None else per_device * data
    if samples % data:
        raise TrainingError(
            f"`training.batch_size` must be shared out to {data} devices, got "
            f"{samples}. Give the samples of each with --per-device."
        )
    by_hand, refusal = _compile(job, mesh, target, samples)
    compares = rival and by_hand is not None and off(job.step.objective.clip_samples)
    by_autodiff = (
        _compile(with_autodiff(job), mesh, target, samples)[0] if compares else None
    )
    specs = parameter_specs(job.state.params, model)
    return Compiled(
        target,
        data,
        model,
        samples,
        sum(leaf.size for leaf in jax.tree.leaves(job.state.params)),
        bytes_per_device(job.state.params, specs, model),
        by_hand,
        by_autodiff,
        refusal,
    )


def _compile(
    job: Job, mesh: Mesh, target: Target, samples: int
) -> tuple[Figures | None, str]:
    lowered = place_step(job, mesh).lower(*arguments(job, samples))
    try:
        return read_program(lowered.compile(compiler_options(target))), ""
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return None, str(error)
