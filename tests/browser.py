"""A real browser without a window, where there is one."""

import shutil
import subprocess
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATH = next(filter(None, map(shutil.which, NAMES)), None)
"""The browser's program; None where none is installed."""

_QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-quic", "--hide-scrollbars"),
)


def _run(page: Path, profile: Path, *flags: str) -> str:
    assert PATH is not None
    command = [PATH, *_QUIET, f"--user-data-dir={profile}", *flags, page.as_uri()]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout


def document(page: Path, profile: Path) -> str:
    """The page's elements after it has been loaded and whatever runs has run."""
    return _run(page, profile, "--dump-dom")


def screenshot(page: Path, profile: Path, to: Path, *, dark: bool) -> None:
    """What a person sees first, in light or dark colours."""
    colours = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    _run(page, profile, colours, "--window-size=1300,2400", f"--screenshot={to}")
