"""What a step can be compiled for: chips, with what is published of them, and how many
of them in which shape."""

import math
import re
from typing import Literal, NamedTuple

from handgrad.training.errors import TrainingError, nearest, shortened

GB, GIB = 10**9, 2**30


class Chip(NamedTuple):
    """What the maker publishes of a chip."""

    name: str
    kind: Literal["tpu", "gpu", "cpu"]
    memory: int  # bytes
    bandwidth: float  # of its memory, bytes/s
    flops: float  # per s, of products of float32 matrices as JAX makes them by default
    link: float  # bytes/s that it sends to its peers while it receives as many
    dimensions: int  # of the shape that a target gives
    most: int  # chips that such links connect
    source: str


_TPU = "https://cloud.google.com/tpu/docs/"
_H100 = "https://www.nvidia.com/en-us/data-center/h100/"

CHIPS = {
    # By default a TPU multiplies float32 in one pass of bfloat16.
    "v5e": Chip(
        *("TPU v5e", "tpu", 16 * GIB, 819e9, 197e12, 200e9, 2, 256, f"{_TPU}v5e")
    ),
    "v5p": Chip(
        *("TPU v5p", "tpu", 95 * GIB, 2765e9, 459e12, 600e9, 3, 8960, f"{_TPU}v5p")
    ),
    "v6e": Chip(
        *("TPU v6e", "tpu", 32 * GIB, 1600e9, 918e12, 400e9, 2, 256, f"{_TPU}v6e")
    ),
    # And an H100 in TensorFloat-32, here without sparsity.
    "h100": Chip("H100 SXM", "gpu", 80 * GB, 3350e9, 494.7e12, 450e9, 1, 8, _H100),
    "cpu": Chip("this CPU", "cpu", 0, 0.0, 0.0, 0.0, 1, 2**10, ""),
}
"""By the name that a target begins with. The links are half of the bandwidth in both
directions that is published: 400, 1200 and 800 GB/s per TPU, 900 GB/s per H100."""

EXAMPLES = "v5e:2x2, v5p:4x4x8, v6e:16x16, h100:1, h100:8"


class Target(NamedTuple):
    """Chips of one kind, side by side."""

    text: str  # as it was given
    chip: Chip
    shape: tuple[int, ...]

    @property
    def devices(self) -> int:
        """How many chips."""
        return math.prod(self.shape)


def parse_target(text: str) -> Target:
    """Read a target such as v5e:2x2 or h100:8.

    Args:
      text: a name of `CHIPS`, a colon, and how many chips: for a TPU the sides of the
        slice, else their number.

    Returns:
      The target.

    Raises:
      TrainingError: for another chip, or a shape that there is not.
    """
    name, _, rest = text.partition(":")
    if name not in CHIPS:
        raise TrainingError(
            f"`target` must begin with a chip ({', '.join(CHIPS)}), got "
            f"{shortened(text)}. {nearest(name, CHIPS)}"
        )
    chip = CHIPS[name]
    sides = re.fullmatch(r"\d{1,5}(x\d{1,5})*", rest)
    shape = tuple(map(int, rest.split("x"))) if sides else ()
    if len(shape) != chip.dimensions or not 1 <= math.prod(shape) <= chip.most:
        need = "a number" if chip.dimensions == 1 else f"{chip.dimensions} sides"
        raise TrainingError(
            f"`target` {name} must be followed by a colon and {need}, of 1 to "
            f"{chip.most} chips, got {shortened(text)}. Such as: {EXAMPLES}."
        )
    if chip.kind == "tpu" and any(side > 1 and side % 2 for side in shape):
        raise TrainingError(
            f"`target` {name} must have even sides, or sides of 1: a host has 2x2 of "
            f"its chips. Got {text}."
        )
    return Target(text, chip, shape)
