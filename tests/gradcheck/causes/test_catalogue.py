"""A gradient of a catalogue is known by its numbers, within what rounding does."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from gradcheck.cases import comparison, loss, right

from handgrad.gradcheck.causes.catalogue import known_variant
from handgrad.gradcheck.causes.claims import Claim, Mismatch
from handgrad.gradcheck.check import Check, Variant
from handgrad.gradcheck.reference.float64 import Point

A, B = "['a']", "['b']"

Leaves = dict[str, Any]

Gradient = Callable[[str], Leaves]

FLOOR = 0.5
"""An explanation may leave 0.6 of it: 0.3."""


class Known:
    """A variant of the catalogue that keeps the dtypes that it is asked in."""

    def __init__(self, name: str, gradient: Gradient, cause: str = "scale") -> None:
        self.dtypes: list[str] = []

        def called(params: Leaves, k: Any) -> Any:
            assert params["a"].dtype == k.dtype
            self.dtypes.append(str(k.dtype))
            return gradient(str(k.dtype))

        self.variant = Variant(name, cause, f"It is {name}.", called)


def always(**leaves: Any) -> Gradient:
    return lambda dtype: {name: np.asarray(leaf) for name, leaf in leaves.items()}


def by_dtype(exact: Any, rounded: Any) -> Gradient:
    """A variant that differs in the working dtype, on the leaf a."""
    return lambda dtype: {"a": np.asarray(exact if dtype == "float64" else rounded)}


def claimed(candidates: Leaves, *known: Known, truth: float = 100.0) -> list[Claim]:
    """The claims, at a point in float32; the truth is the same everywhere."""
    params = {name: jnp.ones(np.shape(leaf)) for name, leaf in candidates.items()}
    catalogue = [entry.variant for entry in known]
    check = Check(Point(loss, params, (jnp.ones(()),)), right, {}, catalogue)
    found = {}
    for name, leaf in candidates.items():
        true = np.full(np.shape(leaf), truth)
        spread = np.full(np.shape(leaf), 1e3)
        path = f"[{name!r}]"
        found[path] = comparison(path, leaf, true, FLOOR, parameter=spread)
    wrong = [path for path, leaf in found.items() if leaf.wrong]
    return list(known_variant(Mismatch(check, found, wrong)))


def matched(candidate: Any, *known: Known, truth: float = 100.0) -> bool:
    """Whether the leaf a is claimed to be that of a variant."""
    return bool(claimed({"a": np.asarray(candidate)}, *known, truth=truth))


def test_known_variant_is_told_by_its_name() -> None:
    known = Known("the half", always(a=np.full(4, 50.0)), "stale")
    (claim,) = claimed({"a": np.full(4, 50.1)}, known)
    explained = "It is the half. (The gradient is that of 'the half'.)"
    assert claim == Claim("stale", {A: explained})
    assert known.dtypes == ["float64"]


@pytest.mark.parametrize(
    ("order", "nearest"),
    [("abc", "b"), ("bca", "b"), ("cab", "b"), ("cdb", "d"), ("fa", "a")],
)
def test_nearest_variant_is_told(order: str, nearest: str) -> None:
    """Of two that are as near, the first."""
    sizes = {"a": 50.25, "b": 50.1, "c": 50.2, "d": 50.1, "f": 9.0}
    known = [Known(name, always(a=np.full(4, sizes[name]))) for name in order]
    (claim,) = claimed({"a": np.full(4, 50.0)}, *known)
    assert claim.explanations[A].startswith(f"It is {nearest}.")


def test_without_a_match_nothing_is_told() -> None:
    assert not matched(np.full(4, 50.0), Known("far", always(a=np.full(4, 9.0))))
    assert not matched(np.full(4, 50.0))


def test_right_leaf_must_agree_as_well() -> None:
    candidates = {"a": np.full(4, 50.0), "b": np.full(2, 100.0)}
    agrees = Known("agrees", always(a=np.full(4, 50.0), b=np.full(2, 100.0)))
    differs = Known("differs", always(a=np.full(4, 50.0), b=np.full(2, 40.0)))
    (claim,) = claimed(candidates, differs, agrees)
    assert list(claim.explanations) == [A]
    assert claimed(candidates, differs) == []
    assert differs.dtypes == ["float64"] * 2


def test_variant_that_cannot_be_compared_is_passed_over() -> None:
    def refuses(dtype: str) -> Leaves:
        raise TypeError("another kind of network")

    refusing = Known("refuses", refuses)
    lacking = Known("lacks b", always(a=np.full(4, 50.0)))
    shaped = Known("a longer b", always(a=np.full(4, 50.0), b=np.full(3, 7.0)))
    fits = Known("fits", always(a=np.full(4, 50.0), b=np.full(2, 7.0)))
    candidates = {"a": np.full(4, 50.0), "b": np.full(2, 7.0)}
    (claim,) = claimed(candidates, refusing, lacking, shaped, fits)
    assert list(claim.explanations) == [A, B]
    assert "'fits'" in claim.explanations[B]
    assert claimed(candidates, refusing, lacking, shaped) == []
    assert [len(k.dtypes) for k in (lacking, shaped, fits)] == [2, 2, 1]
    assert refusing.dtypes == ["float64"] * 4  # compiled, and then as it is


@pytest.mark.parametrize(
    ("candidate", "exact"),
    [
        (np.full(4, 50.0), np.full(1, 50.0)),
        (np.full(1, 50.0), np.full(4, 50.0)),
        (np.full((4, 1), 50.0), np.full(4, 50.0)),
        (np.full(4, 50.0), np.full((4, 1), 50.0)),
        (np.array([50.0, np.nan]), np.full(2, 50.0)),
        (np.array([50.0, np.nan]), np.array([50.0, np.nan])),
    ],
)
def test_variant_of_another_shape_is_not_tried_in_the_working_dtype(
    candidate: np.ndarray, exact: np.ndarray
) -> None:
    known = Known("other", always(a=exact))
    assert not matched(candidate, known)
    assert known.dtypes == ["float64"]


def test_infinity_is_no_variant() -> None:
    assert not matched([50, np.inf], Known("other", always(a=np.full(2, 50.0))))


@pytest.mark.parametrize(
    ("truth", "edge"), [(100.0, 0.3), (2.0, 0.6)], ids=["smaller", "twice as large"]
)
def test_variant_may_be_off_by_what_an_explanation_may_leave(
    truth: float, edge: float
) -> None:
    """And by more, where it is larger than the truth."""
    exact = np.array([4.0, -4.0, 4.0, -4.0])
    for by, found in ((0.97, True), (-0.97, True), (1.03, False), (-1.03, False)):
        known = Known("known", always(a=exact))
        left = by * edge * np.array([1, 1, -1, -1])
        assert matched(exact + left, known, truth=truth) == found
        assert known.dtypes == ["float64", "float32"][: 1 if found else 2]


def test_variant_may_be_off_by_no_more_than_the_edge() -> None:
    known = Known("known", always(a=np.zeros(4)))
    assert matched([0.3, 0.3, -0.3, -0.3], known)
    assert known.dtypes == ["float64"]


@pytest.mark.parametrize(
    ("exact", "tried"),
    [(10, True), (7, True), (6, True), (5.9, False), (10.1, False), (-8, False)],
)
def test_only_a_variant_that_is_near_is_tried_in_the_working_dtype(
    exact: float, tried: bool
) -> None:
    """Within a quarter of the candidate."""
    known = Known("known", always(a=np.full(4, exact)))
    assert not matched(np.full(4, 8.0), known)
    assert known.dtypes == ["float64", "float32"][: 1 + tried]


@pytest.mark.parametrize(
    ("exact", "rounded", "candidate", "found"),
    [
        (8.0, 7.5, 7.0, True),
        (8.0, 7.5, 6.99, False),
        (8.0, 8.5, 9.0, True),
        (8.0, 8.5, 9.01, False),
        (8.0, 7.5, 7.5, True),
        (8.0, 8.0, 7.5, False),
    ],
)
def test_variant_may_be_off_by_its_own_rounding(
    exact: float, rounded: float, candidate: float, found: bool
) -> None:
    gradient = by_dtype(np.full(4, exact), np.full(4, rounded))
    known = Known("known", gradient)
    assert matched(np.full(4, candidate), known) == found
    assert known.dtypes == ["float64", "float32"]


@pytest.mark.parametrize(
    ("truth", "off", "found"),
    [
        (100.0, 0.45, True),
        (100.0, 0.6, True),
        (100.0, 0.61, False),
        (4.0, 1.2, True),
        (4.0, 1.21, False),
    ],
)
def test_rounded_variant_may_be_off_by_the_floor_as_a_whole(
    truth: float, off: float, found: bool
) -> None:
    """One entry of four, so that the root mean square is half of it."""
    known = Known("known", always(a=np.full(4, 8.0)))
    assert matched([8 + off, 8, 8, 8], known, truth=truth) == found
    assert known.dtypes == ["float64", "float32"]


def test_leaf_may_agree_before_rounding_and_another_after() -> None:
    def gradient(dtype: str) -> Leaves:
        wide = dtype == "float64"
        return {
            "a": np.full(4, 8 if wide else 9.0),
            "b": np.full(4, 6 if wide else 7.0),
        }

    known = Known("known", gradient)
    (claim,) = claimed({"a": np.full(4, 8.0), "b": np.full(4, 7.0)}, known)
    assert list(claim.explanations) == [A, B]
    assert claimed({"a": np.full(4, 8.0), "b": np.full(4, 4.9)}, known) == []


def test_variant_that_the_working_dtype_refuses_is_passed_over() -> None:
    def gradient(dtype: str) -> Leaves:
        if dtype == "float32":
            raise TypeError("float64 only")
        return {"a": np.full(4, 8.0)}

    known = Known("known", gradient)
    assert not matched(np.full(4, 7.5), known)
    assert matched(np.full(4, 8.1), known)
    tried = ["float32", "float32"]  # compiled, and then as it is
    assert known.dtypes == ["float64", *tried, "float64"]
