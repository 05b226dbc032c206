"""Every picture can be drawn of every run, and names stay names."""

import math
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from run_folders import classifier, records, right_predictions, write_run

from handgrad.training.records.classifier import Classifier
from handgrad.training.records.run_records import read_run
from handgrad.training.views import classes, curves, images
from handgrad.training.views.folder_pictures import write_pictures
from handgrad.training.views.style import short, svg

LOSSES = {
    "no epoch": [],
    "one epoch": [0.5],
    "zero loss": [0.0, 0.0],
    "diverged": [0.5, math.nan, math.inf],
    "never finite": [math.nan, math.nan],
    "three decades": [1e-3, 1e-2, 1.0],
}
NAMES = [
    "<script>x</script>",
    "a$b$\\frac{",
    "日本語",
    "long " * 20,
    "a\x00b\nc\x0b",
    "",
]


def texts(element: str) -> list[str]:
    """What is written in an SVG, which is well-formed."""
    tree = ElementTree.fromstring(element)
    return [text.text or "" for text in tree.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("losses", LOSSES.values(), ids=LOSSES)
def test_curves_of_one_run(losses: list[float]) -> None:
    written = texts(svg(curves.learning_curves, {"run": records(losses)}))
    assert {"training", "validation", "epoch"} <= set(written)


def test_curves_of_many_runs_name_the_first() -> None:
    runs = {f"run {k}": records([0.5, 0.1 * k]) for k in range(30)}
    written = texts(svg(curves.learning_curves, runs))
    assert "run 11" in written
    assert "run 12" not in written
    assert "and 18 more" in written


def test_a_dot_marks_the_best_epoch() -> None:
    figure = curves.learning_curves({"run": records([0.5, 0.2, 0.3])})
    dots = [line for line in figure.axes[0].lines if line.get_linestyle() == "None"]
    assert len(dots) == 1
    np.testing.assert_array_equal(dots[0].get_xydata(), [[2, 0.2]])


@pytest.mark.parametrize(
    ("losses", "scale"),
    [([1e-3, 1.0], "log"), ([0.5, 0.7], "linear"), ([0.0, 1.0], "linear")],
)
def test_a_log_axis_is_for_what_spans_decades(losses: list[float], scale: str) -> None:
    figure = curves.learning_curves({"run": records(losses)})
    assert figure.axes[0].get_yscale() == scale


@pytest.mark.parametrize("count", [2, 3, 20, 100, 151])
def test_confusion_and_calibration_of_any_number_of_classes(count: int) -> None:
    names = [f"class {k} with a rather long name" for k in range(count)]
    tested = right_predictions(names, 6, wrong=7, count=2 * count)
    written = texts(svg(classes.confusion_matrix, tested))
    numbered = [text for text in written if text.startswith(f"{count - 1} class")]
    assert len(numbered) == (2 if count <= 150 else 0)  # on both axes
    assert "2" in written or count > 150
    assert texts(svg(classes.calibration, tested))


def test_names_are_drawn_as_they_stand() -> None:
    tested = right_predictions(NAMES, 6, wrong=6)
    saved = classifier((6, 6), classes=NAMES)
    for element in (
        svg(classes.confusion_matrix, tested),
        svg(images.mistakes, tested, (2, 3)),
        svg(images.first_layer, saved),
        svg(curves.learning_curves, {name: records([0.5]) for name in NAMES}),
    ):
        assert any("a$b$\\frac{" in text for text in texts(element))
        assert "<script" not in element


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain", "plain"),
        ("a  b\n c", "a b c"),
        ("\x00\u202e", "\N{REPLACEMENT CHARACTER}" * 2),
        ("x" * 8, "x" * 8),
        ("abcdefghi", "abcd…ghi"),
        ("$", r"\$"),
        (7, "7"),
    ],
)
def test_short_names(name: object, shown: str) -> None:
    assert short(name, 8) == shown


@pytest.mark.parametrize(
    "saved",
    [
        classifier((6, 3, 4), image_shape=(2, 3)),
        classifier((6, 3, 4), image_shape=(2, 1, 3)),
        classifier((6, 2), classes=["class a", "class b"], image_shape=None),
        classifier((6, 3, 4), image_shape=None),
        classifier((90, 60, 4), image_shape=None),
        classifier((6, 60, 4), image_shape=(2, 3)),
    ],
    ids=["grey", "colour", "table", "no names", "big table", "many units"],
)
def test_the_first_layer(saved: Classifier) -> None:
    units = min(40, saved.params[0].weight.shape[1])
    written = texts(svg(images.first_layer, saved))
    found = [text for text in written if text.startswith(("unit ", "class "))]
    assert len(found) == units


def test_pictures_stand_apart_in_their_proportions() -> None:
    saved = classifier((6, 12, 4), image_shape=(2, 3))
    (ax,) = images.first_layer(saved).axes
    edges = np.array([picture.get_extent() for picture in ax.images])
    left, right, bottom, top = edges.T
    np.testing.assert_allclose((right - left) / (bottom - top), 3 / 2)
    assert left.min() > 0 < top.min()
    assert right.max() < ax.get_xlim()[1]
    assert bottom.max() < ax.get_ylim()[0]
    beside = (right[:, None] < left) | (left[:, None] > right)
    below = (bottom[:, None] < top) | (top[:, None] > bottom)
    assert (beside | below | np.eye(12, dtype=bool)).all()


def test_weights_of_zero_and_of_nan_can_be_drawn() -> None:
    saved = classifier((6, 4))
    for value in (0.0, math.nan):
        layer = saved.params[0]._replace(weight=0 * saved.params[0].weight + value)
        changed = Classifier((layer,), "relu", saved.classes, (), (2, 3), saved.scaling)
        assert texts(svg(images.first_layer, changed))


def test_the_same_figure_is_the_same_svg_and_settings_are_left_alone() -> None:
    before = dict(mpl.rcParams)
    runs = {"run": records([0.5, 0.25])}
    assert svg(curves.learning_curves, runs) == svg(curves.learning_curves, runs)
    assert dict(mpl.rcParams) == before


def test_an_svg_takes_the_colour_of_its_page() -> None:
    element = svg(curves.learning_curves, {"run": records([0.5, 0.25])})
    assert element.startswith("<svg")
    assert element.count("currentColor") > 20
    assert "#010203" not in element
    assert "#ffffff" not in element


@pytest.mark.parametrize("image_shape", [(2, 3), (2, 1, 3), None])
def test_the_folder_gets_its_pictures(
    tmp_path: Path, image_shape: tuple[int, ...] | None
) -> None:
    saved = classifier(image_shape=image_shape)
    tested = right_predictions("abcd", 6, wrong=3)
    run = read_run(write_run(tmp_path / "run", saved=saved, tested=tested))
    written = write_pictures(run)
    names = ["learning_curves", "confusion_matrix", "calibration"]
    names += ["mistakes", "first_layer"] if image_shape else ["first_layer"]
    assert [path.stem for path in written] == names
    for path in written:
        with Image.open(path) as picture:
            assert len(picture.getcolors(1 << 20) or []) > 10, path


def test_a_run_without_records_gets_no_picture(tmp_path: Path) -> None:
    assert write_pictures(read_run(write_run(tmp_path / "run", losses=()))) == ()


def test_no_sample_can_be_drawn() -> None:
    none = right_predictions("ab", 6).of("nowhere")
    figures = [classes.confusion_matrix(none), classes.calibration(none)]
    assert all(isinstance(figure, Figure) for figure in figures)
    assert np.isfinite(figures[1].axes[1].get_ylim()).all()
