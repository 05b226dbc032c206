"""The one exception for what a user can put right: settings, data, optimisers."""

import difflib
from collections.abc import Iterable


class TrainingError(ValueError):
    """A mistake in the settings, the data or their combination, told in one message.

    The message begins with the key or argument in backquotes and says what must hold,
    what came, and what to do.
    """


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
