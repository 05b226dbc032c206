"""The scoreboard is fair: every rival runs, and passes a right gradient in float64."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import pytest

from handgrad.planted_bugs import BUGS, NETWORKS, problem, right_gradient

SCRIPT = Path(__file__).parents[2] / "scripts" / "gradcheck_rivals.py"


@pytest.fixture(scope="module")
def rivals() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gradcheck_rivals", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


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
