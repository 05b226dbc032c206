"""Pages that say what their code prints, for the tests that run it."""

import contextlib
import io
import re
from typing import Any

ROUNDING = r"\d\.\de[-+]\d\d"
"""An error or a floor, whose digits are those of one machine."""


def printed_by(code: str, name: str, space: dict[str, Any]) -> str:
    """Run the code of a page in a name space, and return what it prints."""
    stdout = io.StringIO()
    with contextlib.redirect_stdout(stdout):
        exec(compile(code, name, "exec"), space)
    return stdout.getvalue()


def without_rounding(printed: str) -> str:
    """The text with the size of every rounding error left open."""
    return re.sub(ROUNDING, "#", printed)
