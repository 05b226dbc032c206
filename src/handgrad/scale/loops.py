"""How often the loops of a compiled program turn, read off its text (HLO)."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence

Computations = Mapping[str, Sequence[str]]
"""The lines of each computation by its name."""

_KNOWN = re.compile(r'"known_trip_count":\s*\{"n":\s*"(\d+)"\}')
_CONDITION = re.compile(r"\bcondition=%?([\w.-]+)")
_BODY = re.compile(r"\bbody=%?([\w.-]+)")
_BOUND = re.compile(r"ROOT .* compare\(%?([\w.-]+), %?([\w.-]+)\), direction=LT")
_RESULTS = re.compile(r"ROOT .* tuple\((.*?)\)(?:,|$)")


def turns(line: str, computations: Computations) -> int | None:
    """How often a loop turns.

    Args:
      line: of the instruction `while`.
      computations: of the program.

    Returns:
      What the program says of it; else, for a loop that counts from 0 in constant steps
      to a constant, as the compiler of a TPU makes them, the number of steps; None for
      another.
    """
    if match := _KNOWN.search(line):
        return int(match[1])
    condition, body = _CONDITION.search(line), _BODY.search(line)
    if condition is None or body is None:
        return None
    lines = computations.get(condition[1], ())
    bound = next(filter(None, map(_BOUND.search, lines)), None)
    if bound is None:
        return None
    place = _number(bound[1], lines, r"get-tuple-element\(.*index=(\d+)")
    end = _number(bound[2], lines, r"constant\((\d+)\)")
    if place is None or end is None:
        return None
    step = _step(place, computations.get(body[1], ()))
    return math.ceil(end / step) if step else None


def _step(place: int, lines: Sequence[str]) -> int | None:
    """What a turn adds to the entry at ``place`` of what the loop carries."""
    results = next(filter(None, map(_RESULTS.search, lines)), None)
    carried = re.findall(r"%?([\w.-]+)(?:,|$)", results[1]) if results else []
    if place >= len(carried):
        return None
    added = _found(carried[place], lines, r"add\(%?[\w.-]+, %?([\w.-]+)\)")
    return _number(added, lines, r"constant\((\d+)\)") if added else None


def _number(name: str, lines: Iterable[str], pattern: str) -> int | None:
    found = _found(name, lines, pattern)
    return int(found) if found else None


def _found(name: str, lines: Iterable[str], pattern: str) -> str | None:
    """What a pattern finds in the instruction of that name."""
    for line in lines:
        if re.match(rf"\s+(?:ROOT )?%?{re.escape(name)} = ", line):
            match = re.search(pattern, line)
            return match[1] if match else None
    return None
