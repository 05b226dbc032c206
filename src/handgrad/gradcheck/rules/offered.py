"""An exception: is the rule wrong, or was it never offered?"""

import re
import traceback
from collections.abc import Callable

import jax

from handgrad.gradcheck.exceptions import first_line
from handgrad.gradcheck.rules.plain import in_jax
from handgrad.gradcheck.rules.subject import Subject
from handgrad.gradcheck.rules.table import Row

MISSING = re.compile(
    r"can't apply forward-mode|not implemented|do(es)? not support|not supported|"
    r"only supported for|does not work for|Linearization failed|has no (batching|jvp)",
    re.IGNORECASE,
)
"""What JAX says where an operation has no rule of a kind."""

UNTRACEABLE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)
"""What is raised where Python looks at a traced value (`TracerBoolConversionError`
among the first)."""

Work = Callable[[Subject], Row]


def attempt(name: str, subject: Subject, work: Work, kind: str) -> Row:
    """A row, or why there is none.

    Args:
      name: of the row.
      subject: what is checked.
      work: makes the row.
      kind: "vjp", "jvp", "second", or "" for what every function offers.
    """
    try:
        return work(subject)
    except Exception as error:  # whatever a rule of a user may raise
        text = first_line(error)
        none = kind == "second" and _asserted_by_jax(error)
        if none or lacks(error) or _has_none(subject, kind):
            return Row(name, "not offered", explanation=text)
        return Row(name, "wrong", "raises", text)


def lacks(error: Exception) -> bool:
    """Whether an exception says that something is not offered."""
    if isinstance(error, (NotImplementedError, *UNTRACEABLE)):
        return True
    return bool(MISSING.search(str(error)))


def _asserted_by_jax(error: Exception) -> bool:
    """Whether JAX itself failed: so a kernel says that it has no such rule."""
    frames = list(traceback.walk_tb(error.__traceback__))
    mine = bool(frames) and in_jax(frames[-1][0].f_code.co_filename)
    return mine and isinstance(error, AssertionError)


def _has_none(subject: Subject, kind: str) -> bool:
    """Whether the function carries no rule that could have raised."""
    return kind != "" and not subject.rules
