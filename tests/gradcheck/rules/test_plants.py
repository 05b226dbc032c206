"""Each row of the table finds the rule that is wrong in it, and only that row does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradcheck.rules.plants import PLANTS, Accumulates, W, X, bwd, fwd, plain, reverse
from jax.core import Tracer
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from meshes import four_devices

from handgrad import check_rules

WHOLE = {"vjp", "zero tangent"}
"""The plants for which the whole table is made: one of reverse mode, one of forward."""


@pytest.mark.parametrize("name", PLANTS)
def test_wrong_rule_is_wrong_in_its_row(name: str) -> None:
    """And neither is the value, nor a derivative that it leaves right."""
    plant = PLANTS[name]
    rows = None if name in WHOLE else sorted({*plant.rows, "value", "vjp", "jvp"})
    rules = check_rules(plant.function, X, W, reference=plant.reference, rows=rows)
    assert {row.name for row in rules.wrong} == plant.rows, str(rules)
    first = min(
        plant.rows, key=lambda row: (row != name.removeprefix("second of "), row)
    )
    assert plant.cause in str(rules[first].cause), str(rules)
    assert not rules.ok


def test_buffer_that_is_added_into_is_impure() -> None:
    buffer = Accumulates()
    rows = ("value", "vjp", "vmap", "called twice", "inputs unchanged")
    rules = check_rules(reverse(fwd=buffer.fwd, bwd=buffer.bwd), X, W, rows=rows)
    assert {row.name for row in rules.wrong} == {"called twice"}, str(rules)
    assert rules["called twice"].cause == "impure"


def test_cotangent_that_is_gathered_is_no_right_type() -> None:
    mesh = Mesh(np.array(four_devices()[:2]), ("data",))
    spread, whole = (
        NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("data",), ())
    )

    def gathered(residuals, u):
        dx, dw = bwd(residuals, u)
        if isinstance(dx, Tracer):
            return dx, dw
        return jax.device_put(dx, whole), dw

    x, w = (jax.device_put(jnp.tile(leaf, 2), spread) for leaf in (X, W))
    rows = ("vjp", "inputs unchanged", "types")
    rules = check_rules(reverse(bwd=gathered), x, w, rows=rows)
    assert {row.name for row in rules.wrong} == {"types"}, str(rules)
    assert "sharding" in rules["types"].explanation
    assert check_rules(reverse(fwd=fwd), x, w, rows=rows).ok
    assert plain(x, w)["y"].shape == (10,)
