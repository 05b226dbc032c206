"""How a network lies on a mesh of two axes: samples along `data`, units along `model`.

Megatron's way: of two layers that follow each other the first is split by its columns
and the second by its rows. The units between them stay where they are computed, and
one sum over `model` after the second layer brings the result together; backward, one
sum before the first. Source: Shoeybi et al. 2019, "Megatron-LM", section 3.
"""

from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from handgrad.network import Layer, Params
from handgrad.network.types import is_stack

DATA, MODEL = "data", "model"
"""The axes of the mesh, in this order."""

Specs = tuple[Any, ...]
"""A `PartitionSpec` in the place of every parameter: a tuple of `Layer`s."""

_WHOLE: Any = (P(), P())
_COLUMNS: Any = (P(None, MODEL), P(MODEL))
_ROWS: Any = (P(MODEL, None), P())


def parameter_specs(params: Params, model: int) -> Specs:
    """How each weight and bias lies; none is split along `data`.

    Args:
      params: the parameters, or their shapes.
      model: devices along the axis `model`.

    Returns:
      For every layer in order: split by rows where the layer below is split by columns;
      by columns where ``model`` divides its units and a layer is above it; else whole.
      A stack, whose layers lie alike, is whole.
    """
    specs, split = [], False
    for layer, above in zip(params, (*params[1:], None), strict=True):
        pair = above is not None and not is_stack(layer) and not is_stack(above)
        if split:
            lies, split = _ROWS, False
        elif model > 1 and pair and layer.bias.shape[-1] % model == 0:
            lies, split = _COLUMNS, True
        else:
            lies = _WHOLE
        specs.append(Layer(*lies))
    return tuple(specs)


def specs_like(tree: Any, params: Any, specs: Specs) -> Any:
    """How a tree lies that holds arrays of the parameters' shapes in their places, such
    as the state of an optimiser.

    Args:
      tree: arrays, or their shapes.
      params: the parameters, or their shapes.
      specs: of `parameter_specs`.

    Returns:
      A `PartitionSpec` for every leaf of ``tree``: that of the parameter whose path its
      own path ends with and whose shape it has; what is no such leaf is whole.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    known = {
        path: (leaf.shape, spec)
        for (path, leaf), spec in zip(leaves, jax.tree.leaves(specs), strict=True)
    }

    def spec(path: Any, leaf: Any) -> P:
        shape, spec = known.get(path[-2:], (None, P()))
        return spec if leaf.shape == shape else P()

    return jax.tree_util.tree_map_with_path(spec, tree)


def split_over_data(tree: Any, specs: Any, data: int) -> Any:
    """How a tree lies that is split along `data` besides, ZeRO's way: every device of
    that axis keeps, and updates, its share of what all of them would keep.

    Args:
      tree: arrays, or their shapes.
      specs: a `PartitionSpec` for each.
      data: devices along the axis `data`.

    Returns:
      For every leaf its spec, with `data` along the first axis that is whole and that
      ``data`` divides; where there is none, as it was.

    Source: Rajbhandari et al. 2020, "ZeRO", section 5 (P_os).
    """

    def split(leaf: Any, spec: P) -> P:
        axes = [*spec, *[None] * (leaf.ndim - len(spec))]
        for k, (axis, length) in enumerate(zip(axes, leaf.shape, strict=True)):
            if axis is None and length and length % data == 0:
                return P(*axes[:k], DATA, *axes[k + 1 :])
        return spec

    return jax.tree.map(split, tree, specs)


def shardings(mesh: Mesh, specs: Any) -> Any:
    """The specs, on a mesh."""
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs)


def bytes_per_device(params: Any, specs: Specs, model: int) -> int:
    """Bytes of the parameters, and of their gradient, on one device."""
    return sum(
        leaf.size * leaf.dtype.itemsize // (model if MODEL in spec else 1)
        for leaf, spec in zip(
            jax.tree.leaves(params), jax.tree.leaves(specs), strict=True
        )
    )
