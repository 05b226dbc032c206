"""The pytrees of the network, and the letters used for their shapes.

Letters, here and in every docstring: ``m`` samples, ``L`` layers, ``n_k`` units in
layer k, ``C = n_L`` classes. Rows are samples. A weight has shape (n_in, n_out) and
is used as ``a @ weight + bias``; no transpose is stored.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from handgrad.network.activations import Activation
from handgrad.network.mean import sample_scale
from handgrad.network.placement import Placement

Masks = tuple[jax.Array | None, ...]
"""One dropout mask (m, n_{k-1}) per layer input a_{k-1}, and (K, m, n) per stack; None
where nothing drops."""

Transport = Callable[[int, jax.Array, jax.Array, jax.Array], jax.Array]
"""How the error reaches a_k: (k, delta_{k+1}, W_{k+1}, delta_L) -> (m, n_k), as B6."""


class Layer(NamedTuple):
    """The parameters of one layer, or the gradient with respect to them.

    A stack of K equal layers has them along a leading axis, (K, n, n) and (K, n), and
    so has all that the trace and the deltas hold of it; see `stack_layers`.
    """

    weight: jax.Array  # (n_in, n_out)
    bias: jax.Array  # (n_out,)


class Smoothed(NamedTuple):
    """Labels smoothed, q = (1 - epsilon) e(y) + epsilon / C, without an array (m, C).

    Where a `chunk` of the classes is at hand, `loss` and `value_and_grad` take it for
    targets; `smooth_labels` gives the array.
    """

    labels: jax.Array  # y, (m,)
    epsilon: ArrayLike  # in [0, 1]


Placements = tuple[tuple[Placement, Placement], ...]
"""Where W_k and b_k lie, for every layer or stack."""

Params = tuple[Layer, ...]
"""(layer 1, ..., layer L); equal ones may be one stack. Gradients have this structure,
these shapes and dtypes."""


def is_stack(layer: Layer) -> bool:
    """Whether it stands for several layers."""
    return layer.weight.ndim == 3


def layers_in(layer: Layer) -> int:
    """K in a stack, else 1."""
    return layer.weight.shape[0] if is_stack(layer) else 1


def depth(params: Params) -> int:
    """L, every layer of a stack counted."""
    return sum(map(layers_in, params))


class Hidden(NamedTuple):
    """What the trace holds of hidden layer k, or of a stack that begins with it."""

    k: int
    h: Activation
    d: jax.Array  # d_k, (m, n_k); in a stack (K, m, n)
    inputs: jax.Array  # a_{k-1}, (m, n_{k-1}); in a stack (K, m, n)
    mask: jax.Array | None  # r_{k-1}, of the inputs
    output: jax.Array  # a_k = h(d_k), (m, n_k); in a stack that of its last layer

    @property
    def a(self) -> jax.Array:
        """a_k = h(d_k), (m, n_k); of every layer in a stack, (K, m, n)."""
        if self.d.ndim == 2:
            return self.output
        return jnp.concatenate([self.inputs[1:], self.output[None]])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Trace:
    """What the forward pass leaves for the backward pass: a pytree.

    One entry per layer of the parameters: of a stack, (K, m, n).

    F1 needs its input again (B4), F2 its pre-activation and its value (B7), and F3 its
    logits (B3). Nothing else is kept, but for what must not be said twice: the hidden
    activations, and on a mesh where the parameters lie. Both are static: part of the
    structure and not of the leaves, so `jax.jit` compiles once for each.
    """

    activations: tuple[jax.Array, ...]  # a_0 = x, a_1 ... a_{L-1}, each (m, n_k)
    pre_activations: tuple[jax.Array, ...]  # d_1 ... d_L, each (m, n_k)
    masks: Masks  # one per layer input a_0 ... a_{L-1}
    # h of every entry but the last:
    hidden: tuple[Activation, ...] = field(metadata={"static": True})
    placements: Placements = field(metadata={"static": True})  # of W_k and b_k

    @property
    def logits(self) -> jax.Array:
        """d_L, shape (m, C)."""
        return self.pre_activations[-1]

    @property
    def layer_inputs(self) -> tuple[jax.Array, ...]:
        """What each layer multiplied its weight with: a_{k-1}, dropout applied."""
        return tuple(map(drop, self.activations, self.masks))

    @property
    def hidden_layers(self) -> tuple[Hidden, ...]:
        """Layers 1 ... L-1, a stack as one."""
        found, k = [], 1
        for h, d, inputs, mask, above in zip(
            self.hidden,
            self.pre_activations[:-1],
            self.activations[:-1],
            self.masks[:-1],
            self.activations[1:],
            strict=True,
        ):
            output = above if above.ndim == 2 else above[0]
            found.append(Hidden(k, h, d, inputs, mask, output))
            k += 1 if d.ndim == 2 else d.shape[0]
        return tuple(found)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Deltas:
    """The errors of every sample at every layer, and the factor that each has in J.

    Row i of ``layers[k-1]`` is s_i dl_i/dd_k, where s_i = w_i / sum_j w_j is the factor
    of sample i in J: the gradient of J is their plain contraction with the inputs (B4,
    B5). A dtype whose exponent is narrower than float32's (float16) cannot hold that
    product, and its layers are larger by the power of two ``loss_scale``.
    """

    layers: tuple[jax.Array, ...]  # loss_scale s_i dl_i/dd_k, (m, n_k) or (K, m, n)
    weights: jax.Array | None  # w, (m,); None for all 1
    total: jax.Array  # sum_i w_i, or m: scalar, float32 or wider
    row_sums: jax.Array | None = None  # t_i = sum_c q_ic, (m,); None for labels: all 1
    loss_scale: jax.Array | None = None  # scalar, a power of two; None for 1

    @property
    def scale(self) -> jax.Array:
        """s, (m,), float32 or wider: what sample i counts in J, summing to 1 or 0."""
        samples = self.layers[0].shape[-2]  # mutants: all have as many
        scale = sample_scale(self.weights, samples, self.total.dtype)
        return jnp.broadcast_to(scale, (samples,))


def drop(value: jax.Array, mask: jax.Array | None) -> jax.Array:
    """D1 and D2: multiply by a dropout mask r_k, (m, n); None drops nothing.

    Dropout is linear and diagonal, so one product is its forward pass, applied to a_k,
    and its backward pass, applied to dl/da_k.
    """
    return value if mask is None else value * mask


def accumulation_dtype(dtype: jnp.dtype) -> jnp.dtype:
    """The dtype of sums, softmax and loss: float32, or ``dtype`` if it is wider."""
    # mutants: 32 bits are float32 either way
    return dtype if jnp.finfo(dtype).bits > 32 else jnp.dtype(jnp.float32)
