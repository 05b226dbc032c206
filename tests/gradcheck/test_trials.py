"""More points than one: special points hide nothing."""

import jax
import jax.numpy as jnp
import numpy as np
from gradcheck.cases import BIAS, WEIGHT, check, leaf_of, loss, point, right, spoiled

from handgrad import check_gradients
from handgrad.gradcheck import Leaf, Report
from handgrad.gradcheck.question import Question
from handgrad.gradcheck.trials import MOVE, merge, move


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


def test_move_is_a_tenth_of_each_leaf_and_keeps_dtypes() -> None:
    params, x, y = point(jnp.bfloat16)
    params["bias"] = jnp.zeros_like(params["bias"])
    moved = move(Question(loss, right, params, (x, y)), jax.random.key(0)).params
    assert {leaf.dtype for leaf in moved.values()} == {jnp.dtype(jnp.bfloat16)}
    step = np.asarray(moved["weight"], np.float64) - np.asarray(params["weight"])
    share = np.linalg.norm(step) / np.linalg.norm(np.asarray(params["weight"], float))
    assert 0.5 * MOVE < share < 2 * MOVE
    assert np.asarray(moved["bias"]).all()


def test_move_to_the_last_digit() -> None:
    with jax.enable_x64(True):
        key = jax.random.key(7)
        params = {"a": jnp.array([3.0, -4.0]), "b": jnp.ones(3), "c": jnp.zeros(2)}
        moved = move(Question(loss, right, params, ()), key).params
        generator = np.random.default_rng([0, 7])
        steps = {"a": np.sqrt(12.5), "b": 1.0, "c": np.sqrt(12.5)}
        for name, leaf in params.items():
            noise = generator.standard_normal(leaf.shape)
            expected = np.asarray(leaf) + 0.1 * steps[name] * noise
            np.testing.assert_allclose(moved[name], expected, rtol=1e-12)


def test_parameters_that_are_all_zero_are_moved_like_ones() -> None:
    with jax.enable_x64(True):
        params = {"a": jnp.zeros(2)}
        moved = move(Question(loss, right, params, ()), jax.random.key(7)).params["a"]
        noise = np.random.default_rng([0, 7]).standard_normal(2)
        np.testing.assert_allclose(moved, 0.1 * noise, rtol=1e-12)


def _leaf(verdict, cause=None, excess=0.5) -> Leaf:
    return Leaf("a", verdict, excess=excess, cause=cause)


def test_merged_report_keeps_the_worst_finding() -> None:
    leaves = [
        _leaf("right"),
        _leaf("wrong", "unknown", 1e9),
        _leaf("wrong", "sign", 3.0),
        _leaf("untested"),
    ]
    merged = merge([Report((leaf,), notes=("n",)) for leaf in leaves])
    assert merged.leaves == (leaves[2],)  # a cause that is told counts for more
    assert merged.notes == ("n",)


def test_merged_report_keeps_the_largest_error_of_equal_findings() -> None:
    leaves = [_leaf("wrong", "sign", excess) for excess in (np.nan, 2.0, 9.0, 0.0)]
    assert merge([Report((leaf,)) for leaf in leaves]).leaves == (leaves[2],)
    endless = _leaf("wrong", "sign", np.inf)
    merged = merge([Report((leaf,)) for leaf in (leaves[1], endless, leaves[2])])
    assert merged.leaves == (endless,)
    nothing = [_leaf("right", None, excess) for excess in (np.nan, 1e-3)]
    assert merge([Report((leaf,)) for leaf in nothing]).leaves == (nothing[1],)
    equal = [_leaf("right", None, excess) for excess in (np.nan, 0.0)]
    assert merge([Report((leaf,)) for leaf in equal]).leaves[0] is equal[0]


def test_merged_report_names_the_judge_of_the_point_given() -> None:
    reports = [Report((_leaf("right"),), judge=dtype) for dtype in "ab"]
    assert merge(reports).judge == "a"


def test_bias_is_reported_once_for_all_trials() -> None:
    report = check(spoiled(bias=lambda g: -g), trials=2, key=jax.random.key(0))
    assert leaf_of(report, BIAS).cause == "sign"
    assert len(report.leaves) == 2
