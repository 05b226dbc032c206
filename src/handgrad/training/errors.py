"""The one exception for what a user can put right: settings, data, optimisers."""

import difflib
from collections.abc import Iterable


class TrainingError(ValueError):
    """A mistake in the settings, the data or their combination, told in one message.

    The message begins with the key or argument in backquotes and says what must hold,
    what came, and what to do.
    """


class Diverged(TrainingError):
    """The loss is no longer finite; the record of the epoch has been yielded."""

    def __init__(self, message: str, steps: int) -> None:
        super().__init__(message)
        self.steps = steps  # done when it was found


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint for a misspelt name: the closest valid one, or all of them.

    Args:
      name: what came.
      valid: what may come.

    Returns:
      A sentence to end an error message with.
    """
    valid = sorted(valid)
    if close := difflib.get_close_matches(name.lower(), valid, n=3):
        return f"Did you mean {' or '.join(map(repr, close))}?"
    return f"Valid are {', '.join(map(repr, valid)) or 'none'}."


def shortened(value: object, length: int = 60) -> str:
    """A value as an error message shows it: its repr, or the two ends of it.

    Args:
      value: what came.
      length: the most characters to show.

    Returns:
      The text, however large the value is.
    """
    try:
        text = repr(value)
    except ValueError:  # Python prints no integer of more than 4,300 digits
        return "an integer of thousands of digits"
    half = length // 2 - 2
    return text if len(text) <= length else f"{text[:half]} ... {text[-half:]}"
