"""The gradient check in front of a run, and which networks have had it on this machine.

A report is remembered beside the compilation cache, for the same code of handgrad and
the same JAX, the same shapes and objective, and the same kind of device.
"""

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import jax

import handgrad.network
from handgrad.training.cache import cache_folder
from handgrad.training.data import Part
from handgrad.training.engine.check import check_first_gradient
from handgrad.training.engine.prepare import Run
from handgrad.training.engine.step import State
from handgrad.training.files import replace_file


def check_gradient(
    how: Literal["off", "once", "always"],
    folder: Path,
    run: Run,
    state: Callable[[], State],
    train: Part,
) -> str | None:
    """Compare with `jax.grad`, as `training.check` wants it, and keep the report in
    check.txt.

    Args:
      how: once: unless the folder or this machine has the report of the same network.
      folder: of the run.
      run, train: as `check_first_gradient` takes them.
      state: gives the one whose parameters are checked, if they are.

    Returns:
      The report to be shown; None where there is none, or it was shown before.

    Raises:
      TrainingError: if gradient and `jax.grad` differ by more than rounding.
      OSError: for what the folder refuses.
    """
    kept = folder / "check.txt"
    if how == "off" or (how == "once" and kept.exists()):
        return None
    report = report_of(run) if how == "once" else None
    if report is None:
        report = check_first_gradient(run, state(), train)
        remember(run, report)
    replace_file(kept, f"{report}\n".encode())
    return report


def report_of(run: Run) -> str | None:
    """The report of an earlier check of the same network."""
    path = _path(run)
    return path.read_text("utf-8") if path and path.is_file() else None


def remember(run: Run, report: str) -> None:
    """Keep a report, where there is a compilation cache to keep it in. What the cache
    refuses is a warning, as JAX's own is: the run does not need it."""
    path = _path(run)
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, report.encode())
    except OSError as error:
        warnings.warn(f"The check is not remembered: {error}.", stacklevel=2)


def _path(run: Run) -> Path | None:
    folder = cache_folder()
    if folder is None:
        return None
    digest = hashlib.blake2b(digest_size=16)
    for source in sorted(Path(*handgrad.network.__path__).glob("*.py")):
        digest.update(source.read_bytes())
    shapes = jax.eval_shape(run.begin, run.key).params
    rows = (run.seen.x.dtype, run.batch_size, jax.__version__)
    device = jax.devices()[0].device_kind
    digest.update(repr((run.step.objective, shapes, rows, device)).encode())
    return folder / "checked" / f"{digest.hexdigest()}.txt"
