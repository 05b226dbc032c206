"""Feedback matrices that were made for another network, or another method."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from helpers import batch, network

import handgrad as hg
from handgrad import transport as ways

SIZES = (4, 6, 5, 3)
KEY = jax.random.key(0)


def carried(transport: hg.Transport, sizes: tuple[int, ...] = SIZES) -> Any:
    params, data = network(sizes), batch(sizes, 7)
    return hg.value_and_grad(params, data.x, data.labels, transport=transport)


THROUGH_MATRICES = [
    (ways.feedback_alignment, ways.init_feedback),
    (ways.direct_feedback_alignment, ways.init_direct_feedback),
    (ways.sign_symmetric_fixed, ways.init_feedback),
]


@pytest.mark.parametrize(("way", "draw"), THROUGH_MATRICES)
def test_one_matrix_for_each_hidden_layer(way: Any, draw: Any) -> None:
    right = draw(KEY, network(SIZES))
    carried(way(right))
    for wrong in ((), right[:1], (*right, right[-1])):
        with pytest.raises(ValueError, match="^`feedback` must have one matrix per hi"):
            carried(way(wrong))


@pytest.mark.parametrize(("way", "draw"), THROUGH_MATRICES)
def test_a_network_without_hidden_layers_needs_no_matrix(way: Any, draw: Any) -> None:
    assert draw(KEY, network((4, 3))) == ()
    exact, came = carried(ways.backprop, (4, 3)), carried(way(()), (4, 3))
    assert jnp.array_equal(came[1][0].weight, exact[1][0].weight)


@pytest.mark.parametrize(
    ("way", "draw"),
    [
        (ways.direct_feedback_alignment, ways.init_feedback),
        (ways.feedback_alignment, ways.init_direct_feedback),
        (ways.sign_symmetric_fixed, ways.init_direct_feedback),
    ],
)
def test_matrices_of_another_method_are_refused(way: Any, draw: Any) -> None:
    with pytest.raises(
        ValueError, match=r"^`feedback` of hidden layer 1 must have sha"
    ):
        carried(way(draw(KEY, network(SIZES))))


@pytest.mark.parametrize(("way", "draw"), THROUGH_MATRICES)
def test_matrices_of_another_network_are_refused(way: Any, draw: Any) -> None:
    with pytest.raises(ValueError, match=r"^`feedback` of hidden layer \d must have"):
        carried(way(draw(KEY, network((4, 7, 6, 3)))))
