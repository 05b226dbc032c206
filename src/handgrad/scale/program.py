"""What a compiled program says of itself."""

from importlib import import_module
from typing import Any, NamedTuple

import jax

from handgrad.scale.hlo import Collective, collectives, loops


class Figures(NamedTuple):
    """Of one device and one run of a program; sizes in bytes."""

    peak: int  # of memory, all together
    arguments: int
    outputs: int
    aliased: int  # outputs that take the place of arguments
    temporaries: int
    code: int
    flops: float
    accessed: float  # bytes read and written
    loops: int  # whose bodies flops and accessed count once
    collectives: tuple[Collective, ...]


def read_program(compiled: jax.stages.Compiled) -> Figures:
    """Memory, operations and collectives of a compiled program.

    Args:
      compiled: for one device or many; figures are those of one.

    Returns:
      The compiler's own figures of memory. Operations and bytes accessed are XLA's cost
      analysis of the compiled program, each fusion counted by what goes in and comes
      out; a compiler that offers none, as that for a GPU that is not here, has its
      program analysed as one of the CPU.
    """
    memory: Any = compiled.memory_analysis()
    costs = compiled.cost_analysis() or _costs(compiled)
    text = compiled.as_text() or ""
    return Figures(
        memory.peak_memory_in_bytes,
        memory.argument_size_in_bytes,
        memory.output_size_in_bytes,
        memory.alias_size_in_bytes,
        memory.temp_size_in_bytes,
        memory.generated_code_size_in_bytes,
        costs["flops"],
        costs["bytes accessed"],
        loops(text),
        collectives(text),
    )


def _costs(compiled: jax.stages.Compiled) -> dict[str, float]:
    analyse = import_module("jaxlib._jax").hlo_module_cost_analysis  # not public
    executable: Any = compiled.runtime_executable()
    (module,) = executable.hlo_modules()
    return analyse(jax.devices("cpu")[0].client, module)
