"""Wrong rules, each of which breaks one thing that `check_rules` looks at."""

import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.custom_derivatives import SymbolicZero

Rule = Callable[..., Any]

RNG = np.random.default_rng(77)
X = jnp.asarray(RNG.uniform(0.5, 2, 5), jnp.float32)
W = jnp.asarray(RNG.uniform(0.5, 2, 5), jnp.float32)


def plain(x: Any, w: Any) -> dict[str, Any]:
    """sin(x) w, and <x, w>."""
    return {"s": jnp.sum(x * w), "y": jnp.sin(x) * w}


def fwd(x: Any, w: Any) -> tuple[Any, Any]:
    return plain(x, w), (x, w)


def bwd(residuals: Any, u: Any) -> tuple[Any, Any]:
    x, w = residuals
    y, s = u["y"], u["s"]
    return y * jnp.cos(x) * w + s * w, y * jnp.sin(x) + s * x


def jvp(primals: Any, tangents: Any) -> tuple[Any, Any]:
    (x, w), (dx, dw) = primals, tangents
    tangent = {
        "s": jnp.sum(dx * w) + jnp.sum(x * dw),
        "y": jnp.cos(x) * dx * w + jnp.sin(x) * dw,
    }
    return plain(x, w), tangent


def reverse(
    fun: Rule = plain, fwd: Rule = fwd, bwd: Rule = bwd, symbolic_zeros: bool = False
) -> Rule:
    """The function with a rule for reverse mode, of which a part may be wrong."""
    function = jax.custom_vjp(fun)
    function.defvjp(fwd, bwd, symbolic_zeros=symbolic_zeros)
    return function


def forward(jvp: Rule = jvp, fun: Rule = plain) -> Rule:
    """The function with a rule for forward mode, which may be wrong."""
    function = jax.custom_jvp(fun)
    function.defjvp(jvp)
    return function


def scaled(tree: Any, factor: Any = 1.3) -> Any:
    """All of it, times a factor."""
    return jax.tree.map(lambda leaf: leaf * factor, tree)


def factor_in(file: str) -> float:
    """1.3 where a file of JAX is among the callers, else 1."""
    inside = any(f.filename.endswith(file) for f in traceback.extract_stack())
    return 1.3 if inside else 1.0


class Plant(NamedTuple):
    """A wrong rule.

    Attributes:
      function: which is wrong, called with `X` and `W`.
      rows: that are wrong; of a derivative, those of its derivatives are as well.
      cause: of the first.
      reference: what is given as such, or None.
    """

    function: Rule
    rows: set[str]
    cause: str
    reference: Rule | None = None


def sign_wrong(residuals: Any, u: Any) -> tuple[Any, Any]:
    dx, dw = bwd(residuals, u)
    return dx, dw - 2 * jax.lax.stop_gradient(dw)


def clipped(residuals: Any, u: Any) -> tuple[Any, Any]:
    return bwd(residuals, jax.tree.map(lambda leaf: jnp.clip(leaf, -1e3, 1e3), u))


def one_at_zero(residuals: Any, u: Any) -> tuple[Any, Any]:
    dx, dw = bwd(residuals, u)
    none = jnp.all(u["y"] == 0) & (u["s"] == 0)
    return dx + jnp.where(none, 1.0, 0.0), dw


def clipped_tangent(primals: Any, tangents: Any) -> Any:
    return jvp(primals, tuple(jnp.clip(t, -1e3, 1e3) for t in tangents))


def one_at_zero_tangent(primals: Any, tangents: Any) -> Any:
    value, tangent = jvp(primals, tangents)
    none = jnp.all(tangents[0] == 0) & jnp.all(tangents[1] == 0)
    return value, tangent | {"y": tangent["y"] + jnp.where(none, 1.0, 0.0)}


def symbolic_fwd(x: Any, w: Any) -> tuple[Any, Any]:
    return fwd(x.value, w.value)


def symbolic_bwd(residuals: Any, u: Any) -> tuple[Any, Any]:
    return bwd(residuals, jax.tree.map(instantiated, u, is_leaf=is_symbolic))


def is_symbolic(leaf: Any) -> bool:
    return isinstance(leaf, SymbolicZero)


def instantiated(leaf: Any) -> Any:
    return jnp.zeros(leaf.shape, leaf.dtype) if is_symbolic(leaf) else leaf


def forgets_unused(residuals: Any, u: Any) -> tuple[Any, Any]:
    right = symbolic_bwd(residuals, u)
    return scaled(right) if is_symbolic(u["s"]) else right


def constant_w(x: Any, w: Any) -> tuple[Any, Any]:
    """Forgets, where w is a constant, that x has a part in both outputs."""
    value, (x, w) = symbolic_fwd(x, w) if w.perturbed else symbolic_fwd_constant(x, w)
    return value, (x, w)


def symbolic_fwd_constant(x: Any, w: Any) -> tuple[Any, Any]:
    value, (x, w) = symbolic_fwd(x, w)
    return value, (x, 0.5 * w)


def stopped_bwd(residuals: Any, u: Any) -> tuple[Any, Any]:
    return bwd(jax.lax.stop_gradient(residuals), u)


def stopped_jvp(primals: Any, tangents: Any) -> Any:
    return plain(*primals), jvp(jax.lax.stop_gradient(primals), tangents)[1]


@jax.custom_batching.custom_vmap
def batched_wrong(x: Any) -> Any:
    return x


@batched_wrong.def_vmap
def _rule(size: int, batched: Any, x: Any) -> Any:
    del size
    return 1.3 * x, batched[0]


def fwd_wrong_in_vmap(x: Any, w: Any) -> Any:
    value, residuals = fwd(x, w)
    return value | {"y": batched_wrong(value["y"])}, residuals


def bwd_wrong_in_vmap(residuals: Any, u: Any) -> Any:
    dx, dw = bwd(residuals, u)
    return batched_wrong(dx), dw


class Accumulates:
    """A backward pass that adds into the buffer of its last call."""

    def __init__(self) -> None:
        self.calls = 0
        self.buffers: dict[int, Any] = {}

    def fwd(self, x: Any, w: Any) -> Any:
        self.calls += 1
        value, residuals = fwd(x, w)
        return value, (residuals, jnp.asarray(self.calls))

    def bwd(self, residuals: Any, u: Any) -> Any:
        inner, call = residuals
        found = bwd(inner, u)
        if isinstance(call, Tracer) or isinstance(u["s"], Tracer):
            return found
        if int(call) in self.buffers:
            found = jax.tree.map(jnp.add, found, self.buffers[int(call)])
        self.buffers[int(call)] = found
        return found


donated = jax.jit(lambda x: x + 0, donate_argnums=0)


def donates(x: Any, w: Any) -> Any:
    return plain(donated(x), w)


def writes(x: Any, w: Any) -> Any:
    """Fills its argument, where that is an array of NumPy."""
    value = plain(x, w)
    if isinstance(x, np.ndarray):
        x[:] = 0
    return value


def weak(x: Any, w: Any) -> Any:
    """A right output that is weakly typed."""
    value = plain(x, w)
    return value | {"s": jnp.where(True, 1.0, 0.0)}


def strong(x: Any, w: Any) -> Any:
    return plain(x, w) | {"s": jnp.ones((), x.dtype)}


def wrongly_transposed(primals: Any, tangents: Any) -> Any:
    """A right tangent, by a linear map whose transpose is wrong."""

    def apply(residuals: Any, tangents: Any) -> Any:
        return jvp(residuals, tangents)[1]

    def transpose(residuals: Any, u: Any) -> Any:
        return scaled(bwd(residuals, u))

    linear_call = jax.custom_derivatives.linear_call
    return plain(*primals), linear_call(apply, transpose, primals, tangents)


SECOND = {"vjp of vjp", "jvp of vjp", "vjp of jvp", "jvp of jvp"}

PLANTS: dict[str, Plant] = {
    "value": Plant(
        reverse(fun=lambda x, w: scaled(plain(x, w))), {"value"}, "scale", plain
    ),
    "value in vjp": Plant(
        reverse(fwd=lambda x, w: (scaled(plain(x, w)), (x, w))),
        {"value in vjp"},
        "scale",
    ),
    "vjp": Plant(reverse(bwd=sign_wrong), {"vjp"}, "sign"),
    "value in jvp": Plant(
        forward(lambda p, t: (scaled(plain(*p)), jvp(p, t)[1])),
        {"value in jvp", "value in vjp"},
        "scale",
    ),
    "jvp": Plant(
        forward(lambda p, t: (plain(*p), jvp(p, (t[0], -t[1]))[1])),
        {"jvp", "vjp", *SECOND},
        "sign",
    ),
    "jvp against vjp": Plant(
        forward(wrongly_transposed),
        {"jvp against vjp", "vjp", "subsets of arguments", *SECOND},
        "unknown",
    ),
    "linear in the cotangent": Plant(
        reverse(bwd=clipped), {"linear in the cotangent"}, "unknown"
    ),
    "zero cotangent": Plant(reverse(bwd=one_at_zero), {"zero cotangent"}, "not zero"),
    "linear in the tangent": Plant(
        forward(clipped_tangent), {"linear in the tangent"}, "unknown"
    ),
    "zero tangent": Plant(
        forward(one_at_zero_tangent), {"zero tangent", "vjp"}, "not zero"
    ),
    "unused outputs": Plant(
        reverse(fwd=symbolic_fwd, bwd=forgets_unused, symbolic_zeros=True),
        {"unused outputs"},
        "scale",
    ),
    "subsets of arguments": Plant(
        reverse(fwd=constant_w, bwd=symbolic_bwd, symbolic_zeros=True),
        {"subsets of arguments"},
        "scale",
    ),
    "second of vjp": Plant(
        reverse(bwd=stopped_bwd), {"vjp of vjp", "jvp of vjp"}, "zero"
    ),
    "second of jvp": Plant(forward(stopped_jvp), SECOND, "zero"),
    "jit": Plant(
        reverse(bwd=lambda r, u: scaled(bwd(r, u), factor_in("pjit.py"))),
        {"jit", "vjp", "vjp of vjp", "jvp of vjp"},  # gradients are checked compiled
        "scale",
    ),
    "checkpoint": Plant(
        reverse(fwd=lambda x, w: (plain(x, w), (x, w * factor_in("ad_checkpoint.py")))),
        {"checkpoint"},
        "scale",
    ),
    "scan": Plant(
        reverse(fwd=lambda x, w: (plain(x, w), (x, w * factor_in("loops.py")))),
        {"scan"},
        "scale",
    ),
    "vmap": Plant(reverse(fwd=fwd_wrong_in_vmap), {"vmap"}, "scale"),
    "vmap of vjp": Plant(reverse(bwd=bwd_wrong_in_vmap), {"vmap"}, "scale"),
    "inputs donated": Plant(reverse(fun=donates), {"inputs unchanged"}, "changed"),
    "inputs written": Plant(writes, {"inputs unchanged"}, "changed", plain),
    "types": Plant(weak, {"types"}, "type", strong),
}
