"""`collect` equals its parts and shares them; `health` finds what was planted."""

from typing import Any

import byproduct_cases as cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import handgrad
from handgrad import byproducts
from handgrad.byproducts.health import BACKWARD, FORWARD, NOWHERE

PLAIN = (
    "per_sample_gradients",
    "per_sample_norms",
    "second_moment",
    "variance",
    "gradient_snr",
    "noise_scale",
    "kronecker_factors",
)

HEALTH = jax.jit(byproducts.health, compiler_options=cases.FAST)


@pytest.mark.parametrize("scores", [False, True])
def test_collect_equals_its_parts(scores: bool) -> None:
    case = cases.make(weighted=True, scores=scores)
    model = {"params": case.params}
    vector = {**model, "vector": case.params}
    clipping = {"clip_norm": 0.5, "per_layer": True}
    of_model = ("ggn_diagonal", "ggn_vector_product", "hessian_vector_product")
    what: dict[str, dict[str, Any]] = {
        **{name: {} for name in PLAIN},
        "clipped_gradient": clipping,
        **dict.fromkeys(of_model, vector),
        "ggn_diagonal": model,
    }

    def both() -> Any:
        trace, errors = case.passes()
        parts: dict[str, Any] = {
            name: getattr(byproducts, name)(trace, errors) for name in PLAIN
        }
        parts["gradient"] = handgrad.gradients(trace, errors)
        parts["clipped_gradient"] = byproducts.clipped_gradient(
            trace, errors, **clipping
        )
        given: dict[str, Any] = {"targets": case.targets, "weights": case.weights}
        parts["ggn_diagonal"] = byproducts.ggn_diagonal(case.params, trace, **given)
        parts["ggn_vector_product"] = byproducts.ggn_vector_product(
            case.params, trace, case.params, **given
        )
        parts["hessian_vector_product"] = byproducts.hessian_vector_product(
            case.params, trace, errors, case.params
        )
        return byproducts.collect(trace, errors, what), parts

    collected, parts = cases.compiled(both)
    assert set(collected) == set(parts) == {"gradient", *what}
    for name, value in parts.items():
        tolerance = 1e-8 if name == "gradient_snr" else 1e-12
        assert cases.error(collected[name], value) < tolerance, name


def test_collect_offers_every_by_product() -> None:
    trace, errors = cases.make().passes()
    offered = {*PLAIN, "gradient", "clipped_gradient", "health", "ggn_diagonal"}
    offered |= {"ggn_vector_product", "hessian_vector_product"}
    with pytest.raises(ValueError, match="^`what`") as caught:
        byproducts.collect(trace, errors, "all")
    names = str(caught.value).split(", of ")[1].split(";")[0].split(", ")
    assert set(names) == offered


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_collect_keeps_the_dtypes_of_its_parts(dtype: str) -> None:
    trace, errors = cases.make(dtype=dtype).passes()
    collected = jax.eval_shape(
        lambda: byproducts.collect(trace, errors, ["variance", "per_sample_norms"])
    )
    assert {leaf.dtype.name for leaf in collected["gradient"][0]} == {dtype}
    assert {leaf.dtype.name for leaf in collected["variance"][0]} == {"float32"}
    assert collected["per_sample_norms"].dtype.name == "float32"


def test_collect_computes_no_contraction_twice() -> None:
    """Two layers, each three products: mean, second moment and clipped sum."""
    trace, errors = cases.make().passes()
    what: dict[str, dict[str, Any]] = {
        **{name: {} for name in ("variance", "second_moment", "noise_scale")},
        "clipped_gradient": {"clip_norm": 1.0},
    }
    jaxpr = jax.make_jaxpr(lambda t, d: byproducts.collect(t, d, what))(trace, errors)
    assert str(jaxpr).count("dot_general") == 3 * 2


def test_collect_refuses_an_unknown_name() -> None:
    trace, errors = cases.make().passes()
    with pytest.raises(ValueError, match=r"^`what` must name by-products.*'norm'"):
        byproducts.collect(trace, errors, ["norm"])


def planted(stage: int, layer: int) -> tuple[handgrad.Trace, handgrad.Deltas]:
    case = cases.make((4, 5, 4, 3), activation="relu")
    trace, errors = jax.tree.map(np.array, case.passes())  # copies, to be spoilt
    if stage == BACKWARD:
        errors.layers[layer - 1][2, 1] = np.inf
        return trace, errors
    if layer == 0:
        trace.activations[0][1, 1] = np.nan
    for d in trace.pre_activations[max(layer - 1, 0) :]:
        d[0, 0] = np.nan  # a NaN spoils what follows
    for delta in errors.layers:
        delta[:] = np.nan
    return trace, errors


@pytest.mark.parametrize("layer", [0, 1, 2, 3])
def test_the_first_non_finite_value_forward(layer: int) -> None:
    found = HEALTH(*planted(FORWARD, layer))
    assert (int(found.stage), int(found.layer)) == (FORWARD, layer)


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_the_first_non_finite_value_backward(layer: int) -> None:
    found = HEALTH(*planted(BACKWARD, layer))
    assert (int(found.stage), int(found.layer)) == (BACKWARD, layer)
    assert found.non_finite_backward.tolist() == [int(k == layer) for k in (1, 2, 3)]
    assert found.non_finite_forward.tolist() == [0, 0, 0]


def test_shares_and_scales_by_hand() -> None:
    """Unit 0 is off for both samples, unit 1 for one of them."""
    d = jnp.array([[-1.0, 2.0], [-3.0, -1.0]])
    x, logits = jnp.full((2, 1), 3.0), jnp.zeros((2, 2))
    relu = handgrad.ACTIVATIONS["relu"]
    trace = handgrad.Trace((x, jax.nn.relu(d)), (d, logits), (None, None), (relu,), ())
    # Both samples count 1/2, so that the deltas of the second layer are 1/2 each.
    layers = jnp.zeros((2, 2)), jnp.full((2, 2), 0.25)
    found = HEALTH(trace, handgrad.Deltas(layers, None, jnp.float64(2)))
    assert (int(found.stage), int(found.layer)) == (NOWHERE, 0)
    assert found.dead.tolist() == [0.5]
    assert found.saturated.tolist() == [0.75]
    assert found.activation_rms.tolist() == [3.0, 1.0]
    assert found.delta_rms.tolist() == [0.0, 0.5]


def test_health_is_of_the_deltas_before_they_are_scaled() -> None:
    """Whatever the weights are, the root mean square is that of dl_i/dd_k."""
    case = cases.make((4, 5, 4, 3), weighted=True)
    kept = case._replace(x=case.x[1:], targets=case.targets[1:], weights=None)
    found, expected = (HEALTH(*each.passes()) for each in (case, kept))
    assert case.w[0] == 0
    for came, right in zip(found, expected, strict=True):
        assert cases.error(came, right) < 1e-12
