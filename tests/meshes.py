"""Meshes of four devices, and a network and its batch laid out on them."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import GRADIENT, assert_close, compiled
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import handgrad as hg

SIZES = (4, 8, 8, 4)
LAYOUTS = ("data", "model", "both", "fsdp")

FOUR_DEVICES = pytest.mark.skipif(
    len(jax.devices()) < 4, reason="a run takes four devices of the default kind"
)


class Laid(NamedTuple):
    """A problem on a mesh; `plain` is the same on one device."""

    mesh: Mesh
    params: hg.Params
    x: jax.Array
    labels: jax.Array
    soft: jax.Array
    weights: jax.Array
    plain: tuple[Any, ...]  # params, x, labels, soft, weights

    @property
    def problem(self) -> tuple[Any, ...]:
        return self.params, self.x, self.labels, self.soft, self.weights


def with_cpus(count: int) -> dict[str, str]:
    """The environment of a process that has so many devices."""
    flags = os.environ.get("XLA_FLAGS", "")
    devices = f"--xla_force_host_platform_device_count={count}"
    return os.environ | {"XLA_FLAGS": f"{flags} {devices}"}


def four_devices() -> list[Any]:
    """Of the accelerator, or of the CPU where it has fewer."""
    found = jax.devices() if len(jax.devices()) >= 4 else jax.devices("cpu")
    return found[:4]


def lay(layout: str, kind: AxisType) -> Laid:
    """Samples, units, or both split; "fsdp" splits both along the same axis.

    In "model" and "both" the first weight is split by its outputs, the second by its
    inputs, and so on, as Megatron does: the sums over units cross the devices.
    """
    shape = {"data": (4, 1), "model": (1, 4), "both": (2, 2), "fsdp": (4, 1)}[layout]
    axes = ("data", "model")
    mesh = jax.make_mesh(shape, axes, axis_types=(kind,) * 2, devices=four_devices())
    random = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return random.normal(size=shape)

    params = tuple(
        hg.Layer(jnp.asarray(normal(n, n_out) / n**0.5), jnp.asarray(normal(n_out)))
        for n, n_out in zip(SIZES[:-1], SIZES[1:], strict=True)
    )
    labels = random.integers(4, size=8).astype("int32")
    soft = np.abs(normal(8, 4))
    weights = np.array([1, 2, 0, 0.5, 1, 3, 1, 0])
    plain = (params, normal(8, 4), labels, soft, weights)

    def put(array: Any, *spec: Any) -> jax.Array:
        return jax.device_put(array, NamedSharding(mesh, P(*spec)))

    def layer(k: int, layer: hg.Layer) -> hg.Layer:
        if layout == "fsdp":
            return hg.Layer(put(layer.weight, None, "data"), put(layer.bias, "data"))
        if layout == "data":
            return hg.Layer(put(layer.weight), put(layer.bias))
        if k % 2 == 0:
            return hg.Layer(put(layer.weight, None, "model"), put(layer.bias, "model"))
        return hg.Layer(put(layer.weight, "model", None), put(layer.bias))

    x, labels, soft, weights = (put(array, "data") for array in plain[1:])
    laid = tuple(layer(k, each) for k, each in enumerate(params))
    plain = jax.tree.map(jnp.asarray, plain)
    return Laid(mesh, laid, x, labels, soft, weights, plain)


def traced_on(laid: Laid, function: Callable[..., Any]) -> Any:
    """What a function returns on the mesh: its types alone, without compiling.

    Values are the same wherever arrays lie, unless JAX or XLA is wrong. What can fail
    is a layout, and on an Explicit mesh that fails where a function is traced.
    """
    with jax.set_mesh(laid.mesh):
        return jax.eval_shape(function, *laid.problem)


def same_on(laid: Laid, function: Callable[..., Any]) -> Any:
    """What a function returns on the mesh, once it is what it returns without one."""
    expected = compiled(function)(*laid.plain)
    with jax.set_mesh(laid.mesh):
        came = compiled(function)(*laid.problem)
    assert_close(jax.device_get(came), jax.device_get(expected), GRADIENT)
    return came


def lies_like(tree: Any, params: Any) -> bool:
    """Whether each array is laid out as the parameter in its place."""
    return all(
        came.sharding.is_equivalent_to(leaf.sharding, leaf.ndim)
        for came, leaf in zip(*map(jax.tree.leaves, (tree, params)), strict=True)
    )


def will_lie_like(tree: Any, params: Any) -> bool:
    """The same of arrays that are traced alone, on an Explicit mesh."""
    return all(
        tuple(came.sharding.spec) == tuple(jax.typeof(leaf).sharding.spec)
        for came, leaf in zip(*map(jax.tree.leaves, (tree, params)), strict=True)
    )
