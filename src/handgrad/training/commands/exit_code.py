"""From what happened to an exit code, and a line where it was an error."""

import os
import sys
from collections.abc import Callable

from handgrad.training.errors import TrainingError
from handgrad.training.interrupt import Interrupted

INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


def exit_code(work: Callable[[], int | None]) -> int:
    """Do the work of a command.

    Args:
      work: parses, works, prints; returns its exit code, or None for 0.

    Returns:
      The exit code; 1 after an error that is the user's to put right, with one line on
      stderr; 128 and its number after a signal, as shells have it: 130 after Ctrl-C.
    """
    try:
        try:
            return work() or 0
        finally:
            sys.stdout.flush()
    except TrainingError as error:
        return _say(f"error: {error}", 1)
    except BrokenPipeError:
        # What is still buffered has nowhere to go, also when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _say("error: standard output was closed before all was written.", 1)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return _say(f"error: {error.strerror or error}{where}", 1)
    except Interrupted as signal:
        return _say(f"Interrupted by {signal}.", 128 + signal.number)
    except KeyboardInterrupt:
        return _say("Interrupted.", INTERRUPTED)


def _say(text: str, code: int) -> int:
    print(text, file=sys.stderr)
    return code
