"""handgrad report: one HTML page of one run or many."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from handgrad.training.commands.exit_code import exit_code
from handgrad.training.errors import TrainingError
from handgrad.training.files import replace_file
from handgrad.training.records.run_records import read_run
from handgrad.training.views.page import report_page


@dataclass(frozen=True)
class Report:
    """Write one self-contained HTML page from the records of one run or many.

    Runs may still be training. Of many, curves and settings stand beside each other.
    """

    runs: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN...")
    ]
    """The folders of the runs."""
    out: Path | None = None
    """The page; RUN/report.html of one run, and report.html of many without it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Report as the command line says; the exit code."""
    return exit_code(lambda: _report(tyro.cli(Report, args=argv)))


def _report(command: Report) -> None:
    if not command.runs:
        raise TrainingError("`runs` must name the folder of a run, or of many.")
    runs = [read_run(folder) for folder in command.runs]
    alone = len(runs) == 1
    out = command.out or (runs[0].folder if alone else Path()) / "report.html"
    replace_file(out, report_page(runs).encode())
    print(out)
