"""The random cotangent of a function's output, and the inner product with it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.randomness import normal, stream
from handgrad.gradcheck.reference.dtypes import is_inexact, wide_dtype
from handgrad.gradcheck.trees import name_of


class Form(NamedTuple):
    """One leaf of an output: its name, shape and dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: Any

    @property
    def live(self) -> bool:
        """Whether it has a cotangent: it is floating or complex."""
        return is_inexact(self.dtype)


class Cotangent(NamedTuple):
    """What cotangents of a function must look like.

    Attributes:
      structure: of the output.
      forms: of its leaves.
    """

    structure: Any
    forms: tuple[Form, ...]

    @classmethod
    def of(cls, output: Any) -> "Cotangent":
        """Those of a function with such an output, of arrays or of their shapes."""
        leaves, structure = jax.tree_util.tree_flatten_with_path(output)
        return cls(structure, tuple(_form(path, leaf) for path, leaf in leaves))

    def draw(self, *seeds: int) -> list[np.ndarray]:
        """Normal numbers for every leaf that has a cotangent."""
        generator = stream("cotangent", *seeds)
        return [
            normal(generator, np.zeros(form.shape, wide_dtype(form.dtype))).astype(
                form.dtype
            )
            for form in self.forms
            if form.live
        ]

    def inner(self, u: Sequence[Any], output: Any) -> jax.Array:
        """Re <u, output>, in float32, or in float64 if there is any."""
        live = self._live(output)
        double = any(form.dtype in (np.float64, np.complex128) for form in self.forms)
        total = jnp.zeros((), jnp.float64 if double else jnp.float32)
        for weight, leaf in zip(u, live, strict=True):
            complex_ = jnp.iscomplexobj(leaf)
            wide = jnp.promote_types(total.dtype, jnp.complex64) if complex_ else None
            wide = wide or total.dtype
            product = jnp.asarray(weight, wide) * jnp.asarray(leaf, wide)
            total += jnp.sum(jnp.real(product))
        return total

    def match(self, u: Sequence[Any]) -> Any:
        """The cotangent as JAX would pass it: float0 zeros for what is no float."""
        given = iter(u)
        filled = [
            jax.device_put(next(given))
            if form.live
            else np.zeros(form.shape, jax.dtypes.float0)
            for form in self.forms
        ]
        return jax.tree.unflatten(self.structure, filled)

    def compare(self, output: Any) -> list[str]:
        """Faults of a ``fwd`` whose output has other dtypes than the function's.

        Raises:
          TypeError: if it has another structure, or other shapes.
        """
        given = Cotangent.of(output)
        shapes, expected = ([f.shape for f in c.forms] for c in (given, self))
        if given.structure != self.structure or shapes != expected:
            raise TypeError(
                "`fwd` must return (output, residuals) with the output of the "
                f"function, whose shapes are {self._shapes()}, got {given._shapes()}."
            )
        pairs = zip(given.forms, self.forms, strict=True)
        return [
            f"`fwd` must return the dtype of the function{must.name}, {must.dtype}, "
            f"got {found.dtype}: jax.custom_vjp refuses it. Cast its output."
            for found, must in pairs
            if found.dtype != must.dtype
        ]

    def _shapes(self) -> Any:
        return jax.tree.unflatten(self.structure, [form.shape for form in self.forms])

    def _live(self, output: Any) -> list[Any]:
        leaves = jax.tree.leaves(output)
        pairs = zip(leaves, self.forms, strict=True)
        return [leaf for leaf, form in pairs if form.live]


def _form(path: Any, leaf: Any) -> Form:
    dtype = leaf.dtype if hasattr(leaf, "dtype") else jnp.result_type(leaf)
    name = f" at {name_of(path)}" if path else ""
    return Form(name, tuple(np.shape(leaf)), dtype)
