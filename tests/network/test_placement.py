"""Where arrays lie on a mesh of four devices with Explicit axes, two by two."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_equal
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from meshes import four_devices

from handgrad.network.placement import (
    Placement,
    beside,
    contract,
    matmul,
    place_like,
    placement,
    sum_over_shards,
    whole_rows,
)

BOTH = ("data", "model")


def mesh() -> Mesh:
    return jax.make_mesh((2, 2), BOTH, (AxisType.Explicit,) * 2, devices=four_devices())


def on(shape: tuple[int, ...], spec: P | None) -> jax.Array:
    """Whole numbers, laid out; on one device where there is no spec."""
    numbers = jnp.arange(float(np.prod(shape))).reshape(shape)
    return numbers if spec is None else jax.device_put(numbers, at(spec))


def at(spec: P) -> NamedSharding:
    return NamedSharding(mesh(), spec)


def assert_lies(came: jax.Array, spec: P | None, numbers: Any) -> None:
    sharding = placement(came).sharding
    assert (None if sharding is None else sharding.spec) == spec
    assert_equal(jax.device_get(came), np.asarray(numbers))


@pytest.mark.parametrize(
    ("rows", "columns", "product"),
    [
        (P("data", None), P(None, "model"), P("data", "model")),
        (P("model", None), P(None, "data"), P("model", "data")),
        (P("data", "model"), P("model", None), P("data", None)),
        (P("data", None), P(None, "data"), P("data", None)),
        (P(BOTH, None), P(None, "model"), P(BOTH, None)),
        (P("data", None), P(None, BOTH), P("data", None)),
        (None, P(None, "model"), P(None, "model")),
        (P("data", None), None, P("data", None)),
        (P("data", "model"), None, P("data", None)),
        (None, P("model", "data"), P(None, "data")),
        (None, None, None),
    ],
)
def test_a_product_lies_where_its_rows_and_columns_do(
    rows: P | None, columns: P | None, product: P | None
) -> None:
    """An axis splits the samples, or the units, not both."""
    left, right = on((4, 8), rows), on((8, 4), columns)
    expected = np.asarray(left) @ np.asarray(right)
    assert_lies(matmul(left, right), product, expected)


@pytest.mark.parametrize("spec", [None, P("model", None)])
@pytest.mark.parametrize(
    ("inputs", "delta"),
    [
        (P("data", None), P("data", "model")),
        (P("data", None), None),
        (None, P("data", None)),
        (P("data", "model"), None),
        (None, P("data", "model")),
    ],
)
def test_a_sum_over_samples_lies_everywhere_or_where_it_is_told(
    inputs: P | None, delta: P | None, spec: P | None
) -> None:
    a, d = on((4, 8), inputs), on((4, 2), delta)
    came = contract(a, d, sharding=None if spec is None else at(spec))
    assert_lies(came, spec or P(None, None), np.asarray(a).T @ np.asarray(d))


def test_a_sum_over_samples_on_one_device_lies_there() -> None:
    a, d = on((4, 8), None), on((4, 2), None)
    assert_lies(contract(a, d), None, np.asarray(a).T @ np.asarray(d))


@pytest.mark.parametrize("row", [P("data"), P("model"), P(None)])
def test_a_row_is_laid_out_beside_the_columns(row: P) -> None:
    came = beside(on((4,), row), on((2, 4), P("data", "model")))
    assert_lies(came, P("model"), np.arange(4.0))


@pytest.mark.parametrize(
    ("row", "rows"), [(None, P("data", "model")), (P("data"), None), (None, None)]
)
def test_a_row_stays_where_it_is_beside_what_lies_on_no_mesh(
    row: P | None, rows: P | None
) -> None:
    vector = on((4,), row)
    assert beside(vector, on((2, 4), rows)) is vector


def test_a_gradient_is_laid_out_like_its_parameter() -> None:
    total = on((4, 2), P("data", None))
    like = Placement(at(P(None, "model")), frozenset())
    assert_lies(place_like(total, like), P(None, "model"), np.arange(8.0).reshape(4, 2))
    assert place_like(total, Placement(None, frozenset())) is total


def test_a_gradient_is_summed_over_the_shards_that_share_the_parameter() -> None:
    def of_shard(shared: jax.Array, own: jax.Array) -> Any:
        total = jnp.sum(own, keepdims=True)
        places = placement(shared), placement(own)
        return tuple(sum_over_shards(total, place) for place in places)

    auto = jax.make_mesh((4,), ("data",), (AxisType.Auto,), devices=four_devices())
    mapped = jax.shard_map(
        of_shard, mesh=auto, in_specs=(P(), P("data")), out_specs=(P(), P("data"))
    )
    shared, own = jax.device_get(mapped(jnp.ones(1), jnp.arange(8.0)))
    assert (shared.tolist(), own.tolist()) == ([28], [1, 5, 9, 13])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (P("data", "model"), P("data", None)),
        (P(None, "data", "model"), P(None, "data", None)),
    ],
)
def test_whole_rows_stay_where_their_samples_lie(before: P, after: P) -> None:
    rows = on((2, 4, 2)[-len(before) :], before)
    assert_lies(whole_rows(rows), after, np.asarray(rows))


def test_rows_on_one_device_are_whole() -> None:
    rows = on((4, 2), None)
    assert whole_rows(rows) is rows
