"""Problems on which planted bugs show: a network, a batch, and what each bug needs."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck import Variant
from handgrad.gradcheck.reference.float64 import widen
from handgrad.planted_bugs.backward import NONLINEARITIES, Nonlinearity, loss
from handgrad.planted_bugs.bug import Bug
from handgrad.planted_bugs.change import before, previous


@dataclass(frozen=True)
class Network:
    """A multilayer perceptron to plant bugs in."""

    name: str
    sizes: tuple[int, ...]
    activation: str
    samples: int


NETWORKS = (
    Network("tanh 20-16-10", (20, 16, 10), "tanh", 32),
    Network("relu 12-8-8-8-5", (12, 8, 8, 8, 5), "relu", 24),
    Network("sigmoid 30-24-16-6", (30, 24, 16, 6), "sigmoid", 20),
)


class Layer(NamedTuple):
    """Parameters of one layer."""

    weight: Any  # (n_in, n_out)
    bias: Any  # (n_out,)


@dataclass(frozen=True)
class Problem:
    """One point at which a gradient is checked.

    Attributes:
      h: the non-linearity.
      params: a tuple of `Layer`.
      args: inputs (m, n), targets, and sample weights where there are any.
    """

    h: Nonlinearity
    params: tuple[Layer, ...]
    args: tuple[Any, ...]

    @property
    def loss(self) -> Callable[..., Any]:
        """params, x, targets, w=None -> J."""
        return lambda params, *args: loss(self.h, params, *args)

    @property
    def alternatives(self) -> dict[str, tuple[Any, ...]]:
        """The points whose gradient may have been returned by mistake."""
        x, *rest = self.args
        then = tuple(Layer(*map(before, layer)) for layer in self.params)
        return {
            "the parameters before the last step": (then, *self.args),
            "the previous batch": (self.params, previous(x), *rest),
        }


def remembered(variants: Sequence[Variant], point: Problem) -> tuple[Variant, ...]:
    """The same variants at this one problem, each evaluated once in a dtype.

    They are evaluated at the numbers of the problem, wherever they are asked.
    """

    def remember(variant: Variant) -> Variant:
        @functools.cache
        def in_dtype(dtype: str) -> Any:
            with jax.ensure_compile_time_eval():
                given = point.params, point.args
                params, args = widen(given) if dtype == "float64" else given
                return variant.gradient(params, *args)

        def gradient(params: Any, *args: Any) -> Any:
            return in_dtype(str(params[0].weight.dtype))

        return variant._replace(gradient=gradient)

    return tuple(map(remember, variants))


def applies(bug: Bug, network: Network, dtype: Any) -> bool:
    """Whether a bug can show on a network in a dtype."""
    bits, widths = jnp.finfo(dtype).bits, network.sizes[1:-1]
    most = float(jnp.finfo(dtype).max)
    available = {
        "square": len(widths) > 1 and len(set(widths)) == 1,
        "kink": network.activation == "relu",
        "wide": bits >= 32,
        "float64": bits == 64,
        "saturated": most > 1e6,  # sums over samples overflow in float16
    }
    return available.get(bug.needs, True) and network.activation not in bug.harmless


def problem(network: Network, seed: int, dtype: Any, needs: str = "") -> Problem:
    """A random problem with what a bug ``needs`` (see `Bug`); reproducible.

    Args:
      network: sizes, activation and batch size.
      seed: of the random numbers.
      dtype: of parameters, inputs and weights.
      needs: of the bug to show.
    """
    rng = np.random.default_rng(seed)
    m = 1 if needs == "single" else network.samples
    params = []
    for n_in, n_out in zip(network.sizes[:-1], network.sizes[1:], strict=True):
        weight = rng.standard_normal((n_in, n_out)) * np.sqrt(2 / n_in)
        bias = 0.3 * rng.standard_normal(n_out) * (needs != "kink")
        params.append(Layer(jnp.asarray(weight, dtype), jnp.asarray(bias, dtype)))
    x = rng.standard_normal((m, network.sizes[0]))
    classes = network.sizes[-1]
    labels = rng.integers(0, classes, m)
    if needs == "saturated":
        params[-1] = Layer(params[-1].weight * 3000, params[-1].bias)
    if needs == "kink":
        x[0] = 0  # with zero biases, every unit stands exactly at the kink
    args: list[Any] = [jnp.asarray(x, dtype), jnp.asarray(labels)]
    if needs == "soft":
        args[1] = jnp.asarray(0.8 * np.eye(classes)[labels] + 0.2 / classes, dtype)
    if needs == "weights":
        args.append(jnp.asarray(rng.uniform(0.2, 2, m), dtype))
    if needs == "mask":
        args.append(jnp.asarray(np.arange(m) < (3 * m) // 4))
    h = NONLINEARITIES[network.activation]
    return Problem(h, tuple(params), tuple(args))
