"""float64 for a while, wherever it can be had, and what counts as a loss."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from handgrad.gradcheck.reference.float64 import Point, float64, like, scalar


def test_device_without_float64_leaves_the_work_to_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    with float64():
        assert jax.config.values["jax_default_device"] == jax.devices("cpu")[0]
    assert jax.config.values["jax_default_device"] is None


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_device_with_float64_does_the_work_itself(
    monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    with float64():
        assert jax.config.values["jax_default_device"] is None
        assert jnp.ones(()).dtype == jnp.float64


def test_loss_may_come_with_aux() -> None:
    assert float(scalar(2.0)) == 2
    assert float(scalar((2.0, "aux"))) == 2


@pytest.mark.parametrize("output", [jnp.ones(1), 3, 1j, (jnp.ones(2), 1.0)])
def test_what_is_no_loss(output: object) -> None:
    with pytest.raises(TypeError, match="must return a real scalar"):
        scalar(output)


def test_empty_tuple_is_no_loss() -> None:
    with pytest.raises(TypeError):
        scalar(())


def test_like_keeps_kind_and_dtype() -> None:
    exact = np.array(0.5)
    assert type(like(exact, 1.0)) is float
    assert like(exact, np.float32(1)).dtype == np.float32
    assert like(exact, jnp.ones((), jnp.bfloat16)).dtype == jnp.bfloat16


def test_point_whose_parts_are_kept_cannot_be_changed() -> None:
    point = Point(jnp.sum, {"a": jnp.ones(2), "b": 3})
    assert point.split is point.split
    assert point.split.floating_paths == ["['a']"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        point.params = {}  # pyright: ignore[reportAttributeAccessIssue]
