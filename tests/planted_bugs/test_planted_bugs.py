"""Every planted bug is caught, its leaves are named exactly, and so is its cause."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import compiled

import handgrad
from handgrad import check_gradients
from handgrad.gradcheck import Report
from handgrad.gradcheck.causes.claims import CAUSES
from handgrad.gradcheck.check import Check, Variant
from handgrad.gradcheck.points import Basis, examine, prepare
from handgrad.gradcheck.reference.float64 import Point
from handgrad.planted_bugs import (
    BUGS,
    NETWORKS,
    Bug,
    Network,
    Problem,
    applies,
    catalogue,
    problem,
    remembered,
    right_gradient,
)
from handgrad.planted_bugs.functions import RULES

NAMES = [bug.name for bug in BUGS]
NAMED = {bug.name: bug for bug in BUGS}
BY_CATALOGUE = (
    "b3_softmax_prime",
    "b6_stale_weight",
    "b6_untransposed",
    "b7_missing",
    "b7_missing_first",
    "b7_missing_last",
    "b7_squared",
    "b7_at_activation",
    "b7_value",
    "b7_sigmoid",
    "b7_one_minus",
    "b7_unit_index",
    "b7_sample_index",
)
"""What the numbers alone do not tell: h' may be anything."""

RELEVANT = (*BY_CATALOGUE, "b3_class_index", "b3_textbook", "b5_shape", "momentum")
"""Entries of the catalogue for the test to choose from; all would be slow."""


def home(bug: Bug) -> Network:
    """The deepest network where the bug shows."""
    dtype = jnp.float64 if bug.needs == "float64" else jnp.float32
    fitting = [network for network in NETWORKS if applies(bug, network, dtype)]
    return max(fitting, key=lambda network: len(network.sizes))


@functools.cache
def prepared(network: Network, needs: str) -> tuple[Problem, Check, Basis]:
    """A problem, its right gradient, and what is known of the loss there."""
    dtype = jnp.float64 if needs == "float64" else jnp.float32
    with jax.enable_x64(needs == "float64"):
        point = problem(network, 0, dtype, needs)
        check = Check(
            Point(jax.jit(point.loss), point.params, point.args),
            right_gradient(point.h),
            point.alternatives,
            strict=True,
        )
        return point, check, prepare(check.point)


@functools.cache
def examined(bug: Bug, network: Network, known: tuple[Variant, ...] = ()) -> Report:
    """The report on a bug in a network, held to the convention of jax.grad."""
    point, right, basis = prepared(network, bug.needs)
    with jax.enable_x64(bug.needs == "float64"):
        wrong = bug.gradient(point.h)
        return examine(right._replace(gradient=wrong, catalogue=known), basis)


def spoiled(bug: Bug) -> list[str]:
    layers = len(home(bug).sizes) - 1
    return [f"[{k - 1}].{kind}" for k, kind in bug.spoiled(layers)]


def test_there_are_sixty_and_no_name_stands_twice() -> None:
    assert len(BUGS) >= 60
    assert len(set(NAMES)) == len(BUGS)


def test_every_cause_is_planted() -> None:
    """In a network or another function; and what has no derivative, in `test_parts`."""
    wrong = [wrong for rule in RULES for wrong in rule.wrong]
    causes = {bug.cause for bug in BUGS} | {c for w in wrong for c in w.causes}
    assert causes | {"straight_through"} == set(CAUSES)


def test_every_equation_and_every_activation_is_spoiled() -> None:
    assert {bug.equation for bug in BUGS} >= {"B3", "B4", "B5", "B6", "B7", "L2"}
    assert {network.activation for network in NETWORKS} == {"tanh", "relu", "sigmoid"}


@pytest.mark.parametrize("name", NAMES)
def test_bug_is_caught_and_its_leaves_are_named_exactly(name: str) -> None:
    bug = NAMED[name]
    report = examined(bug, home(bug))
    assert [leaf.path for leaf in report.wrong] == spoiled(bug)
    cause = "unknown" if name in BY_CATALOGUE else bug.cause
    assert {leaf.cause for leaf in report.wrong} == {cause}, str(report)
    assert report.faults == ()


@functools.cache
def known(network: Network) -> tuple[Variant, ...]:
    """The catalogue for a network, each entry evaluated once and not once per bug."""
    point = problem(network, 0, jnp.float32)
    found = catalogue(*point.h)
    assert len(found) == len(BUGS)
    return remembered([entry for entry in found if entry.name in RELEVANT], point)


@pytest.mark.parametrize(
    "name", [name for name in BY_CATALOGUE if not NAMED[name].harmless]
)
def test_catalogue_tells_what_the_numbers_do_not(name: str) -> None:
    bug = NAMED[name]
    report = examined(bug, home(bug), known(home(bug)))
    assert {leaf.cause for leaf in report.wrong} == {bug.cause}
    assert bug.says in report.wrong[0].explanation


@pytest.mark.parametrize(
    ("network", "needs"),
    [(network, "") for network in NETWORKS[:2]]
    + [(NETWORKS[1], "weights"), (NETWORKS[1], "soft")],
    ids=lambda value: getattr(value, "name", value),
)
def test_backward_pass_without_a_bug_is_right(network: Network, needs: str) -> None:
    _, check, basis = prepared(network, needs)
    report = examine(check, basis)
    assert report.ok
    assert not report.untested


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_its_loss_is_that_of_the_package(network: Network) -> None:
    point = problem(network, 0, jnp.float32, "weights")
    x, targets, w = point.args
    params = tuple(handgrad.Layer(*layer) for layer in point.params)
    loss = functools.partial(handgrad.loss, activation=network.activation)
    expected = compiled(loss)(params, x, targets, weights=w)
    found = compiled(point.loss)(point.params, *point.args)
    np.testing.assert_allclose(found, expected, 1e-6)


@pytest.mark.parametrize(
    ("bug", "activation"),
    [(bug, activation) for bug in BUGS for activation in bug.harmless],
    ids=lambda value: getattr(value, "name", value),
)
def test_bug_is_harmless_where_it_says_so(bug: Bug, activation: str) -> None:
    network = next(n for n in NETWORKS if n.activation == activation)
    assert examined(bug, network).ok


def test_sixty_gradients_are_distinct() -> None:
    """Two bugs may write one mistake in two places; sixty are mistakes of their own:
    they are in another leaf, or another distance away."""
    seen = set()
    for bug in BUGS:
        leaves = examined(bug, home(bug)).leaves
        figures = [f"{leaf.path} {leaf.relative_error:.4g}" for leaf in leaves]
        seen.add((home(bug), bug.needs, *figures))
    assert len(seen) >= 60


def test_a_network_of_another_kind_leaves_the_catalogue_unused() -> None:
    report = check_gradients(
        lambda w: jnp.sum(w**2),
        lambda w: 1 + w,
        jnp.arange(1.0, 6.0),
        catalogue=catalogue(jnp.tanh, lambda d, a: 1 - a * a)[:3],
    )
    assert [leaf.cause for leaf in report.leaves] == ["unknown"]
