"""Draw the picture of the README: forward keeps a, backward makes delta, and the rest
is a contraction of the pair.

python scripts/draw_backprop.py                     # into docs/
python scripts/draw_backprop.py --output runs/picture --png   # PNG as well, to look at

Writes backprop-light.svg and backprop-dark.svg to --output. Their background is
transparent, their letters are paths, and the same matplotlib writes the same bytes.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from backprop_picture.rows import draw
from backprop_picture.shapes import THEMES
from matplotlib import style

LOOKS: list[Any] = [
    "default",  # whatever a matplotlibrc says
    {"svg.fonttype": "path", "svg.hashsalt": "handgrad"},
]
TITLE = "Backpropagation as pairs of a and delta"
ABOUT = {"Title": TITLE, "Date": None, "Creator": None}
"""Nothing that changes from day to day, or with the version of matplotlib."""


@dataclass(frozen=True)
class Settings:
    """Where to.

    Attributes:
      output: the folder for backprop-light.svg and backprop-dark.svg.
      png: write each as PNG as well, on the background of its theme.
    """

    output: Path = Path("docs")
    png: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, write."""
    settings = tyro.cli(Settings, description=__doc__, args=arguments)
    settings.output.mkdir(parents=True, exist_ok=True)
    for name, theme in THEMES.items():
        path = settings.output / f"backprop-{name}.svg"
        with style.context(LOOKS):
            figure = draw(theme)
            figure.savefig(path, transparent=True, metadata=ABOUT)
            if settings.png:
                png = path.with_suffix(".png")
                figure.savefig(png, dpi=170, facecolor=theme.page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
