"""The folder of a run and its life: who writes in it, and how its last writer ended."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from filelock import FileLock, Timeout

from handgrad.scale.processes import is_first
from handgrad.training.errors import Diverged, TrainingError
from handgrad.training.files import replace_json
from handgrad.training.records.process import about_process
from handgrad.training.settings import Settings, load_settings, save_settings

State = Literal["running", "done", "interrupted", "diverged", "failed"]

SETTINGS, STATUS, LOCK = "settings.toml", "status.json", ".lock"


class Claim(NamedTuple):
    """A folder that is this process's alone until the lock is released or it ends."""

    folder: Path
    lock: FileLock
    resumed: bool  # whether an earlier process has been at work in it


def claim(root: Path, settings: Settings, data: str, *, fresh: bool = False) -> Claim:
    """A folder of the run's name: that of an unfinished run of the same, or a new one.

    Args:
      root: the folder of runs, made if it is not there.
      settings: of the run. One with more epochs goes on from a run with fewer, where
        its schedule has a length of its own.
      data: the fingerprint of the data.
      fresh: whether to take a new folder whatever there is.

    Returns:
      root/NAME, or root/NAME-2 and so on; never one that another process is at work in,
      nor one whose settings or data differ.

    Raises:
      OSError: for what the disk or the folder refuses.
    """
    root.mkdir(parents=True, exist_ok=True)
    if not fresh:
        for folder in reversed([*_named(root, settings.name)]):
            found = _unfinished(folder, settings, data)
            if found:
                return found
    for folder in _names(root, settings.name):
        with suppress(FileExistsError):
            folder.mkdir()
            lock = _lock(folder)
            assert lock is not None
            save_settings(settings, folder / SETTINGS)
            write_status(folder, state="running", data=data)
            return Claim(folder, lock, resumed=False)
    raise AssertionError  # the names have no end


def reclaim(folder: Path, settings: Settings, data: str) -> Claim:
    """The folder of an earlier run, to go on in.

    Raises:
      TrainingError: if another process is at work in it, or its data were others.
    """
    lock = _lock(folder)
    if lock is None:
        raise TrainingError(
            f"`resume` {folder} must not be in use, but another process is at work in "
            "it. Wait for its end, or stop it."
        )
    if read_status(folder).get("data") != data:
        lock.release()
        raise TrainingError(
            f"`resume` {folder} must be continued on the data it began with, which "
            "have changed. Train anew with --fresh."
        )
    save_settings(settings, folder / SETTINGS)
    return Claim(folder, lock, resumed=True)


@contextmanager
def recorded(
    claimed: Claim, device: str, mesh: dict[str, Any] | None = None
) -> Iterator[Callable[[State], None]]:
    """The work of this process in a folder, as status.json tells it; then the lock is
    released.

    Args:
      claimed: of `claim` or `reclaim`.
      device: what the work is done on.
      mesh: how it is spread over devices; None for one.

    Yields:
      The function to call with how it ended, where that is not "done".
    """
    if not is_first():  # process 0 tells it
        yield lambda _: None
        return
    folder, ended = claimed.folder, "done"
    before, began = read_status(folder).get("seconds", 0.0), time.monotonic()

    def ends(state: State) -> None:
        nonlocal ended
        ended = state

    about = about_process(device)
    write_status(folder, state="running", error=None, mesh=mesh, **about)
    error = None
    try:
        yield ends
    except BaseException as raised:
        ended, error = _how(raised), f"{type(raised).__name__}: {raised}"
        raise
    finally:
        seconds = round(before + time.monotonic() - began, 3)
        with suppress(OSError) if error else nullcontext():  # the first error is told
            write_status(
                folder, state=ended, error=error, ended=_now(), seconds=seconds
            )
        claimed.lock.release()


def failed(folder: Path, error: str) -> None:
    """What is left to be told of a process that is about to end; lost where the disk
    refuses it."""
    with suppress(OSError):
        write_status(folder, state="failed", error=error, ended=_now())


def read_status(folder: Path) -> dict[str, Any]:
    """What status.json holds; empty where there is none that can be read."""
    try:
        found = json.loads((folder / STATUS).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_status(folder: Path, **values: Any) -> None:
    """Set values in status.json and leave the others; all at once, or none."""
    known = read_status(folder) or {"began": _now()}
    replace_json(folder / STATUS, known | values)


def _how(error: BaseException) -> State:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return "diverged" if isinstance(error, Diverged) else "failed"


def _unfinished(folder: Path, settings: Settings, data: str) -> Claim | None:
    """The folder, locked, if its run can go on to these settings. One without settings
    is no run, or not yet: it is left alone."""
    if not (folder / SETTINGS).is_file():
        return None
    lock = _lock(folder)
    if lock is None:
        return None
    with suppress(TrainingError):
        before, status = load_settings(folder / SETTINGS), read_status(folder)
        done = status.get("state") == "done"
        if status.get("data") == data and continues(before, settings, done=done):
            save_settings(settings, folder / SETTINGS)
            return Claim(folder, lock, resumed=True)
    lock.release()
    return None


def continues(before: Settings, settings: Settings, *, done: bool) -> bool:
    """Whether a run by ``settings`` is a run by ``before`` that goes on; on whichever
    devices."""
    before = replace(before, scale=settings.scale)
    if before == settings:
        return not done
    own_length = settings.optimizer.schedule.epochs > 0
    constant = settings.optimizer.schedule.name == "constant_schedule"
    longer = settings.training.epochs > before.training.epochs
    training = replace(before.training, epochs=settings.training.epochs)
    return (
        (own_length or constant)
        and longer
        and replace(before, training=training) == settings
    )


def _lock(folder: Path) -> FileLock | None:
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock


def _names(root: Path, name: str) -> Iterator[Path]:
    yield root / name
    number = 2
    while True:
        yield root / f"{name}-{number}"
        number += 1


def _named(root: Path, name: str) -> Iterator[Path]:
    """The folders of a name that are there, the oldest first."""
    for folder in _names(root, name):
        if not folder.is_dir():
            return
        yield folder


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
