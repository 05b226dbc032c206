"""Signals that ask training to stop, and let the chunk in flight finish."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STDERR = 2
SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)
]


@contextmanager
def stop_requested(answer: str) -> Iterator[Callable[[], int | None]]:
    """Turn the first of the signals into a request to stop; the second acts at once.

    The state of training is donated to the program of a chunk, so it can only be kept
    between chunks.

    Args:
      answer: written to stderr when the request comes; past Python's buffers, which
        the signal may have interrupted at work.

    Yields:
      A function that says by which signal to stop, or None. In another thread than the
      main one, where signals cannot be handled, it never does.
    """
    came: list[int] = []

    def request(number: int, frame: FrameType | None) -> None:
        del frame
        came.append(number)
        for each, handler in before.items():
            signal.signal(each, handler)
        os.write(STDERR, f"{answer}\n".encode())

    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = {number: signal.signal(number, request) for number in SIGNALS}
    try:
        yield lambda: came[0] if came else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
