"""Signals that end a run: at once where nothing would be lost, else in order."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

STDERR = 2
SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)
]

Handler = Callable[[int, FrameType | None], Any]


class Interrupted(KeyboardInterrupt):
    """A signal that ends the run."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def raised() -> Iterator[None]:
    """Let each of the signals raise `Interrupted`."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        del frame
        raise Interrupted(number)

    with _handled(interrupt):
        yield


@contextmanager
def requested(answer: str) -> Iterator[Callable[[], int | None]]:
    """Turn the first of the signals into a request to stop; the second kills.

    The state of training is donated to the program of a chunk, so it can only be kept
    between chunks.

    Args:
      answer: written to stderr when the request comes; past Python's buffers, which
        the signal may have interrupted at work.

    Yields:
      A function that says which signal asks to stop, or None. In another thread than
      the main one, where signals cannot be handled, it never does.
    """
    came: list[int] = []

    def request(number: int, frame: FrameType | None) -> None:
        del frame
        came.append(number)
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        os.write(STDERR, f"{answer}\n".encode())

    with _handled(request):
        yield lambda: came[0] if came else None


@contextmanager
def _handled(handler: Handler) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
