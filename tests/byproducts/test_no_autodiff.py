"""Autodiff is the judge, never a part: no call of it in these rooms."""

import ast
from pathlib import Path

import pytest

import handgrad

ROOT = Path(handgrad.__file__).parent
FILES = [
    path for room in ("byproducts", "transport") for path in ROOT.glob(f"{room}/*.py")
]
AUTODIFF = {
    *("grad", "value_and_grad", "vjp", "jvp", "linearize", "linear_transpose"),
    *("jacfwd", "jacrev", "hessian", "jacobian", "custom_vjp", "custom_jvp"),
}


def autodiff_in(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom):
            found.update(alias.name for alias in node.names)
    return found & AUTODIFF


@pytest.mark.parametrize(
    "path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_no_autodiff(path: Path) -> None:
    assert autodiff_in(path.read_text()) == set()


def test_the_scan_finds_autodiff() -> None:
    assert autodiff_in("import jax\njax.jvp(f)") == {"jvp"}
    assert autodiff_in("from jax import grad as g") == {"grad"}
