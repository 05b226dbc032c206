"""Scaling: by hand, in blocks, and the same under numpy and JAX."""

import numpy as np
import pytest

from handgrad.training.data import Scaling
from handgrad.training.data.scaling import fit_scaling, measure


def fitted(how: str, x: np.ndarray, divisor: float = 0.0) -> Scaling:
    return fit_scaling(how, divisor, x, measure(x, np.arange(len(x)), "training"))


@pytest.mark.parametrize(
    ("how", "shift", "divisor"),
    [
        ("standard", [2.0, 5.0], [1.0, 1.0]),  # the constant column is divided by 1
        ("global", [3.5, 3.5], [2.75**0.5] * 2),
        ("minmax", [1.0, 5.0], [2.0, 1.0]),
        ("robust", [2.0, 5.0], [1.0, 1.0]),  # the quartiles are 1.5 and 2.5
        ("constant", [0.0, 0.0], [4.0, 4.0]),
        ("none", [0.0, 0.0], [1.0, 1.0]),
    ],
)
def test_scaling_by_hand(how: str, shift: list[float], divisor: list[float]) -> None:
    # Columns 1, 3 and 5, 5: mean 2 and deviation 1; all four have mean 3.5 and
    # variance (2.5^2 + 0.5^2 + 1.5^2 + 1.5^2) / 4 = 2.75.
    came = fitted(how, np.array([[1.0, 5.0], [3.0, 5.0]]), 4.0)
    for values, expected in ((came.shift, shift), (came.divisor, divisor)):
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, expected, rtol=1e-6)
    assert (came.clip is not None) == (how == "robust")
