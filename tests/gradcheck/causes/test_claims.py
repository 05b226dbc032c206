"""A fitted number must be confirmed, and the fewest claims win."""

from collections.abc import Callable

import numpy as np
from gradcheck.cases import comparison, mismatch

from handgrad.gradcheck.causes.claims import (
    Claim,
    Finding,
    Mismatch,
    cover,
    fitted,
    listed,
)

Change = Callable[[str, np.ndarray], np.ndarray]


def counting(change: Change, **sizes: int) -> Mismatch:
    """Leaves of 1, 2, 3, ... with what ``change`` makes of them for a candidate."""
    truths = {name: np.arange(1.0, size + 1) for name, size in sizes.items()}
    return mismatch(
        *(comparison(n, change(n, truth), truth) for n, truth in truths.items())
    )


def test_unexplained_are_the_wrong_leaves_of_the_right_shape() -> None:
    found = counting(lambda name, g: g[:1] if name == "b" else 2 * g, a=3, b=3, c=3)
    one = Mismatch(found.check, found.leaves, ["b", "c", "not there"])
    assert [leaf.path for leaf in one.unexplained] == ["c"]
    assert one.explained(lambda leaf: 2 * leaf.truth) == ["c"]
    assert one.explained(lambda leaf: 3 * leaf.truth) == []


def test_number_is_fitted_on_the_largest_leaf_and_holds_on_others() -> None:
    found = counting(lambda _, g: 1.5 * g, small=1, large=9, middle=4)
    ((t, paths),) = fitted(found, lambda leaf: leaf.truth)
    assert abs(t - 0.5) < 1e-12
    assert paths == ["small", "large", "middle"]


def test_two_numbers_are_two_findings() -> None:
    found = counting(lambda name, g: g * (3 if name == "a" else 5), a=4, b=9, c=5)
    (t, first), (s, second) = fitted(found, lambda leaf: leaf.truth)
    assert (round(t, 9), first) == (4, ["b", "c"])
    assert (round(s, 9), second) == (2, ["a"])


def test_three_entries_confirm_no_number_and_four_do() -> None:
    assert fitted(counting(lambda _, g: 2 * g, a=3), lambda leaf: leaf.truth) == []
    assert fitted(counting(lambda _, g: 2 * g, a=4), lambda leaf: leaf.truth) != []


def test_number_that_does_not_hold_on_its_own_leaf_is_none() -> None:
    found = counting(lambda _, g: 2 * g + np.sin(g), a=9)
    assert fitted(found, lambda leaf: leaf.truth) == []


def test_nothing_is_fitted_to_what_is_across_or_not_finite() -> None:
    across = counting(lambda _, g: g + [2, -1, 0, 0], a=4)
    assert fitted(across, lambda leaf: leaf.truth) == []
    endless = counting(lambda _, g: g + [np.inf, 0, 0, 0], a=4)
    assert fitted(endless, lambda leaf: leaf.truth) == []
    mixed = counting(lambda name, g: g * (np.inf if name == "a" else 2), a=9, b=5)
    assert [paths for _, paths in fitted(mixed, lambda leaf: leaf.truth)] == [["b"]]


def test_cover_takes_the_claim_of_most_leaves_then_the_earlier() -> None:
    claims = [
        Claim.same("sign", "a", "one"),
        Claim.same("scale", "ab", "two"),
        Claim.same("zero", "bc", "three"),
        Claim.same("stale", "c", "four"),
    ]
    assert cover(claims, list("abc")) == {
        "a": Finding("scale", "two"),
        "b": Finding("scale", "two"),
        "c": Finding("zero", "three"),
    }
    assert cover(claims, ["a"]) == {"a": Finding("sign", "one")}
    assert cover(claims, ["d"]) == {}
    assert cover([], ["a"]) == {}


def test_list_of_lines_is_cut_after_eight() -> None:
    assert listed("row", np.array([3])) == "row 3"
    assert listed("row", np.array([3, 4])) == "rows 3, 4"
    assert listed("row", np.arange(8)) == "rows 0, 1, 2, 3, 4, 5, 6, 7"
    assert listed("row", np.arange(9)) == "rows 0, 1, 2, 3, 4, 5, 6, 7 and 1 more"
    assert listed("row", np.arange(18)) == "rows 0, 1, 2, 3, 4, 5, 6, 7 and 10 more"
