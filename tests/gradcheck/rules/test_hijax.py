"""Primitives of `jax.experimental.hijax`: their rules are judged like any others."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import hijax

from handgrad import check_rules
from handgrad.gradcheck.reference.program import trace

BASE: Any = getattr(hijax, "HiPrim", None) or hijax.VJPHiPrimitive  # its name in 0.10
X = jnp.asarray(np.random.default_rng(5).uniform(0.5, 2, 5), jnp.float32)


def slope(x: Any) -> Any:
    return jnp.sin(x) + x * jnp.cos(x)


class Reverse(BASE):
    """x sin(x), with a rule for reverse mode; ``wrong`` names a rule that is wrong."""

    def __init__(self, aval: Any, wrong: str = "") -> None:
        self.in_avals, self.out_aval = (aval,), aval
        self.params = {"wrong": wrong}
        super().__init__()

    def sign(self, rule: str) -> float:
        return -1.0 if self.params["wrong"] == rule else 1.0

    def expand(self, x: Any) -> Any:
        return x * jnp.sin(x)

    def vjp_fwd(self, nzs_in: Any, x: Any) -> Any:
        del nzs_in
        return self.sign("value in vjp") * self(x), x

    def vjp_bwd_retval(self, x: Any, u: Any) -> Any:
        return (self.sign("vjp") * u * slope(x),)

    def batch(self, axis_data: Any, args: Any, dims: Any) -> Any:
        del axis_data
        same = type(self)(jax.typeof(args[0]), self.params["wrong"])
        return self.sign("vmap") * same(*args), dims[0]


class Both(Reverse):
    """The same with a rule for forward mode."""

    def jvp(self, primals: Any, tangents: Any) -> Any:
        (x,), (v,) = primals, tangents
        return self(x), self.sign("jvp") * v * slope(x)


def applied(kind: Any, wrong: str = "") -> Any:
    return lambda x: kind(jax.typeof(x), wrong)(x)


def test_right_rules_of_a_primitive_are_right() -> None:
    rules = check_rules(applied(Both), X)
    assert rules.reference == "the plain function inside the Both, in float64"
    missing = {row.name for row in rules.rows if row.verdict == "not offered"}
    assert missing == {"unused outputs", "subsets of arguments"}, str(rules)
    assert {row.verdict for row in rules.rows} == {"right", "not offered"}, str(rules)


@pytest.mark.parametrize("row", ["value in vjp", "vjp", "jvp", "vmap"])
def test_wrong_rule_of_a_primitive_is_wrong_with_its_cause(row: str) -> None:
    others = {"value", "value in vjp", "vjp", "value in jvp", "jvp"} - {row}
    rules = check_rules(applied(Both, row), X, rows=[row, *others])
    assert rules[row].verdict == "wrong", str(rules)
    assert rules[row].cause == "sign", str(rules)
    assert {rules[name].verdict for name in others} == {"right"}, str(rules)


def test_primitive_without_a_forward_rule_offers_none() -> None:
    rules = check_rules(applied(Reverse, "vjp"), X, rows=["vjp", "jvp"])
    assert rules["vjp"].cause == "sign", str(rules)
    assert rules["jvp"].verdict == "not offered", str(rules)
    assert "jvp" in rules["jvp"].explanation


def test_primitive_deep_inside_is_taken_out_of_the_reference() -> None:
    def deep(x: Any) -> Any:
        def body(carry: Any, _: Any) -> Any:
            return jax.jit(applied(Reverse, "vjp"))(carry), None

        return jnp.tanh(jax.lax.scan(body, x, None, length=1)[0])

    rules = check_rules(deep, X, rows=["value", "vjp"])
    assert "inside the Reverse" in rules.reference
    assert (rules["value"].verdict, rules["vjp"].verdict) == ("right", "wrong")


def test_program_with_a_primitive_runs_in_float64() -> None:
    traced = trace(lambda values: [applied(Both)(values[0])], [X])
    (result,) = traced.in_float64([X])
    exact = np.asarray(X, np.float64)
    np.testing.assert_allclose(result, exact * np.sin(exact), rtol=1e-15)
    assert traced.islands == set()
