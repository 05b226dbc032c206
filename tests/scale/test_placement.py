"""How a network lies on a mesh: what is split divides; what is alike lies alike."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import PartitionSpec as P

import handgrad
from handgrad.network import Layer
from handgrad.scale.placement import (
    DATA,
    MODEL,
    bytes_per_device,
    parameter_specs,
    specs_like,
    split_over_data,
)

COLUMNS = Layer(P(None, MODEL), P(MODEL))  # pyright: ignore[reportArgumentType]
ROWS = Layer(P(MODEL, None), P())  # pyright: ignore[reportArgumentType]
WHOLE = Layer(P(), P())  # pyright: ignore[reportArgumentType]


def shapes(sizes: Sequence[int]) -> Any:
    key = jax.eval_shape(lambda: jax.random.key(0))
    return jax.eval_shape(lambda key: handgrad.init(key, sizes), key)


@pytest.mark.parametrize(
    ("sizes", "model", "specs"),
    [
        ((4, 8, 8, 3), 1, [WHOLE, WHOLE, WHOLE]),
        ((4, 8, 8, 3), 2, [COLUMNS, ROWS, WHOLE]),
        ((4, 8, 3), 4, [COLUMNS, ROWS]),
        ((4, 8, 8, 8, 4), 4, [COLUMNS, ROWS, COLUMNS, ROWS]),
        ((4, 6, 8, 4), 4, [WHOLE, COLUMNS, ROWS]),  # 6 does not divide, 8 does
        ((4, 8), 4, [WHOLE]),  # the logits are never split
    ],
)
def test_layers_are_split_by_columns_and_rows_in_turn(
    sizes: tuple[int, ...], model: int, specs: list[Any]
) -> None:
    assert list(parameter_specs(shapes(sizes), model)) == specs


def test_a_stack_is_whole_and_so_is_what_feeds_it() -> None:
    params = jax.eval_shape(
        lambda params: handgrad.stack_layers(params, above=1),
        shapes((4, 8, 8, 8, 8, 8, 4)),
    )
    assert params[1].weight.shape == (3, 8, 8)
    assert list(parameter_specs(params, 4)) == [WHOLE, WHOLE, COLUMNS, ROWS]


@given(
    sizes=st.lists(st.integers(1, 24), min_size=2, max_size=7),
    model=st.integers(1, 8),
)
def test_what_is_split_divides(sizes: list[int], model: int) -> None:
    specs = parameter_specs(shapes(sizes), model)
    rows, columns = P(MODEL, None), P(None, MODEL)
    for k, (weight, bias) in enumerate(specs):
        assert weight != rows or sizes[k] % model == 0
        assert weight != columns or sizes[k + 1] % model == 0
        assert bias == (P(MODEL) if weight == columns else P())
        # Units that are split are put together again by the next layer, and only then.
        above = specs[k + 1].weight if k + 1 < len(specs) else P()
        assert (weight == columns) == (above == rows)
    assert specs[0].weight != rows


def test_the_state_of_an_optimiser_lies_like_the_parameters() -> None:
    params = shapes((4, 8, 3))
    specs = parameter_specs(shapes((4, 8, 3)), 2)

    def weights_alone(params: Any) -> Any:
        return tuple(Layer(True, False) for _ in params)  # pyright: ignore[reportArgumentType]

    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(1e-3, mask=weights_alone),
        optax.masked(optax.trace(0.9), weights_alone),
    )
    state = jax.eval_shape(optimizer.init, params)
    laid = jax.tree.leaves(specs_like(state, params, specs))
    count, *moments, first, second = laid
    assert count == P()  # of Adam's steps
    assert moments == 2 * [P(None, MODEL), P(MODEL), P(MODEL, None), P()]
    assert [first, second] == [P(None, MODEL), P(MODEL, None)]  # no bias is traced


def test_a_leaf_of_another_shape_is_whole() -> None:
    """As the row sums that Adafactor keeps in the place of a weight."""
    params = shapes((4, 8, 3))
    rows = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[:1]), params)
    laid = specs_like(rows, params, parameter_specs(shapes((4, 8, 3)), 2))
    assert jax.tree.leaves(laid) == [P(), P(MODEL), P(), P()]


def test_bytes_of_the_gradient_on_one_device() -> None:
    sizes = (4, 8, 3)
    params, specs = shapes(sizes), parameter_specs(shapes(sizes), 4)
    assert bytes_per_device(params, parameter_specs(shapes(sizes), 1), 1) == 4 * 67
    assert bytes_per_device(params, specs, 4) == 4 * (
        4 * 8 // 4 + 8 // 4 + 8 * 3 // 4 + 3
    )


@given(
    shape=st.lists(st.integers(0, 8), max_size=3),
    data=st.integers(2, 4),
    axis=st.integers(0, 2),
)
def test_a_state_is_split_along_data_where_it_divides(
    shape: list[int], data: int, axis: int
) -> None:
    """Along the first axis that can be; one that is along `model` stays so."""
    leaf = jax.ShapeDtypeStruct(tuple(shape), jnp.float32)
    before = P(*[MODEL if k == axis else None for k in range(len(shape))])
    (after,) = split_over_data([leaf], [before], data)
    can = [k for k, n in enumerate(shape) if k != axis and n and n % data == 0]
    found = [k for k, name in enumerate(after) if name == DATA]
    assert found == can[:1]
    assert [name for name in after if name != DATA] == [
        name for k, name in enumerate(before) if k not in found
    ]
