"""Random rounding: a result as another rounding might have given it.

Every result that is not exact is rounded up or down at random (Parker 1997, "Monte
Carlo Arithmetic"; Vignes 2004, "Discrete stochastic arithmetic for validating results
of numerical software"): by one unit in the last place of float64, or to the dtype that
the program gives it, to one of the two numbers beside, the nearer the likelier.
"""

from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from handgrad.gradcheck.reference.dtypes import unit_of

STAGGER = 8191
"""Results are moved by stretches of one array of signs that begin so far apart."""

LAST_PLACE = 1.2 * unit_of(np.dtype(np.float64))
"""A share that moves a number of float64 by one unit in its last place, or by two."""


@dataclass(frozen=True)
class Rounding:
    """How results are rounded, and what was learnt about the program on the way.

    Attributes:
      moves: random numbers for every entry of a result, and `STAGGER` more; None moves
        nothing. Of -1, 0 and 1 for the last place of float64; of 64 bits each for the
        dtypes of the program.
      step: how often a loop was entered, where this is inside of one.
      sites: numbers the results.
      islands: the dtypes of results that could not be had in float64.
    """

    moves: Any = None
    step: Any = None
    sites: count = field(default_factory=lambda: count(1))
    islands: set[np.dtype] = field(default_factory=set)

    def moved(self, value: Any, dtype: np.dtype) -> Any:
        """``value`` as another rounding in ``dtype`` might have given it."""
        if self.moves is None:
            return value
        begin, size = 5231 * next(self.sites) % STAGGER, int(np.size(value))
        if self.step is None:
            part = lax.slice(self.moves, (begin,), (begin + size,))
        else:
            begin = (begin + 2741 * self.step) % STAGGER
            part = lax.dynamic_slice(self.moves, (begin,), (size,))
        part = part.reshape(value.shape)
        if self.to_own_dtypes:
            return to_dtype(value, part, dtype)
        return value * (1 + LAST_PLACE * part)

    @property
    def to_own_dtypes(self) -> bool:
        """Whether results are rounded to the dtypes of the program."""
        return self.moves is not None and self.moves.dtype == np.uint64

    @property
    def still(self) -> "Rounding":
        """The same, moving nothing."""
        return replace(self, moves=None)


def to_dtype(value: Any, random: Any, dtype: np.dtype) -> Any:
    """A number rounded at random to one of the two of ``dtype`` beside it.

    The bits that ``dtype`` has no room for are added to as many random ones, and cut
    off: what it holds exactly stays.
    """
    if jnp.iscomplexobj(value):
        parts = (to_dtype(part, random, dtype) for part in (value.real, value.imag))
        return lax.complex(*parts)
    spare = np.uint64((1 << max(0, 52 - int(jnp.finfo(dtype).nmant))) - 1)
    bits = lax.bitcast_convert_type(value, np.uint64)
    bits = (bits + (random & spare)) & ~spare
    return lax.bitcast_convert_type(bits, np.float64)
