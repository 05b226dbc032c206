"""Where a run lies on a mesh of devices, by the table [scale].

Samples are split along `data`, units along `model`; the compiler puts the sums over
devices where they are needed. A run on one device has no mesh, and its programs are
those that know of none.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import handgrad
from handgrad.scale.placement import (
    DATA,
    MODEL,
    parameter_specs,
    shardings,
    specs_like,
    split_over_data,
)
from handgrad.scale.processes import many
from handgrad.training.errors import TrainingError
from handgrad.training.settings import Scale


class Layout(NamedTuple):
    """Where everything lies: a `NamedSharding` for each."""

    mesh: Mesh
    state: Any  # in the place of every leaf of the state
    grads: Any  # of the gradient as the optimiser gets it

    @property
    def whole(self) -> NamedSharding:
        """On every device."""
        return NamedSharding(self.mesh, P())

    @property
    def rows(self) -> NamedSharding:
        """Samples, the first axis, along `data`."""
        return NamedSharding(self.mesh, P(DATA))

    @property
    def blocks(self) -> NamedSharding:
        """Minibatches, the first axis, whole; samples, the second, along `data`."""
        return NamedSharding(self.mesh, P(None, DATA))

    @property
    def shares(self) -> int:
        """Devices along `data`."""
        return self.mesh.shape[DATA]


def make_layout(scale: Scale, state: Callable[[], Any], batch_size: int) -> Layout:
    """Lay a run on the first devices there are.

    Args:
      scale: of the settings.
      state: gives the shapes of the state.
      batch_size: B.

    Raises:
      TrainingError: for more devices than there are, and for what they cannot share.
    """
    if batch_size % scale.data:
        raise TrainingError(
            f"`scale.data` must divide the {batch_size} samples of a minibatch, got "
            f"{scale.data}. Set training.batch_size to a multiple of it."
        )
    mesh, shapes = make_mesh(scale), state()
    params = shapes.params
    specs = parameter_specs(params, scale.model)
    if scale.model > 1 and not any(MODEL in layer.bias for layer in specs):
        hidden = jax.eval_shape(handgrad.unstack_layers, params)[:-1]
        widths = [layer.bias.shape[0] for layer in hidden]
        raise TrainingError(
            f"`scale.model` must divide the units of a hidden layer, got {scale.model} "
            f"where model.hidden is {widths}; layers in a stack stay whole."
        )
    lies = specs_like(shapes, params, specs)
    grads = specs
    if scale.zero:
        split = split_over_data(shapes, lies, scale.data)
        lies = lies._replace(opt_state=split.opt_state, average=split.average)
        grads = split.params
    return Layout(mesh, shardings(mesh, lies), shardings(mesh, grads))


def make_mesh(scale: Scale) -> Mesh:
    """A mesh of data times model devices; of all of them where there are many
    processes."""
    devices, count = jax.devices(), scale.data * scale.model
    if many() and count != len(devices):
        raise TrainingError(
            f"`scale` must take all {len(devices)} devices of the "
            f"{jax.process_count()} processes, got data {scale.data} times model "
            f"{scale.model}."
        )
    if count > len(devices):
        more = (
            f" XLA_FLAGS=--xla_force_host_platform_device_count={count} makes a CPU "
            "that many."
        )
        raise TrainingError(
            f"`scale` must take no more devices than there are ({len(devices)}), got "
            f"data {scale.data} times model {scale.model}."
            f"{more if devices[0].platform == 'cpu' else ''}"
        )
    return jax.make_mesh(
        (scale.data, scale.model),
        (DATA, MODEL),
        axis_types=(AxisType.Auto,) * 2,
        devices=devices[:count],
    )


def spread(tree: Any, where: Any) -> Any:
    """Traced arrays told where to lie; as they are without a mesh.

    Args:
      tree: of arrays.
      where: of shardings, or one for all, or None.
    """
    return tree if where is None else jax.lax.with_sharding_constraint(tree, where)


def of_many(where: Any) -> Any:
    """Where arrays lie that have one axis more than those of ``where``, the first: the
    members of a sweep, all of them on every device."""
    return jax.tree.map(
        lambda lies: NamedSharding(lies.mesh, P(None, *lies.spec)), where
    )


def put(array: np.ndarray, layout: Layout | None = None) -> jax.Array:
    """A copy of an array that this process has, whole on every device: a CPU device
    would share the memory of the array itself, and change with it."""
    array = np.array(array)
    return jax.device_put(array) if layout is None else laid(array, layout.whole)


def laid(array: np.ndarray, where: NamedSharding) -> jax.Array:
    """An array that every process has, or that lies there already, on the devices."""
    if where.is_fully_addressable or isinstance(array, jax.Array):
        return jax.device_put(array, where)
    array = np.asarray(array)
    return jax.make_array_from_callback(array.shape, where, lambda index: array[index])


def own_rows(layout: Layout, rows: int) -> np.ndarray:
    """Which of the samples along `data` are for devices of this process, ascending."""
    shares = layout.rows.addressable_devices_indices_map((rows,)).values()
    own = {share[0].indices(rows)[:2] for share in shares if share}
    return np.concatenate([np.arange(*bounds) for bounds in sorted(own)])


def from_own(
    own: np.ndarray, places: np.ndarray, where: NamedSharding, rows: int, axis: int
) -> jax.Array:
    """An array on the devices, of which each process has its own rows alone.

    Args:
      own: its rows along ``axis``.
      places: of these in the whole, from `own_rows`.
      where: split along ``axis`` by `data`.
      rows: of the whole.
      axis: 0 or 1.
    """
    shape = (*own.shape[:axis], rows, *own.shape[axis + 1 :])

    def share(index: Any) -> np.ndarray:
        low, high, _ = index[axis].indices(rows)
        found = slice(*np.searchsorted(places, (low, high)))
        return own[(slice(None),) * axis + (found,)]

    return jax.make_array_from_callback(shape, where, share)


def gathered(tree: Any, layout: Layout | None) -> Any:
    """The tree, whole wherever it is, so that the host can read it."""
    if layout is None or layout.whole.is_fully_addressable:
        return tree
    return jax.jit(lambda tree: tree, out_shardings=layout.whole)(tree)


def in_words(layout: Layout | None) -> str:
    """For the terminal, after the kind of device."""
    if layout is None:
        return ""
    data, model = (layout.mesh.shape[axis] for axis in (DATA, MODEL))
    processes = f", in {jax.process_count()} processes" if many() else ""
    return (
        f", {data * model} of them: {data} along data, {model} along model{processes}"
    )


def about(layout: Layout | None, scale: Scale) -> dict[str, Any] | None:
    """For status.json; None where there is no mesh."""
    if layout is None:
        return None
    return {**layout.mesh.shape, "zero": scale.zero, "processes": jax.process_count()}
