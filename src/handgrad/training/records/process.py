"""What status.json tells of the process that is at work."""

import os
import platform
import shlex
import socket
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_QUIET: dict[str, Any] = {"capture_output": True, "text": True, "check": True}


def about_process(device: str) -> dict[str, Any]:
    """What reproduces its work: the command, where it runs, and by which versions;
    ``device`` is what it computes on."""
    return {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "command": f"{sys.argv[0]} {shlex.join(sys.argv[1:])}",
        "device": device,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in ("handgrad", "jax", "optax")},
        "revision": _revision(),
    }


def _version(name: str) -> str | None:
    """Of an installed package; None of one that is used where it lies."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _revision() -> str | None:
    """The commit of this source, where it is a checkout; "-dirty" if it was changed."""
    git = ["git", "-C", str(Path(__file__).parent)]
    here = Path(__file__).name
    try:
        subprocess.run([*git, "ls-files", "--error-unmatch", here], **_QUIET)
        found = subprocess.run([*git, "describe", "--always", "--dirty"], **_QUIET)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()
