"""Causes told by asking autodiff with other arguments: weights, targets, points."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradcheck.cases import (
    BIAS,
    WEIGHT,
    C,
    M,
    Params,
    causes,
    check,
    distribution,
    loss,
    point,
    right,
    sample_weights,
    spoiled,
)

from handgrad import check_gradients

BOTH = {BIAS: None, WEIGHT: None}
MASK = jnp.arange(M) < 11


def everywhere(cause: str) -> dict[str, str]:
    return dict.fromkeys(BOTH, cause)


@pytest.mark.parametrize(
    "weights",
    [sample_weights(), MASK, MASK.astype(jnp.int32)],
    ids=["w", "bool", "0/1"],
)
@pytest.mark.parametrize("kept_total", [False, True])
def test_weights_ignored(weights: jax.Array, kept_total: bool) -> None:
    def ignores(params: Params, x: Any, y: Any, w: Any) -> Params:
        factor = M / w.astype(x.dtype).sum() if kept_total else 1.0
        return jax.tree.map(lambda g: g * factor, right(params, x, y))

    report = check_gradients(loss, ignores, *point(), weights)
    assert causes(report) == everywhere("weights_ignored")
    assert "argument leaf 2" in report.wrong[0].explanation


def test_weights_applied_twice_is_not_called_ignored() -> None:
    def twice(params: Params, x: Any, y: Any, w: Any) -> Params:
        return right(params, x, y, w * w)

    report = check_gradients(loss, twice, *point(), sample_weights())
    assert causes(report) == everywhere("unknown")


@pytest.mark.parametrize("kind", ["labels", "distribution"])
@pytest.mark.parametrize("epsilon", [0.1, 0.01])
def test_label_smoothing_is_told_with_its_strength(kind: str, epsilon: float) -> None:
    params, x, labels = point()
    targets = labels if kind == "labels" else distribution(labels, x.dtype)

    def smooths(params: Params, x: Any, targets: Any) -> Params:
        q = (1 - epsilon) * distribution(targets, x.dtype) + epsilon / C
        return right(params, x, q)

    report = check_gradients(loss, smooths, params, x, targets)
    assert causes(report) == everywhere("label_smoothing")
    assert f"smoothed by {epsilon}" in report.wrong[0].explanation


def test_smoothing_ignored_is_told_as_sharpened_targets() -> None:
    params, x, labels = point()
    hard = distribution(labels, x.dtype)
    soft = 0.9 * hard + 0.1 / C
    report = check_gradients(loss, lambda p, x, q: right(p, x, hard), params, x, soft)
    assert causes(report) == everywhere("label_smoothing")
    assert "sharpened by 0.1111" in report.wrong[0].explanation


def test_gradient_of_another_batch_is_stale_where_that_is_offered() -> None:
    params, x, labels = point()
    before = jnp.flip(x, axis=1)

    def stale(params: Params, x: Any, labels: Any) -> Params:
        return right(params, jnp.flip(x, axis=1), labels)

    offered = {"the last batch": (params, before, labels)}
    told = check(stale, alternatives=offered)
    alone = check(stale)
    assert causes(told) == everywhere("stale")
    assert "another point: the last batch" in told.wrong[0].explanation
    assert causes(alone) == everywhere("unknown")


def test_alternative_that_the_loss_refuses_is_passed_over() -> None:
    params, x, labels = point()
    offered = {"another model": (params, x[:, :2], labels)}
    report = check(spoiled(weight=lambda g: 1 + g), alternatives=offered)
    assert causes(report) == {WEIGHT: "unknown"}


def test_integer_labels_are_no_weights() -> None:
    """Labels 0 and 1 alone may be a mask; labels of four classes are none."""
    labels = np.asarray(point()[2])
    assert labels.max() > 1
    report = check(spoiled(weight=lambda g: g * labels.sum() / M))
    assert "the sum of the weights" not in report.wrong[0].explanation
