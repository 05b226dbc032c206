"""Samples left out or counted twice are told, and which they are."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradcheck.cases import M, Params, comparison

from handgrad import check_gradients
from handgrad.gradcheck.causes import samples
from handgrad.gradcheck.causes.claims import Claim, Mismatch
from handgrad.gradcheck.causes.samples import samples_dropped
from handgrad.gradcheck.check import Check
from handgrad.gradcheck.comparison import Comparison
from handgrad.gradcheck.reference.float64 import Point
from handgrad.gradcheck.reference.tolerance import Floor

WIDE = 40


def loss(params: Params, x: Any, y: Any, w: Any = None) -> jax.Array:
    """Least squares through tanh, with enough entries to count 16 samples by."""
    w = jnp.ones(len(x), x.dtype) if w is None else w
    errors = (jnp.tanh(x @ params["weight"] + params["bias"][None, :]) - y) ** 2
    return jnp.sum(w * jnp.sum(errors, axis=1)) / jnp.sum(w)


def point(dtype: Any = jnp.float32) -> tuple[Params, jax.Array, jax.Array]:
    random = np.random.default_rng(0)
    params = {
        "bias": jnp.asarray(random.standard_normal(WIDE), dtype),
        "weight": jnp.asarray(random.standard_normal((6, WIDE)), dtype),
    }
    x = jnp.asarray(random.standard_normal((M, 6)), dtype)
    return params, x, jnp.asarray(random.standard_normal((M, WIDE)), dtype)


def counted(counts: Any, *, divided_by: float | None = None) -> Any:
    """The gradient that counts sample i ``counts[i]`` times."""

    def gradient(params: Params, x: Any, y: Any, w: Any = None) -> Params:
        w = jnp.ones(len(x), x.dtype) if w is None else w
        omega = w * jnp.asarray(counts, x.dtype)
        found = jax.grad(loss)(params, x, y, omega)
        factor = omega.sum() / (w.sum() if divided_by is None else divided_by)
        return jax.tree.map(lambda g: (g * factor).astype(x.dtype), found)

    return gradient


def counts(changed: dict[int, float]) -> np.ndarray:
    often = np.ones(M)
    for index, count in changed.items():
        often[index] = count
    return often


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({0: 0}, "Of the 16 samples, sample 0 left out."),
        ({15: 0}, "sample 15 left out"),
        ({3: 2}, "sample 3 counted twice"),
        ({2: 0, 7: 0}, "samples 2, 7 left out"),
        ({2: 0, 7: 2}, "sample 2 left out and sample 7 counted twice"),
        (dict.fromkeys(range(8, 16), 0), "samples 8, 9, 10, 11, 12, 13, 14, 15 left"),
    ],
)
def test_samples_are_counted(changed: dict[int, float], text: str) -> None:
    report = check_gradients(loss, counted(counts(changed)), *point())
    assert {leaf.cause for leaf in report.wrong} == {"samples_dropped"}
    assert len(report.wrong) == 2
    assert text in report.wrong[0].explanation


def test_mean_over_the_samples_that_are_left() -> None:
    gradient = counted(counts({4: 0}), divided_by=M - 1)
    report = check_gradients(loss, gradient, *point())
    assert {leaf.cause for leaf in report.wrong} == {"samples_dropped"}
    assert "sample 4 left out, and all else multiplied by 1.066" in str(report)


def test_sample_left_out_of_a_weighted_mean() -> None:
    w = jnp.asarray(np.random.default_rng(2).uniform(0.5, 2, M), jnp.float32)
    report = check_gradients(loss, counted(counts({5: 0})), *point(), w)
    assert {leaf.cause for leaf in report.wrong} == {"samples_dropped"}
    assert "sample 5 left out" in report.wrong[0].explanation


def test_sample_left_out_in_float64() -> None:
    with jax.enable_x64(True):
        report = check_gradients(loss, counted(counts({9: 0})), *point(jnp.float64))
    assert "sample 9 left out" in report.wrong[0].explanation


def test_fraction_of_a_sample_is_no_count() -> None:
    report = check_gradients(loss, counted(counts({1: 0.5})), *point())
    assert {leaf.cause for leaf in report.wrong} == {"unknown"}


def test_loss_that_takes_no_single_sample_is_passed_over() -> None:
    def fixed(params: Params, x: Any, y: Any) -> jax.Array:
        return loss(params, x.reshape(M, -1), y)

    def wrong(*args: Any) -> Params:
        return jax.tree.map(lambda g: g + 1, jax.grad(loss)(*args))

    report = check_gradients(fixed, wrong, *point())
    assert {leaf.cause for leaf in report.wrong} == {"unknown"}


ROWS = np.random.default_rng(5).integers(-99, 99, (8, 30)).astype(float)
"""Eight samples; the gradient of each is its row."""


def explained(
    omega: Any,
    x: np.ndarray = ROWS,
    *,
    a: Any = None,
    loss: Any = None,
    floor: float = 1e-9,
) -> str | None:
    """The sentence on sum_i omega_i a_i x_i, where sum_i a_i x_i is right."""
    a = np.full(len(x), 1 / len(x)) if a is None else np.asarray(a)
    leaf = comparison("['w']", (np.asarray(omega) * a) @ x, a @ x, floor)
    mean = (lambda p, x: jnp.mean(x @ p["w"])) if loss is None else loss
    params = {"w": jnp.zeros(x.shape[1])}
    check = Check(Point(mean, params, (jnp.asarray(x, jnp.float32),)), jax.grad(mean))
    claims = list(samples_dropped(Mismatch(check, {leaf.path: leaf}, [leaf.path])))
    assert len(claims) <= 1
    return claims[0].explanations[leaf.path] if claims else None


def omega(changed: dict[int, float], m: int = 8) -> np.ndarray:
    often = np.ones(m)
    often[list(changed)] = list(changed.values())
    return often


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({0: 0}, "sample 0 left out"),
        ({7: 2}, "sample 7 counted twice"),
        ({1: 0, 4: 0, 6: 0}, "samples 1, 4, 6 left out"),
        ({1: 0, 4: 2}, "sample 1 left out and sample 4 counted twice"),
        (dict.fromkeys(range(7), 0), "samples 0, 1, 2, 3, 4, 5, 6 left out"),
    ],
)
def test_counts_by_hand(changed: dict[int, float], text: str) -> None:
    assert explained(omega(changed)) == f"Of the 8 samples, {text}."


def test_counts_times_a_factor() -> None:
    mean_of_the_rest = explained(omega({3: 0}) * 8 / 7)
    assert mean_of_the_rest == (
        "Of the 8 samples, sample 3 left out, and all else multiplied by 1.14286."
    )
    assert explained(3 * omega({3: 0, 5: 0})) == (
        "Of the 8 samples, samples 3, 5 left out, and all else multiplied by 3."
    )
    assert explained(3 * omega({3: 0})) == (
        "Of the 8 samples, sample 3 left out, and all else multiplied by 3."
    )


def test_counts_times_a_factor_below_one() -> None:
    assert explained(omega({3: 0, 5: 0}) / 2) == (
        "Of the 8 samples, samples 3, 5 left out, and all else multiplied by 0.5."
    )


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        (omega({1: 0}), "sample 1 left out."),
        (omega({7: 2}), "sample 7 counted twice."),
        (
            omega({3: 0}) * 8 / 7,
            "sample 3 left out, and all else multiplied by 1.14286.",
        ),
    ],
)
@pytest.mark.parametrize("total", [False, True])
def test_one_sample_is_told_by_few_entries(
    counts: np.ndarray, text: str, total: bool
) -> None:
    of = {"a": np.ones(8), "loss": lambda p, x: jnp.sum(x @ p["w"])} if total else {}
    assert explained(counts, ROWS[:, :20], **of) == f"Of the 8 samples, {text}"


def test_sample_is_found_after_the_factor_is_divided_by() -> None:
    rows = np.stack([ROWS[0], 2 * ROWS[0] + np.sign(ROWS[1])])
    found = explained([2, 0], rows[:, :17])
    assert found == (
        "Of the 2 samples, sample 1 left out, and all else multiplied by 2."
    )


def test_few_of_many_samples_are_told() -> None:
    rows = np.random.default_rng(6).integers(-99, 99, (24, 60)).astype(float)
    found = explained(omega({3: 0, 21: 0}, 24), rows)
    assert found == "Of the 24 samples, samples 3, 21 left out."


def test_most_samples_may_be_counted_twice() -> None:
    found = explained(omega(dict.fromkeys(range(5), 2)))
    assert found == "Of the 8 samples, samples 0, 1, 2, 3, 4 counted twice."


def test_counts_that_hold_exactly_need_no_floor() -> None:
    assert explained(omega({0: 0}), floor=0.0) == "Of the 8 samples, sample 0 left out."


def test_mean_whose_sum_is_zero_up_to_rounding_is_a_mean() -> None:
    """With too few entries to find the weights by least squares."""
    rows = np.random.default_rng(6).integers(-99, 99, (10, 20)).astype(float)
    rows[:, 0] = [3, -1, -2, 6, -4, -2, 7, -8, 0, 1]
    assert (np.full(10, 1 / 10) @ rows)[0] != 0
    assert explained(omega({1: 0}, 10), rows) == "Of the 10 samples, sample 1 left out."


@pytest.mark.parametrize(
    "counts",
    [
        [1.5] * 8,
        [2] * 8,
        [0.5] + [1] * 7,
        [1, 2.5] + [1] * 6,
        [-1] + [1] * 7,
        [-1, -1] + [1] * 6,
        [3] + [1] * 7,
        [3, 3] + [1] * 6,
    ],
)
def test_what_is_no_count(counts: list[float]) -> None:
    assert explained(counts) is None


def test_too_few_entries_confirm_one_sample_at_most() -> None:
    """Eight samples and 16 to spare are 24 entries."""
    assert explained(omega({1: 0, 2: 0}), ROWS[:, :24]) is not None
    assert explained(omega({1: 0, 2: 0}), ROWS[:, :23]) is None
    assert explained(omega({1: 0}), ROWS[:, :23]) is not None


def test_nine_of_ten_samples_may_be_left_out() -> None:
    rows = np.random.default_rng(6).integers(-99, 99, (10, 30)).astype(float)
    nine = "samples 0, 1, 2, 3, 4, 5, 6, 7 and 1 more left out"
    found = explained(omega(dict.fromkeys(range(9), 0), 10), rows)
    assert found == f"Of the 10 samples, {nine}."
    assert explained(np.zeros(10), rows) is None


def test_batch_that_is_taken_apart_has_512_samples_at_most() -> None:
    rows = np.random.default_rng(6).integers(-99, 99, (513, 20)).astype(float)
    found = explained(omega({3: 0}, 512), rows[:512])
    assert found == "Of the 512 samples, sample 3 left out."
    assert explained(omega({3: 0}, 513), rows) is None


def test_some_of_many_entries_are_enough() -> None:
    rows = np.random.default_rng(6).integers(-99, 99, (8, 300)).astype(float)
    found = explained(omega({1: 0, 5: 0}), rows)
    assert found == "Of the 8 samples, samples 1, 5 left out."


def test_batch_of_one_cannot_be_counted_and_of_two_can() -> None:
    assert explained([0.0], ROWS[:1]) is None
    assert explained([1, 0], ROWS[:2]) == "Of the 2 samples, sample 1 left out."


def test_sum_over_the_samples_is_counted_as_well() -> None:
    found = explained(
        omega({2: 2, 6: 2}),
        ROWS,
        a=np.ones(8),
        loss=lambda p, x: jnp.sum(x @ p["w"]),
    )
    assert found == "Of the 8 samples, samples 2, 6 counted twice."


@pytest.mark.parametrize("apart", [0.0, 2.0**-28])
def test_equal_samples_cannot_be_told_apart(apart: float) -> None:
    rows = ROWS.copy()
    rows[1] = rows[0]
    rows[:2, 0] = 0, apart
    assert explained(omega({0: 0, 2: 0}), rows) is None


@pytest.mark.parametrize("left", [0.0, 1e-14, 3e-17])
def test_sample_without_a_gradient_counts_as_it_should(left: float) -> None:
    rows = ROWS.copy()
    rows[5] *= left
    assert (
        explained(omega({0: 0, 2: 0}), rows)
        == "Of the 8 samples, samples 0, 2 left out."
    )


@pytest.mark.parametrize("around", [1.0, 0.125, 7.0])
@pytest.mark.parametrize("spread", [0.5, 0.02])
def test_weights_of_the_loss_are_found(around: float, spread: float) -> None:
    a = around * (1 + spread * np.array([-1, 1, -0.5, 0.5, 0, -0.8, 0.8, -0.2]))
    found = explained(omega({2: 2, 6: 0}), a=a, loss=lambda p, x: jnp.sum(x @ p["w"]))
    assert found == "Of the 8 samples, sample 6 left out and sample 2 counted twice."


def test_sample_without_a_gradient_needs_no_entry_to_spare() -> None:
    rows = ROWS.copy()
    rows[5] = 0
    assert explained(omega({0: 0, 2: 0}), rows[:, :23]) is not None
    assert explained(omega({0: 0, 2: 0}), rows[:, :22]) is None


def claims_of(
    spoil: dict[str, Any],
    change: Callable[[Comparison], Comparison] = lambda leaf: leaf,
    a: Any = 1 / 8,
) -> list[Claim]:
    """Of leaves of 20, 30, 40 and 60 entries, each with counts of its own."""
    rng, sizes = np.random.default_rng(8), {"tiny": 20, "few": 30, "mid": 40, "big": 60}
    x = {n: rng.integers(-99, 99, (8, k)).astype(float) for n, k in sizes.items()}
    for rows in x.values():
        rows[7] *= 100
    a = a * np.ones(8)

    def weighted(p: Any, x: Any, sides: Any, counts: Any) -> jax.Array:
        total = sum((x[n] @ p[n] for n in sizes), jnp.zeros(()))
        beside = sum((jnp.sum(side) for side in sides), jnp.zeros(()))
        return jnp.sum(a[: len(total)] * total) + beside + 0 * jnp.sum(counts)

    leaves = [
        change(comparison(f"['{n}']", (spoil.get(n, 1) * a) @ x[n], a @ x[n]))
        for n in sizes
    ]
    point = {n: jnp.zeros(k) for n, k in sizes.items()}
    sides = jnp.ones(3), jnp.ones(9), 2.0
    args = (jax.tree.map(jnp.asarray, x), sides, jnp.arange(8))
    wrong = [leaf.path for leaf in leaves if leaf.wrong]
    check = Check(Point(weighted, point, args), jax.grad(weighted))
    return list(samples_dropped(Mismatch(check, {s.path: s for s in leaves}, wrong)))


def test_leaves_that_count_alike_are_one_claim_and_others_another() -> None:
    first, second = omega({1: 0, 2: 0}), omega({4: 2, 5: 2})
    a, b = claims_of({"big": first, "mid": first, "few": second})
    assert a.cause == b.cause == "samples_dropped"
    left, twice = (
        "Of the 8 samples, samples 1, 2 left out.",
        "Of the 8 samples, samples 4, 5 counted twice.",
    )
    assert a.explanations == {"['big']": left, "['mid']": left}
    assert b.explanations == {"['few']": twice}
    a, b = claims_of({"big": first, "mid": second, "few": first})
    assert a.explanations == {"['big']": left, "['few']": left}
    assert b.explanations == {"['mid']": twice}


def test_leaf_that_cannot_be_told_hides_no_other() -> None:
    (claim,) = claims_of({"big": np.full(8, 1.5), "mid": omega({0: 0})})
    assert claim.explanations == {"['mid']": "Of the 8 samples, sample 0 left out."}


def test_leaf_too_small_to_find_the_weights_of_the_loss_is_not_told() -> None:
    a = np.array([0.5, 1.5, 0.75, 1.25, 1.0, 0.6, 1.4, 0.9])
    (claim,) = claims_of({"big": omega({1: 0}), "tiny": omega({1: 0})}, a=a)
    assert list(claim.explanations) == ["['big']"]


@pytest.mark.parametrize(
    ("counted", "most"), [({1: 0}, 0.6), ({7: 2}, 1.19)], ids=["smaller", "twice"]
)
def test_counts_must_hold_within_the_floor(
    counted: dict[int, float], most: float
) -> None:
    """As a whole and at the worst entry, 0.6 of it, and of more where more comes.

    The last sample is nearly all of the gradient: counted twice, it doubles it.
    """

    def off(by: float, where: Any, rms: float, worst: float) -> bool:
        def change(leaf: Comparison) -> Comparison:
            if not leaf.wrong:
                return leaf
            candidate = leaf.candidate.copy()
            candidate[where] += by
            floor = Floor(rms, worst, np.inf, np.inf)
            return replace(leaf, candidate=candidate, floor=floor)

        return bool(claims_of({"big": omega(counted)}, change))

    everywhere = np.s_[:]
    assert off(0.95 * most, everywhere, rms=1.0, worst=100.0)
    assert not off(1.05 * most, everywhere, rms=1.0, worst=100.0)
    assert off(0.95 * most, 7, rms=1.0, worst=1.0)
    assert not off(1.05 * most, 7, rms=1.0, worst=1.0)


def test_leaf_whose_samples_have_no_gradient_is_passed_over() -> None:
    def mean(p: Any, x: Any) -> jax.Array:
        return jnp.mean(x @ p["w"])

    leaf = comparison("['w']", np.ones(30), np.zeros(30))
    zeros = jnp.zeros((8, 30))
    check = Check(Point(mean, {"w": jnp.zeros(30)}, (zeros,)), jax.grad(mean))
    assert list(samples_dropped(Mismatch(check, {leaf.path: leaf}, [leaf.path]))) == []


def test_gradients_are_taken_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    traced = []

    def mean(p: Any, x: Any) -> jax.Array:
        traced.append(x.shape)
        return jnp.mean(x @ p["w"])

    for numbers, chunks in ((30 * 8, 1), (30 * 3 + 29, 3), (29, 8)):
        traced.clear()
        monkeypatch.setattr(samples, "MOST_NUMBERS", numbers)
        assert explained(omega({1: 0, 2: 0}), loss=mean) is not None
        assert traced == [(1, 30)] * chunks


def test_nothing_is_taken_apart_where_all_that_is_wrong_has_another_shape() -> None:
    asked = []

    def mean(p: Any, x: Any) -> jax.Array:
        asked.append(x)
        return jnp.mean(x @ p["w"])

    leaf = comparison("['w']", np.ones(3), ROWS.mean(axis=0))
    check = Check(Point(mean, {"w": jnp.zeros(30)}, (jnp.asarray(ROWS),)), mean)
    assert list(samples_dropped(Mismatch(check, {leaf.path: leaf}, [leaf.path]))) == []
    assert asked == []


def test_rows_of_a_mask_are_no_samples() -> None:
    """One row is taken for all; that of the last query hides nothing."""
    rng = np.random.default_rng(0)
    q, k, v = (jnp.asarray(rng.standard_normal((6, 4)), jnp.float32) for _ in "qkv")
    mask = jnp.where(jnp.tril(jnp.ones((6, 6), bool)), 0.0, -jnp.inf)

    def attended(q: jax.Array, mask: jax.Array) -> jax.Array:
        return jnp.sum((jax.nn.softmax(q @ k.T / 2 + mask) @ v) ** 2)

    def forgets(q: jax.Array, mask: jax.Array) -> jax.Array:
        return jax.grad(attended)(q, jnp.zeros_like(mask))

    report = check_gradients(attended, forgets, q, mask)
    assert [leaf.cause for leaf in report.wrong] == ["unknown"], str(report)
