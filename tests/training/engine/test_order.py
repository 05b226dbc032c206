"""Minibatches: nothing dropped, nothing counted twice, and no draw like another."""

import jax
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from handgrad.training.engine.order import Draw, shuffled, steps_of

KEY = jax.random.key(0)


@given(samples=st.integers(1, 40), batch_size=st.integers(1, 50))
def test_an_epoch_meets_every_sample_once(samples: int, batch_size: int) -> None:
    rows, present = shuffled(KEY, 1, samples, batch_size)
    size = min(samples, batch_size)
    assert rows.shape == present.shape == (steps_of(samples, size), size)
    met = np.asarray(rows)[np.asarray(present) == 1]
    assert sorted(met) == list(range(samples))
    assert float(present.sum()) == samples


def test_epochs_shuffle_differently_and_the_same_again() -> None:
    (first, _), (again, _), (other, _) = (shuffled(KEY, n, 40, 8) for n in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


def test_no_two_draws_share_a_key() -> None:
    """Of parameters, of the orders and masks of some epochs and steps, of the noise."""
    keys = [jax.random.fold_in(KEY, draw) for draw in Draw]
    for draw in (Draw.ORDER, Draw.MASKS):
        keys += [jax.random.fold_in(keys[draw], number) for number in range(5)]
    assert len(np.unique([jax.random.key_data(key) for key in keys], axis=0)) == 14
