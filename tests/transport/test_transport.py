"""Every transport is what its paper says, and none is silently backprop."""

import functools
from typing import Any

import byproduct_cases as cases
import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import handgrad
from handgrad import transport as ways

CASE = {"sizes": (4, 6, 5, 3), "weighted": True, "dropout": True}


def all_ways(params: handgrad.Params) -> dict[str, ways.Transport]:
    feedback = ways.init_feedback(jax.random.key(7), params)
    direct = ways.init_direct_feedback(jax.random.key(8), params)
    return {
        "backprop": ways.backprop,
        "the weights as feedback": ways.feedback_alignment(weights_above(params)),
        "feedback alignment": ways.feedback_alignment(feedback),
        "direct feedback alignment": ways.direct_feedback_alignment(direct),
        "sign-symmetric, uniform": ways.sign_symmetric_uniform(),
        "sign-symmetric, fixed": ways.sign_symmetric_fixed(feedback),
        "sign-symmetric, random": ways.sign_symmetric_random(jax.random.key(9)),
    }


EXACT = ["backprop", "the weights as feedback"]
OTHER = [
    "feedback alignment",
    "direct feedback alignment",
    "sign-symmetric, uniform",
    "sign-symmetric, fixed",
    "sign-symmetric, random",
]


def weights_above(params: handgrad.Params) -> ways.Feedback:
    return tuple(layer.weight for layer in params[1:])


def carried(
    case: cases.Case, trace: handgrad.Trace, way: ways.Transport
) -> handgrad.Deltas:
    return handgrad.deltas(
        case.params, trace, case.targets, transport=way, weights=case.weights
    )


@functools.cache
def both_passes() -> tuple[handgrad.Deltas, dict[str, Any], dict[str, np.ndarray]]:
    """The exact deltas; those of every transport, and the angles between the two."""
    case = cases.make(**CASE)

    def compute() -> Any:
        trace, exact = case.passes()
        came = {
            name: carried(case, trace, way)
            for name, way in all_ways(case.params).items()
        }
        gradients = functools.partial(handgrad.gradients, trace)
        degrees = {
            name: ways.angles(gradients(errors), gradients(exact))
            for name, errors in came.items()
        }
        return exact, came, degrees

    return cases.numpy(cases.compiled(compute))


@pytest.mark.parametrize("name", OTHER)
def test_no_variant_is_backprop(name: str) -> None:
    exact, came, degrees = both_passes()
    layers = came[name].layers
    assert np.array_equal(layers[-1], exact.layers[-1])
    for a, b in zip(layers[:-1], exact.layers[:-1], strict=True):
        assert np.linalg.norm(a - b) / np.linalg.norm(b) > 0.1
    assert degrees[name][-1] == 0
    assert degrees[name][:-1].min() > 5


@pytest.mark.parametrize("name", EXACT)
def test_backprop_and_feedback_through_the_weights_are_exact(name: str) -> None:
    exact, came, degrees = both_passes()
    assert cases.error(came[name], exact) < 1e-14
    assert degrees[name].tolist() == [0, 0, 0]


def test_feedback_has_the_shapes_and_variance_that_it_says() -> None:
    params = cases.make((4, 200, 100, 3)).params
    for init, shapes in (
        (ways.init_feedback, [(200, 100), (100, 3)]),
        (ways.init_direct_feedback, [(200, 3), (100, 3)]),
    ):
        feedback = init(jax.random.key(0), params)
        assert [b.shape for b in feedback] == shapes
        for b in feedback:
            scale = np.var(b) * sum(b.shape) / 2
            assert abs(scale - 1) < 4 * (2 / b.size) ** 0.5
    assert ways.init_feedback(jax.random.key(0), params[:1]) == ()


def test_direct_feedback_by_hand() -> None:
    """dl/da_k = B_k delta_L for every k: no error passes through another layer."""
    case = cases.make((4, 6, 5, 3))
    direct = ways.init_direct_feedback(jax.random.key(8), case.params)

    def compute() -> Any:
        trace, exact = case.passes()
        way = ways.direct_feedback_alignment(direct)
        return trace, exact, carried(case, trace, way), direct

    trace, exact, came, matrices = cases.numpy(cases.compiled(compute))
    for k in (1, 2):
        slope = 1 - trace.activations[k] ** 2
        expected = slope * (exact.layers[-1] @ matrices[k - 1].T)
        assert cases.error(came.layers[k - 1], expected) < 1e-12


@pytest.mark.parametrize("name", [n for n in OTHER if n.startswith("sign")])
def test_sign_symmetric_feedback_has_the_signs_of_the_weights(name: str) -> None:
    params = cases.make((4, 6, 5, 3)).params
    way = all_ways(params)[name]
    weight = params[1].weight
    effective = np.asarray(way(1, jnp.eye(5), weight, jnp.zeros((5, 3)))).T
    assert np.array_equal(np.sign(effective), np.sign(weight))
    same = np.allclose(np.abs(effective), np.abs(effective[0, 0]))
    assert same == (name == "sign-symmetric, uniform")


def test_random_magnitudes_follow_the_key() -> None:
    weight = cases.make((4, 6, 5, 3)).params[1].weight
    one, again, other = (
        ways.sign_symmetric_random(jax.random.key(s))(1, jnp.eye(5), weight, jnp.eye(5))
        for s in (0, 0, 1)
    )
    assert np.array_equal(one, again)
    assert not np.allclose(one, other)


def test_kolen_pollack_feedback_converges_to_the_weights() -> None:
    """|B - W| shrinks by 1 - r every step, r the rate of decay."""
    case = cases.make((4, 6, 5, 3))
    feedback = ways.init_feedback(jax.random.key(7), case.params)
    optimiser = optax.chain(optax.add_decayed_weights(0.5), optax.sgd(0.1))
    learned = (case.params, feedback)
    state = optimiser.init(learned)

    @functools.partial(jax.jit, compiler_options=cases.FAST)
    def step(learned: Any, state: Any) -> Any:
        params, feedback = learned
        trace = handgrad.forward(params, case.x, activation="tanh")
        way = ways.feedback_alignment(feedback)
        errors = carried(case._replace(params=params), trace, way)
        grads = handgrad.gradients(trace, errors)
        updates, state = optimiser.update(
            (grads, ways.kolen_pollack_gradients(grads)), state, learned
        )
        return optax.apply_updates(learned, updates), state

    def gap(learned: Any) -> float:
        params, feedback = learned
        return float(np.linalg.norm(np.subtract(feedback[0], params[1].weight)))

    before = gap(learned)
    for _ in range(10):
        learned, state = step(learned, state)
    assert gap(learned) == pytest.approx(before * 0.95**10, rel=1e-9)


def test_a_users_function_and_its_wrong_shape() -> None:
    case = cases.make((4, 6, 3))
    trace, exact = case.passes()

    def half(
        k: int, delta: jax.Array, weight: jax.Array, output_delta: jax.Array
    ) -> jax.Array:
        return 0.5 * (delta @ weight.T)

    came = carried(case, trace, half)
    assert cases.error(came.layers[0], 0.5 * exact.layers[0]) < 1e-14
    with pytest.raises(ValueError, match="^`transport` must give dl/da_1 like a_1"):
        carried(case, trace, lambda k, delta, weight, output_delta: delta)


def test_angles_by_hand() -> None:
    def one(*entries: float) -> handgrad.Params:
        return (handgrad.Layer(jnp.array([entries[:1]]), jnp.array(entries[1:])),)

    for other, degrees in (((0.0, 2.0), 90), ((3.0, 3.0), 45), ((-1.0, 0.0), 180)):
        came = ways.angles(one(*other), one(5.0, 0.0))
        assert came.tolist() == pytest.approx([degrees], rel=1e-12)
    assert jnp.isnan(ways.angles(one(0.0, 0.0), one(1.0, 0.0))).all()


@pytest.mark.parametrize("name", OTHER)
def test_every_transport_carries_through_a_stack(name: str) -> None:
    """Equal layers in a stack have the matrices, and the gradients, that they have
    apart; and the angles are those of single layers."""
    case = cases.make((4, 5, 5, 5, 5, 3))
    found = []
    for params in (case.params, handgrad.stack_layers(case.params, above=1)):
        way = all_ways(params)[name]

        def gradients(params: Any, way: ways.Transport = way) -> Any:
            trace = handgrad.forward(params, case.x, activation="tanh")
            exact = handgrad.deltas(params, trace, case.targets)
            errors = handgrad.deltas(params, trace, case.targets, transport=way)
            of_way = handgrad.gradients(trace, errors)
            whole = handgrad.value_and_grad(
                params, case.x, case.targets, activation="tanh", transport=way
            )
            angles = ways.angles(of_way, handgrad.gradients(trace, exact))
            return *map(handgrad.unstack_layers, (of_way, whole[1])), angles

        found.append(jax.jit(gradients)(params))
    chex.assert_trees_all_close(found[1], found[0], rtol=1e-11, atol=1e-13)
    assert found[1][2].shape == (5,)


def test_feedback_of_a_stack_is_that_of_its_layers() -> None:
    params = cases.make((4, 5, 5, 5, 5, 3)).params
    stacked = handgrad.stack_layers(params, above=1)
    for init in (ways.init_feedback, ways.init_direct_feedback):
        drawn = [init(jax.random.key(1), tree) for tree in (params, stacked)]
        chex.assert_trees_all_equal(*drawn)
    chex.assert_trees_all_equal(
        ways.kolen_pollack_gradients(stacked), ways.kolen_pollack_gradients(params)
    )
