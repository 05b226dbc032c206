"""All that is asked of the speed as one table: what was measured, whether it holds.

python scripts/benchmarks/all.py                        # an hour and a half on 2 cores
python scripts/benchmarks/all.py --only step epoch --mnist FOLDER
python scripts/benchmarks/all.py --short --mnist FOLDER --page docs/performance.md
python scripts/benchmarks/all.py --no-run --page docs/performance.md

Runs one benchmark after the other, each in a process of its own, at its defaults or,
with --short, in fewer rounds; and reads what it asks and found from its JSON file.
Accuracy on MNIST needs --mnist, the folder of its four IDX files. Peers (the extra
`peers`) and compilers (`ahead`, `ahead-gpu`) that are not installed are named in the
table. Prints it; --page writes it as Markdown. Exits with 1 if a benchmark fails; what
falls short is said, not failed.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
BENCHMARKS = (
    *("step", "memory", "epoch", "accuracy", "clipped", "depth", "many_classes"),
    *("startup", "sweep", "estimator", "streaming", "check_calls", "byproducts"),
    "ahead",
)
SHORT = {
    "step": ("--rounds", "120", "--no-torch"),
    "epoch": ("--blocks", "3"),
    "accuracy": ("--rounds", "3"),
    "startup": ("--rounds", "3"),
    "many_classes": ("--rounds", "8", "--shapes", "1"),
    "byproducts": ("--rounds", "20"),
}
"""Arguments of a short run."""


@dataclass(frozen=True)
class Settings:
    """What to run, and where to write.

    Attributes:
      only: the names of benchmarks; all of them if none are given.
      run: whether to run them, or to read what earlier runs found.
      short: whether to run the longest of them in fewer rounds.
      mnist: the folder of its four IDX files; without it accuracy is left out.
      output: the folder of the JSON files.
      page: a Markdown file to write, such as docs/performance.md.
    """

    only: tuple[str, ...] = ()
    run: bool = True
    short: bool = False
    mnist: Path | None = None
    output: Path = Path("runs/benchmarks")
    page: Path | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, read, print, write; 1 if a benchmark fails."""
    settings = tyro.cli(Settings, description=__doc__, args=arguments)
    failed = [
        name
        for name in settings.only or BENCHMARKS
        if settings.run and runnable(name, settings) and run(name, settings)
    ]
    found = {
        name: json.loads(path.read_text())
        for name in settings.only or BENCHMARKS
        if (path := settings.output / f"{name}.json").exists()
    }
    rows = [
        (name, row) for name, each in found.items() for row in each.get("bounds", [])
    ]
    show(rows)
    if settings.page:
        settings.page.write_text(page(rows, found), "utf-8")
    for name in failed:
        print(f"{name} failed", file=sys.stderr)
    return int(bool(failed))


def runnable(name: str, settings: Settings) -> bool:
    """Whether a benchmark has what it needs."""
    if name == "accuracy" and settings.mnist is None:
        print("accuracy is left out: it needs --mnist FOLDER")
        return False
    return (HERE / f"{name}.py").exists()


def run(name: str, settings: Settings) -> int:
    """The exit code of a benchmark."""
    print(f"== {name}", flush=True)
    given = [str(settings.mnist)] if name == "accuracy" else []
    given += SHORT.get(name, ()) if settings.short else ()
    command = [sys.executable, str(HERE / f"{name}.py"), *given]
    return subprocess.call([*command, "--output", str(settings.output)])


def show(rows: list[tuple[str, dict[str, Any]]]) -> None:
    """The table of bounds."""
    table = Table("benchmark", "what", "measured", "at most", "")
    for name, row in rows:
        table.add_row(name, *cells(row))
    Console(width=120).print(table)


def cells(row: dict[str, Any]) -> tuple[str, str, str, str]:
    """What, measured, at most, and the verdict; of what falls short by less than three
    digits tell, six."""
    why = f": {row['why']}" if row["why"] else ""
    if row["measured"] is None:
        return row["what"], "", "", f"not measured{why}"
    found, most = (f"{row[key]:.3g}{row['unit']}" for key in ("measured", "most"))
    if row["holds"]:
        return row["what"], found, most, f"holds{why}"
    found = f"{row['measured']:.6g}{row['unit']}" if found == most else found
    return row["what"], found, most, f"falls short{why}"


def page(rows: list[tuple[str, dict[str, Any]]], found: dict[str, Any]) -> str:
    """The table as Markdown, with what it was measured on."""
    first = next(iter(found.values()), {"jax": "", "device": ""})
    lines = [
        "# Performance",
        "",
        "Written by `python scripts/benchmarks/all.py --page docs/performance.md`, on",
        f"{os.cpu_count()} cores ({platform.machine()}), {first['device']}, JAX "
        f"{first['jax']}, Python {platform.python_version()}.",
        "A ratio is that of times measured side by side in one run, 10th percentiles",
        "or medians, below 1 where handgrad is faster; each script of",
        "[benchmarks](../scripts/benchmarks) says how.",
        *not_at_defaults(found),
        "",
        "| benchmark | what | measured | at most | |",
        "|---|---|---|---|---|",
    ]
    for name, row in rows:
        lines.append(f"| `{name}.py` | {' | '.join(cells(row))} |")
    return "\n".join([*lines, ""])


def not_at_defaults(found: dict[str, Any]) -> list[str]:
    """Which benchmarks were run in another way than theirs, in a line each."""
    each = {
        name: ", ".join(f"{key} {value}" for key, value in one["settings"].items())
        for name, one in found.items()
        if one.get("settings")
    }
    lines = [f"- `{name}.py`: {how}" for name, how in each.items()]
    return ["", "Not at their defaults were:", "", *lines] if lines else []


if __name__ == "__main__":
    sys.exit(main())
