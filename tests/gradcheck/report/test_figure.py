"""The report as a picture."""

from pathlib import Path

import numpy as np
import pytest
from gradcheck.cases import BIAS, WEIGHT, check, spoiled
from matplotlib.patches import Rectangle

from handgrad.gradcheck import Leaf, Report
from handgrad.gradcheck.report.figure import figure, strictest
from handgrad.gradcheck.report.table import shorten


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
    sentence = [text.get_text() for text in legend.get_texts()]
    assert sentence == ["rounding", "right", "wrong", "untested"]
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
