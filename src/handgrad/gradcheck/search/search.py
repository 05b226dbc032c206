"""`search_gradients`: points are drawn where gradients go wrong, until one does.

Where one checks decides what is found. A kernel that is right at a size which its block
divides may be wrong beside it, and one that is right for saturated logits wrong at
initial scale. Hypothesis draws the cases, and makes a failing one as plain as it can.
"""

import hashlib
import importlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from handgrad.gradcheck.check import Check
from handgrad.gradcheck.exceptions import first_line
from handgrad.gradcheck.points import check_point
from handgrad.gradcheck.reference.audit import VALUE
from handgrad.gradcheck.reference.float64 import Point
from handgrad.gradcheck.report.report import Report
from handgrad.gradcheck.search.draw import Case, Draw, replayed
from handgrad.gradcheck.search.results import Failure, Search

Make = Callable[[Draw], Sequence[Any]]
"""draw -> (params, *args)."""

NARROW = ("float32", "bfloat16", "float16")
"""The dtypes of a search; and float64 where JAX has it switched on."""


def search_gradients(
    make: Make,
    loss: Callable[..., Any],
    gradient: Callable[..., Any],
    *,
    examples: int = 50,
    seed: int = 0,
    dtypes: Sequence[str] | None = None,
    database: str | Path | None = None,
) -> Search:
    """Draw points by Hypothesis, check the gradient at each, and shrink what fails.

    Needs hypothesis, in the extra ``search``.

    Args:
      make: draw -> (params, \\*args). It takes its sizes from ``draw.size``, its arrays
        from ``draw.array`` and its labels from ``draw.integers``, and has no other
        random numbers.
      loss: as in `check_gradients`. A point that it refuses by an exception, or
        where it is not finite, tells nothing.
      gradient: as in `check_gradients`; with a pair (value, gradient), such as
        ``jax.value_and_grad(kernel)``, the value is compared with the loss as well.
      examples: how many points to draw at most.
      seed: of the search: the same seed draws the same points.
      dtypes: of the arrays; default float32, bfloat16, float16, and float64 where JAX
        has it switched on.
      database: a folder in which failing cases are kept, and tried first the next time.

    Returns:
      The plainest failing point, or how many passed; `print` it.

    Raises:
      ImportError: without hypothesis.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> def blocks_of_8(x):  # forgets what is left over
      ...     return jnp.where(jnp.arange(len(x)) < len(x) // 8 * 8, 2 * x, 0)
      >>> found = search_gradients(
      ...     lambda draw: (draw.array(draw.size("n")),),
      ...     lambda x: jnp.sum(x**2), blocks_of_8, dtypes=["float32"],
      ... )
      >>> found.failure.case
      {'n': 1, 'array 0 kind': 'normal', 'array 0 scale': 1.0, 'dtype': 'float32'}
    """
    hypothesis = _hypothesis()
    trials = _Trials(make, loss, gradient)
    kinds = list(dtypes) if dtypes else [*NARROW, *_wide()]
    file = _kept_in(database, make, loss, gradient)
    before = _kept(file)
    if before is not None and trials.fails(before):
        return Search(trials.passed, trials.untested, seed, trials.failure(before))
    settings = hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,  # what failed is kept in `file`, whatever the seed
        phases=[
            hypothesis.Phase.generate,
            hypothesis.Phase.shrink,
        ],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    try:
        case = hypothesis.find(
            _cases(make, kinds),
            trials.fails,
            settings=settings,
            random=random.Random(seed),
        )
    except hypothesis.errors.NoSuchExample:
        return Search(trials.passed, trials.untested, seed)
    _keep(file, case)
    return Search(trials.passed, trials.untested, seed, trials.failure(case))


def point_of(make: Make, case: Case) -> tuple[Any, ...]:
    """(params, \\*args) of a case that a search has found.

    Args:
      make: that of the search.
      case: as printed with the failure.
    """
    return tuple(make(replayed(case)))


@dataclass
class _Trials:
    """The cases that were tried, each once."""

    make: Make
    loss: Callable[..., Any]
    gradient: Callable[..., Any]
    seen: dict[str, tuple[str, Report | None, str]] = field(default_factory=dict)

    @property
    def passed(self) -> int:
        return sum(verdict == "passed" for verdict, _, _ in self.seen.values())

    @property
    def untested(self) -> int:
        return sum(verdict == "untested" for verdict, _, _ in self.seen.values())

    def fails(self, case: Case) -> bool:
        """Whether the gradient is wrong at a case."""
        name = repr(case)
        if name not in self.seen:
            self.seen[name] = self._try(case)
        return self.seen[name][0] == "failed"

    def _try(self, case: Case) -> tuple[str, Report | None, str]:
        try:
            params, *args = point_of(self.make, case)
            point = Point(self.loss, params, tuple(args))
            jax.eval_shape(point.objective, point.split.values)
        except Exception:  # the loss may refuse a point in any way
            return "untested", None, ""
        try:
            report = check_point(Check(point, self.gradient))
        except Exception as error:  # whatever the gradient may raise
            return "failed", None, first_line(error)
        return _verdict(report), report, ""

    def failure(self, case: Case) -> Failure:
        """What is shown of a case that fails."""
        _, report, raised = self.seen[repr(case)]
        return Failure(case, report, raised, _call(self, case))


CONVENTIONS = ("kink", "convention")
"""Causes that are no failure: at a kink the gradient is what one takes it to be."""


def _verdict(report: Report) -> str:
    wrong = [leaf for leaf in report.wrong if leaf.cause not in CONVENTIONS]
    value = any(fault.startswith(VALUE) for fault in report.faults)
    if wrong or value:
        return "failed"
    return "passed" if report.ok else "untested"


def _wide() -> list[str]:
    """float64, where JAX has it switched on."""
    return ["float64"] if jnp.result_type(float) == jnp.float64 else []


def _cases(make: Make, dtypes: Sequence[str]) -> Any:
    """The strategy: all choices that ``make`` takes, as a dictionary."""
    strategies = importlib.import_module("hypothesis.strategies")

    def drawn(draw: Callable[[Any], Any]) -> dict[str, Any]:
        parts = Draw(lambda _, options: draw(strategies.sampled_from(options)), dtypes)
        make(parts)
        return parts.case

    return strategies.composite(drawn)()


def _hypothesis() -> Any:
    try:
        return importlib.import_module("hypothesis")
    except ImportError as error:
        raise ImportError(
            "`search_gradients` needs hypothesis, got none. Install it with "
            'pip install "handgrad[search]".'
        ) from error


def _kept_in(folder: str | Path | None, *functions: Callable[..., Any]) -> Path | None:
    """Where the failing case of these functions is kept."""
    if folder is None:
        return None
    names = [f"{_of(f, '__module__')}.{_of(f, '__qualname__')}" for f in functions]
    name = hashlib.sha256(" ".join(names).encode()).hexdigest()[:16]
    return Path(folder) / "handgrad" / f"{name}.json"


def _kept(file: Path | None) -> Case | None:
    """The case in a file, if there is one."""
    if file is None or not file.exists():
        return None
    return json.loads(file.read_text("utf-8"))


def _keep(file: Path | None, case: Case) -> None:
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(dict(case)), "utf-8")


def _of(function: Any, attribute: str) -> str:
    return str(getattr(function, attribute, type(function).__name__))


def _call(trials: _Trials, case: Case) -> str:
    make, loss, gradient = (
        _of(f, "__name__") for f in (trials.make, trials.loss, trials.gradient)
    )
    return "\n".join(
        [
            "from handgrad.gradcheck import check_gradients, point_of",
            f"case = {dict(case)!r}",
            f"print(check_gradients({loss}, {gradient}, *point_of({make}, case)))",
        ]
    )
