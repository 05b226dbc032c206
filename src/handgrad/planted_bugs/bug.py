"""What a planted bug is: a name, a change of the steps, the leaves spoiled, a cause."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from handgrad.gradcheck import Variant
from handgrad.planted_bugs.backward import Nonlinearity, Steps, Tape, backward, record
from handgrad.planted_bugs.change import Change, Value, Where, after, everywhere

Spoils = Callable[[int, str, int], bool]
"""(k, "weight" or "bias", L) -> whether that leaf is wrong."""


def both(at: Where = everywhere) -> Spoils:
    """The weights and the biases of some layers."""
    return lambda k, kind, layers: at(k, layers)


def weights(at: Where = everywhere) -> Spoils:
    """The weights of some layers."""
    return lambda k, kind, layers: kind == "weight" and at(k, layers)


def biases(at: Where = everywhere) -> Spoils:
    """The biases of some layers."""
    return lambda k, kind, layers: kind == "bias" and at(k, layers)


@dataclass(frozen=True, kw_only=True)
class Bug:
    """A wrong backward pass.

    Attributes:
      name: unique.
      equation: of the derivation, that it breaks.
      cause: the code that a check should name.
      says: what was done, for people.
      change: the right steps -> the wrong ones.
      spoils: the leaves that are wrong where the bug shows; default all.
      needs: what the problem must have for it to show: "weights", "mask", "soft"
        targets, "saturated" logits, a "single" sample, a "kink", "square" hidden
        layers of one width, a "wide" dtype (float32 or float64), or "float64".
      harmless: the activations for which it is no bug: relu' squared is relu'.
    """

    name: str
    equation: str
    cause: str
    says: str
    change: Change
    spoils: Spoils = both()
    needs: str = ""
    harmless: tuple[str, ...] = ()

    def gradient(self, h: Nonlinearity) -> Callable[..., Any]:
        """The wrong gradient: params, x, targets, w=None -> a pytree like params."""
        return gradient_of(h, self.change(Steps()))

    def spoiled(self, layers: int) -> list[tuple[int, str]]:
        """(k, kind) of the leaves that are wrong, in order."""
        kinds = ((k, kind) for k in range(1, layers + 1) for kind in ("weight", "bias"))
        return [(k, kind) for k, kind in kinds if self.spoils(k, kind, layers)]

    def variant(self, h: Nonlinearity) -> Variant:
        """The bug as an entry of a catalogue for `check_gradients`."""
        explanation = f"{self.equation}: {self.says}."
        return Variant(self.name, self.cause, explanation, self.gradient(h))


def summed(
    kind: str,
    *,
    wrong: Callable[[Tape, Value], Value],
    at: Where = everywhere,
    **bug: Any,
) -> Bug:
    """A bug in the sum over the samples, B4 or B5, of some layers, and only there.

    Args:
      kind: "weight" or "bias".
      wrong: the tape and the right sum -> the wrong one.
      at: the layers.
      bug: the other fields of `Bug`.
    """
    spoils = weights(at) if kind == "weight" else biases(at)
    return Bug(change=after(kind, wrong, at), spoils=spoils, **bug)


def gradient_of(h: Nonlinearity, steps: Steps) -> Callable[..., Any]:
    """The gradient that these steps make: params, x, targets, w=None -> like params."""

    def gradient(params: Any, x: Any, targets: Any, w: Any = None) -> Any:
        tape = record(h, params, x, targets, w)
        leaves = backward(steps, tape)
        return jax.tree.unflatten(jax.tree.structure(params), cast(tape, leaves))

    return gradient


def cast(tape: Tape, leaves: list[Any]) -> list[Any]:
    """The leaves in the dtype of the parameters, which sums and divisions may widen."""
    dtype = tape.weights[1].dtype
    return [leaf if leaf is None else leaf.astype(dtype) for leaf in leaves]
