"""Wrong backward passes of a real network, each a small named change: `BUGS`.

They are what the check is tested with, and a catalogue for `check_gradients` to match
an unexplained gradient of such a network against: `catalogue`.
"""

from typing import Any

from handgrad.gradcheck import Variant
from handgrad.planted_bugs.backward import Nonlinearity, Steps
from handgrad.planted_bugs.bug import Bug as Bug
from handgrad.planted_bugs.bug import gradient_of
from handgrad.planted_bugs.hidden_errors import HIDDEN_ERRORS
from handgrad.planted_bugs.mean_errors import MEAN_ERRORS
from handgrad.planted_bugs.output_errors import OUTPUT_ERRORS
from handgrad.planted_bugs.problem import NETWORKS as NETWORKS
from handgrad.planted_bugs.problem import Network as Network
from handgrad.planted_bugs.problem import Problem as Problem
from handgrad.planted_bugs.problem import applies as applies
from handgrad.planted_bugs.problem import problem as problem
from handgrad.planted_bugs.problem import remembered as remembered
from handgrad.planted_bugs.sample_errors import SAMPLE_ERRORS
from handgrad.planted_bugs.stale_errors import STALE_ERRORS
from handgrad.planted_bugs.weight_errors import WEIGHT_ERRORS

BUGS: tuple[Bug, ...] = (
    *OUTPUT_ERRORS,
    *HIDDEN_ERRORS,
    *WEIGHT_ERRORS,
    *MEAN_ERRORS,
    *SAMPLE_ERRORS,
    *STALE_ERRORS,
)


def right_gradient(h: Nonlinearity) -> Any:
    """The backward pass with no bug in it: params, x, targets, w=None -> gradient."""
    return gradient_of(h, Steps())


def catalogue(function: Any, derivative: Any) -> tuple[Variant, ...]:
    """All planted bugs, for a multilayer perceptron with this hidden non-linearity.

    Args:
      function: h, elementwise.
      derivative: (d, a) -> h'(d), where a = h(d).

    Returns:
      Variants whose gradient takes (params, x, targets, w=None), params being any
      pytree with the leaves weight 1, bias 1, ..., weight L, bias L.
    """
    h = Nonlinearity(function, derivative)
    return tuple(bug.variant(h) for bug in BUGS)
