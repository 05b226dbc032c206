"""Causes found by autodiff with other arguments: weights, targets, points."""

import math
from collections.abc import Callable, Iterator, Sequence
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
    comparison,
    distribution,
    loss,
    mismatch_of,
    point,
    right,
    sample_weights,
    spoiled,
)

from handgrad import check_gradients
from handgrad.gradcheck.causes.arguments import (
    class_counts,
    gradient_at,
    label_smoothing,
    may_weigh,
    stale,
    weight_sums,
    weights_ignored,
)
from handgrad.gradcheck.causes.claims import Claim, Mismatch
from handgrad.gradcheck.check import Check
from handgrad.gradcheck.reference.float64 import Point, true_gradient

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
    explained = check(stale, alternatives=offered)
    alone = check(stale)
    assert causes(explained) == everywhere("stale")
    assert "another point: the last batch" in explained.wrong[0].explanation
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


ROWS = np.random.default_rng(6).integers(-9, 9, (8, 5)).astype(float)
"""Eight samples."""

WEIGHTS = np.array([0.5, 2, 0, 1, 0.25, 1, 0.5, 0.1328125])
TOTAL = 5.3828125

LABELS = np.array([3, 0, 1, 0, 2, 2, 3, 1])
CLASSES = 4


class Lookalike:
    """A leaf that has the shape of an array, and nothing else of it."""

    def __init__(self, *shape: int) -> None:
        self.shape = shape


REFUSED = 3
"""Calls of a loss that refuses: by reverse mode, by forward mode, and step by step."""


def explained(
    hypothesis: Callable[[Mismatch], Iterator[Claim]],
    checked: Check,
    **candidates: np.ndarray,
) -> list[Claim]:
    """What a hypothesis claims of a wrong gradient."""
    truth = true_gradient(checked.point)
    leaves = {f"[{name!r}]": candidate for name, candidate in candidates.items()}
    found = {path: comparison(path, leaf, truth[path]) for path, leaf in leaves.items()}
    wrong = [path for path, leaf in found.items() if leaf.wrong]
    return list(hypothesis(Mismatch(checked, found, wrong)))


def ignored(leaf: int, total: str, *paths: str) -> Claim:
    text = (
        f"The gradient as if argument leaf {leaf} (weights or mask, sum {total}) were "
        "all 1. Multiply each sample's delta by it."
    )
    return Claim.same("weights_ignored", paths or ["['w']"], text)


def weighted(params: Params, *args: Any) -> jax.Array:
    """The sum over the samples of the matrix, times all vectors."""
    (x,) = (arg for arg in args if arg.ndim == 2)
    factors = math.prod(arg for arg in args if arg.ndim == 1)
    return jnp.sum(factors * (x @ params["w"]))


def weighing(*args: Any, loss: Callable[..., Any] = weighted) -> Check:
    return Check(Point(loss, {"w": np.ones(5)}, args), right)


@pytest.mark.parametrize("ratio", [1, 8 / TOTAL, TOTAL / 8])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_ignored_weights_by_hand(place: int, ratio: float) -> None:
    args: list[Any] = [ROWS, LABELS]
    args.insert(place, WEIGHTS)
    found = explained(weights_ignored, weighing(*args), w=ratio * LABELS @ ROWS)
    assert found == [ignored(place, "5.383")]


@pytest.mark.parametrize("kind", [bool, int])
def test_ignored_mask_by_hand(kind: type) -> None:
    mask = np.array([1, 0, 1, 1, 0, 1, 0, 1]).astype(kind)
    found = explained(weights_ignored, weighing(ROWS, mask), w=ROWS.sum(axis=0))
    assert found == [ignored(1, "5")]


def test_ignored_weights_are_those_of_the_vector_that_was_ignored() -> None:
    others = np.arange(8) / 4
    checked = weighing(ROWS, WEIGHTS, others)
    assert explained(weights_ignored, checked, w=others @ ROWS) == [ignored(1, "5.383")]
    assert explained(weights_ignored, checked, w=WEIGHTS @ ROWS) == [ignored(2, "7")]
    assert explained(weights_ignored, checked, w=ROWS.sum(axis=0)) == []


@pytest.mark.parametrize("factor", [2, 1.01, -1, 8, 1 / 8, TOTAL, 1 / TOTAL])
def test_ignored_weights_with_another_normaliser_are_not_told(factor: float) -> None:
    checked = weighing(ROWS, WEIGHTS)
    assert explained(weights_ignored, checked, w=factor * ROWS.sum(axis=0)) == []


def test_ignored_weights_may_sum_to_zero() -> None:
    checked = weighing(ROWS, np.array([1.0, -1, 2, -2, 3, -3, 4, -4]))
    found = explained(weights_ignored, checked, w=ROWS.sum(axis=0))
    assert found
    assert all(claim == ignored(1, "0") for claim in found)
    assert explained(weights_ignored, checked, w=2 * ROWS.sum(axis=0)) == []


def test_ignored_weights_of_one_leaf() -> None:
    def loss(params: Params, x: Any, w: Any) -> jax.Array:
        return jnp.sum(w * (x @ (params["a"] + params["b"] + params["c"])))

    params = {name: np.ones(5) for name in "abc"}
    checked = Check(Point(loss, params, (ROWS, WEIGHTS)), right)
    g, plain = WEIGHTS @ ROWS, ROWS.sum(axis=0)
    found = explained(weights_ignored, checked, a=g, b=plain, c=-g)
    assert found == [ignored(1, "5.383", "['b']")]


def calls_of(hypothesis: Any, *args: Any) -> int:
    """How often a hypothesis asks a loss of which it can explain nothing."""
    calls = -1  # the truth

    def loss(params: Params, x: Any, *args: Any) -> jax.Array:
        nonlocal calls
        calls += 1
        return jnp.sum(x @ params["w"])

    checked = Check(Point(loss, {"w": np.ones((5, CLASSES))}, (ROWS, *args)), right)
    assert explained(hypothesis, checked, w=np.eye(5, CLASSES)) == []
    return calls


@pytest.mark.parametrize(
    ("leaf", "calls"),
    [
        (WEIGHTS, 1),
        (LABELS, 0),
        (np.ones(7), 0),
        (np.ones(9), 0),
        (np.ones((8, 1)), 0),
        (np.array(0.5), 0),
        (0.5, 0),
        (Lookalike(8), 0),
    ],
    ids=["w", "labels", "7", "9", "column", "scalar", "float", "no array"],
)
def test_weights_are_a_vector_as_long_as_the_batch(leaf: Any, calls: int) -> None:
    assert calls_of(weights_ignored, leaf) == calls


def test_what_is_no_array_is_carried_along() -> None:
    def loss(params: Params, leaf: Any, x: Any, w: Any) -> jax.Array:
        return weighted(params, x, w)

    checked = weighing(Lookalike(8), ROWS, WEIGHTS, loss=loss)
    found = explained(weights_ignored, checked, w=ROWS.sum(axis=0))
    assert found == [ignored(2, "5.383")]


def test_weights_that_the_loss_refuses_to_replace_are_passed_over() -> None:
    def loss(params: Params, x: Any, first: Any, second: Any) -> jax.Array:
        if np.all(np.asarray(first) == 1):
            raise ValueError("not all of them 1")
        return weighted(params, x, first, second)

    others = np.arange(8) / 4
    checked = weighing(ROWS, others, WEIGHTS, loss=loss)
    assert explained(weights_ignored, checked, w=WEIGHTS @ ROWS) == []
    assert explained(weights_ignored, checked, w=others @ ROWS) == [ignored(2, "5.383")]


@pytest.mark.parametrize("hypothesis", [weights_ignored, label_smoothing])
def test_without_a_batch_nothing_is_replaced(hypothesis: Any) -> None:
    checked = Check(
        Point(lambda p, k: k * p["w"].sum(), {"w": np.ones(5)}, (0.5,)), right
    )
    assert explained(hypothesis, checked, w=np.ones(5)) == []


class Scores:
    """A loss that is linear in the targets, and counts how often it is called.

    J = sum_ij q_ij (x w)_ij, so that dJ/dw = x' q.
    """

    def __init__(
        self, classes: int = CLASSES, refuses: Callable[[Any], Any] = lambda q: False
    ) -> None:
        self.params = {"w": np.ones((5, classes))}
        self.classes, self.refuses, self.calls = classes, refuses, 0

    def __call__(self, params: Params, x: Any, targets: Any, *_: Any) -> jax.Array:
        self.calls += 1
        if self.refuses(targets):
            raise TypeError("other targets, please")
        if targets.ndim == 1:
            targets = jax.nn.one_hot(targets, self.classes)
        return jnp.sum(targets * (x @ params["w"]))

    def explained(self, candidate: np.ndarray, targets: Any, *more: Any) -> list[Claim]:
        """The claims about a gradient; the calls are those of the hypothesis alone."""
        with jax.enable_x64(True):
            return self._explained(candidate, targets, *more)

    def _explained(self, candidate: Any, targets: Any, *more: Any) -> list[Claim]:
        checked = Check(Point(self, self.params, (ROWS, targets, *more)), right)
        truth = true_gradient(checked.point)["['w']"]
        self.calls = 0
        leaf = comparison("['w']", candidate, truth)
        return list(label_smoothing(Mismatch(checked, {leaf.path: leaf}, [leaf.path])))


def hard(labels: np.ndarray = LABELS, classes: int = CLASSES) -> np.ndarray:
    return np.eye(classes)[labels]


def smoothed(epsilon: float, q: np.ndarray) -> np.ndarray:
    """dJ/dw for the targets mixed with the uniform distribution."""
    return ROWS.T @ ((1 - epsilon) * q + epsilon / q.shape[1])


def mixed(how: str, *paths: str) -> Claim:
    text = (
        f"The gradient for targets {how}, which those of the loss are not. Give loss "
        "and gradient the same targets."
    )
    return Claim.same("label_smoothing", paths or ["['w']"], text)


TEMPERED = 0.7 * hard() + 0.3 * hard(LABELS[::-1])


@pytest.mark.parametrize(
    ("epsilon", "how"),
    [
        (0.1, "smoothed by 0.1"),
        (1.25, "smoothed by 1.25"),
        (0.0123456, "smoothed by 0.01235"),
        (-1 / 9, "sharpened by 0.1111"),
        (-1.5, "sharpened by 1.5"),
    ],
)
@pytest.mark.parametrize("targets", [LABELS, hard(), TEMPERED], ids=["y", "q", "soft"])
def test_smoothing_by_hand(targets: np.ndarray, epsilon: float, how: str) -> None:
    q = hard() if targets.ndim == 1 else targets
    loss = Scores()
    assert loss.explained(smoothed(epsilon, q), targets) == [mixed(how)]
    assert loss.calls == 1


@pytest.mark.parametrize("targets", [LABELS, hard()], ids=["labels", "distribution"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_targets_may_stand_anywhere(place: int, targets: np.ndarray) -> None:
    loss = Scores()
    args: list[Any] = [ROWS, np.arange(8) / 4]
    args.insert(place, targets)

    def moved(params: Params, *args: Any) -> jax.Array:
        rest = [*args[:place], *args[place + 1 :]]
        return loss(params, rest[0], args[place]) + 0 * jnp.sum(rest[1])

    checked = Check(Point(moved, loss.params, tuple(args)), right)
    found = explained(label_smoothing, checked, w=smoothed(0.2, hard()))
    assert found == [mixed("smoothed by 0.2")]


def test_smoothing_of_one_leaf() -> None:
    def loss(params: Params, x: Any, labels: Any) -> jax.Array:
        return Scores()({"w": params["a"] + params["b"] + params["c"]}, x, labels)

    params = {name: np.ones((5, CLASSES)) for name in "abc"}
    checked = Check(Point(loss, params, (ROWS, LABELS)), right)
    g = smoothed(0, hard())
    found = explained(label_smoothing, checked, a=g, b=smoothed(0.3, hard()), c=1 + g)
    assert found == [mixed("smoothed by 0.3", "['b']")]


@pytest.mark.parametrize(
    ("targets", "calls"),
    [
        (hard(), 1),
        (1.5 * hard(), 0),
        (hard().astype(int), 0),
        (np.full((8, 2, 4), 0.5), 0),
        (LABELS / 2, 0),
        (hard()[:7], 0),
        (hard(np.append(LABELS, 0)), 0),
        (LABELS, 1),
        (LABELS[:7], 0),
        (np.append(LABELS, 0), 0),
        (LABELS + 1, 0),
        (LABELS + 2, 0),
        (2.5, 0),
        (Lookalike(8), 0),
    ],
    ids=[
        *("distribution", "rows of 1.5", "integers", "3-D", "vector", "7 rows"),
        *("9 rows", "labels", "7 labels", "9 labels", "label C", "label C + 1"),
        *("float", "no array"),
    ],
)
def test_targets_are_labels_or_a_distribution(targets: Any, calls: int) -> None:
    assert calls_of(label_smoothing, targets) == calls


@pytest.mark.parametrize(("units", "calls"), [(8, 1), (9, 0), (-8, 1), (-9, 0)])
def test_rows_of_a_distribution_may_be_rounded(units: int, calls: int) -> None:
    """By eight units in the last place of 1; in bfloat16 that is 2^-7."""
    rounded = jnp.full((8, 2), 0.5, jnp.bfloat16).at[:, 0].add(units * 2.0**-7)
    assert calls_of(label_smoothing, rounded) == calls


def no_integers(targets: Any) -> bool:
    return not jnp.issubdtype(targets.dtype, jnp.integer)


@pytest.mark.parametrize("classes", [2, CLASSES, 32])
def test_labels_that_must_be_integers_are_replaced_by_each_class(classes: int) -> None:
    labels = LABELS % classes
    loss, q = Scores(classes, no_integers), hard(labels, classes)
    assert loss.explained(smoothed(0.1, q), labels) == [mixed("smoothed by 0.1")]
    assert loss.calls == REFUSED + classes


def test_labels_of_too_many_classes_are_not() -> None:
    loss, q = Scores(33, no_integers), hard(LABELS, 33)
    assert loss.explained(smoothed(0.1, q), LABELS) == []
    assert loss.calls == REFUSED


@pytest.mark.parametrize("refused", range(CLASSES))
def test_uniform_over_some_of_the_classes_is_no_smoothing(refused: int) -> None:
    """The loss refuses labels that are all of one class; the others have a mean."""
    loss = Scores(refuses=lambda y: no_integers(y) or np.all(np.asarray(y) == refused))
    some = np.where(np.arange(CLASSES) == refused, 0, 1 / (CLASSES - 1))
    assert loss.explained(ROWS.T @ (0.9 * hard() + 0.1 * some), LABELS) == []
    assert loss.calls == 2 * REFUSED + CLASSES - 1


SIDES = np.ones((8, 3)), np.ones((8, 4)), np.ones((8, 6))
"""Of 3, 4 and 6 classes; there are labels up to 3, so three are too few."""


@pytest.mark.parametrize(("classes", "calls"), [(CLASSES, 1), (6, REFUSED + 1)])
def test_number_of_classes_is_the_first_that_the_loss_accepts(
    classes: int, calls: int
) -> None:
    loss = Scores(classes)
    found = loss.explained(smoothed(0.1, hard(classes=classes)), LABELS, *SIDES)
    assert found == [mixed("smoothed by 0.1")]
    assert loss.calls == calls


def test_number_of_classes_is_above_every_label() -> None:
    loss, labels = Scores(6), np.where(LABELS == 3, 5, LABELS)
    found = loss.explained(smoothed(0.1, hard(labels, 6)), labels, *SIDES)
    assert found == [mixed("smoothed by 0.1")]
    assert loss.calls == 1


def test_inputs_that_might_be_a_distribution_hide_no_labels() -> None:
    loss, x = Scores(), np.abs(ROWS) / np.abs(ROWS).sum(axis=1, keepdims=True)
    checked = Check(Point(loss, loss.params, (x, LABELS)), right)
    g = x.T @ (0.9 * hard() + 0.1 / CLASSES)
    with jax.enable_x64(True):
        found = explained(label_smoothing, checked, w=g)
    assert found == [mixed("smoothed by 0.1")]


@pytest.mark.parametrize("classes", [CLASSES, 6])
def test_labels_that_must_be_integers_may_be_of_any_number_of_classes(
    classes: int,
) -> None:
    loss = Scores(classes, no_integers)
    found = loss.explained(smoothed(0.1, hard(classes=classes)), LABELS, *SIDES)
    assert found == [mixed("smoothed by 0.1")]
    assert loss.calls == 2 * REFUSED + 4 + 6


@pytest.mark.parametrize(
    ("a", "b", "found"),
    [
        (2, 3, [("last", ["['a']"]), ("next", ["['b']"])]),
        (3, 2, [("last", ["['b']"]), ("next", ["['a']"])]),
        (3, 3, [("next", ["['a']", "['b']"])]),
        (2, 5, [("last", ["['a']"])]),
        (5, 5, []),
    ],
)
def test_stale_by_hand(a: float, b: float, found: list[tuple[str, list[str]]]) -> None:
    def loss(params: Params, k: Any) -> jax.Array:
        return k * sum((jnp.sum(p) for p in params.values()), jnp.zeros(()))

    params = {"a": np.ones(5), "b": np.ones(1)}
    offered: dict[str, Sequence[Any]] = {
        "gone": (None, 2.0),
        "last": (params, 2.0),
        "next": ({"a": np.zeros(5), "b": np.zeros(1)}, 3.0),
    }
    checked = Check(Point(loss, params, (1.0,)), right, offered)
    assert explained(stale, checked, a=np.full(5, a), b=np.full(1, b)) == [
        Claim.same("stale", paths, f"This is the gradient at another point: {name}.")
        for name, paths in found
    ]


def test_leaf_that_the_other_point_has_not_is_not_stale() -> None:
    def loss(params: Params) -> jax.Array:
        return sum((jnp.sum(p * p) / 2 for p in params.values()), jnp.zeros(()))

    params, before = {"a": np.ones(5), "b": np.ones(5)}, {"b": np.arange(5.0)}
    checked = Check(Point(loss, params, ()), right, {"before": (before,)})
    (claim,) = explained(stale, checked, a=np.arange(5.0), b=np.arange(5.0))
    assert list(claim.explanations) == ["['b']"]


def test_gradient_at_another_point_is_in_float64_or_nothing() -> None:
    def loss(params: Params, k: Any) -> jax.Array:
        if k < 0:
            raise ArithmeticError("no such k")
        return k * jnp.sum(jnp.sqrt(params["a"])) + jnp.sum(params["b"])

    checked = Check(Point(loss, {}, ()), right)
    found = gradient_at(
        Mismatch(checked, {}, []), {"a": np.full(2, 1 / 9), "b": np.ones(3)}, (2.0,)
    )
    assert found is not None
    np.testing.assert_allclose(found["['a']"], [3, 3], rtol=1e-15)
    np.testing.assert_array_equal(found["['b']"], [1, 1, 1])
    for a, k in ((0.0, 1.0), (1.0, -1.0)):
        point = {"a": np.array([1.0, a]), "b": np.ones(3)}
        assert gradient_at(Mismatch(checked, {}, []), point, (k,)) is None


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [
        (np.array([0.5, 2.0]), True),
        (np.array([True, False]), True),
        (np.array([0, 1, 1]), True),
        (np.array([0, 1, 2]), False),
        (np.array([1 + 1j]), False),
    ],
)
def test_what_may_be_weights(leaf: Any, expected: bool) -> None:
    assert may_weigh(leaf) is expected


def test_sums_of_weights_are_those_of_vectors_as_long_as_the_batch() -> None:
    args = (np.ones((4, 2)), np.array([1, 0, 1, 1]), np.arange(4), np.ones(3), 0.5)
    assert weight_sums(mismatch_of(*args, w=np.ones(2))) == [3.0]


def test_number_of_classes_is_that_of_the_last_leaf_or_a_distribution() -> None:
    inputs, labels = np.ones((4, 9)), np.arange(4)
    two = {"v": np.ones((9, 6)), "w": np.ones((6, 5))}
    assert class_counts(mismatch_of(inputs, labels, **two)) == [5]
    assert class_counts(mismatch_of(inputs, np.ones((4, 3)), **two)) == [3, 5]
    assert class_counts(mismatch_of(inputs, labels, np.ones((9, 3)), **two)) == [5]
    assert class_counts(mismatch_of(inputs, np.ones((4, 2)), **two)) == [2, 5]
    assert class_counts(
        mismatch_of(inputs, np.ones((3, 3)), np.ones((4, 2, 2)), **two)
    ) == [5]
    assert class_counts(mismatch_of(inputs, np.ones((4, 1)), w=np.ones((9, 1)))) == []
    assert class_counts(mismatch_of(inputs, w=np.ones(()))) == []
    assert class_counts(mismatch_of(inputs, w=np.ones((9, 0)))) == []
    assert class_counts(mismatch_of(inputs, w=np.ones((9, 6)), z=np.ones(6))) == [6]
    assert class_counts(mismatch_of(inputs, w=np.ones((9, 5)), z=np.ones(6))) == [6]
