"""A gradient of the wrong form is a finding that names the leaf, not a crash."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradcheck.cases import BIAS, WEIGHT, causes, check, leaf_of, right, spoiled

from handgrad import check_gradients
from handgrad.gradcheck.structure import Aligned, align, unpack
from handgrad.gradcheck.trees import split


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda g: g[None, :], r"shape must be (4,), got (1, 4)"),
        (lambda g: g[:3], r"shape must be (4,), got (3,)"),
        (lambda g: g.astype(jnp.float16), "parameter, float32, got float16"),
        (lambda g: g.astype(jnp.int32), "parameter, float32, got int32"),
        (lambda g: None, "A real array of shape (4,) must stand here, got nothing"),
        (lambda g: "later", "must stand here, got a str"),
        (lambda g: g + 0j, "must stand here, got complex64"),
    ],
)
def test_wrong_form_of_a_leaf(change: Any, text: str) -> None:
    report = check(spoiled(bias=change))
    assert causes(report) == {BIAS: "structure"}
    assert text in leaf_of(report, BIAS).explanation
    assert leaf_of(report, WEIGHT).verdict == "right"


@pytest.mark.parametrize("dtype", ["int32", "float16", "bfloat16"])
@pytest.mark.parametrize(
    ("factor", "cause"), [(1, "structure"), (-1, "sign"), (2, "scale"), (0, "zero")]
)
def test_wrong_dtype_hides_nothing_else(factor: float, cause: str, dtype: str) -> None:
    w = jnp.arange(2.0, 18.0) + 0.4
    report = check_gradients(
        lambda w: jnp.sum(w * w) / 2, lambda w: (factor * w).astype(dtype), w
    )
    assert report.leaves[0].cause == cause
    assert f"float32, got {dtype}" in report.leaves[0].explanation


class Dense(NamedTuple):
    """Two arrays."""

    w: Any
    b: Any


def squares(tree: Any) -> jax.Array:
    return sum((jnp.sum(x * x) / 2 for x in jax.tree.leaves(tree)), jnp.zeros(()))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda p: [tuple(q) for q in p], "at [0] a Dense must stand, got a tuple"),
        (lambda p: tuple(p), "at the top a list must stand, got a tuple"),
        (
            lambda p: tuple(list(q) for q in p),
            "at the top a list must stand, got a tup",
        ),
    ],
)
def test_other_containers_are_told_in_one_line(change: Any, text: str) -> None:
    params = [Dense(jnp.arange(1.0, 4.0), jnp.arange(2.0, 4.0) + i) for i in range(4)]
    report = check_gradients(squares, change, params)
    assert not report.ok
    assert report.wrong == ()
    (fault,) = report.faults
    assert text in fault
    negative = jax.tree.map(jnp.negative, params)
    wrong = check_gradients(squares, lambda p: change(negative), params)
    assert {leaf.cause for leaf in wrong.wrong} == {"sign"}


def test_names_of_other_containers_must_be_those_of_the_leaves() -> None:
    params = Dense(jnp.ones(3), jnp.ones(2))
    same = check_gradients(squares, lambda p: {"b": p.b, "w": p.w}, params)
    assert {leaf.cause for leaf in same.wrong} == {"structure"}
    params = {"a": jnp.ones(3), "b": jnp.ones(2)}
    other = check_gradients(squares, lambda p: {"a": p["a"], "c": p["b"]}, params)
    assert {leaf.path for leaf in other.wrong} == {"['b']", "['c']"}
    listed = check_gradients(squares, lambda p: [p["a"], p["b"]], params)
    assert {leaf.cause for leaf in listed.wrong} == {"structure"}


def test_sum_too_many_is_told_with_the_shape() -> None:
    report = check(spoiled(bias=lambda g: jnp.sum(g * jnp.arange(1.0, 5.0))))
    assert causes(report) == {BIAS: "structure"}
    assert "shape must be (4,), got ()" in leaf_of(report, BIAS).explanation


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


ARRAY = jnp.arange(1.0, 4.0)
OTHER = jnp.arange(2.0, 5.0)


@pytest.mark.parametrize("value", [2.5, jnp.float32(2.5), np.float64(2.5), None, 3])
@pytest.mark.parametrize("aux", [[], [(1, "two")], [{"a": ARRAY}], [ARRAY], [0.5]])
def test_pair_of_value_and_gradient_is_unpacked(value: Any, aux: list[Any]) -> None:
    head = (value, *aux) if aux else value
    for params in (ARRAY, {"w": ARRAY}, [ARRAY], (ARRAY,), (ARRAY, ARRAY, ARRAY)):
        found, gradient = unpack((head, params), split(params))
        assert found is value
        assert gradient is params


@pytest.mark.parametrize(
    "candidate",
    [
        [2.5, ARRAY],
        {0: 2.5, 1: ARRAY},
        ARRAY[0],
        2.5,
        None,
        (),
        (2.5,),
        (2.5, ARRAY, ARRAY),
        (ARRAY, ARRAY),
        (ARRAY[:1], ARRAY),
        ([2.5, 1.5], ARRAY),
        ([], ARRAY),
        ({}, ARRAY),
        ({0: 2.5, 1: 3.5}, ARRAY),
        ((), ARRAY),
        ((2.5,), ARRAY),
        ((2.5, 1.5, 0.5), ARRAY),
        ((2.5, ARRAY, 3), ARRAY),
        ((ARRAY, "aux"), ARRAY),
        (((2.5, "aux"), "aux"), ARRAY),
        (({"loss": 2.5}, "aux"), ARRAY),
    ],
    ids=lambda candidate: type(candidate).__name__,
)
def test_what_is_no_pair_of_value_and_gradient_stays(candidate: Any) -> None:
    value, gradient = unpack(candidate, split({"w": ARRAY}))
    assert value is None
    assert gradient is candidate


@pytest.mark.parametrize(
    "params", [(0.5, ARRAY), ((0.5, 1.5), ARRAY), Pair(0.5, ARRAY), ((0.5, 1), 2.5)]
)
def test_pair_with_the_structure_of_the_parameters_is_the_gradient(params: Any) -> None:
    value, gradient = unpack(params, split(params))
    assert value is None
    assert gradient is params


def test_pair_of_a_value_and_a_gradient_that_is_a_pair() -> None:
    params = (ARRAY, OTHER)
    value, gradient = unpack((2.5, params), split(params))
    assert value == 2.5
    assert gradient is params


def form(values: Any, *others: Any) -> Aligned:
    """What `align` finds, with lists for the values."""
    return Aligned(values, *others)


def found(params: Any, tree: Any) -> Aligned:
    """`align`, with the values as lists."""
    aligned = align(split(params), tree)
    assert {leaf.dtype for leaf in aligned.values.values()} <= {np.dtype(np.float64)}
    values = {path: leaf.tolist() for path, leaf in aligned.values.items()}
    return form(values, aligned.findings, aligned.extra, aligned.general)


def test_gradient_of_the_right_form_is_its_values() -> None:
    params = {"a": ARRAY, "b": (jnp.array([[1, 2]]), 2.0), "c": True, "d": "relu"}
    same = {"['a']": [1.0, 2.0, 3.0], "['b'][1]": 2.0}
    assert found(params, params) == form(same)
    nothing = {"a": ARRAY, "b": (None, 2.0), "c": None, "d": None}
    assert found(params, nothing) == form(same)


def must_stand(shape: str, got: str) -> str:
    return f"A real array of shape {shape} must stand here, got {got}."


def must_cast(dtype: str, got: str) -> str:
    return f"The dtype must be that of the parameter, {dtype}, got {got}. Cast it."


@pytest.mark.parametrize(
    ("leaf", "text"),
    [
        (None, must_stand("(3,)", "nothing")),
        ("later", must_stand("(3,)", "a str")),
        (1j, must_stand("(3,)", "a complex")),
        (ARRAY + 0j, must_stand("(3,)", "complex64")),
        (ARRAY > 0, must_stand("(3,)", "bool")),
        (True, must_stand("(3,)", "a bool")),
        (np.zeros(3, jax.dtypes.float0), must_stand("(3,)", "float0")),
        (np.array(["a"]), must_stand("(3,)", "<U1")),
    ],
)
def test_leaf_that_is_no_real_array_has_no_value(leaf: Any, text: str) -> None:
    assert found(ARRAY, leaf) == form({}, {"(params)": text})


@pytest.mark.parametrize(
    ("leaf", "value", "text"),
    [
        (ARRAY[:2], [1.0, 2.0], "The shape must be (3,), got (2,)."),
        (jnp.ones(4), [1.0] * 4, "The shape must be (3,), got (4,)."),
        (ARRAY[None], [[1.0, 2.0, 3.0]], "The shape must be (3,), got (1, 3)."),
        (2.5, 2.5, "The shape must be (3,), got ()."),
        (3, 3.0, "The shape must be (3,), got ()."),
        (jnp.array([1, 2], jnp.int8), [1.0, 2.0], "The shape must be (3,), got (2,)."),
        (ARRAY.astype(jnp.float16), [1.0, 2.0, 3.0], must_cast("float32", "float16")),
        (ARRAY.astype(jnp.bfloat16), [1.0, 2.0, 3.0], must_cast("float32", "bfloat16")),
        (ARRAY.astype(jnp.int32), [1.0, 2.0, 3.0], must_cast("float32", "int32")),
        (np.array([1, 2, 3], np.uint8), [1.0, 2.0, 3.0], must_cast("float32", "uint8")),
    ],
)
def test_leaf_of_another_form_keeps_its_values(
    leaf: Any, value: Any, text: str
) -> None:
    assert found(ARRAY, leaf) == form({"(params)": value}, {"(params)": text})


@pytest.mark.parametrize(
    ("parameter", "leaf", "text"),
    [
        ("float32", "float64", must_cast("float32", "float64")),
        ("float64", "float32", must_cast("float64", "float32")),
        ("bfloat16", "float16", must_cast("bfloat16", "float16")),
        ("float64", "float64", None),
        ("bfloat16", "bfloat16", None),
    ],
)
def test_dtype_must_be_that_of_the_parameter(
    parameter: str, leaf: str, text: str | None
) -> None:
    with jax.enable_x64(True):
        one = jnp.ones(1)
        aligned = found(one.astype(parameter), one.astype(leaf))
    assert aligned == form(
        {"(params)": [1.0]}, {} if text is None else {"(params)": text}
    )


@pytest.mark.parametrize(
    ("leaf", "dtype"),
    [(1.5, None), (jnp.float32(1.5), None), (2, "int32")],
)
def test_gradient_of_a_python_float_may_be_one(leaf: Any, dtype: str | None) -> None:
    findings = {} if dtype is None else {"['b']": must_cast("float32", dtype)}
    assert found({"b": 0.5}, {"b": leaf}) == form({"['b']": float(leaf)}, findings)


def test_leaves_too_many_are_named_and_nones_are_none() -> None:
    tree = {"a": ARRAY, "b": OTHER, "c": None, "d": "later"}
    text = "The parameters have no such leaf. Remove it."
    extra = {"['b']": text, "['d']": text}
    assert found({"a": ARRAY}, tree) == form({"['a']": [1.0, 2.0, 3.0]}, {}, extra)


def test_other_containers_are_told_where_nothing_else_is_wrong() -> None:
    values = {"[0]": [1.0, 2.0, 3.0], "[1]": [2.0, 3.0, 4.0]}
    explained = (
        "the gradient must have the containers of the parameters: at the top a tuple "
        "must stand, got a list. Return the same types."
    )
    params = (ARRAY, OTHER)
    assert found(params, [*params]) == form(values, {}, {}, [explained])
    too_many = form(values, {}, {"[2]": "The parameters have no such leaf. Remove it."})
    assert found(params, [*params, ARRAY]) == too_many
    misshapen = {"[0]": "The shape must be (3,), got (2,)."}
    shortened = found(params, [ARRAY[:2], OTHER])
    assert shortened == form(values | {"[0]": [1.0, 2.0]}, misshapen)


def test_none_in_the_parameters_is_a_container() -> None:
    params = {"a": ARRAY, "b": None}
    values = {"['a']": [1.0, 2.0, 3.0]}
    assert found(params, {"a": ARRAY, "b": None}) == form(values)
    (explained,) = found(params, {"a": ARRAY}).general
    assert explained == (
        "the gradient must have the containers of the parameters: at the top the dicts "
        "differ in what is not an array. Return the same types."
    )


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"a": (ARRAY,), "b": (OTHER,)}, "at ['a'] a list must stand, got a tuple"),
        ({"a": [ARRAY], "b": [OTHER]}, "at ['b'] a tuple must stand, got a list"),
    ],
)
def test_first_container_that_differs_is_named(given: Any, text: str) -> None:
    (explained,) = found({"a": [ARRAY], "b": (OTHER,)}, given).general
    assert f": {text}. Return" in explained


def test_gradient_with_aux_beside_it_is_unpacked() -> None:
    for params in (ARRAY, {"w": ARRAY}, (ARRAY, OTHER)):
        for aux in ({"n": 1}, "aux", [OTHER], None):
            value, gradient = unpack((params, aux), split(params))
            assert value is None
            assert gradient is params


def test_grad_of_a_loss_with_aux_is_right() -> None:
    def loss(p: Any) -> Any:
        return jnp.sum(p["w"] ** 3), {"logits": p["w"]}

    report = check_gradients(loss, jax.grad(loss, has_aux=True), {"w": ARRAY})
    assert report.ok
    assert [leaf.path for leaf in report.leaves] == ["['w']"]


def test_state_of_a_flax_module_is_its_gradient() -> None:
    nnx = pytest.importorskip("flax.nnx")

    class Net(nnx.Module):
        def __init__(self) -> None:
            self.layers = nnx.List([nnx.Linear(3, 1, rngs=nnx.Rngs(0))])
            self.mean = nnx.BatchStat(jnp.ones(3))

    def loss(net: Any, x: jax.Array) -> jax.Array:
        return jnp.mean(net.layers[0](x - net.mean[...]) ** 2)

    def wrong(net: Any, x: jax.Array) -> Any:
        return jax.tree.map(jnp.negative, nnx.grad(loss)(net, x))

    x = jnp.arange(6.0).reshape(2, 3)
    report = check_gradients(loss, nnx.grad(loss), Net(), x)
    assert report.ok
    verdicts = {leaf.path: leaf.verdict for leaf in report.leaves}
    assert sorted(verdicts.values()) == ["right", "right", "untested"]
    signs = {leaf.cause for leaf in check_gradients(loss, wrong, Net(), x).wrong}
    assert signs == {"sign"}


def test_donated_arguments_of_the_gradient_are_kept() -> None:
    def gradient(w: jax.Array, x: jax.Array) -> jax.Array:
        float(x[0])  # looks at a number, so it is called as it is
        return jitted(w, x)

    jitted = jax.jit(lambda w, x: 2 * w * x, donate_argnums=0)
    w, x = jnp.arange(1.0, 5.0), jnp.arange(2.0, 6.0)
    for rule in (jitted, gradient):
        assert check_gradients(lambda w, x: jnp.sum(w**2 * x), rule, w, x).ok
        assert not w.is_deleted()
        assert not x.is_deleted()


def test_gradient_of_numpy_keeps_its_dtype() -> None:
    def gradient(w: jax.Array) -> np.ndarray:
        return 2 * np.arange(1.0, 4.0).astype(np.float16)

    report = check_gradients(lambda w: jnp.sum(w**2), gradient, ARRAY)
    assert "float32, got float16" in report.leaves[0].explanation


def test_wrong_dtype_does_not_hide_wrong_numbers() -> None:
    x = ARRAY.astype(jnp.bfloat16)

    def loss(x: jax.Array) -> jax.Array:
        return jnp.sum(jnp.sin(x))

    def gradient(sign: float) -> Any:
        return lambda x: sign * jnp.cos(x).astype(jnp.float32)

    both = check_gradients(loss, gradient(-1), x).leaves[0]
    assert both.cause == "sign"
    assert "bfloat16, got float32" in both.explanation
    alone = check_gradients(loss, gradient(1), x).leaves[0]
    assert alone.cause == "structure"
