"""The report as text, as a dictionary and as a picture."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gradcheck.cases import BIAS, WEIGHT, check, right, spoiled
from matplotlib.patches import Rectangle

from handgrad.gradcheck import Leaf, Report
from handgrad.gradcheck.figure import figure, strictest
from handgrad.gradcheck.table import number, shorten, wrap

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
    said = (
        "16 times the gradient: the batch size m. "
        "Divide by m, once, and not by m and by the number of samples."
    )
    leaves = (
        Leaf("['bias']", "right", (3,), "", 9.2e-8, 5.7e-7, 0.2, 1.0007, 1.0),
        Leaf(
            *(long, "wrong", (3, 4), "", 15.0, 1e-6, 1e7, 16.00012, 0.99996),
            cause="scale",
            explanation=said,
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


@pytest.mark.parametrize(
    ("verdicts", "faults", "ok"),
    [
        (["right"], (), True),
        (["right", "untested", "not differentiable"], (), True),
        (["right", "wrong"], (), False),
        (["untested"], (), False),
        (["not differentiable"], (), False),
        (["right"], ("the loss",), False),
        ([], (), False),
    ],
)
def test_ok_means_nothing_wrong_and_something_tested(
    verdicts: list, faults: tuple[str, ...], ok: bool
) -> None:
    leaves = [Leaf(str(i), verdict) for i, verdict in enumerate(verdicts)]
    assert Report(tuple(leaves), faults=faults).ok is ok


def test_wrong_and_untested_leaves() -> None:
    verdicts = ("right", "wrong", "untested", "not differentiable")
    leaves = tuple(Leaf(v, v) for v in verdicts)
    _, wrong, untested, _ = leaves
    report = Report(leaves)
    assert report.wrong == (wrong,)
    assert report.untested == (untested,)
    assert [leaf.ok for leaf in leaves] == [True, False, None, None]


def test_matplotlib_is_loaded_for_a_picture_alone() -> None:
    code = "import sys, handgrad.gradcheck; print('matplotlib' in sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_dictionary_is_plain_and_complete() -> None:
    report = check(spoiled(weight=lambda g: -g))
    found = json.loads(json.dumps(report.to_dict()))
    assert found["ok"] is False
    assert found["judge"] == "float64"
    assert [leaf["ok"] for leaf in found["leaves"]] == [True, False]
    wrong = found["leaves"][1]
    assert wrong["path"] == WEIGHT
    assert wrong["cause"] == "sign"
    assert wrong["shape"] == [6, 4]
    assert wrong["scale"] == pytest.approx(-1)


def test_figure_draws_every_leaf_its_floor_and_its_cause(tmp_path: Path) -> None:
    report = check(spoiled(weight=lambda g: -g))
    drawn = report.figure()
    (axes,) = drawn.axes
    assert [t.get_text() for t in axes.get_yticklabels()] == [BIAS, WEIGHT]
    bars = [p.get_width() for p in axes.patches if isinstance(p, Rectangle)]
    assert bars == pytest.approx([leaf.floor for leaf in report.leaves])
    points = [float(np.asarray(line.get_xdata())[0]) for line in axes.lines]
    assert points == pytest.approx([strictest(leaf) for leaf in report.leaves])
    assert points[0] < bars[0]
    assert points[1] > bars[1]
    assert [text.get_text() for text in axes.texts] == ["sign"]
    drawn.savefig(tmp_path / "report.png")
    assert (tmp_path / "report.png").stat().st_size > 1000


def test_figure_leaves_out_what_has_no_numbers() -> None:
    report = Report((Leaf("a", "wrong", cause="structure"),))
    assert len(figure(report).axes[0].lines) == 0


def test_figure_holds_infinite_errors_and_zeros() -> None:
    leaves = (
        Leaf("a", "wrong", relative_error=np.inf, floor=1e-7, excess=np.inf),
        Leaf("b", "right", relative_error=0.0, floor=1e-7, excess=0.0),
    )
    drawn = figure(Report(leaves))
    low, high = drawn.axes[0].get_xlim()
    assert low < 1e-7
    assert high > 1


def test_figure_has_a_row_for_each_leaf_and_room_for_its_points() -> None:
    leaves = [
        Leaf("a", "wrong", relative_error=0.2, floor=1e-5, excess=2e4, cause="scale"),
        Leaf("b", "right", relative_error=0.0, floor=0.0, excess=0.0),
        Leaf("c" * 60, "untested", floor=1e-7, excess=0.5),
    ]
    drawn = figure(Report(tuple(leaves)))
    (axes,) = drawn.axes
    assert drawn.get_size_inches() == pytest.approx([8.5, 1.6 + 3 * 0.3])
    assert figure(Report(())).get_size_inches() == pytest.approx([8.5, 2.2])
    assert axes.get_ylim() == pytest.approx((2.6, -0.6))  # the first on top
    assert axes.get_xlim() == pytest.approx((5e-8 / 5, 0.2 * 200))
    assert axes.get_xscale() == "log"
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == ["a", "b", shorten("c" * 60, 40)]
    bars = [p for p in axes.patches if isinstance(p, Rectangle)]
    assert [bar.get_x() for bar in bars] == [0, 0, 0]
    assert [bar.get_width() for bar in bars] == pytest.approx([1e-5, 1e-18, 1e-7])
    assert [float(np.asarray(line.get_xdata())[0]) for line in axes.lines] == (
        pytest.approx([0.2, 1e-18, 5e-8])
    )
    assert [line.get_marker() for line in axes.lines] == ["X", "o", "s"]
    assert axes.get_title(loc="left") == "gradient NOT ok: 1 right, 1 wrong, 1 untested"
    legend = axes.get_legend()
    assert legend is not None
    said = [text.get_text() for text in legend.get_texts()]
    assert said == ["rounding", "right", "wrong", "untested"]
    assert not axes.spines["top"].get_visible()


def test_figure_of_small_errors_reaches_beyond_a_thousandth() -> None:
    leaf = Leaf("a", "right", relative_error=5e-8, floor=1e-7, excess=0.5)
    (axes,) = figure(Report((leaf,))).axes
    assert axes.get_xlim() == pytest.approx((5e-8 / 5, 1e-3 * 200))


def test_figure_of_errors_of_zero_has_a_scale() -> None:
    leaf = Leaf("a", "right", relative_error=0.0, floor=0.0, excess=0.0)
    (axes,) = figure(Report((leaf,))).axes
    assert axes.get_xlim() == pytest.approx((1e-7 / 5, 200.0))
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["rounding", "right"]


def test_error_that_has_no_size_is_drawn_at_a_thousand() -> None:
    assert strictest(Leaf("a", "wrong", floor=1e-7, excess=np.inf)) == 1e3
