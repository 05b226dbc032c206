"""The call that shows a finding again, as code."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.trees import is_array

LITERAL = 64
"""An array of up to so many entries is written out."""


def name_of_function(function: Callable[..., Any]) -> str:
    """A name for people: that of the function, or of its type."""
    return getattr(function, "__name__", None) or type(function).__name__


def call_of(
    entrance: str,
    function: Callable[..., Any],
    primals: Sequence[Any],
    options: dict[str, Any],
) -> str:
    """Code that shows the same again; under pytest, the command for that one test.

    Args:
      entrance: the name of the check, such as ``check_rules``.
      function: what was checked.
      primals: where. Small arrays are written out, large ones described.
      options: the other arguments, by name. None is left out.
    """
    lines = []
    if test := os.environ.get("PYTEST_CURRENT_TEST", ""):
        node = test.rsplit(" ", 1)[0]
        lines.append(f'python -m pytest -n 0 "{node}"')
        lines.append("")
    module = getattr(function, "__module__", None)
    name = name_of_function(function)
    if module and module != "__main__" and name.isidentifier():
        lines.append(f"from {module} import {name}")
    lines.append(f"from handgrad import {entrance}")
    lines.append(f"print({entrance}(")
    lines.append(f"    {name},")
    lines += [f"    {line}" for value in primals for line in _written(value)]
    given = {key: value for key, value in options.items() if value is not None}
    lines += [f"    {key}={_named(value)}," for key, value in given.items()]
    lines.append("))")
    return "\n".join(lines)


def _named(value: Any) -> str:
    return name_of_function(value) if callable(value) else repr(value)


def _written(value: Any) -> list[str]:
    if not is_array(value):
        return [f"{_named(value)},"]
    kind = f"{jnp.result_type(value)}"
    if np.size(value) > LITERAL:
        return [f"...,  # the array of this call: {kind} {np.shape(value)}"]
    numbers = np.asarray(value)
    exact = numbers.tolist() if numbers.dtype.kind in "iubfc" else _wide(numbers)
    text = repr(exact).replace("nan", "jnp.nan").replace("inf", "jnp.inf")
    return [f'jnp.asarray({text}, "{kind}"),']


def _wide(numbers: np.ndarray) -> Any:
    """The exact values of a dtype that NumPy prints in its own way, as bfloat16."""
    return numbers.astype(np.float64).tolist()
