"""The rows of the table of `check_rules`, in their order, and what makes each."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from handgrad.gradcheck.rules import derivatives, linear, purity, transforms
from handgrad.gradcheck.rules.offered import attempt
from handgrad.gradcheck.rules.subject import Subject
from handgrad.gradcheck.rules.table import Row

Modes = Sequence[str]

OfModes = Callable[[Subject, Modes], Row]


class Entry(NamedTuple):
    """How a row is made.

    Attributes:
      work: makes it, from the subject and the modes that its function offers.
      kind: what an exception in it says, as in `offered.attempt`.
      needs: the modes without which there is no such row.
    """

    work: OfModes
    kind: str = ""
    needs: tuple[str, ...] = ()


def _alone(
    work: Callable[[Subject], Row], kind: str = "", needs: tuple[str, ...] = ()
) -> Entry:
    """Of a row that looks at the subject alone."""
    return Entry(lambda subject, modes: work(subject), kind, needs)


def _second(outer: str, inner: str) -> Entry:
    return _alone(derivatives.second(f"{outer} of {inner}"), "second", (inner,))


ROWS: dict[str, Entry] = {
    "value": _alone(derivatives.value),
    "value in vjp": _alone(derivatives.value_in_vjp, "vjp", ("vjp",)),
    "vjp": _alone(derivatives.vjp, "vjp"),
    "value in jvp": _alone(derivatives.value_in_jvp, "jvp", ("jvp",)),
    "jvp": _alone(derivatives.jvp, "jvp"),
    "jvp against vjp": _alone(linear.transposed_pair, "", ("vjp", "jvp")),
    "linear in the cotangent": _alone(linear.linear("vjp"), "vjp", ("vjp",)),
    "zero cotangent": _alone(linear.zero("vjp"), "vjp", ("vjp",)),
    "linear in the tangent": _alone(linear.linear("jvp"), "jvp", ("jvp",)),
    "zero tangent": _alone(linear.zero("jvp"), "jvp", ("jvp",)),
    "unused outputs": _alone(linear.unused_outputs, "vjp", ("vjp",)),
    "subsets of arguments": Entry(linear.subsets),
    "vjp of vjp": _second("vjp", "vjp"),
    "jvp of vjp": _second("jvp", "vjp"),
    "vjp of jvp": _second("vjp", "jvp"),
    "jvp of jvp": _second("jvp", "jvp"),
    "jit": Entry(transforms.jit),
    "checkpoint": Entry(transforms.checkpoint),
    "scan": Entry(transforms.scan),
    "vmap": Entry(transforms.vmap),
    "called twice": Entry(purity.twice),
    "inputs unchanged": Entry(purity.inputs),
    "types": Entry(purity.types),
}
"""By name. `vjp` and `jvp` are there in every table: they say what is not offered."""


def check_names(rows: Sequence[str]) -> None:
    """Raise if something is not the name of a row."""
    unknown = [name for name in rows if name not in ROWS]
    if unknown or isinstance(rows, str) or not rows:
        raise ValueError(
            f"`rows` must be a sequence of names among {', '.join(map(repr, ROWS))}, "
            f"got {rows!r}."
        )


def rows_of(subject: Subject, modes: Modes, asked: Sequence[str] | None) -> list[Row]:
    """The rows, in their order, each made by itself.

    Args:
      subject: what is checked.
      modes: "vjp" and "jvp", as far as its function offers them.
      asked: names; None for all. A row of a mode that is not offered is left out of
        all, and "not offered" where it is asked.
    """
    found = []
    for name in ROWS if asked is None else (name for name in ROWS if name in asked):
        work, kind, needs = ROWS[name]
        missing = [mode for mode in needs if mode not in modes]
        if not missing:
            made = attempt(name, subject, lambda at, work=work: work(at, modes), kind)
            found.append(made)
        elif asked is not None:
            text = f"the function offers no {' and no '.join(missing)}."
            found.append(Row(name, "not offered", explanation=text))
    return found
