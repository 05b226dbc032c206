"""The reference is checked: faults of the loss, kinks, losses that float64 changes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradcheck.cases import BIAS, WEIGHT, check, leaf_of, loss, point, right
from jax.core import Tracer

from handgrad import Report, check_gradients
from handgrad.gradcheck.randomness import stream
from handgrad.gradcheck.reference.audit import Audit, audit_loss, audit_value
from handgrad.gradcheck.reference.float64 import Evaluated, Point
from handgrad.gradcheck.reference.slope import line_at
from handgrad.gradcheck.reference.truth import Reference


def test_right_loss_has_neither_faults_nor_notes() -> None:
    report = check(right)
    assert (report.faults, report.notes) == ((), ())


def test_stop_gradient_is_a_fault_of_the_loss_and_names_the_leaf() -> None:
    def stopped(params: Any, *args: Any) -> jax.Array:
        weight = jax.lax.stop_gradient(params["weight"])
        return loss(params | {"weight": weight}, *args)

    report = check_gradients(stopped, jax.grad(stopped), *point())
    assert not report.ok
    assert WEIGHT in report.faults[0]
    assert BIAS not in report.faults[0]
    assert leaf_of(report, WEIGHT).verdict == "untested"
    assert leaf_of(report, BIAS).verdict == "right"


def test_wrong_custom_rule_is_a_fault_though_autodiff_agrees() -> None:
    @jax.custom_jvp
    def cube(x: jax.Array) -> jax.Array:
        return x**3

    cube.defjvps(lambda t, out, x: 3.003 * x**2 * t)

    def total(w: jax.Array) -> jax.Array:
        return jnp.sum(cube(w))

    report = check_gradients(total, jax.grad(total), jnp.arange(1.0, 5.0))
    assert not report.ok
    assert "jax.grad of the loss is not its derivative" in report.faults[0]


def _at_kink(gradient_at_zero: float) -> Report:
    def gradient(w: jax.Array) -> jax.Array:
        return jnp.where(w == 0, gradient_at_zero, (w > 0) * 1.0)

    w = jnp.array([1.5, 0.0, -2.25, 0.75, 0.0])
    return check_gradients(lambda w: jnp.sum(jax.nn.relu(w)), gradient, w)


def test_kink_is_a_note_and_no_fault() -> None:
    report = _at_kink(0.0)
    assert report.ok
    assert report.faults == ()
    assert "kink at this very point" in report.notes[0]


def test_other_convention_at_a_kink_is_named_as_such() -> None:
    report = _at_kink(0.5)
    assert report.ok
    assert report.leaves[0].verdict == "convention"


def test_gradient_wrong_at_a_kink_and_beside_it_is_no_kink() -> None:
    w = jnp.array([1.5, 0.0, -2.25, 0.75, 0.0])
    report = check_gradients(
        lambda w: jnp.sum(jax.nn.relu(w)), lambda w: (w > 0.2) * (w + 1.0), w
    )
    assert report.wrong[0].cause == "unknown"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_loss_that_is_not_finite_is_a_fault(value: float) -> None:
    report = check_gradients(
        lambda w: jnp.sum(w) + value, lambda w: jnp.ones_like(w), jnp.ones(3)
    )
    assert not report.ok
    assert f"the loss is {value}" in report.faults[0]
    assert not report.wrong


def test_gradient_of_the_reference_that_is_not_finite_is_a_fault() -> None:
    report = check_gradients(
        lambda w: jnp.sum(jnp.sqrt(w)), lambda w: 0.5 / jnp.sqrt(w), jnp.zeros(3)
    )
    assert "jax.grad of the loss in float64 is not finite" in report.faults[0]


def test_loss_that_casts_inside_is_compared_with_one_that_does_not() -> None:
    def casts(w: jax.Array) -> jax.Array:
        return jnp.sum(w.astype(jnp.float32) ** 3)

    w = jnp.linspace(1.0, 2.0, 7)
    report = check_gradients(casts, lambda w: 3 * w**2, w)
    assert report.ok
    assert (report.judge, report.notes) == ("float64", ())


def test_random_numbers_drawn_by_dtype_are_the_same_in_float64() -> None:
    def noisy(w: jax.Array, key: jax.Array) -> jax.Array:
        return jnp.sum(w**2 * jax.random.normal(key, w.shape, w.dtype))

    def gradient(w: jax.Array, key: jax.Array) -> jax.Array:
        return 2 * w * jax.random.normal(key, w.shape, w.dtype)

    point = (jnp.linspace(1.0, 2.0, 8), jax.random.key(3))
    report = check_gradients(noisy, gradient, *point)
    assert report.ok
    assert (report.judge, report.notes) == ("float64", ())


def reference(
    value: float,
    gradient: Any,
    *,
    dtype: str = "float64",
    wide: bool = True,
    probes: tuple[float, ...] = (),
) -> Reference:
    """With this value and gradient for the truth, and these values from autodiff."""
    kind = np.dtype(dtype)
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(gradient)]
    beside = [Evaluated(probe, leaves, kind) for probe in probes]
    return Reference(Evaluated(value, leaves, kind), beside, [], dtype, wide, [])


def audit_at(at: Point, known: Reference) -> Audit:
    """Along the lines through a point."""
    return audit_loss(at, known, line_at(at, known))


def audit(loss: Any, slope: float, here: float = 0.0, **known: Any) -> Audit:
    """Of a loss of one number at 0, with this value and slope for the truth."""
    with jax.enable_x64(True):  # whose constants are not rounded
        point = Point(lambda w: loss(w[0]), jnp.zeros(1))
        return audit_at(point, reference(here, [slope], **known))


def h(dtype: str = "float64") -> float:
    return float(np.cbrt(np.finfo(dtype).eps))


class Seen:
    """A loss of the parameters that keeps where it was evaluated, and looks there."""

    def __init__(self) -> None:
        self.points: list[Any] = []

    def __call__(self, params: Any, *args: Any) -> jax.Array:
        leaves = jax.tree.leaves((params, args))
        if any(isinstance(leaf, Tracer) for leaf in leaves):
            raise TypeError("a loss that cannot be traced")
        self.points.append((params, args))
        return sum((jnp.sum(0 * leaf) for leaf in leaves), jnp.zeros(()))

    def moves(self, params: Any) -> Any:
        """(8, ...) per leaf: how far from the point each evaluation was."""
        apart = [jax.tree.map(np.subtract, p, params) for p, _ in self.points]
        return jax.tree.map(lambda *m: np.stack(m), *apart)


@pytest.fixture(scope="module", name="v")
def _directions() -> np.ndarray:
    """|v| along which a loss of one number at 0 is evaluated, the smaller first."""
    seen = Seen()
    audit_at(Point(seen, jnp.zeros(1)), reference(0.0, [0.0]))
    return np.sort(np.abs(seen.moves(np.zeros(1))[[0, 4], 0]) / h())


def test_loss_is_evaluated_ahead_and_behind_at_two_distances() -> None:
    seen, rng = Seen(), np.random.default_rng(0)
    params = {"a": np.zeros(900), "b": np.full(900, -3.0), "c": rng.normal(0, 0.1, 900)}
    flat = jax.tree.map(np.zeros_like, params)
    audit_at(Point(seen, params), reference(0.0, flat))
    moves = seen.moves(params)
    assert {leaf.shape for leaf in moves.values()} == {(8, 900)}
    for name, size in (("a", 3), ("b", 3), ("c", 0.1)):
        first, second = moves[name][0], moves[name][4]
        expected = np.outer([1, -1, 0.5, -0.5], first)
        np.testing.assert_allclose(moves[name][:4], expected, atol=1e-14)
        for move in (first, second):
            assert np.std(move) == pytest.approx(size * h(), rel=0.15)
            assert abs(np.mean(move)) < 0.1 * size * h()
        assert abs(np.corrcoef(first, second)[0, 1]) < 0.1


def test_point_of_zeros_is_left_by_steps_of_one() -> None:
    seen = Seen()
    audit_at(Point(seen, np.zeros(900)), reference(0.0, np.zeros(900)))
    assert np.std(seen.moves(np.zeros(900))[0]) == pytest.approx(h(), rel=0.1)


def test_loss_is_evaluated_in_the_arithmetic_of_the_reference() -> None:
    params, args = (jnp.ones(3), 2.0), (jnp.ones(2, jnp.bfloat16),)
    for wide, dtype in ((True, "float64"), (False, "float32")):
        seen = Seen()
        truth = [np.zeros(3), 0.0]
        known = reference(0.0, truth, dtype=dtype, wide=wide, probes=(0.0,))
        audit_at(Point(seen, params, args), known)
        for (array, number), (given,) in seen.points:
            assert array.dtype == dtype
            assert (wide and number.dtype == dtype) or isinstance(number, float)
            assert given.dtype == ("float64" if wide else "bfloat16")


@pytest.mark.parametrize(
    ("dtype", "small", "large"),
    [("float64", 1.4e-8, 1.6e-8), ("float32", 3.4e-4, 3.6e-4)],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_slope_that_is_off_by_more_than_half_the_digits_is_a_fault(
    dtype: str, small: float, large: float, sign: int
) -> None:
    assert audit(lambda w: w, 1 + sign * small, dtype=dtype) == Audit()
    found = audit(lambda w: w, 1 + sign * large, dtype=dtype)
    assert found.affected == ("(params)",)
    assert found.notes == ()
    assert not found.kink


def test_slope_may_be_off_by_ten_times_the_error_of_the_difference(
    v: np.ndarray,
) -> None:
    """Of w + w^3 / h^2 at 0 it is |v|^3 / 4, where the slope is v."""
    allowed = 2.5 * v[0] ** 2

    def cubic(w: jax.Array) -> jax.Array:
        return w + w**3 / h() ** 2

    for sign in (1, -1):
        assert not audit(cubic, 1 + 0.99 * sign * allowed).faults
        assert audit(cubic, 1 + sign * (1.01 * allowed + 1.5e-8)).faults


@pytest.mark.parametrize("here", [1e6, -1e6])
def test_loss_may_be_off_by_a_hundred_roundings(v: np.ndarray, here: float) -> None:
    allowed = 100 * np.finfo(float).eps * abs(here) / h()
    assert not audit(lambda w: here + w, 1 + 0.95 * allowed / v[1], here).faults
    assert audit(lambda w: here + w, 1 + 1.05 * allowed / v[1], here).faults


def test_loss_may_be_off_by_ten_times_what_autodiff_lost(v: np.ndarray) -> None:
    allowed = 10 * 1.5 / h("float32")
    known = {"dtype": "float32", "wide": False, "probes": (3.25, 1.5, 4.0)}
    assert not audit(lambda w: 0 * w + 3, 0.95 * allowed / v[1], 3.0, **known).faults
    assert audit(lambda w: 0 * w + 3, 1.05 * allowed / v[1], 3.0, **known).faults


def test_difference_of_large_numbers_is_off_by_their_rounding() -> None:
    """Rounding leaves 1e8 + w off by 1e-8, and a difference of it by 1e-2."""

    def cancels(w: jax.Array) -> jax.Array:
        return (w + 1e8) - 1e8

    def branches(w: jax.Array) -> jax.Array:
        return w if float(w) < 1 else 0 * w

    assert not audit(cancels, 1.01).faults
    assert audit(cancels, 2.0).faults
    assert audit(branches, 1.01).faults  # nobody knows what a loss loses untraced


@pytest.mark.parametrize(
    ("turns", "slope", "fault"), [(6e5, 1, False), (3e7, 1, False), (3e7, 0, True)]
)
def test_loss_that_turns_faster_than_a_step_is_measured_by_shorter_ones(
    turns: float, slope: float, fault: bool
) -> None:
    found = audit(lambda w: jnp.sin(turns * w) / turns, slope)
    assert bool(found.faults) == fault
    assert not found.kink


def test_shorter_steps_must_contradict_the_longer_ones(v: np.ndarray) -> None:
    """Rounding of 1e6 hides a slope of 0.1 from them, so they contradict nothing."""
    assert audit(lambda w: 1e6 + 50 * w, 50 + 0.1 / v[1], 1e6).faults


def test_small_leaf_beside_a_large_one_counts_to_half_the_digits() -> None:
    """Two slopes a and b, whose directions v are equal but for their sizes."""
    seen, point = Seen(), (jnp.zeros(1), jnp.zeros(1))
    audit_at(Point(seen, point), reference(0.0, [[0.0], [0.0]]))
    moves = [np.abs(m[[0, 4], 0]) for m in seen.moves(point)]
    allowed = np.sqrt(np.finfo(float).eps) * np.min(moves[0] / moves[1])

    def total(p: Any) -> jax.Array:
        return p[0][0] + 0 * p[1][0]

    with jax.enable_x64(True):
        at = Point(total, (jnp.zeros(1), jnp.zeros(1)))
        assert not audit_at(at, reference(0.0, [[1.0], [0.99 * allowed]])).faults
        assert audit_at(at, reference(0.0, [[1.0], [1.01 * allowed]])).faults


def test_bend_that_stays_when_the_step_is_halved_is_a_kink(v: np.ndarray) -> None:
    """Of a |w| + w^2 / h: 2 a |v| + v^2 at half the step must be 0.8 of the whole."""

    def bent(a: float) -> Audit:
        return audit(lambda w: a * jnp.abs(w) + w**2 / h(), 0.0)

    assert bent(1.49 * v[0]) == Audit()
    assert bent(1.51 * v[0]).kink


def test_bend_must_exceed_a_millionth_of_the_slope() -> None:
    def bent(a: float) -> Audit:
        return audit(lambda w: a * jnp.abs(w) + w, 1.0)

    assert bent(0.49e-6) == Audit()
    assert bent(0.51e-6).kink


@pytest.mark.parametrize("here", [1e6, -1e6])
def test_bend_must_exceed_what_rounding_does(v: np.ndarray, here: float) -> None:
    least = 100 * np.finfo(float).eps * abs(here) / h() / 2

    def bent(a: float) -> Audit:
        return audit(lambda w: a * jnp.abs(w) + here, 0.0, here)

    assert bent(0.95 * least / v[1]) == Audit()
    assert bent(1.05 * least / v[1]).kink


def test_constant_has_no_kink() -> None:
    assert audit(lambda w: 0 * w, 0.0) == Audit()


@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
def test_slope_at_a_kink_is_a_convention(slope: float) -> None:
    found = audit(lambda w: w + jnp.abs(w), slope)
    assert (found.faults, found.affected, found.kink) == ((), (), True)
    (note,) = found.notes
    assert note.startswith("the loss has a kink at this very point")


def weighted(params: Any) -> jax.Array:
    """a + 2 b + 3 c + ..., of leaves of one entry or whole ones, which are no part."""
    live = [leaf for leaf in jax.tree.leaves(params) if leaf.dtype != jnp.int32]
    return sum((k * leaf[0] for k, leaf in enumerate(live, start=1)), jnp.zeros(()))


@pytest.mark.parametrize("wrong", ["a", "c", "d", "ac", "cd", "acd"])
def test_leaves_with_a_wrong_slope_are_named_and_no_others(wrong: str) -> None:
    params = {name: jnp.ones(1) for name in "acd"} | {"b": jnp.arange(3)}
    slopes = {name: [k] for k, name in enumerate("acd", start=1)}
    slopes |= {name: [-5.0] for name in wrong}
    found = audit_at(Point(weighted, params), reference(6.0, slopes))
    assert found.affected == tuple(f"['{name}']" for name in wrong)


@pytest.mark.parametrize(
    ("count", "text"), [(6, ""), (7, " and 1 more"), (9, " and 3 more")]
)
def test_six_of_the_leaves_are_named(count: int, text: str) -> None:
    params = [jnp.ones(1) for _ in range(count)]
    value = float(weighted(params))
    known = reference(value, [[-k] for k in range(1, count + 1)])
    (fault,) = audit_at(Point(weighted, params), known).faults
    assert fault == (
        f"jax.grad of the loss is not its derivative at [0], [1], [2], [3], [4], [5]"
        f"{text}: finite differences in float64 disagree. Look in the loss for "
        "stop_gradient, a custom_vjp or custom_jvp, rounding, or a cast to integers."
    )


def test_leaves_that_are_at_fault_only_together_are_not_named() -> None:
    def together(p: Any) -> jax.Array:
        return jnp.where(p[0][0] * p[1][0] != 0, p[1][0], 0.0)

    point = (jnp.zeros(1), jnp.zeros(1))
    found = audit_at(Point(together, point), reference(0.0, [[0.0], [0.0]]))
    assert found.affected == ()
    assert found.faults[0].startswith("jax.grad of the loss is not its derivative: fin")


def test_where_nothing_is_finite_all_leaves_are_named() -> None:
    params = {"a": jnp.ones(1), "b": jnp.arange(3)}
    point = Point(weighted, params)
    found = audit_at(point, reference(np.nan, [[1.0]]))
    text = "the loss is nan at this point, where no gradient is right."
    assert found == Audit((text,), (), ("['a']", "['b']"), False)
    found = audit_at(point, reference(1.0, [[np.inf]]))
    text = "jax.grad of the loss in float64 is not finite at this point."
    assert found == Audit((text,), (), ("['a']",), False)


def valued(received: Any, truth: float, *probes: float) -> list[str]:
    return audit_value(
        received, reference(truth, [0.0], dtype="float32", probes=probes)
    )


@pytest.mark.parametrize("truth", [2.0, -2.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_value_may_be_off_by_ten_roundings(truth: float, sign: int) -> None:
    unit = float(np.finfo(np.float32).eps)
    assert valued(np.float64(truth + sign * 19.9 * unit), truth, truth) == []
    assert valued(np.float64(truth + sign * 20.1 * unit), truth, truth)


def test_value_may_be_off_by_ten_times_what_autodiff_lost() -> None:
    assert valued(6.9, 2.0, 2.25, 1.5) == []
    assert valued(7.1, 2.0, 2.25, 1.5) == [
        "the value that came with the gradient is 7.1, not 2."
    ]


def test_value_of_zero_and_no_value_are_right() -> None:
    assert valued(0.0, 0.0, 0.0) == []
    assert valued(None, 1.0, 1.0) == []
    assert valued(jnp.array(1.0, jnp.bfloat16), 1.0, 1.0) == []


def test_constant_that_the_dtype_of_the_program_rounds_is_no_fault() -> None:
    """The derivative of an FFT of 5 numbers has a float32 of 1/5 in it."""
    x, w = (np.float32(stream("fft", i).standard_normal(5)) for i in range(2))

    def loss(z: Any) -> Any:
        return jnp.sum(w * jnp.fft.irfft(jnp.fft.rfft(z), 5) * z[::-1])

    for at in (x, x + w, x - w, 3 * w):
        report = check_gradients(loss, jax.grad(loss), at)
        assert report.ok, str(report)
