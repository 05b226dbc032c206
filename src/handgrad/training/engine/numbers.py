"""Numbers of the settings that may be traced, as in a sweep."""

from typing import Any


def known(number: Any) -> bool:
    """Whether its value is there while a program is traced."""
    return isinstance(number, (int, float))


def off(number: Any) -> bool:
    """Whether it is known to be 0."""
    return known(number) and number == 0
