"""An exception of somebody else's function, in one line."""

MOST = 200
"""Characters of the text that are shown."""


def first_line(error: Exception) -> str:
    """What an exception is, and how its text begins, if it has one."""
    lines = str(error).strip().splitlines()
    text = f": {lines[0][:MOST]}" if lines else ""
    return type(error).__name__ + text
