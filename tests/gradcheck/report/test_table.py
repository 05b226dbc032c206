"""The report as text."""

import pytest
from gradcheck.cases import BIAS, WEIGHT, check, right, spoiled

from handgrad.gradcheck import Leaf, Report
from handgrad.gradcheck.report.table import number, shorten, wrap

LONG = (
    "['encoder']['layers'][11]['attention']['projection']['output']['kernel_of_head_3']"
)

UNTESTED = "untested: the gradient is zero here."

TABLE = """\
gradient NOT ok: 1 right, 1 wrong, 1 untested, 1 not differentiable

leaf                                           verdict     error    floor      scale   cosine  cause
----------------------------------------------------------------------------------------------------
['bias']                                       right     9.2e-08  5.7e-07      1.001   1.0000
['encoder']['layers']...'kernel_of_the_head']  wrong     1.5e+01  1.0e-06         16   1.0000  scale
['gain']                                       untested  0.0e+00  0.0e+00          -        -
['steps']                                      no gradient

fault: the loss is off.
['encoder']['layers'][11]['projection']['kernel_of_the_head']: 16 times the gradient: the batch size
    m. Divide by m, once, and not by m and by the number of samples.
['gain']: untested: the gradient is zero here.
note: so it is."""  # noqa: E501


def test_table_to_the_letter() -> None:
    long = "['encoder']['layers'][11]['projection']['kernel_of_the_head']"
    sentence = (
        "16 times the gradient: the batch size m. "
        "Divide by m, once, and not by m and by the number of samples."
    )
    leaves = (
        Leaf("['bias']", "right", (3,), "", 9.2e-8, 5.7e-7, 0.2, 1.0007, 1.0),
        Leaf(
            *(long, "wrong", (3, 4), "", 15.0, 1e-6, 1e7, 16.00012, 0.99996),
            cause="scale",
            explanation=sentence,
        ),
        Leaf("['gain']", "untested", (2,), "", 0.0, 0.0, explanation=UNTESTED),
        Leaf("['steps']", "not differentiable"),
    )
    assert str(Report(leaves, ("the loss is off.",), ("so it is.",))) == TABLE


@pytest.mark.parametrize(("length", "width"), [(60, 45), (40, 40), (2, 4)])
def test_first_column_is_as_wide_as_its_paths_or_what_is_left(
    length: int, width: int
) -> None:
    head = str(Report((Leaf("p" * length, "right"),))).splitlines()[2]
    assert head.index("  verdict") == width


def test_table_of_a_right_gradient() -> None:
    lines = str(check(right)).splitlines()
    assert lines[0] == "gradient ok: 2 right"
    assert lines[2].split() == [
        "leaf", "verdict", "error", "floor", "scale", "cosine", "cause",
    ]  # fmt: skip
    assert lines[4].split()[:2] == [BIAS, "right"]
    assert lines[5].split()[:2] == [WEIGHT, "right"]


def test_table_says_what_is_wrong_and_where() -> None:
    text = str(check(spoiled(weight=lambda g: 16 * g)))
    assert "gradient NOT ok: 1 right, 1 wrong" in text
    assert f"{WEIGHT}: 16 times the gradient: the batch size m" in text


@pytest.mark.parametrize("path", ["w", LONG, 3 * LONG])
def test_table_fits_100_columns(path: str) -> None:
    leaves = [
        Leaf(path, "right", (3,), "float32", 1e-7, 6e-7, 0.2, -123456.789, -0.12345),
        Leaf(
            path + "b",
            "wrong",
            relative_error=1.0,
            cause="missing_activation_derivative",
            explanation="because " * 40,
        ),
        Leaf(path + "c", "untested", explanation="untested: so"),
        Leaf(path + "d", "not differentiable"),
    ]
    report = Report(tuple(leaves), faults=("fault " * 50,), notes=("note " * 50,))
    lines = str(report).splitlines()
    assert max(map(len, lines)) <= 100
    assert sum("no gradient" in line for line in lines) == 1


def test_shortened_path_keeps_both_ends() -> None:
    assert shorten("abcdefghij", 7) == "ab...ij"
    assert shorten("abcdefghij", 8) == "abc...ij"
    assert shorten("abc", 7) == "abc"


def test_words_are_not_broken_at_their_hyphens() -> None:
    assert wrap("x" * 93 + " well-known") == ["x" * 93, "    well-known"]


def test_number_that_is_none_is_a_dash() -> None:
    assert (number(float("nan")), number(0.034)) == ("-", "3.4e-02")


def test_same_sentence_is_said_once() -> None:
    text = str(check(spoiled(weight=lambda g: -g, bias=lambda g: -g)))
    assert text.count("opposite sign") == 1
    assert f"{BIAS}, {WEIGHT}: " in text
