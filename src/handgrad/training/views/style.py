"""How pictures are made and look: names that fit, colours that colour-blind eyes tell
apart, and ink that takes the colour of the page around it."""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D46")
"""After Okabe and Ito; dark enough on white, light enough on black."""

_INK = "#010203"  # stands for the colour of the text around an SVG
_INKED = (
    *("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"),
    *("axes.titlecolor", "legend.labelcolor", "grid.color"),
)
_SVG = dict.fromkeys(_INKED, _INK) | {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "legend.facecolor": "none",
    "legend.edgecolor": "none",
    "image.composite_image": False,  # as sharp as it is
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "handgrad",  # the same figure, the same bytes
}


def short(name: object, most: int = 24) -> str:
    """A name that fits in a picture and is drawn as it stands: one line, its middle
    left out where it is long, no formulas."""
    line = " ".join(str(name).split())
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    if len(line) > most:
        line = f"{line[: most // 2]}…{line[-(most - most // 2 - 1) :]}"
    return line.replace("$", r"\$")


def save_png(path: Path, draw: Callable[..., Figure], *arguments: Any) -> None:
    """Draw for a white page and write a PNG."""
    with _surroundings({}):
        draw(*arguments).savefig(path, dpi=130, bbox_inches="tight")


def svg(draw: Callable[..., Figure], *arguments: Any) -> str:
    """Draw as an element for a page of any colour.

    Args:
      draw: makes the figure, with text in the colours of matplotlib's settings.
      *arguments: what it is called with.

    Returns:
      <svg ...>...</svg>, all names in it escaped.
    """
    text = io.StringIO()
    with _surroundings(_SVG):
        draw(*arguments).savefig(
            text, format="svg", bbox_inches="tight", metadata={"Date": None}
        )
    element = text.getvalue()
    return element[element.index("<svg") :].replace(_INK, "currentColor")


@contextmanager
def _surroundings(settings: Any) -> Iterator[None]:
    with mpl.rc_context(settings), warnings.catch_warnings():
        # A script that the font lacks: boxes in a PNG; an SVG leaves it to the browser.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield
