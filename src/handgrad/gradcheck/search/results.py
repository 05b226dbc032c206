"""What a search came to: `Search`, and the `Failure` in it."""

from dataclasses import dataclass

from handgrad.gradcheck.report.report import Report
from handgrad.gradcheck.search.draw import Case


@dataclass(frozen=True)
class Failure:
    """A point at which a gradient is wrong.

    Attributes:
      case: the choices that lead there.
      report: what is wrong; None where the gradient raised.
      raised: the exception in one line, or "".
      call: code that shows it again.
    """

    case: Case
    report: Report | None
    raised: str
    call: str

    def __str__(self) -> str:
        what = f"it raises {self.raised}" if self.raised else str(self.report)
        choices = ", ".join(f"{name} {value}" for name, value in self.case.items())
        return f"{what}\n\nat {choices}; to see it again:\n\n{self.call}"


@dataclass(frozen=True)
class Search:
    """What a search came to.

    Attributes:
      passed: points at which the gradient is right.
      untested: points that the loss does not take, where it is not finite, or where
        the true gradient is zero.
      seed: of the search.
      failure: the plainest point found at which it is wrong, or None.
    """

    passed: int
    untested: int
    seed: int
    failure: Failure | None = None

    @property
    def ok(self) -> bool:
        """Whether it was right wherever it was tried, and it was tried."""
        return self.failure is None and self.passed > 0

    def __str__(self) -> str:
        count = f"{self.passed} points passed, {self.untested} told nothing"
        if self.failure is None:
            return f"search {'ok' if self.ok else 'NOT ok'} (seed {self.seed}): {count}"
        return f"search NOT ok (seed {self.seed}): {count}, 1 failed\n\n{self.failure}"
