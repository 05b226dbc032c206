"""What is checked: a function, the plain one beside it, and a point.

Everything is looked at through the floating leaves of the arguments and of the output,
as lists; what is whole, static or not differentiated stays where it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.directions import generator, inner, normal, real_parts, sized
from handgrad.gradcheck.points import Basis
from handgrad.gradcheck.reference.audit import Audit
from handgrad.gradcheck.reference.float64 import Point
from handgrad.gradcheck.reference.slope import line_at
from handgrad.gradcheck.reference.tolerance import Floor
from handgrad.gradcheck.reference.truth import Reference, reference_at
from handgrad.gradcheck.trees import Split, split

Function = Callable[..., Any]
Leaves = list[Any]


@dataclass(frozen=True, eq=False)
class Subject:
    """A function with rules, at a point.

    Attributes:
      function: what is checked.
      plain: primals -> the same values, without its rules; or a reference.
      primals: all arguments.
      moving: the positions that are differentiated.
      mapped: the positions that `jax.vmap` can map.
      rules: what carries its rules, as in `plain.Plain`.
      own: whether the function is its own reference.
      key: a PRNG key for the directions, or None.
    """

    function: Function
    plain: Function
    primals: tuple[Any, ...]
    moving: tuple[int, ...]
    mapped: tuple[int, ...]
    rules: frozenset[str]
    own: bool
    key: jax.Array | None = None

    @cached_property
    def taken(self) -> Split:
        """The arguments, taken apart."""
        return split(self.primals)

    @cached_property
    def owners(self) -> list[int]:
        """The position of the argument of each leaf."""
        return [i for i, part in enumerate(self.primals) for _ in jax.tree.leaves(part)]

    @cached_property
    def live(self) -> list[int]:
        """The leaves that are differentiated."""
        return [i for i in self.taken.floating if self.owners[i] in self.moving]

    @property
    def names(self) -> list[str]:
        """Their names, such as ``[0]`` or ``[1].weight``."""
        return [self.taken.paths[i] for i in self.live]

    @property
    def values(self) -> Leaves:
        """Their values."""
        return [self.taken.leaves[i] for i in self.live]

    def merge(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """The arguments with those leaves replaced."""
        leaves = list(self.taken.leaves)
        for i, value in zip(self.live, values, strict=True):
            leaves[i] = value
        return jax.tree.unflatten(self.taken.structure, leaves)

    def of_values(self, function: Function) -> Callable[..., Leaves]:
        """Floating leaves of the arguments -> real floating leaves of the output."""
        return lambda *values: jax.tree.leaves(
            real_parts(function(*self.merge(values)))
        )

    def at(self, primals: Sequence[Any]) -> "Subject":
        """The same function at other arguments of the same structure."""
        return replace(self, primals=tuple(primals))

    @cached_property
    def shape(self) -> Any:
        """The floating part of the output: traced, or called if it cannot be."""

        def parts(*values: Any) -> Any:
            return real_parts(self.plain(*self.merge(values)))

        try:
            return jax.eval_shape(parts, *self.values)
        except Exception:  # a function that looks at values
            return parts(*self.values)

    @cached_property
    def outputs(self) -> list[str]:
        """The names of the floating leaves of the output."""
        return [path.replace("(params)", "output") for path in split(self.shape).paths]

    @cached_property
    def cotangent(self) -> Leaves:
        """u, normal, in the shapes of the output."""
        return self.cotangents(0)

    def cotangents(self, use: int) -> Leaves:
        """Another u for every use."""
        # mutants: any numbers but those of the tangents
        return normal(generator(self.key, 10 + use), jax.tree.leaves(self.shape))

    @cached_property
    def tangent(self) -> Leaves:
        """v, normal, as large as the arguments."""
        return self.tangents(0)

    def tangents(self, use: int) -> Leaves:
        """Another v for every use."""
        numbers = generator(self.key, 50 + use)
        return [sized(numbers, value) for value in self.values]

    @cached_property
    def value_point(self) -> Point:
        """L(u) = <u, f(x)>, whose gradient is the output."""
        return Point(
            lambda u, values: inner(u, self.of_values(self.plain)(*values)),
            self.cotangent,
            (self.values,),
        )

    @cached_property
    def value_reference(self) -> Reference:
        """The output in float64, and what rounding may do to it."""
        return reference_at(self.value_point)

    @cached_property
    def value_basis(self) -> Basis:
        """The same, for any output to be compared with: it is linear in u."""
        reference = self.value_reference
        return Basis(reference, Audit(), line_at(self.value_point, reference))

    @cached_property
    def floors(self) -> dict[str, list[tuple[Floor, np.ndarray]] | None]:
        """What rounding may do to "value", "vjp" and "jvp", with their truths."""
        plain = self.of_values(self.plain)

        def backward(values: Leaves, u: Leaves) -> jax.Array:
            return inner(u, plain(*values))

        def forward(u: Leaves, values: Leaves, v: Leaves) -> jax.Array:
            return inner(u, jax.jvp(plain, values, v)[1])

        u, v = self.cotangent, self.tangent
        found: dict[str, list[tuple[Floor, np.ndarray]] | None] = {}
        points = {
            "value": self.value_point,
            "vjp": Point(backward, self.values, (u,)),
            "jvp": Point(forward, u, (self.values, v)),
        }
        for kind, point in points.items():
            try:
                known = kind == "value"
                reference = self.value_reference if known else reference_at(point)
            except Exception:  # the reference has no derivative of that kind
                found[kind] = None
                continue
            pairs = zip(reference.floors, reference.truth.gradient, strict=True)
            found[kind] = list(pairs)
        return found


def fresh(tree: Any) -> Any:
    """Copies, which may be donated or written to."""

    def copy(leaf: Any) -> Any:
        return jnp.array(leaf, copy=True) if isinstance(leaf, jax.Array) else leaf

    return jax.tree.map(copy, tree)
