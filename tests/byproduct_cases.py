"""Small float64 networks, and an oracle that shares no code with the package.

Numbers are drawn and compared by NumPy, and all that concerns one network is compiled
together and kept: in these tests the time goes into compiling.
"""

import functools
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import handgrad
from handgrad import byproducts
from handgrad.network.placement import placement
from handgrad.network.types import accumulation_dtype

FAST = {"xla_backend_optimization_level": 0}
"""Options of the compiler: half the time to compile, the same equations."""

H = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "gelu": lambda d: jax.nn.gelu(d, approximate=False),
    "softplus": jax.nn.softplus,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
}


class Case(NamedTuple):
    params: handgrad.Params
    x: jax.Array
    targets: jax.Array
    q: jax.Array
    weights: jax.Array | None
    masks: handgrad.Masks | None
    activation: str

    @property
    def w(self) -> np.ndarray:
        return np.asarray(
            np.ones(len(self.x)) if self.weights is None else self.weights
        )

    @property
    def s(self) -> np.ndarray:
        """What each sample counts in J."""
        return self.w / self.w.sum()

    def passes(self) -> tuple[handgrad.Trace, handgrad.Deltas]:
        return _passes(self[:-1], self.activation)


@functools.partial(jax.jit, static_argnums=1)
def _passes(arrays: Any, activation: str) -> tuple[handgrad.Trace, handgrad.Deltas]:
    case = Case(*arrays, activation=activation)
    trace = handgrad.forward(
        case.params, case.x, masks=case.masks, activation=activation
    )
    return trace, handgrad.deltas(
        case.params, trace, case.targets, weights=case.weights
    )


def make(
    sizes: tuple[int, ...] = (4, 5, 3),
    *,
    activation: str = "tanh",
    samples: int = 6,
    weighted: bool = False,
    soft: bool = False,
    scores: bool = False,
    dropout: bool = False,
    dtype: Any = "float64",
    seed: int = 0,
) -> Case:
    random = np.random.default_rng(seed)

    def array(values: Any) -> jax.Array:
        return jnp.asarray(np.asarray(values).astype(jnp.dtype(dtype)))

    params = tuple(
        handgrad.Layer(
            array(random.normal(size=(n, n_out)) / n**0.5),
            array(random.normal(size=n_out) / 3),
        )
        for n, n_out in zip(sizes[:-1], sizes[1:], strict=True)
    )
    x, classes = random.normal(size=(samples, sizes[0])), sizes[-1]
    labels = random.integers(classes, size=samples)
    q = np.eye(classes)[labels]
    if soft:
        q = random.dirichlet(np.ones(classes), samples)
    if scores:  # rows that sum to 1, 3, 4 and so on, and one of zeros
        q = q * np.arange(samples)[:, None] + random.dirichlet(np.ones(classes))
        q[1] = 0
    w = random.uniform(0.5, 2, samples)
    w[0] = 0 if samples > 2 else 1
    masks = tuple(
        array(random.integers(2, size=(samples, n)) * 2.0) for n in sizes[:-1]
    )
    return Case(
        params,
        array(x),
        array(q) if soft or scores else jnp.asarray(labels),
        array(q),
        array(w) if weighted else None,
        masks if dropout else None,
        activation,
    )


VARIANTS = {
    "softmax regression": {"sizes": (4, 3)},
    "one hidden": {"sizes": (4, 5, 3)},
    "three hidden": {"sizes": (3, 4, 1, 3, 2), "activation": "gelu"},
    "one sample": {"samples": 1, "activation": "softplus"},
    "relu": {"activation": "relu"},
    "sigmoid, weighted": {"activation": "sigmoid", "weighted": True},
    "soft targets": {"soft": True, "activation": "silu"},
    "any rows of targets": {"scores": True, "weighted": True},
    "dropout": {"sizes": (4, 5, 4, 3), "dropout": True},
    "all": {"sizes": (4, 5, 4, 3), "weighted": True, "soft": True, "dropout": True},
}


def logits_of_one(
    params: handgrad.Params, x: jax.Array, masks: Any, activation: str
) -> jax.Array:
    """d_L of one sample, from the definition."""
    a = x
    for k, layer in enumerate(params):
        a = a if masks is None or masks[k] is None else a * masks[k]
        a = a @ layer.weight + layer.bias
        a = H[activation](a) if k < len(params) - 1 else a
    return a


def losses(case: Case, params: handgrad.Params) -> jax.Array:
    """l_i of every sample, (m,)."""

    def one(x: jax.Array, q: jax.Array, masks: Any) -> jax.Array:
        logits = logits_of_one(params, x, masks, case.activation)
        return -jnp.sum(q * jax.nn.log_softmax(logits))

    return jax.vmap(one)(case.x, case.q, case.masks)


def mean_loss(case: Case, params: handgrad.Params) -> jax.Array:
    """J = sum_i w_i l_i / sum_i w_i."""
    return jnp.sum(case.w * losses(case, params)) / case.w.sum()


def sample_gradients(case: Case) -> handgrad.Params:
    """dl_i/dparams by autodiff, sample axis first."""
    return numpy(compiled(jax.jacrev(lambda params: losses(case, params)), case.params))


def dense_ggn(case: Case) -> Any:
    """sum_i w_i t_i J_i^T H_i J_i / sum_i w_i with dense Jacobians."""
    point, unravel = ravel_pytree(case.params)

    def of_one(x: jax.Array, masks: Any) -> jax.Array:
        def logits(flat: jax.Array) -> jax.Array:
            return logits_of_one(unravel(flat), x, masks, case.activation)

        jacobian, p = jax.jacrev(logits)(point), jax.nn.softmax(logits(point))
        return jacobian.T @ (jnp.diag(p) - jnp.outer(p, p)) @ jacobian

    each = jax.vmap(of_one)(case.x, case.masks)
    return jnp.tensordot(case.s * np.asarray(case.q).sum(axis=1), each, 1)


def one_layer(
    a: Any, delta: Any, weights: Any = None
) -> tuple[handgrad.Trace, handgrad.Deltas]:
    """The two passes of a single layer: a_0, and dl_i/dd_1 times what i counts."""
    a, delta = jnp.asarray(a), jnp.asarray(delta)
    wide = accumulation_dtype(delta.dtype)
    here = placement(a)
    trace = handgrad.Trace((a,), (jnp.zeros_like(delta),), (None,), (), ((here, here),))
    total = jnp.asarray(len(a) if weights is None else np.sum(weights), wide)
    given = None if weights is None else jnp.asarray(weights)
    return trace, handgrad.Deltas((delta,), given, total)


class Judgement(NamedTuple):
    """What autodiff says of one network."""

    gradients: handgrad.Params  # of every sample, its axis first
    ggn: np.ndarray  # dense, parameters as `ravel_pytree` orders them
    hessian: np.ndarray


@functools.cache
def judged(variant: str) -> Judgement:
    case = make(**VARIANTS[variant])

    def all_of_it() -> Judgement:
        point, unravel = ravel_pytree(case.params)
        return Judgement(
            jax.jacrev(lambda params: losses(case, params))(case.params),
            dense_ggn(case),
            jax.hessian(lambda flat: mean_loss(case, unravel(flat)))(point),
        )

    return numpy(compiled(all_of_it))


CLIPPED = "clipped, per layer {}, automatic {}"


@functools.cache
def found(variant: str) -> dict[str, Any]:
    """Every by-product of the variant, by its own function."""
    case = make(**VARIANTS[variant])
    return numpy(compiled(lambda: _found(case)))


def _found(case: Case) -> dict[str, Any]:
    trace, errors = case.passes()
    curvature: dict[str, Any] = {"targets": case.targets, "weights": case.weights}
    known: dict[str, Any] = {
        "gradient": handgrad.gradients(trace, errors),
        "layer_inputs": trace.layer_inputs,
        "norms per layer": byproducts.per_sample_norms(trace, errors, per_layer=True),
        "unclipped": byproducts.clipped_gradient(trace, errors, clip_norm=jnp.inf),
        "ggn_diagonal": byproducts.ggn_diagonal(case.params, trace, **curvature),
        "ggn_vector_product": byproducts.ggn_vector_product(
            case.params, trace, direction(case), **curvature
        ),
        "hessian_vector_product": byproducts.hessian_vector_product(
            case.params, trace, errors, direction(case)
        ),
    }
    for name in (
        "per_sample_gradients",
        "per_sample_norms",
        "second_moment",
        "variance",
        "kronecker_factors",
    ):
        known[name] = getattr(byproducts, name)(trace, errors)
    clip_norm = jnp.median(known["per_sample_norms"])
    for way in product((False, True), repeat=2):
        known[CLIPPED.format(*way)] = byproducts.clipped_gradient(
            trace,
            errors,
            clip_norm=clip_norm,
            per_layer=way[0],
            automatic=way[1],
        )
    return known


def direction(case: Case) -> handgrad.Params:
    """A vector in the space of the parameters, the same for the same shapes."""
    random = np.random.default_rng(9)
    return jax.tree.map(lambda leaf: random.normal(size=leaf.shape), case.params)


def compiled(function: Any, *arrays: Any, **options: Any) -> Any:
    """The function's value, compiled whole: far faster here than op by op."""
    whole = functools.partial(function, **options)
    return jax.jit(whole, compiler_options=FAST)(*arrays)


def numpy(tree: Any) -> Any:
    """The tree with NumPy's arrays for leaves."""
    return jax.tree.map(np.asarray, tree)


def rows(tree: Any) -> np.ndarray:
    """(m, number of parameters), from leaves that lead with the sample axis."""
    leaves = jax.tree.leaves(numpy(tree))
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)


def flat(tree: Any) -> np.ndarray:
    """All leaves in one vector."""
    return np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(numpy(tree))])


def error(came: Any, expected: Any) -> float:
    """The largest difference, relative to the largest entry expected of that leaf."""
    assert jax.tree.structure(came) == jax.tree.structure(expected)
    worst = 0.0
    pairs = zip(
        jax.tree.leaves(numpy(came)), jax.tree.leaves(numpy(expected)), strict=True
    )
    for a, b in pairs:
        assert a.shape == b.shape, (a.shape, b.shape)
        scale = float(np.max(np.abs(b))) or 1.0
        difference = float(np.max(np.abs(a - b))) / scale
        assert difference == difference, "NaN"
        worst = max(worst, difference)
    return worst
