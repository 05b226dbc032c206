"""Scaling: by hand, in blocks, and the same under numpy and JAX."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handgrad.training.data import Scaling, scale
from handgrad.training.data import scaling as room
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


@given(
    block=st.integers(1, 7),
    rows=st.integers(2, 20),
    centre=st.sampled_from([0.0, 1e4]),
    seed=st.integers(0, 3),
)
def test_one_pass_in_blocks_finds_the_moments(
    block: int, rows: int, centre: float, seed: int
) -> None:
    x = centre + np.random.default_rng(seed).normal(size=(rows, 3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "CHUNK", 3 * block)
        came = measure(x, np.arange(rows), "training")
    # float64 over values near 1e4: their variance is known to (1e4)^2 * 1e-16.
    np.testing.assert_allclose(came.mean, x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(came.squares / rows, x.var(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(came.low, x.min(axis=0))
    np.testing.assert_array_equal(came.high, x.max(axis=0))
    assert came.samples == rows


@pytest.mark.parametrize("dtype", ["?", "u1", "i1", ">i2", "u4", "i8", "f2", ">f4"])
def test_samples_are_measured_as_if_they_were_float64(dtype: str) -> None:
    """Though their sums overflow their own dtype, and so do their distances."""
    limits = np.iinfo if np.dtype(dtype).kind in "iu" else np.finfo
    ends = (False, True) if dtype == "?" else (limits(dtype).min, limits(dtype).max)
    x = np.random.default_rng(0).choice(np.array(ends, dtype), (300, 3))
    found, wanted = (
        measure(array, np.arange(300), "training") for array in (x, x.astype("f8"))
    )
    for name in found._fields:
        np.testing.assert_allclose(
            getattr(found, name), getattr(wanted, name), rtol=1e-12, err_msg=name
        )


def test_outliers_are_clipped_smoothly() -> None:
    x = np.concatenate([np.linspace(-1, 1, 101), [1e6, -1e30]])[:, None]
    scaling = fitted("robust", x)
    z = (x - scaling.shift) / scaling.divisor
    came = scale(scaling, x)
    inner = np.abs(z) < 2
    expected = z / np.sqrt(1 + (z / 3) ** 2)  # RealMLP's, in float64
    np.testing.assert_allclose(came[inner], expected[inner], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(came[-2:, 0], [3, -3], rtol=1e-6)


def test_where_quartiles_coincide_half_the_range_is_used() -> None:
    x = np.array([[0.0]] * 9 + [[4.0]])
    assert fitted("robust", x).divisor.tolist() == [2.0]


@pytest.mark.parametrize("how", ["standard", "robust", "none"])
@pytest.mark.parametrize("dtype", ["u1", "f2", "f4"])
def test_numpy_and_jax_scale_alike(how: str, dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, 200, (20, 3)).astype(dtype)
    scaling = fitted(how, x)
    host, device = scale(scaling, x), jax.jit(scale)(scaling, x)
    assert host.dtype == device.dtype == np.float32
    # A division, a square root and their rounding: a few units in the last place.
    np.testing.assert_allclose(host, device, rtol=1e-6, atol=1e-6)


def test_few_rows_stand_for_the_quantiles_of_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = np.random.default_rng(0).normal(size=(4000, 2))
    whole = fitted("robust", x)
    monkeypatch.setattr(room, "SAMPLED", 2000)
    some = fitted("robust", x)
    assert not np.array_equal(whole.shift, some.shift)
    np.testing.assert_allclose(some.shift, whole.shift, atol=0.2)
    np.testing.assert_allclose(some.divisor, whole.divisor, rtol=0.2)
