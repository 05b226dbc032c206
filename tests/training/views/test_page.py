"""The report: all that is promised is on it, nothing is loaded, names are escaped."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import browser
import numpy as np
import pytest
from PIL import Image
from run_folders import classifier, records, right_predictions, write_run

from handgrad.training.records.run_records import read_run
from handgrad.training.views.page import in_figures, report_page, run_names

EVIL = '<script>document.title="run"</script>'
IMAGE = "<img src=x onerror=\"document.title='run'\">"
NAMES = [EVIL, '"><b>', "日本語", "x" * 80]


def page(*folders: Path) -> str:
    return report_page([read_run(folder) for folder in folders])


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of images with mistakes."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    tested = right_predictions("abcd", 6, wrong=40)
    return write_run(folder, saved=classifier(classes="abcd"), tested=tested)


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose every name would be markup."""
    folder = tmp_path_factory.mktemp("runs") / '<b>&"run"'
    saved = classifier(classes=NAMES, features=[IMAGE, *"abcde"], image_shape=None)
    return write_run(
        folder,
        losses=(0.5, math.nan),
        saved=saved,
        tested=right_predictions(NAMES, 6, wrong=9),
        state=f"diverged{IMAGE}",
        message=EVIL,
    )


def test_everything_is_on_the_page(digits: Path) -> None:
    text = page(digits)
    for part in (
        *("Curves", "Settings", "Confusion matrix", "By class", "Calibration"),
        *("Most frequent mistakes", "Worst mistakes", "First layer"),
        *("optimizer.learning_rate", "adamw", "6-3-4", "best epoch", "Learning rate"),
        *("gradient ok: &lt;4&gt; leaves", "versions.jax"),
    ):
        assert part in text
    assert "30 of 40 mistakes" in text
    worst = read_run(digits).predictions
    assert worst is not None
    for row in worst.row[worst.mistakes]:
        assert f"<th>{row}<" in text
    assert text.count("<svg") == text.count("</svg>") == 5


def test_nothing_is_loaded_and_nothing_runs(digits: Path, evil: Path) -> None:
    text = page(digits, evil)
    tags = re.findall(r"<[a-zA-Z][^>]*>", text)
    assert not [tag for tag in tags if re.match(r"<(script|link|iframe|object)", tag)]
    assert not [tag for tag in tags if re.search(r"\son\w+\s*=", tag)]
    for link in re.findall(r'(?:href|src)="([^"]*)"', "".join(tags)):
        assert link.startswith(("#", "data:image/png;base64,")), link
    for link in re.findall(r"url\(([^)]*)\)", text):
        assert link.startswith("#"), link
    assert "default-src 'none'" in text


def test_names_are_escaped_everywhere(evil: Path) -> None:
    text = page(evil)
    assert "<title>&lt;b&gt;&amp;&#34;run&#34; · handgrad</title>" in text
    assert text.count("&lt;script&gt;document.title=&#34;run&#34;&lt;/script&gt;") > 3
    for raw in ("<script", "<img", "<b>"):
        assert raw not in text


def test_many_runs_are_beside_each_other(digits: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", rate="3e-3", losses=(0.4,))
    text = page(digits, other)
    assert "<title>2 runs · handgrad" in text
    differing = re.findall(r'<tr class="differs"><th>([\w.]+)', text)
    assert differing == ["name", "optimizer.learning_rate"]
    assert text.index(">digits<") < text.index(">other<")
    assert "No predictions: the run ended before it was tested." in text


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / parent / "run") for parent in "ab"]
    other = write_run(tmp_path / "other")
    runs = [read_run(folder) for folder in (*folders, other)]
    assert run_names(runs) == [*map(str, folders), "other"]
    assert str(folders[1]) in report_page(runs)


@pytest.mark.parametrize(
    ("losses", "sizes"),
    [
        ((), (6, 4)),
        ((0.0,), (6, 3, 4)),
        ((math.nan,), (6, 3, 4)),
        ((0.5, math.inf), (6, 4)),
    ],
)
def test_a_page_of_any_run(
    tmp_path: Path, losses: Sequence[float], sizes: tuple[int, ...]
) -> None:
    """Curves see no network, and the first layer sees no losses."""
    saved = classifier(sizes, image_shape=None)
    tested = right_predictions("abcd", 6)
    folder = write_run(tmp_path / "run", losses=losses, saved=saved, tested=tested)
    text = page(folder)
    assert "None: every sample is right." in text
    assert ("Curves" in text) == bool(losses)
    assert "<td>nan" not in text


def test_the_best_epoch_is_that_of_the_lowest_loss(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", losses=(0.5, 0.25, 0.375))
    row = re.search(r"<td>3\s*<td>2<td>0.25<td>0.8000", page(folder))
    assert row is not None
    assert records((0.5, 0.25))[1].validation_loss == 0.25


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234, "1,234"), (0.5, "0.5"), (True, "True"), (None, "–"), ("a", "a")],
)
def test_values_as_a_person_reads_them(value: object, text: str) -> None:
    assert in_figures(value) == text


@pytest.mark.skipif(browser.PATH is None, reason="no browser is installed")
def test_a_browser_shows_it(digits: Path, evil: Path, tmp_path: Path) -> None:
    path, profile = tmp_path / "report.html", tmp_path / "profile"
    path.write_text(page(digits, evil), "utf-8")
    shown = browser.document(path, profile)
    assert "<title>2 runs · handgrad</title>" in shown  # no name has run
    assert shown.count("<svg") == shown.count("</svg>") == 8
    for dark in (False, True):
        picture = tmp_path / f"{dark}.png"
        browser.screenshot(path, profile, picture, dark=dark)
        with Image.open(picture) as image:
            pixels = np.asarray(image.convert("L"))
        paper = pixels[5, 5]
        assert (paper < 40) if dark else (paper == 255)
        ink = np.abs(pixels.astype(int) - int(paper)) > 100
        assert 0.005 < ink.mean() < 0.3
        # Nothing but what scrolls by itself is wider than the window.
        assert not ink[:, :20].any()
        assert not ink[:, -20:].any()
