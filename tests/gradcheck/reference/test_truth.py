"""What a candidate is compared with: the truth, autodiff beside it, the floors."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from handgrad.gradcheck.reference.float64 import Evaluated, Point
from handgrad.gradcheck.reference.tolerance import DRAWS, PROBES
from handgrad.gradcheck.reference.truth import Reference, another_function, reference_at

WHOLE = (2.0, -1.0, 4.0)
"""A slope without rounding, at points that have none either."""


def stepwise(loss: Any) -> Any:
    """The same loss, which looks at a number and cannot be traced."""

    def looks(params: Any, *args: Any) -> Any:
        return loss(params, *args) if float(jnp.sum(jnp.ones(1))) > 0 else 0.0

    return looks


def reference(loss: Any, params: Any, *args: Any) -> Reference:
    return reference_at(Point(loss, params, args))


def linear(params: Any) -> jax.Array:
    """<WHOLE, leaf>, summed over leaves and in the dtype of the widest."""
    parts = [jnp.sum(p * jnp.asarray(WHOLE, p.dtype)) for p in jax.tree.leaves(params)]
    return sum(parts, jnp.zeros((), parts[0].dtype))


def floor(unit: float, size: float) -> float:
    """T2 where nothing is lost: 5 (1 + 3/9) u rms(g), or T3 with max|g|."""
    return 5 * (1 + 3 / 9) * unit * size


@pytest.mark.parametrize(
    ("dtype", "digits"),
    [("float64", 53), ("float32", 24), ("float16", 11), ("bfloat16", 8)],
)
def test_floor_of_a_loss_without_rounding_is_that_of_one(
    dtype: str, digits: int
) -> None:
    with jax.enable_x64(dtype == "float64"):
        found = reference(linear, jnp.ones(3, dtype))
    size = np.sqrt(np.mean(np.square(WHOLE)))
    assert found.floors[0].rms == pytest.approx(floor(2.0**-digits, size), rel=1e-9)
    assert found.truth.value == 5
    np.testing.assert_array_equal(found.truth.gradient, [WHOLE])
    assert (found.dtype, found.wide, found.notes) == ("float64", True, [])
    assert len(found.probes) == 1 + (DRAWS if dtype == "float64" else PROBES)


def test_each_leaf_has_the_floor_of_its_own_dtype() -> None:
    params = [jnp.ones(3, jnp.bfloat16), jnp.ones(3)]
    found = reference(linear, params)
    size = np.sqrt(np.mean(np.square(WHOLE)))
    floors = [leaf.rms for leaf in found.floors]
    assert floors == pytest.approx([floor(2.0**-8, size), floor(2.0**-24, size)])
    assert [leaf.worst for leaf in found.floors] == pytest.approx(
        [floor(2.0**-8, 4), floor(2.0**-24, 4)]
    )


def test_cast_inside_takes_nothing_from_the_truth_and_widens_the_floor() -> None:
    weights = jnp.asarray([0.1, 0.7, 0.3])

    def loss(w: jax.Array) -> jax.Array:
        return jnp.sum((w * weights).astype(jnp.float16)).astype(jnp.float32)

    found = reference(loss, jnp.ones(3))
    assert (found.dtype, found.wide, found.notes) == ("float64", True, [])
    np.testing.assert_array_equal(found.truth.gradient, [weights])
    assert len(found.probes) == 1 + PROBES + DRAWS
    narrow = reference(lambda w: jnp.sum(w * weights), jnp.ones(3))
    assert len(narrow.probes) == 1 + PROBES

    def squared(w: jax.Array) -> jax.Array:
        half = w.astype(jnp.float16)
        return jnp.sum((half * half).astype(jnp.float32) * weights)

    squares = reference(squared, jnp.linspace(0.3, 0.9, 3))
    size = np.sqrt(np.mean(np.square(squares.truth.gradient)))
    assert 2.0**-11 < squares.floors[0].rms / size < 2.0**-6


def test_floor_is_that_of_a_part_that_float64_does_not_reach() -> None:
    """The bits of a number are those of its own dtype."""

    def loss(w: jax.Array) -> jax.Array:
        half = jax.lax.stop_gradient(w).astype(jnp.float16)
        beside = jax.lax.nextafter(half, jnp.float16(9))
        return linear(w) + 0 * jnp.sum(beside).astype(jnp.float32)

    found = reference(loss, jnp.ones(3))
    size = np.sqrt(np.mean(np.square(WHOLE)))
    assert found.dtype == "float16"
    assert found.floors[0].rms == pytest.approx(floor(2.0**-11, size))
    (note,) = found.notes
    assert note.startswith("a part of the loss runs in float16 alone")


def test_floor_of_a_leaf_is_lent_what_the_others_lose() -> None:
    """T4: the median of the relative losses, of which one is large and two are 0."""
    thirds = jnp.asarray([0.1, 0.7, 0.3])

    def loss(p: Any) -> jax.Array:
        return linear(p[:2]) + jnp.sum(jnp.sin(1e3 * p[2]))

    points = (jnp.zeros(3), thirds)
    none, lost = (reference(loss, [jnp.ones(3), jnp.ones(3), p]) for p in points)
    assert lost.floors[0].rms == pytest.approx(none.floors[0].rms)
    assert lost.floors[2].rms > 100 * none.floors[2].rms


def test_where_all_is_float64_autodiff_is_drawn_in_random_rounding() -> None:
    with jax.enable_x64(True):
        wide = [jnp.ones(3), jnp.ones(3)]
        mixed = [jnp.ones(3), jnp.ones(3, jnp.float32)]
        assert len(reference(linear, wide).probes) == 1 + DRAWS
        assert len(reference(linear, mixed).probes) == 1 + PROBES + DRAWS


def refuses(message: str, *, when: str) -> Any:
    """A loss that raises where the parameters have this dtype."""

    def loss(w: jax.Array) -> jax.Array:
        if w.dtype == when:
            raise RuntimeError(message)
        return linear(w)

    return loss


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("no\nsecond line", "RuntimeError: no"),
        ("\n\n  after blanks", "RuntimeError: after blanks"),
        ("", "RuntimeError"),
        ("x" * 200, "RuntimeError: " + "x" * 200),
        ("x" * 210, "RuntimeError: " + "x" * 200),
    ],
)
def test_loss_without_float64_has_autodiff_for_its_reference(
    message: str, text: str
) -> None:
    found = reference(stepwise(refuses(message, when="float64")), jnp.ones(3))
    assert found.notes[1:] == [
        "the loss does not run in float64, so the reference is jax.grad in the working "
        f"dtype ({text})."
    ]
    assert (found.dtype, found.wide) == ("float32", False)
    assert found.truth is found.probes[0]


def test_loss_that_cannot_be_traced_has_neighbours_instead_of_draws() -> None:
    def branches(w: jax.Array, x: jax.Array) -> jax.Array:
        return linear(w) if float(x[0]) > 0 else 2 * linear(w)

    with jax.enable_x64(True):
        found = reference(branches, jnp.ones(3), jnp.ones(1))
    assert len(found.probes) == 1 + PROBES
    (note,) = found.notes
    assert note.startswith(
        "the loss cannot be traced, so it is differentiated step by step, and the "
        "floors come from inputs moved in the last place and may be too low "
        "(ConcretizationTypeError: "
    )
    assert found.wide


def changed(share: float, leaves: int = 1) -> Any:
    """A loss whose slope at the first leaves is larger by a share in float64."""

    def loss(params: list[jax.Array]) -> jax.Array:
        wide = params[0].dtype == jnp.float64
        factors = [1 + share * (wide and k < leaves) for k in range(len(params))]
        return sum(
            (f * linear(p) for f, p in zip(factors, params, strict=True)), jnp.zeros(())
        )

    return loss


@pytest.mark.parametrize("sign", [1, -1])
def test_slope_that_float64_changes_by_a_hundredth_is_of_another_function(
    sign: int,
) -> None:
    params = [jnp.ones(3)]
    assert len(reference(stepwise(changed(0.0099 * sign)), params).notes) == 1
    found = reference(stepwise(changed(0.0101 * sign)), params)
    assert found.notes[1:] == [
        "the loss is another function in float64 (random numbers drawn by dtype, or a "
        "branch on it), so the reference is jax.grad in the working dtype. Draw masks "
        "and noise outside the loss and pass them as arguments."
    ]
    assert (found.dtype, found.wide) == ("float32", False)


@pytest.mark.parametrize("slope", [0.01, 100.0])
@pytest.mark.parametrize(("share", "another"), [(0.2, False), (0.6, True)])
def test_change_must_be_a_hundred_times_that_of_the_last_place(
    slope: float, share: float, another: bool
) -> None:
    """In bfloat16, where one entry in four moves by 1/256 to 1/128 of its size."""

    def loss(w: jax.Array) -> jax.Array:
        return jnp.sum(w * w) * (slope * (1 + share * (w.dtype == jnp.float64)))

    w = jnp.linspace(1.1, 1.9, 99).astype(jnp.bfloat16)
    assert reference(stepwise(loss), w).wide != another


def test_half_of_the_leaves_must_change() -> None:
    params = [jnp.ones(3)] * 3
    assert reference(stepwise(changed(0.5, leaves=1)), params).wide
    assert not reference(stepwise(changed(0.5, leaves=2)), params).wide


def test_leaf_without_a_finite_slope_does_not_count() -> None:
    def loss(params: list[jax.Array]) -> jax.Array:
        flat, steep, live = params
        return 0 * jnp.sum(flat) + jnp.sum(jnp.sqrt(steep)) + changed(0.5)([live])

    assert not reference(stepwise(loss), [jnp.ones(3), jnp.zeros(3), jnp.ones(3)]).wide


def test_where_no_leaf_has_a_slope_float64_stays() -> None:
    found = reference(lambda w: jnp.sum(0 * w), jnp.ones(3))
    assert (found.dtype, found.wide, found.notes) == ("float64", True, [])
    assert found.floors[0].rms == 0


def test_what_the_last_place_of_the_inputs_changes_as_well_is_rounding() -> None:
    """sin(1e6 w) in float32: far from that in float64, and from its neighbours too."""

    def wild(w: jax.Array) -> jax.Array:
        return jnp.sum(jnp.sin(1e6 * w))

    found = reference(wild, jnp.linspace(0.7, 0.9, 7))
    here, truth = found.probes[0].gradient[0], found.truth.gradient[0]
    assert np.linalg.norm(here - truth) > 0.01 * np.linalg.norm(here)
    assert found.wide


@pytest.mark.parametrize(
    ("near", "far", "another"),
    [
        (0.001, 0.0999, False),
        (0.001, 0.1001, True),
        (1e-6, 0.0099, False),
        (1e-6, 0.0101, True),
    ],
)
def test_another_function_is_a_hundred_times_farther_than_the_last_place(
    near: float, far: float, another: bool
) -> None:
    def at(factor: float) -> Evaluated:
        return Evaluated(0.0, [np.full(3, factor)], np.dtype("float64"))

    for sign in (1, -1):
        found = [at(-2), at(-2 * (1 + near / 9)), at(-2 * (1 - near))]
        assert another_function(at(-2 * (1 + sign * far)), found) == another


def test_loss_that_branches_on_its_dtype_is_the_same_function_in_float64() -> None:
    found = reference(changed(0.5), [jnp.ones(3)])
    assert (found.dtype, found.wide, found.notes) == ("float64", True, [])
    np.testing.assert_array_equal(found.truth.gradient, [WHOLE])


def test_forward_mode_is_the_reference_where_there_is_no_reverse() -> None:
    def loss(p: Any) -> jax.Array:
        (end, _) = jax.lax.while_loop(
            lambda c: c[1] < 3, lambda c: (jnp.sin(c[0]), c[1] + 1), (p["x"], 0)
        )
        return jnp.sum(end) + jnp.sum(jnp.abs(p["z"]) ** 2)

    x, z = np.arange(1.0, 4.0), np.array([1 + 2j, 3 - 1j])
    found = reference(loss, {"x": jnp.asarray(x), "z": jnp.asarray(z)})
    chain = np.cos(np.sin(np.sin(x))) * np.cos(np.sin(x)) * np.cos(x)
    np.testing.assert_allclose(found.truth.gradient[0], chain, rtol=1e-14)
    np.testing.assert_allclose(found.truth.gradient[1], 2 * np.conj(z), rtol=1e-14)
    assert found.notes == [
        "the loss has no reverse-mode gradient, so the reference is forward mode, "
        "entry by entry."
    ]
