"""The picture of the README is what its script draws, the same on every machine."""

import re
from pathlib import Path
from types import ModuleType

import pytest
from load_script import load_script

DOCS = Path(__file__).parents[1] / "docs"
NAMES = ["backprop-light.svg", "backprop-dark.svg"]


@pytest.fixture(scope="module")
def command() -> ModuleType:
    return load_script("draw_backprop")


@pytest.fixture(scope="module")
def drawn(command: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("picture")
    assert command.main(["--output", str(folder), "--png"]) == 0
    return folder


def shown(svg: str) -> tuple[list[str], list[str], str]:
    """The texts, which matplotlib leaves as comments; the colours; the size."""
    (size,) = re.findall(r'viewBox="([^"]+)"', svg)
    colours = re.findall(r"(?:fill|stroke): (#\w{6})", svg)
    return re.findall(r"<!-- (.*?) -->", svg), colours, size


@pytest.mark.parametrize("name", NAMES)
def test_committed_picture_is_what_the_script_draws(drawn: Path, name: str) -> None:
    # The outlines of letters differ in their last digits between matplotlib's versions.
    committed = shown((DOCS / name).read_text("utf-8"))
    assert committed == shown((drawn / name).read_text("utf-8"))
    texts, colours, size = committed
    labels = ("forward", "backward", "contraction", "loss", "F1", "B3", "B6", "B7")
    titles = ("gradient", "per-sample norms", "clipped sum", "second moment")
    symbols = ("$a_0$", "$W_2$", "$d_1$", "$h$", r"$\delta_1$", r"$\delta_2$")
    assert {*labels, *titles, "curvature", "B4, B5", *symbols} <= set(texts)
    assert len(colours) > 50
    width, height = map(float, size.split()[2:])
    assert 1.9 < width / height < 2.2


def test_the_same_bytes_again_and_no_date(
    command: ModuleType, drawn: Path, tmp_path: Path
) -> None:
    assert command.main(["--output", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == set(NAMES)
    for name in NAMES:
        first = (drawn / name).read_bytes()
        assert first == (tmp_path / name).read_bytes()
        assert b"dc:date" not in first
        assert b"<text" not in first  # which each machine would set in its own font


def test_no_letter_leaves_the_picture_and_no_two_texts_touch(
    command: ModuleType,
) -> None:
    with command.style.context(command.LOOKS):
        figure = command.draw(command.THEMES["light"])
        figure.canvas.draw()
        boxes = [(t.get_text(), t.get_window_extent()) for t in figure.axes[0].texts]
    page = figure.bbox
    for i, (text, box) in enumerate(boxes):
        assert page.x0 < box.x0 < box.x1 < page.x1, text
        assert page.y0 < box.y0 < box.y1 < page.y1, text
        assert not [other for other, b in boxes[i + 1 :] if box.overlaps(b)], text
