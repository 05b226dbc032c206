"""Causes told from the places of the entries."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from gradcheck.cases import WEIGHT, causes, check, leaf_of, spoiled

from handgrad import check_gradients

ORDER = jnp.array([0, 3, 2, 1, 4, 5])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda g: g[::-1], "The rows are right but out of order: 0 holds 5, 1 holds"),
        (lambda g: g[ORDER], "out of order: 1 holds 3, 3 holds 1."),
        (lambda g: jnp.roll(g, 1, axis=1), "The columns are right but out of order"),
        (lambda g: g.T.reshape(6, 4), "look for a reshape"),
    ],
)
def test_moved_lines_are_told_and_listed(change: Any, said: str) -> None:
    report = check(spoiled(weight=change))
    assert causes(report) == {WEIGHT: "entries_swapped"}
    assert said in leaf_of(report, WEIGHT).explanation


def test_moved_entries_of_a_bias() -> None:
    report = check(spoiled(bias=lambda g: jnp.roll(g, 1)))
    assert "The entries are right but out of order" in report.wrong[0].explanation


def test_square_transpose_is_told_though_its_shape_is_right() -> None:
    x = jnp.asarray(np.random.default_rng(0).standard_normal((5, 5)), jnp.float32)
    report = check_gradients(lambda w: jnp.sum(jnp.sin(w)), lambda w: jnp.cos(w).T, x)
    assert causes(report) == {"(params)": "transposed"}


def test_symmetric_gradient_is_its_own_transpose() -> None:
    x = jnp.full((5, 5), 0.5)
    report = check_gradients(lambda w: jnp.sum(w**2), lambda w: 2 * w.T, x)
    assert report.ok


def test_wrong_shape_that_is_no_transpose_is_a_structure() -> None:
    report = check(spoiled(weight=lambda g: -g.T))
    assert causes(report) == {WEIGHT: "structure"}


def test_exchanged_leaves_name_each_other() -> None:
    params = {"a": jnp.arange(1.0, 6.0), "b": jnp.linspace(2.0, 3.0, 5)}
    report = check_gradients(
        lambda p: jnp.sum(p["a"] ** 2 + p["b"] ** 3),
        lambda p: {"a": 3 * p["b"] ** 2, "b": 2 * p["a"]},
        params,
    )
    assert causes(report) == {"['a']": "entries_swapped", "['b']": "entries_swapped"}
    assert "This is the gradient of ['b']." in report.wrong[0].explanation
