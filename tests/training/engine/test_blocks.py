"""What a process of many reads, as one process would: all of it is its own."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from handgrad.training import Dataset, Settings, prepare
from handgrad.training.engine import blocks
from handgrad.training.engine.blocks import gathered_share
from handgrad.training.engine.layout import from_own, own_rows
from handgrad.training.engine.order import shuffled
from handgrad.training.settings import Scale


@pytest.mark.parametrize("first", [0, 2])
def test_minibatches_are_those_of_memory(
    settings: Settings, data: Dataset, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    """Two at a time, with weights; the last block of an epoch is filled up."""
    monkeypatch.setattr(blocks, "BLOCK", 2 * 16 * 6 * 4)
    layout = prepare(replace(settings, scale=Scale(4)), data).step.layout
    assert layout is not None
    part = data.train._replace(weights=np.linspace(0, 2, 50, dtype=np.float32))
    key = jax.random.key(3)
    came = [*gathered_share(part, key, 16, layout)(5, first)]
    assert [x.sharding for x, *_ in came] == [layout.blocks] * len(came)
    x, y, weights = (np.concatenate(each) for each in zip(*came, strict=True))
    rows, present = map(np.asarray, shuffled(key, 5, 50, 16))
    np.testing.assert_array_equal(x, part.x[rows[first:]])
    np.testing.assert_array_equal(y, part.y[rows[first:]])
    np.testing.assert_array_equal(weights, (present * part.weights[rows])[first:])


def test_own_rows_go_where_they_belong(settings: Settings, data: Dataset) -> None:
    layout = prepare(replace(settings, scale=Scale(2, 1)), data).step.layout
    assert layout is not None
    own = own_rows(layout, 6)
    np.testing.assert_array_equal(own, np.arange(6))
    values = np.arange(12.0, dtype=np.float32).reshape(6, 2)
    laid = from_own(values, own, layout.rows, 6, axis=0)
    assert [shard.data.shape for shard in laid.addressable_shards] == [(3, 2)] * 2
    np.testing.assert_array_equal(laid, values)
