"""Which room may import which, and where autodiff may be: read off the source."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "handgrad"
MODULES = sorted(PACKAGE.rglob("*.py"))
ROOMS = {
    "network": set[str](),
    "gradcheck": set[str](),
    "planted_bugs": {"network", "gradcheck"},
    "byproducts": {"network"},
    "transport": {"network"},
    "training": {"network", "gradcheck", "byproducts", "transport", "scale"},
    "scale": {"network", "gradcheck", "training"},
}
PLACEMENT = {"scale/placement.py", "scale/processes.py", "scale/watch.py"}
"""All that training may import of scale, and these import the network alone."""
BASE = {"trees", "randomness", "exceptions"}
FOLDERS_OF_GRADCHECK = {
    "report": set[str](),
    "reference": BASE,
    "causes": {*BASE, "reference", "check", "structure", "comparison"},
    "rules": {
        *(*BASE, "reference", "causes", "report", "check", "comparison", "points"),
        *("directions", "positions", "gradients", "vjp", "jvp"),
    },
    "search": {*BASE, "reference", "report", "check", "points"},
}
"""What each may import of the room beside itself."""
FOLDERS_OF_TRAINING = {
    "settings": {"errors", "files", "engine"},  # names of optimisers, for --help
    "data": {"settings", "errors", "files"},
    "records": {"settings", "data", "errors", "files"},
    "engine": {"settings", "data", "records", "errors"},
    "views": {"records", "errors"},
}
"""Likewise: what is shown is made of the records; run.py and commands join all."""

AUTODIFF = {
    *("grad", "value_and_grad", "vjp", "jvp", "linearize", "linear_transpose"),
    *("jacfwd", "jacrev", "jacobian", "hessian", "checkpoint"),
}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0]


def imported_rooms(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        modules = []
        if isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        for module in modules:
            first, *rest = module.split(".")
            if first == "handgrad":
                # `import handgrad` is the network's names and check_gradients.
                yield from rest[:1] or ["network", "gradcheck"]


def imported_modules(tree: ast.AST) -> Iterator[str]:
    """The modules of handgrad, as a/b.py, that a module names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            named = (node.module or "").split(".")[1:]
            for parts in ([*named, alias.name] for alias in node.names):
                for path in ("/".join(parts), "/".join(parts[:-1])):
                    if (PACKAGE / f"{path}.py").is_file():
                        yield f"{path}.py"


def autodiff_calls(tree: ast.AST) -> Iterator[str]:
    """jax.grad and its kin, by attribute of jax or by import from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "jax" and node.attr in AUTODIFF:
                yield f"jax.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and (node.module or "")[:3] == "jax":
            yield from (a.name for a in node.names if a.name in AUTODIFF)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    if path.parent == PACKAGE:
        return
    allowed = ROOMS[room(path)] | {room(path)}
    assert set(imported_rooms(ast.parse(path.read_text("utf-8")))) <= allowed


@pytest.mark.parametrize("folder", FOLDERS_OF_GRADCHECK)
def test_imports_inside_gradcheck_point_one_way(folder: str) -> None:
    allowed = FOLDERS_OF_GRADCHECK[folder] | {folder}
    for path in (PACKAGE / "gradcheck" / folder).rglob("*.py"):
        for name in imported_modules(ast.parse(path.read_text("utf-8"))):
            assert Path(name).with_suffix("").parts[1] in allowed, f"{path}: {name}"


@pytest.mark.parametrize("folder", FOLDERS_OF_TRAINING)
def test_imports_inside_training_point_one_way(folder: str) -> None:
    allowed = FOLDERS_OF_TRAINING[folder] | {folder}
    for path in (PACKAGE / "training" / folder).glob("*.py"):
        for name in imported_modules(ast.parse(path.read_text("utf-8"))):
            parts = Path(name).with_suffix("").parts
            assert parts[0] != "training" or parts[1] in allowed, f"{path}: {name}"


def test_training_knows_of_scale_only_where_things_and_processes_are() -> None:
    for path in (PACKAGE / "training").rglob("*.py"):
        names = imported_modules(ast.parse(path.read_text("utf-8")))
        assert {name for name in names if name[:6] == "scale/"} <= PLACEMENT
    for name in PLACEMENT:
        tree = ast.parse((PACKAGE / name).read_text("utf-8"))
        assert set(imported_rooms(tree)) <= {"network", "scale"}


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        str(path.relative_to(PACKAGE)): set(
            imported_modules(ast.parse(path.read_text("utf-8")))
        )
        for path in MODULES
    }
    assert graph["gradcheck/vjp.py"] > {"gradcheck/gradients.py", "gradcheck/trees.py"}
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_autodiff_is_the_reference_and_never_a_part(path: Path) -> None:
    if room(path) != "gradcheck":
        assert list(autodiff_calls(ast.parse(path.read_text("utf-8")))) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("jax.grad(f)", ["jax.grad"]),
        ("from jax import jvp as j", ["jvp"]),
        ("handgrad.value_and_grad(p, x, y)", []),
    ],
)
def test_the_scan_sees_autodiff(source: str, found: list[str]) -> None:
    assert list(autodiff_calls(ast.parse(source))) == found


def test_the_scan_sees_an_import() -> None:
    source = "from handgrad.training.loop import State\nimport handgrad"
    found = set(imported_rooms(ast.parse(source)))
    assert found == {"training", "network", "gradcheck"}
