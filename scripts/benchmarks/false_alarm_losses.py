"""Right gradients of other losses than the network's: what false_alarms.py draws from.

Each is a loss, whose gradient by jax.grad is right: in mixed precision, with
masks of -inf, of complex numbers, beside a sharded batch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

BF16, F16, F32 = jnp.bfloat16, jnp.float16, jnp.float32


class Case(NamedTuple):
    """A loss, where it is differentiated, and its gradient."""

    loss: Callable[..., Any]
    params: Any
    args: tuple[Any, ...]


def mixed_product(p: Any, x: jax.Array) -> jax.Array:
    """A product of casts."""
    return jnp.mean((x.astype(BF16) @ p["w"].astype(BF16)).astype(F32) ** 2)


def mixed_bias(p: Any, x: jax.Array) -> jax.Array:
    """All in bfloat16, to the mean."""
    y = x.astype(BF16) @ p["w"].astype(BF16) + p["b"].astype(BF16)
    return jnp.mean(y**2).astype(F32)


def mixed_policy(p: Any, x: jax.Array) -> jax.Array:
    """Parameters and inputs cast, computed in bfloat16, the output cast back."""
    p, x = jax.tree.map(lambda leaf: leaf.astype(BF16), (p, x))
    y = jax.nn.gelu(x @ p["w"] + p["b"]).astype(F32)
    return jnp.mean((y - 1) ** 2)


def mixed_softmax(p: Any, x: jax.Array) -> jax.Array:
    """exp and log in float16."""
    logits = (x @ p["w"]).astype(F16) + p["b"].astype(F16)
    return -jnp.mean(jax.nn.log_softmax(logits)[:, 0].astype(F32))


def mixed_reduction(p: Any, x: jax.Array) -> jax.Array:
    """A sum over samples in bfloat16."""
    return jnp.sum(jnp.tanh(x @ p["w"]).astype(BF16), axis=0).astype(F32) @ p["b"]


def mixed_convolution(p: Any, x: jax.Array) -> jax.Array:
    """A convolution in bfloat16."""
    kernel, rows = p["w"].astype(BF16)[None, None], x.astype(BF16)[None, None]
    y = jax.lax.conv(rows, kernel, (1, 1), "SAME")
    return jnp.sum(jnp.tanh(y).astype(F32) ** 2) + jnp.sum(p["b"])


def mixed_recurrence(p: Any, x: jax.Array) -> jax.Array:
    """A scan in bfloat16."""
    n = len(p["b"])
    w, steps = 0.3 * p["w"][:n].astype(BF16), x[:, :n].astype(BF16)
    end, _ = jax.lax.scan(
        lambda c, t: (jnp.tanh(c @ w + t), None), p["b"].astype(BF16), steps
    )
    return jnp.sum(end.astype(F32))


def masked_attention(p: Any, x: jax.Array) -> jax.Array:
    """A causal mask of -inf."""
    scores = (x @ p["w"]) @ (x @ p["w"]).T / 2 + p["b"][0]
    mask = jnp.where(jnp.tril(jnp.ones_like(scores)) > 0, 0.0, -jnp.inf)
    return jnp.mean((jax.nn.softmax(scores + mask.astype(scores.dtype)) @ x) ** 2)


def padded(p: Any, x: jax.Array) -> jax.Array:
    """A class that cannot be, with the least number in the place of -inf."""
    logits = x @ p["w"] + p["b"]
    logits = jnp.where(jnp.arange(len(p["b"])) == 1, jnp.finfo(x.dtype).min, logits)
    return -jnp.mean(jax.nn.log_softmax(logits)[:, 0])


def spectrum(p: Any, x: jax.Array) -> jax.Array:
    """Complex numbers on the way."""
    y = jnp.fft.rfft((x @ p["w"] + p["b"]).astype(F32))
    return jnp.mean(jnp.abs(y) ** 2)


def complex_product(p: Any, x: jax.Array) -> jax.Array:
    """Complex parameters."""
    return jnp.mean(jnp.abs(x @ p["z"] + p["b"]) ** 2)


MIXED = (
    *(mixed_product, mixed_bias, mixed_policy, mixed_softmax, mixed_reduction),
    *(mixed_convolution, mixed_recurrence),
)
LOSSES = (*MIXED, masked_attention, padded, spectrum, complex_product)


def draw(random: np.random.Generator) -> Case:
    """One of the losses at random numbers, the batch over all devices now and then."""
    loss = LOSSES[random.integers(len(LOSSES))]
    m, n, k = int(random.choice((4, 8, 32))), int(random.choice((5, 12))), 4
    scale = 10.0 ** random.integers(-1, 2)

    def normal(*shape: int) -> jax.Array:
        return jnp.asarray(random.standard_normal(shape), F32)

    params = {"w": normal(n, k), "b": normal(k)}
    if loss is complex_product:
        params["z"] = normal(n, k) + 1j * normal(n, k)
    x = scale * normal(m, n)
    if random.integers(3) == 0:
        devices = jax.devices()[: int(np.gcd(m, len(jax.devices())))]
        mesh = Mesh(np.array(devices), ("samples",))
        x = jax.device_put(x, NamedSharding(mesh, PartitionSpec("samples")))
    return Case(loss, params, (x,))
