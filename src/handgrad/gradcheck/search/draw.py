"""What a search varies: sizes, dtypes, and what the numbers in an array are like.

Every choice is one of a short list, the plainer first, so that a case is a small
dictionary of names and values, a smaller case is one of earlier choices, and a case can
be had again from its dictionary alone.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

SIZES = (  # mutants: other sizes
    *(1, 0, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129),
    *(255, 256, 257, 511, 512, 513, 1000, 1023, 1024, 1025, 2047, 2048, 2049),
    *(4095, 4096, 4097, 8191, 8192, 8193),
)
"""One, none, and what lies at and beside the blocks that kernels are cut into."""

SCALES = (1.0, 0.1, 0.01, 1e-4, 10.0, 100.0, 1e4)
"""From what initial parameters are, to tiny, to saturated."""

KINDS = ("normal", "positive", "zeros", "some zeros", "ties", "constant", "spike")
"""What the numbers of an array are like; see `numbers`."""

Choose = Callable[[str, Sequence[Any]], Any]
"""A name and what there is to choose from -> what is chosen."""

Case = Mapping[str, Any]
"""All choices of a point, by name."""


class Draw:
    """Gives the parts of a point, and remembers the choices that were made.

    Args:
      choose: makes a choice.
      dtypes: what `dtype` is chosen from.
    """

    def __init__(self, choose: Choose, dtypes: Sequence[str]) -> None:
        self._choose, self._dtypes = choose, tuple(dtypes)
        self._arrays = 0
        self.case: dict[str, Any] = {}

    def choice(self, name: str, options: Sequence[Any]) -> Any:
        """One of several values: strings, numbers, anything that prints as code.

        Args:
          name: which no other choice has.
          options: the plainest first.
        """
        if name not in self.case:
            self.case[name] = self._choose(name, tuple(options))
        return self.case[name]

    @property
    def dtype(self) -> Any:
        """The dtype of this case, the same for all arrays."""
        return jnp.dtype(self.choice("dtype", self._dtypes))

    def size(self, name: str, least: int = 1, most: int = 64) -> int:
        """A size between two bounds: 1, 0, and at or beside a power of two.

        Args:
          name: such as "batch".
          least: 0 where the loss takes nothing at all.
          most: the largest that is tried, always among the choices.
        """
        options = [size for size in SIZES if least <= size <= most]
        return self.choice(name, [*options, *({least, most} - set(options))])

    def array(
        self,
        *shape: int,
        name: str = "",
        infinite: bool = False,
        real: Any = None,
        dtype: Any = None,
    ) -> jax.Array:
        """An array of numbers of some kind and scale.

        Args:
          shape: the sizes.
          name: for the case; default a number.
          infinite: whether the loss takes -inf, as an additive mask has.
          real: an array of numbers from a real run, from which entries may be taken.
          dtype: default that of the case.
        """
        name = name or f"array {self._arrays}"
        self._arrays += 1
        kinds = [*KINDS, *(["minus infinity"] if infinite else [])]
        kinds += ["real"] if real is not None else []
        kind = self.choice(f"{name} kind", kinds)
        scale = self.choice(f"{name} scale", SCALES) if kind != "zeros" else 1.0
        dtype = self.dtype if dtype is None else jnp.dtype(dtype)
        generator = np.random.default_rng([self._arrays, *shape])
        values = scale * numbers(generator, kind, shape, real)
        with np.errstate(over="ignore"):
            limit = float(jnp.finfo(dtype).max)
            kept = np.where(np.isinf(values), values, np.clip(values, -limit, limit))
        return jnp.asarray(kept, dtype)

    def integers(self, *shape: int, below: int, name: str = "") -> jax.Array:
        """Integers from 0, such as labels or indices: random, all alike, or the border.

        Args:
          shape: the sizes.
          below: one more than the largest.
          name: for the case; default a number.
        """
        name = name or f"integers {self._arrays}"
        self._arrays += 1
        kind = self.choice(f"{name} kind", ("random", "all 0", "all last", "repeated"))
        generator = np.random.default_rng([self._arrays, *shape])
        values = {
            "random": generator.integers(0, max(below, 1), shape),
            "all 0": np.zeros(shape, int),
            "all last": np.full(shape, below - 1),
            "repeated": generator.integers(0, max(min(below, 2), 1), shape),
        }
        return jnp.asarray(values[kind], jnp.int32)


def numbers(
    generator: np.random.Generator, kind: str, shape: Sequence[int], real: Any = None
) -> np.ndarray:
    """Numbers of one kind, of size 1."""
    normal = generator.standard_normal(tuple(shape))
    chosen = generator.random(tuple(shape))
    if kind == "real":
        flat = np.asarray(real).astype(np.float64).ravel()
        return np.resize(np.roll(flat, generator.integers(flat.size)), tuple(shape))
    return {
        "normal": lambda: normal,
        "positive": lambda: chosen,
        "zeros": lambda: np.zeros_like(normal),
        "some zeros": lambda: np.where(chosen < 0.3, 0.0, normal),
        "ties": lambda: np.round(normal),
        "constant": lambda: np.ones_like(normal),
        # mutants: equal to the last bit
        "spike": lambda: np.where(chosen < 0.05, 30.0, 1.0) * normal,
        "minus infinity": lambda: np.where(chosen < 0.3, -np.inf, normal),
    }[kind]()


def replayed(case: Case) -> Draw:
    """Gives the parts of the point of a case again."""

    def choose(name: str, options: Sequence[Any]) -> Any:
        if name not in case:
            raise ValueError(
                f"`case` must have a choice for {name!r}, got {sorted(case)}. Pass the "
                "`make` that the case was found with."
            )
        return case[name]

    return Draw(choose, ())
