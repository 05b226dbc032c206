"""Check the gradients of handgrad's own network on the device that is present.

python scripts/check_gradients.py                                 # 3 minutes on 2 cores
python scripts/check_gradients.py --activations relu gelu --dtypes bfloat16 --jit
python scripts/check_gradients.py --device gpu --precision highest

Every activation with every depth, dtype, kind of targets and kind of weights, each
against autodiff in float64. Prints a table, and writes check_gradients.json and
check_gradients.png to --output. Exits with 1 if anything is wrong.
"""

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import tyro
from own_gradients.cases import Settings, check, chosen
from own_gradients.views import picture, row, table
from rich.console import Console
from rich.progress import Progress


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, print, write; 1 if anything is wrong."""
    settings = tyro.cli(Settings, description=__doc__, args=arguments)
    start, console = time.perf_counter(), Console(width=100)
    cases = list(chosen(settings))
    rows: list[dict[str, Any]] = []
    with surroundings(settings), Progress(transient=True) as progress:
        where = str(jax.config.values["jax_default_device"] or jax.devices()[0])
        for case in progress.track(cases, description="checking gradients"):
            report = check(case, settings)
            rows.append(row(case, report))
            if not report.ok:
                console.print(f"{case}\n{report}\n", markup=False, highlight=False)
    summary = {
        "device": where,
        "precision": settings.precision or "default",
        "cases": len(rows),
        "wrong": sum(not row["ok"] for row in rows),
        "seconds": round(time.perf_counter() - start, 1),
    }
    console.print(table(rows, settings))
    console.print(", ".join(f"{key}: {value}" for key, value in summary.items()))
    settings.output.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**summary, "rows": rows}, indent=1)
    (settings.output / "check_gradients.json").write_text(text)
    picture(rows).savefig(settings.output / "check_gradients.png", dpi=130)
    return int(summary["wrong"] > 0)


@contextlib.contextmanager
def surroundings(settings: Settings) -> Iterator[None]:
    """The device and the precision of matrix products."""
    with contextlib.ExitStack() as stack:
        if settings.device is not None:
            platform, _, number = settings.device.partition(":")
            device = jax.devices(platform)[int(number or 0)]
            stack.enter_context(jax.default_device(device))
        if settings.precision is not None:
            stack.enter_context(jax.default_matmul_precision(settings.precision))
        yield


if __name__ == "__main__":
    sys.exit(main())
