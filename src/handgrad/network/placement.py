"""Where arrays lie on a mesh: what B4 to B6 need to know where sharding is a type.

On a mesh with Explicit axes a product that sums over a sharded axis must be told where
its result is to lie, and in `jax.shard_map` the gradient of a parameter that all shards
share is the sum over the shards. JAX's own differentiation has both from the types of
the parameters; here the trace carries them. On one device, and on meshes with Auto axes
alone, all of this is empty.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P


class Placement(NamedTuple):
    """Where an array lies; hashable."""

    sharding: NamedSharding | None  # on a mesh with Explicit axes, else None
    varying: frozenset[str]  # mesh axes of `jax.shard_map` along which it differs


def placement(array: jax.Array) -> Placement:
    """Where ``array``, traced or not, lies."""
    kind: Any = jax.typeof(array)
    explicit = AxisType.Explicit in kind.sharding.mesh.axis_types
    return Placement(kind.sharding if explicit else None, kind.manual_axis_type.varying)


def inner(sharding: NamedSharding | None) -> NamedSharding | None:
    """How each of the arrays lies that are put together along a leading axis."""
    if sharding is None:
        return None
    return NamedSharding(sharding.mesh, P(*sharding.spec[1:]))


def matmul(
    rows: jax.Array, columns: jax.Array, dtype: jnp.dtype | None = None
) -> jax.Array:
    """``rows @ columns``, lying where the rows of one and the columns of the other do.

    Args:
      rows: (m, n), or (K, m, n).
      columns: (n, p), or (K, n, p).
      dtype: of the sums and the result, if not that of the operands.

    Returns:
      (m, p), or (K, m, p).
    """
    left, right = placement(rows).sharding, placement(columns).sharding
    sharding = None  # as JAX has it, where one of them lies on no mesh
    if left is not None and right is not None:
        *stack, row, _ = left.spec
        column = right.spec[-1]
        taken = set(row if isinstance(row, tuple) else (row,))
        if taken & set(column if isinstance(column, tuple) else (column,)):
            column = None  # an axis splits the samples, or the units, not both
        sharding = NamedSharding(left.mesh, P(*stack, row, column))
    return jnp.matmul(
        rows, columns, preferred_element_type=dtype, out_sharding=sharding
    )


def beside(row: jax.Array, rows: jax.Array) -> jax.Array:
    """A vector (n,), laid out like the columns of ``rows``, (m, n)."""
    lies = placement(rows).sharding
    if lies is None or placement(row).sharding is None:
        return row
    return jax.sharding.reshard(row, NamedSharding(lies.mesh, P(lies.spec[1])))


def contract(
    inputs: jax.Array,
    delta: jax.Array,
    dtype: jnp.dtype | None = None,
    sharding: NamedSharding | None = None,
) -> jax.Array:
    """``inputs.T @ delta``, a sum over samples.

    Args:
      inputs: (m, n_in), or (K, m, n_in).
      delta: (m, n_out), or (K, m, n_out).
      dtype: of the sums and the result, if not that of the operands.
      sharding: where the result is to lie; None for everywhere.

    Returns:
      (n_in, n_out), or (K, n_in, n_out).
    """
    lies = placement(inputs).sharding or placement(delta).sharding
    if lies is not None and sharding is None:
        sharding = NamedSharding(lies.mesh, P(*[None] * delta.ndim))
    return jnp.matmul(
        inputs.mT, delta, preferred_element_type=dtype, out_sharding=sharding
    )


def place_like(total: jax.Array, where: Placement) -> jax.Array:
    """An array laid out like another: a sum over samples like the parameter that it is
    the gradient of, or the output of a layer like its input."""
    if where.sharding is None:
        return total
    return jax.sharding.reshard(total, where.sharding)


def sum_over_shards(total: jax.Array, where: Placement) -> jax.Array:
    """The sum over the shards that share a parameter: what transposes its sharing.

    Args:
      total: what this shard adds to the gradient.
      where: the place of the parameter.

    Returns:
      ``total``, summed over the mesh axes of `jax.shard_map` along which it differs and
      the parameter does not.
    """
    axes = placement(total).varying - where.varying
    return jax.lax.psum(total, tuple(sorted(axes))) if axes else total


def whole_rows(rows: jax.Array) -> jax.Array:
    """(..., m, n), samples where they lie, and the n numbers of each together."""
    sharding = placement(rows).sharding
    if sharding is None:
        return rows
    spec = P(*sharding.spec[:-1], None)
    return jax.sharding.reshard(rows, NamedSharding(sharding.mesh, spec))
