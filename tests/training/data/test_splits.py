"""Stratified splits: every row once, every class in proportion."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handgrad.training import TrainingError
from handgrad.training.data.splits import split_rows


@given(
    counts=st.lists(st.integers(4, 40), min_size=2, max_size=5),
    share=st.floats(0.3, 0.7),
    seed=st.integers(0, 9),
)
def test_every_row_goes_once_and_classes_in_proportion(
    counts: list[int], share: float, seed: int
) -> None:
    y = np.random.default_rng(seed).permutation(np.repeat(range(len(counts)), counts))
    kept, out = split_rows(y, share, (seed, 0), "data.test")
    assert sorted([*kept, *out]) == list(range(len(y)))
    assert len(out) == np.ceil(share * len(y))
    held = np.bincount(y[out], minlength=len(counts))
    assert np.abs(held - share * np.array(counts)).max() < 1


def test_a_seed_gives_its_split() -> None:
    y = np.arange(100) % 2
    first, again, other = (
        split_rows(y, 0.5, seed, "data.test")[1] for seed in ((0, 0), (0, 0), (0, 1))
    )
    assert first.tolist() == again.tolist() != other.tolist()


def test_a_split_without_room_for_every_class_names_it() -> None:
    with pytest.raises(TrainingError) as refused:
        split_rows(np.array([0] * 50 + [1]), 0.1, (0, 0), "data.test")
    assert str(refused.value) == (
        "`data.test` must leave samples of every class on both sides, got 0.1, which "
        "holds out 1 of the 1 samples of label 1. Choose another share, or join "
        "classes."
    )
