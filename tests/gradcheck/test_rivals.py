"""The scoreboard is fair: every rival runs, and passes a right gradient in float64."""

from types import ModuleType

import jax
import jax.numpy as jnp
import pytest
from load_script import load_script

from handgrad.planted_bugs import BUGS, NETWORKS, problem, right_gradient


@pytest.fixture(scope="module")
def rivals() -> ModuleType:
    return load_script("benchmarks/scoreboard_rivals")


def test_rivals_tell_a_right_gradient_from_the_opposite_one(rivals: ModuleType) -> None:
    with jax.enable_x64(True):
        point = problem(NETWORKS[0], 0, jnp.float64)
        sign = next(bug for bug in BUGS if bug.name == "b3_sign")
        gradients = {False: right_gradient(point.h), True: sign.gradient(point.h)}
        for name, rival in rivals.RIVALS.items():
            for wrong, gradient in gradients.items():
                outcome = rival(point, gradient, "float64")
                if outcome is not None:  # torch is not installed
                    assert outcome.raised in rivals.VERDICTS, name
                    assert outcome.rejected == wrong or name == "chex", name
