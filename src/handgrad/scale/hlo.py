"""The collectives of a compiled program, read off its text (HLO)."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from handgrad.scale.loops import turns

KINDS = (
    *("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all"),
    *("collective-permute", "collective-broadcast"),
)

_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.-]+ = (.*?) ([a-z][\w-]*)\(", re.M)
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) .*\{$")
_CALLED = re.compile(r"\b(?:calls|body|true_computation|false_computation)=%?([\w.-]+)")
_BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}")
_CHANNEL = re.compile(r"\bchannel_id=(\d+)")
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]")
_BITS = {"pred": 8, "token": 0}


class Collective(NamedTuple):
    """Operations between devices that are alike."""

    kind: str  # of `KINDS`
    size: int  # bytes per device: what is summed, what is gathered, what is sent
    devices: int  # that take part in one
    times: int  # that a run of the program does it


def collectives(text: str) -> tuple[Collective, ...]:
    """What a run of a program does between devices.

    Args:
      text: of the optimised program, as `jax.stages.Compiled.as_text` gives it.

    Returns:
      Alike ones together, the largest first. One in the body of a loop counts as often
      as the loop turns (`loops.turns`), once where that is not known. One channel is
      one operation: a TPU's compiler may spread it over several fusions.
    """
    computations, entry = _computations(text)
    match = re.search(r"num_partitions=(\d+)", text)
    everyone = int(match[1]) if match else 1
    found: Counter[tuple[str, int, int]] = Counter()
    seen: set[object] = set()
    for number, (line, times) in enumerate(_run(computations, entry, 1)):
        if one := _collective(line, everyone):
            channel = _CHANNEL.search(line)
            same = (*one, channel[1]) if channel else number
            found[one] += 0 if same in seen else times
            seen.add(same)
    rows = (Collective(*alike, times) for alike, times in found.items())
    return tuple(sorted(rows, key=lambda row: (-row.size * row.times, row)))


def loops(text: str) -> int:
    """How many loops a program has, for figures that count what is in one once."""
    return len(re.findall(r" while\(", text))


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
    """The lines of each computation by its name, and the name of the entry."""
    found: dict[str, list[str]] = {}
    entry = name = ""
    for line in text.splitlines():
        if match := _COMPUTATION.match(line):
            name = match[2]
            found[name] = []
            entry = name if match[1] else entry
        elif line.startswith("}"):
            name = ""
        elif name:
            found[name].append(line)
    return found, entry


def _run(
    computations: dict[str, list[str]], name: str, times: int
) -> Iterator[tuple[str, int]]:
    """The lines that a computation runs, its own and those that it calls, and how often
    each."""
    for line in computations.get(name, ()):
        yield line, times
        if _kind(line):
            continue  # what it is made of says the same again
        often = (turns(line, computations) or 1) if "body=" in line else 1
        called = _CALLED.findall(line)
        for branches in _BRANCHES.findall(line):
            called += re.findall(r"[\w.-]+", branches)
        for each in called:
            yield from _run(computations, each, times * often)


def _kind(line: str) -> str | None:
    """Which collective an instruction is or starts."""
    match = _INSTRUCTION.match(line)
    kind = match[2].removesuffix("-start") if match else ""
    return kind if kind in KINDS else None


def _collective(line: str, everyone: int) -> tuple[str, int, int] | None:
    kind, match = _kind(line), _INSTRUCTION.match(line)
    if kind is None or match is None:
        return None
    devices = _group(line) or everyone
    size = _size(kind, match[2].endswith("-start"), match[1], devices)
    return kind, size, devices


def _size(kind: str, starts: bool, made: str, devices: int) -> int:
    """Bytes, from the type of what an instruction makes: its results, and where it only
    starts, its operands before them and its contexts after them."""
    operands, results = _arrays(made), _arrays(made)
    if starts and made.startswith("(("):
        end = _end_of_tuple(made[1:]) + 1
        operands, results = _arrays(made[:end]), _arrays(made[end:])
    elif starts and kind in ("all-gather", "collective-permute"):
        half = len(results) // 2
        operands, results = results[:half], results[half:]
    elif kind == "reduce-scatter":
        operands = devices * results
    return sum(operands if kind == "reduce-scatter" else results)


def _arrays(text: str) -> list[int]:
    """Bytes of each array of a type, without the contexts of what runs meanwhile."""
    return [_bytes(*array) for array in _ARRAY.findall(text) if array != ("u32", "")]


def _end_of_tuple(text: str) -> int:
    """Where the tuple that a type begins with ends."""
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return place
    return len(text)


def _bytes(dtype: str, shape: str) -> int:
    match = re.search(r"\d+", dtype)
    bits = _BITS.get(dtype, int(match[0]) if match else 0)
    return math.prod(map(int, filter(None, shape.split(",")))) * bits // 8


def _group(line: str) -> int:
    """How many devices take part in one; 0 where the line does not say."""
    if match := re.search(r"replica_groups=\{\{([\d,]+)\}", line):
        return match[1].count(",") + 1
    if match := re.search(r"replica_groups=\[\d+,(\d+)\]", line):
        return int(match[1])
    if match := re.search(r"replica_groups=mesh\[(.*?)\] \{(.*?)\}", line):
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", match[1]))
        taken = re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", match[2])
        return math.prod(int(part or sizes[axis]) for axis, part in taken)
    return 0
