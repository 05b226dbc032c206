"""Pytrees as a check sees them: names, what has a gradient, and the batch size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from handgrad.gradcheck.trees import (
    batch_size,
    dtype_of,
    is_complex,
    is_floating,
    split,
)


def test_split_names_leaves_and_merges_them_again() -> None:
    tree = {"a": (jnp.ones(2), 3), "b": 0.5}
    parts = split(tree)
    assert parts.paths == ("['a'][0]", "['a'][1]", "['b']")
    assert parts.floating == (0, 2)
    merged = parts.merge([jnp.zeros(2), 1.5])
    assert merged["a"][1] == 3
    assert merged["b"] == 1.5
    assert not merged["a"][0].any()


def test_bare_array_has_a_name() -> None:
    assert split(jnp.ones(2)).paths == ("(params)",)


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [
        (1.0, True),
        (np.float32(1), True),
        (jnp.ones(2, jnp.bfloat16), True),
        (np.ones(2), True),
        (1, False),
        (jnp.ones(2, jnp.int32), False),
        (np.array([True]), False),
        ("text", False),
        (jax.random.key(0), False),
    ],
)
def test_what_has_a_gradient(leaf: object, expected: bool) -> None:
    assert is_floating(leaf) is expected


def test_what_is_complex() -> None:
    assert is_complex(1j)
    assert is_complex(jnp.ones(2, jnp.complex64))
    assert not any(map(is_complex, (1.0, jnp.ones(2), "text")))


def test_batch_size_is_the_commonest_leading_size_and_keys_have_none() -> None:
    one, other = jnp.ones((7, 3)), jnp.ones((9,))
    assert batch_size((one, other, jnp.ones(7))) == 7
    assert batch_size((other, one)) == 9
    assert batch_size((jnp.ones(()), one)) == 7
    assert batch_size((jax.random.split(jax.random.key(0), 3), 2.0)) is None


def test_dtype_of_a_python_float_is_the_default() -> None:
    assert dtype_of(1.0) == jnp.ones(()).dtype
