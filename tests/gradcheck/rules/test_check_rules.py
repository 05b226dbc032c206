"""Right rules of every kind are right, and what is not offered is said."""

from collections.abc import Callable
from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradcheck.rules.plants import W, X, forward, plain, reverse
from jax.experimental import pallas as pl

from handgrad import RuleMismatch, assert_rules, check_rules
from handgrad.gradcheck.rules import Rules
from handgrad.gradcheck.rules.plain import plain_of
from handgrad.gradcheck.rules.rows import ROWS as ROWS_OF_THE_TABLE

RNG = np.random.default_rng(11)
ROWS = jnp.asarray(RNG.standard_normal((4, 6)), jnp.float32)
GAIN = jnp.asarray(RNG.uniform(0.5, 1.5, 6), jnp.float32)

Function = Callable[..., Any]


def rms_norm(x: Any, w: Any) -> Any:
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-5) * w


def norm_fwd(x: Any, w: Any) -> Any:
    return rms_norm(x, w), (x, w)


def norm_bwd(residuals: Any, u: Any) -> Any:
    x, w = residuals
    r = jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-5)
    y = x * r
    d = u * w
    along = jnp.mean(d * y, -1, keepdims=True)
    return r * (d - y * along), jnp.sum(u * y, 0).astype(w.dtype)


norm = jax.custom_vjp(rms_norm)
norm.defvjp(norm_fwd, norm_bwd)

wrong_norm = jax.custom_vjp(rms_norm)
wrong_norm.defvjp(norm_fwd, lambda r, u: (norm_bwd(r, u)[0], -norm_bwd(r, u)[1]))


KINDS = ("value", "vjp", "linear in the cotangent", "jvp of vjp", "vmap", "types")
"""A row of each kind: against the truth, linear, second, transformed, and of calls."""


def test_right_rules_are_right() -> None:
    rules = check_rules(norm, ROWS, GAIN)
    assert rules.ok, str(rules)
    assert {row.name for row in rules.rows if row.verdict == "not offered"} == {
        *("jvp", "unused outputs")
    }


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_right_rules_are_right_in_any_dtype(dtype: str) -> None:
    """The floors are those of the dtype, and float16 is not scaled out of its range."""
    with jax.enable_x64(dtype == "float64"):
        x, w = (leaf.astype(dtype) for leaf in (ROWS, GAIN))
        rules = check_rules(norm, x, w, rows=KINDS)
    assert {row.verdict for row in rules.rows} == {"right"}, str(rules)
    assert rules["vjp"].report is not None
    (floor, *_) = (leaf.floor for leaf in rules["vjp"].report.leaves)
    assert 1e-2 < floor / jnp.finfo(dtype).eps < 1e3


@pytest.fixture(scope="module")
def rules_of_a_forward_rule() -> Rules:
    return check_rules(forward(), X, W)


def test_every_row_of_a_forward_rule_is_offered(rules_of_a_forward_rule: Rules) -> None:
    rules = rules_of_a_forward_rule
    assert {row.verdict for row in rules.rows} == {"right"}, str(rules)
    assert tuple(row.name for row in rules.rows) == tuple(ROWS_OF_THE_TABLE)


def test_function_without_a_rule_is_its_own_reference() -> None:
    rules = check_rules(rms_norm, ROWS, GAIN, rows=(*KINDS, "jvp", "vjp of jvp"))
    assert {row.verdict for row in rules.rows} == {"right"}, str(rules)
    assert "finite differences" in rules.reference


def test_function_that_is_not_differentiated_right_is_wrong_of_itself() -> None:
    def stopped(x: Any) -> Any:
        return jnp.sum(jax.lax.stop_gradient(x) * x**2)

    rules = check_rules(stopped, X, rows=("vjp", "jvp"))
    assert rules["vjp"].cause == "not its derivative", str(rules)
    assert rules["jvp"].cause == "not its derivative", str(rules)


def looped(norm: Function, x: Any, w: Any) -> Any:
    def body(carry: Any, _: Any) -> Any:
        return norm(carry, w), None

    return jax.lax.scan(body, x, None, length=2)[0]


def branched(norm: Function, x: Any, w: Any) -> Any:
    return jax.lax.cond(x[0, 0] < 9, norm, lambda x, w: x * w, x, w)


INSIDE: dict[str, Callable[[Function], Function]] = {
    "jit": lambda norm: jax.jit(lambda x, w: jnp.tanh(norm(x, w))),
    "scan": lambda norm: partial(looped, norm),
    "cond": lambda norm: partial(branched, norm),
    "part": lambda norm: lambda x, w: jax.jit(norm)(x, w)[:2],
}
"""Functions that call another somewhere inside."""


@pytest.mark.parametrize("where", INSIDE)
def test_rule_deep_inside_is_taken_out_of_the_reference(where: str) -> None:
    """What is left has the derivative of the plain function in the rule's place."""

    def gradients(function: Function) -> Any:
        return jax.grad(lambda x, w: jnp.sum(jnp.sin(function(x, w))), (0, 1))

    of, without = map(INSIDE[where], (wrong_norm, rms_norm))
    found = plain_of(of, (ROWS, GAIN))
    assert found.rules == {"custom_vjp"}
    functions = (found.function, without, of)
    replayed, expected, wrong = jax.jit(
        lambda x, w: [gradients(function)(x, w) for function in functions]
    )(ROWS, GAIN)
    chex.assert_trees_all_close(replayed, expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(wrong[1], expected[1], rtol=0.1)


@pytest.mark.parametrize("jitted", [False, True])
def test_fixed_arguments_are_known_by_their_place(jitted: bool) -> None:
    def scaled(x: Any, factor: Any, shift: Any) -> Any:
        return x * factor + shift

    rule = jax.custom_vjp(scaled, nondiff_argnums=(1,))
    found = plain_of(jax.jit(rule) if jitted else rule, (ROWS, 2.0, 3.0))
    assert found.function is scaled
    assert found.nondiff == (1,)


def test_function_that_calls_a_wrong_rule_is_wrong_by_it() -> None:
    rows = ("value", "vjp", "vmap")
    rules = check_rules(partial(looped, wrong_norm), ROWS, GAIN, rows=rows)
    assert "custom_vjp" in rules.reference
    verdicts = [row.verdict for row in rules.rows]
    assert verdicts == ["right", "wrong", "right"], str(rules)


def test_rule_that_jax_ships_stays_in_the_reference() -> None:
    at_zero = X.at[0].set(0.0)
    rows = ("value", "vjp", "jvp", "jvp against vjp", "vjp of vjp", "types")
    rules = check_rules(lambda x: jax.nn.relu(x) * 2, at_zero, rows=rows)
    assert {row.verdict for row in rules.rows} == {"right"}, str(rules)
    assert "itself" in rules.reference


def test_integers_and_static_arguments_are_held_fixed() -> None:
    def gather(table: Any, index: Any, mode: str) -> Any:
        return table[index] * (2 if mode == "twice" else 1)

    def fwd(table: Any, index: Any, mode: str) -> Any:
        return gather(table, index, mode), (table, index)

    def add(mode: str, residuals: Any, u: Any) -> Any:
        table, index = residuals
        factor = 2 if mode == "twice" else 1
        return jnp.zeros_like(table).at[index].add(factor * u), None

    def overwrite(mode: str, residuals: Any, u: Any) -> Any:
        table, index = residuals
        factor = 2 if mode == "twice" else 1
        return jnp.zeros_like(table).at[index].set(factor * u), None

    index = jnp.asarray([2, 0, 2, 1])
    for bwd, verdict in ((add, "right"), (overwrite, "wrong")):
        function = jax.custom_vjp(gather, nondiff_argnums=(2,))
        function.defvjp(fwd, bwd)
        rules = check_rules(function, ROWS, index, "twice", rows=("vjp", "vmap"))
        assert rules["vjp"].verdict == verdict, str(rules)
        assert rules["vmap"].verdict == "right", str(rules)


def test_complex_outputs_and_none_are_looked_at() -> None:
    def spectrum(x: Any) -> Any:
        return {"f": jnp.fft.rfft(x), "none": None, "n": jnp.argmax(x)}

    def bwd(right: bool, x: Any, u: Any) -> Any:
        return jax.vjp(lambda x: jnp.fft.rfft(x), x)[1](
            u["f"] if right else jnp.conj(u["f"])
        )

    for right in (True, False):
        function = jax.custom_vjp(spectrum)
        function.defvjp(lambda x: (spectrum(x), x), lambda x, u, r=right: bwd(r, x, u))
        rules = check_rules(function, X, rows=None if right else KINDS)
        wrong = {row.name for row in rules.wrong}
        assert wrong == (set() if right else {"vjp", "jvp of vjp"}), str(rules)


def test_integer_output_that_differs_is_wrong() -> None:
    function = reverse(fun=lambda x, w: plain(x, w) | {"n": jnp.argmax(x)})

    def smallest(x: Any, w: Any) -> Any:
        return plain(x, w) | {"n": jnp.argmin(x)}

    rules = check_rules(function, X, W, reference=smallest, rows=("value",))
    assert rules["value"].verdict == "wrong"


def kernel(x: Any, w: Any) -> Any:
    """tanh(x) w, by Pallas."""

    def body(x_ref: Any, w_ref: Any, out_ref: Any) -> None:
        row = pl.program_id(0)
        out_ref[...] = jnp.tanh(x_ref[...]) * w_ref[...] + 0 * row

    block = pl.BlockSpec((1, 6), lambda i: (i, 0))
    return pl.pallas_call(
        body,
        out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype),
        grid=(x.shape[0],),
        in_specs=[block, pl.BlockSpec((6,), lambda i: (0,))],
        out_specs=block,
        interpret=True,
    )(x, w)


def reference(x: Any, w: Any) -> Any:
    return jnp.tanh(x) * w


def kernel_bwd(residuals: Any, u: Any) -> Any:
    x, w = residuals
    t = jnp.tanh(x)
    return u * w * (1 - t * t), jnp.sum(u * t, 0)


def test_kernel_beside_a_reference() -> None:
    function = jax.custom_vjp(kernel)
    function.defvjp(lambda x, w: (kernel(x, w), (x, w)), kernel_bwd)
    rows = (*KINDS, "jvp")
    rules = check_rules(function, ROWS, GAIN, reference=reference, rows=rows)
    assert rules.ok, str(rules)
    assert {rules[name].verdict for name in ("value", "vjp", "vmap")} == {"right"}
    assert rules["jvp"].verdict == "not offered"


def test_callback_beside_a_reference() -> None:
    def called(x: Any) -> Any:
        return jax.pure_callback(np.sin, x, x, vmap_method="sequential")

    function = jax.custom_vjp(called)
    function.defvjp(lambda x: (called(x), x), lambda x, u: (u * jnp.cos(x),))
    rows = ("value", "vjp", "jit", "vmap", "called twice", "types")
    assert check_rules(function, X, reference=jnp.sin, rows=rows).ok
    function.defvjp(lambda x: (called(x), x), lambda x, u: (-u * jnp.cos(x),))
    rules = check_rules(function, X, reference=jnp.sin, rows=("vjp",))
    assert rules["vjp"].cause == "sign"


def test_what_has_no_reverse_mode_is_checked_forwards() -> None:
    def loop(x: Any) -> Any:
        def step(state: Any) -> Any:
            return jnp.sin(state[0]), state[1] + 1

        return jax.lax.while_loop(lambda state: state[1] < 3, step, (x, 0))[0]

    rules = check_rules(loop, X, rows=("vjp", "jvp"))
    assert rules["vjp"].verdict == "not offered"
    assert "while_loop" in rules["vjp"].explanation
    assert rules["jvp"].verdict == "right", str(rules)


def test_branch_on_a_value_is_no_rule_for_jit() -> None:
    def branches(x: Any, w: Any) -> Any:
        return (
            plain(x, w) if bool(jnp.sum(jax.lax.stop_gradient(x)) > 0) else plain(w, x)
        )

    rules = check_rules(branches, X, W, rows=("vjp", "jit", "vmap"))
    assert rules["vjp"].verdict == "right", str(rules)
    assert rules["jit"].verdict == "not offered"
    assert rules["vmap"].verdict == "not offered"


def test_wrong_shape_of_a_cotangent_raises_and_is_wrong() -> None:
    function = reverse(bwd=lambda residuals, u: (u["y"][:2], residuals[1]))
    rules = check_rules(function, X, W, rows=("vjp",))
    assert rules["vjp"].cause == "raises"
    assert not rules.ok


def test_cotangent_of_another_dtype_is_no_right_type() -> None:
    function = jax.custom_vjp(jnp.sin)
    function.defvjp(
        lambda x: (jnp.sin(x), x), lambda x, u: ((u * jnp.cos(x)).astype(jnp.bfloat16),)
    )
    rules = check_rules(function, X, rows=("types",))
    assert rules["types"].verdict == "wrong", str(rules)
    assert "bfloat16" in rules["types"].explanation


def test_forward_pass_of_another_dtype_is_wrong() -> None:
    function = jax.custom_vjp(jnp.sin)
    function.defvjp(
        lambda x: (jnp.sin(x).astype(jnp.float16), x),
        lambda x, u: ((u.astype(x.dtype) * jnp.cos(x)),),
    )
    assert not check_rules(function, X).ok


def test_nothing_to_differentiate_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^`primals` must hold a floating array"):
        check_rules(jnp.sum, jnp.arange(3))


def test_assert_rules_shows_the_table_and_then_the_call() -> None:
    rows = ["vjp", "linear in the cotangent"]
    assert_rules(norm, ROWS, GAIN, rows=rows)
    with pytest.raises(RuleMismatch) as caught:
        assert_rules(wrong_norm, ROWS, GAIN, rows=rows)
    table, _, call = str(caught.value).partition("To see it again:")
    assert table.startswith("\nrules of rms_norm NOT ok: ")
    assert "vjp                      wrong        sign" in table
    node = "test_check_rules.py::test_assert_rules_shows_the_table_and_then_the_call"
    assert f'{node}"' in call
    assert "check_rules(" in call
    assert f"jnp.asarray({np.asarray(GAIN).tolist()}" in call
    assert "    rows=['vjp', 'linear in the cotangent'],\n))" in call
    assert caught.value.report["vjp"].cause == "sign"


def test_rules_are_plain_values_too(rules_of_a_forward_rule: Rules) -> None:
    found = rules_of_a_forward_rule.to_dict()
    assert found["ok"] is True
    assert found["rows"][0] == {
        "name": "value",
        "verdict": "right",
        "cause": None,
        "explanation": "",
        "ok": True,
    }


def test_rows_that_are_asked_for_come_alone_and_in_the_order_of_the_table() -> None:
    rules = check_rules(reverse(), X, W, rows=["types", "zero cotangent", "types"])
    assert [row.name for row in rules.rows] == ["zero cotangent", "types"]
    assert rules.ok, str(rules)
    assert "rows=['types', 'zero cotangent', 'types']" in rules.call
    assert "reference=" not in rules.call


def test_a_derivative_that_is_not_offered_is_nothing_tested() -> None:
    rows = ("jvp", "zero tangent", "jvp against vjp", "types")
    rules = check_rules(reverse(), X, W, rows=rows)
    verdicts = [row.verdict for row in rules.rows]
    assert verdicts == [*["not offered"] * 3, "right"], str(rules)
    assert rules["zero tangent"].explanation == "the function offers no jvp."
    assert not rules.ok


@pytest.mark.parametrize("rows", [("vjp", "vmaps"), "vjp", ()])
def test_rows_that_do_not_exist_are_refused(rows: Any) -> None:
    with pytest.raises(
        ValueError, match=r"^`rows` must be .* 'vmap', .* got "
    ) as error:
        check_rules(reverse(), X, W, rows=rows)
    assert str(error.value).endswith(f"got {rows!r}.")
