"""The test command of mutation testing: what covers the changed module comes first.

A mutant dies at its first failing test, so the order decides how long a run takes.
The big grids, and the tests that run scripts and pages, are left out: a mutant that the
tests of one module let live must be killed there, not by chance in a grid.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEFT_OUT = (
    *("test_gradients.py", "test_dtypes.py"),
    *("test_planted_bugs.py", "test_commands.py", "test_documentation.py"),
)
OPTIONS = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--no-header"]


def changed_modules() -> list[Path]:
    """The modules of src that differ from what is committed."""
    diff = ["git", "-C", str(ROOT), "diff", "--name-only", "--", "src"]
    names = subprocess.run(diff, capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in names.split()]


def main() -> int:
    """Run the mirroring tests, then the others; the exit code is pytest's."""
    changed = changed_modules()
    room = ROOT / "tests" / changed[0].parent.name
    first = [room / f"test_{path.stem}.py" for path in changed]
    first = [path for path in first if path.exists()]
    others = [path for path in sorted(room.glob("test_*.py")) if path not in first]
    rest = [str(path) for path in others if path.name not in LEFT_OUT]
    for paths in ([str(path) for path in first], rest):
        if paths and (code := pytest.main([*OPTIONS, *paths])):
            return int(code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
