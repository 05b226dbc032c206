"""More points than one: special points hide nothing."""

import jax
import jax.numpy as jnp
import numpy as np
from gradcheck.cases import BIAS, WEIGHT, check, leaf_of, loss, point, right, spoiled

from handgrad import check_gradients


def wrong_off_zero(params, *args):
    """Right where the bias is zero, and only there."""
    found = right(params, *args)
    return found | {"weight": found["weight"] * (1 + jnp.abs(params["bias"]).sum())}


def test_gradient_right_at_a_special_point_alone_is_found_by_trials() -> None:
    params, x, y = point()
    params["bias"] = jnp.zeros_like(params["bias"])
    once = check_gradients(loss, wrong_off_zero, params, x, y)
    more = check_gradients(
        loss, wrong_off_zero, params, x, y, trials=2, key=jax.random.key(0)
    )
    assert once.ok
    assert [leaf.path for leaf in more.wrong] == [WEIGHT]


def test_leaf_untested_at_one_point_is_tested_at_another() -> None:
    def loss_of(w: jax.Array) -> jax.Array:
        return jnp.sum(w["a"] * w["b"])

    def gradient(w: dict[str, jax.Array]) -> dict[str, jax.Array]:
        return {"a": w["b"], "b": w["a"]}

    params = {"a": jnp.arange(1.0, 6.0), "b": jnp.zeros(5)}
    once = check_gradients(loss_of, gradient, params)
    more = check_gradients(loss_of, gradient, params, trials=2, key=jax.random.key(1))
    assert [leaf.verdict for leaf in once.leaves] == ["untested", "right"]
    assert [leaf.verdict for leaf in more.leaves] == ["right", "right"]


def test_as_many_points_as_trials_and_the_first_is_the_one_given() -> None:
    seen = []

    def spy(params, *args):
        seen.append(np.asarray(params["weight"]))
        return right(params, *args)

    assert check(spy, trials=3, key=jax.random.key(0)).ok
    assert len(seen) == 3
    assert np.array_equal(seen[0], point()[0]["weight"])
    assert not np.array_equal(seen[1], seen[2])


def test_same_key_same_report() -> None:
    gradient = spoiled(weight=lambda g: g + 0.01)
    one, two = (check(gradient, trials=2, key=jax.random.key(4)) for _ in range(2))
    assert str(one) == str(two)


def test_bias_is_reported_once_for_all_trials() -> None:
    report = check(spoiled(bias=lambda g: -g), trials=2, key=jax.random.key(0))
    assert leaf_of(report, BIAS).cause == "sign"
    assert len(report.leaves) == 2
