"""How long a step takes on paper: what its program does, over what its chip can do."""

from typing import NamedTuple

from handgrad.scale.hlo import Collective
from handgrad.scale.program import Figures
from handgrad.scale.targets import Chip


class Times(NamedTuple):
    """Seconds of a step by what bounds it."""

    compute: float  # FLOPs over FLOPs per second
    memory: float  # bytes accessed over the bandwidth of the memory
    link: float  # bytes sent over the bandwidth of all links of the chip together

    @property
    def step(self) -> float:
        """Of a step that does all three at once."""
        return max(self)


def sent(one: Collective) -> float:
    """Bytes that a device sends, by the best algorithm, in all collectives of a row.

    A sum is scattered and gathered: each device sends its share of the others twice.
    """
    share = (one.devices - 1) / one.devices
    if one.kind == "all-reduce":
        share *= 2
    elif one.kind.startswith("collective-"):
        share = 1.0
    return one.times * one.size * share


def times(figures: Figures, chip: Chip) -> Times:
    """The bounds of a compiled step on a chip.

    Args:
      figures: of `read_program`.
      chip: of an accelerator; its figures are its maker's.

    Returns:
      Every unit and every link busy all the time; of a program without loops, for the
      compiler counts the body of one once. Only the memory may be faster than
      this: what a fusion leaves in a cache for the next one counts as accessed too.
    """
    return Times(
        figures.flops / chip.flops,
        figures.accessed / chip.bandwidth,
        sum(map(sent, figures.collectives)) / chip.link,
    )


class Limit(NamedTuple):
    """Where more chips stop helping."""

    samples: (
        float  # per chip, below which the links bound the step; inf: they always do
    )
    overhead: float  # share of a step's compute that the links need at any batch


def limit(figures: Figures, chip: Chip, data: int, samples: float) -> Limit:
    """From one compiled step to all batches: compute grows with the samples, and so do
    the sums along `model`; the sum of the gradient along `data` does not.

    Args:
      figures: of a step on a mesh whose two axes differ in length.
      chip: what it runs on.
      data: devices along `data`.
      samples: of a step, per chip.
    """
    along_data = [one for one in figures.collectives if one.devices == data]
    constant = sum(map(sent, along_data)) / chip.link
    compute, _, link = times(figures, chip)
    spare = compute - (link - constant)
    return Limit(
        samples * constant / spare if spare > 0 else float("inf"),
        (link - constant) / compute,
    )
