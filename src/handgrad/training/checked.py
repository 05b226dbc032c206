"""Which networks' gradients have been compared with `jax.grad` on this machine."""

import hashlib
from pathlib import Path

import jax

import handgrad.network
from handgrad.training.cache import cache_folder
from handgrad.training.engine.prepare import Run
from handgrad.training.records.files import replace_file


def report_of(run: Run) -> str | None:
    """The report of an earlier check of the same network: by the same code of handgrad
    and the same JAX, of the same shapes and objective, on the same kind of device."""
    path = _path(run)
    return path.read_text("utf-8") if path and path.is_file() else None


def remember(run: Run, report: str) -> None:
    """Keep a report, where there is a compilation cache to keep it in."""
    path = _path(run)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, report.encode())


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
