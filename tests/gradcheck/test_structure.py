"""A gradient of the wrong form is a finding that names the leaf, not a crash."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradcheck.cases import BIAS, WEIGHT, causes, check, leaf_of, right, spoiled

from handgrad import check_gradients


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda g: g[None, :], r"shape must be (4,), got (1, 4)"),
        (lambda g: g[:3], r"shape must be (4,), got (3,)"),
        (lambda g: jnp.sum(g), r"shape must be (4,), got ()"),
        (lambda g: g.astype(jnp.float16), "parameter, float32, got float16"),
        (lambda g: g.astype(jnp.int32), "parameter, float32, got int32"),
        (lambda g: None, "A real array of shape (4,) must stand here, got nothing"),
        (lambda g: "later", "must stand here, got a str"),
        (lambda g: g + 0j, "must stand here, got complex64"),
    ],
)
def test_wrong_form_of_a_leaf(change: Any, said: str) -> None:
    report = check(spoiled(bias=change))
    assert causes(report) == {BIAS: "structure"}
    assert said in leaf_of(report, BIAS).explanation
    assert leaf_of(report, WEIGHT).verdict == "right"


def test_missing_leaf() -> None:
    report = check(lambda *args: {"weight": right(*args)["weight"]})
    assert causes(report) == {BIAS: "structure"}


def test_leaf_too_many() -> None:
    report = check(lambda *args: right(*args) | {"extra": jnp.ones(2)})
    assert causes(report) == {"['extra']": "structure"}
    assert not report.ok
    assert "no such leaf" in str(report)


def test_other_containers_are_a_fault_though_the_numbers_are_right() -> None:
    params = (jnp.arange(1.0, 4.0), jnp.arange(2.0, 5.0))
    report = check_gradients(
        lambda p: jnp.sum(p[0] ** 2) + jnp.sum(p[1] ** 2),
        lambda p: [2 * p[0], 2 * p[1]],
        params,
    )
    assert not report.ok
    assert not report.wrong
    assert "containers" in report.faults[0]


class Pair(NamedTuple):
    """Two leaves; a pair like (value, gradient), which it must not be taken for."""

    first: Any
    second: Any


def test_gradient_that_is_a_pair_is_not_taken_for_value_and_gradient() -> None:
    params = (jnp.array(3.0), jnp.array([1.0, 2.0, 4.0]))
    report = check_gradients(
        lambda p: p[0] ** 2 + jnp.sum(p[1] ** 2),
        lambda p: (2 * p[0], 2 * p[1]),
        params,
    )
    assert report.ok
    assert [leaf.verdict for leaf in report.leaves] == ["right", "right"]


@jax.tree_util.register_dataclass
@dataclass
class Module:
    """Like a Flax or Equinox module: arrays, a function, and a static field."""

    weight: Any
    count: Any
    function: Any
    name: str = field(metadata={"static": True}, default="layer")


@pytest.mark.parametrize("form", ["as it is", "None", "float0"])
def test_dataclass_with_leaves_that_have_no_gradient(form: str) -> None:
    module = Module(jnp.arange(1.0, 5.0), jnp.array(3), jnp.tanh)
    nothing = {
        "as it is": (module.count, module.function),
        "None": (None, None),
        "float0": (np.zeros((), jax.dtypes.float0), None),
    }
    report = check_gradients(
        lambda p: jnp.sum(p.function(p.weight)),
        lambda p: Module(1 - jnp.tanh(p.weight) ** 2, *nothing[form]),
        module,
    )
    assert report.ok, str(report)
    assert not report.faults
    verdicts = [leaf.verdict for leaf in report.leaves]
    assert verdicts == ["right", "not differentiable", "not differentiable"]


def test_nested_structures_of_every_kind() -> None:
    params = {"a": [Pair(jnp.ones(3), (jnp.arange(1.0, 3.0),))], "b": 2.0}

    def square(p: Any) -> jax.Array:
        total = jnp.sum(p["a"][0].first ** 2) + jnp.sum(p["a"][0].second[0] ** 3)
        return total * p["b"]

    report = check_gradients(square, jax.grad(square), params)
    assert report.ok
    paths = [leaf.path for leaf in report.leaves]
    assert paths == ["['a'][0].first", "['a'][0].second[0]", "['b']"]
