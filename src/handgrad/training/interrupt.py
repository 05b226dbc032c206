"""Ctrl-C that lets the epoch in progress finish."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STDERR = 2


@contextmanager
def stop_requested(answer: str) -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into a request to stop, and the second into the usual one.

    The state of training is donated to the program of an epoch, so it can only be kept
    between epochs.

    Args:
      answer: written to stderr when the request comes; past Python's buffers, which
        the signal may have interrupted at work.

    Yields:
      A function that says whether to stop. In another thread than the main one, where
      signals cannot be handled, it never does.
    """
    requested = threading.Event()

    def request(number: int, frame: FrameType | None) -> None:
        del number, frame
        requested.set()
        signal.signal(signal.SIGINT, before)
        os.write(STDERR, f"{answer}\n".encode())

    if threading.current_thread() is not threading.main_thread():
        yield requested.is_set
        return
    before = signal.signal(signal.SIGINT, request)
    try:
        yield requested.is_set
    finally:
        signal.signal(signal.SIGINT, before)
