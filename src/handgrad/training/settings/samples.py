"""Settings of a run that is given its samples alone: the defaults for all else."""

import re
from pathlib import Path

from handgrad.training.settings.check import BUNDLED
from handgrad.training.settings.tables import Data, Settings

_TABLES = {".csv": "csv", ".csv.gz": "csv", ".npz": "npz"}


def settings_of_samples(samples: str) -> Settings | None:
    """Settings for samples, every other value at its default.

    Args:
      samples: digits, iris, wine, breast_cancer, openml:NAME, a .csv, .csv.gz or .npz
        file, or a folder of IDX or .npy files.

    Returns:
      Settings with the name of the samples, or None where ``samples`` is none of these.
    """
    if samples in BUNDLED or samples.startswith("openml:"):
        return Settings(
            samples.removeprefix("openml:").replace(":", "-"), Data(samples)
        )
    path = Path(samples)
    kind = _kind(path)
    return None if kind is None else Settings(_name(path), Data(kind, samples))


def _kind(path: Path) -> str | None:
    """The source that reads this path, told by its name or by what a folder holds."""
    if path.is_dir():
        return "npy" if any(path.glob("*.npy")) else "idx"
    ends = (kind for end, kind in _TABLES.items() if path.name.lower().endswith(end))
    return next(ends, None)


def _name(path: Path) -> str:
    """Of a run: that of the file without its endings."""
    name = path.resolve().name.removeprefix(".").partition(".")[0]
    return re.sub(r"[^\w-]+", "-", name).strip("-") or "run"
