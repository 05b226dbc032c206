"""Exceptions of somebody else's function, in one line."""

import pytest

from handgrad.gradcheck.exceptions import first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "ValueError: one"),
        (TypeError("\n  long" + 300 * "x"), "TypeError: long" + 196 * "x"),
        (AssertionError(), "AssertionError"),
        (RuntimeError(" \n"), "RuntimeError"),
    ],
)
def test_first_line_of_the_text_if_there_is_one(error: Exception, line: str) -> None:
    assert first_line(error) == line
