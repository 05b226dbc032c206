"""docs/derivation.md: every equation has its function, its test and working links."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "derivation.md"
EQUATIONS = ["F1", "F2", "F3", "L1", "L2"]
EQUATIONS += [f"B{n}" for n in range(1, 8)] + ["D1", "D2"]
EQUATIONS += ["K1", "K2", "K3", "K4"]
EQUATIONS += ["RF1", "RF2", *(f"RB{n}" for n in range(3, 8)), "GN"]


def section(number: str) -> str:
    """The text below the heading of one equation."""
    _, found, after = PAGE.read_text("utf-8").partition(f"\n### {number}\n")
    assert found, f"{number} has no heading"
    return re.split(r"^#", after, maxsplit=1, flags=re.MULTILINE)[0]


def linked_functions(text: str, label: str) -> dict[str, ast.FunctionDef]:
    """The functions linked behind ``label``, up to a blank line or the next label."""
    after = text.partition(f"{label}: ")[2]
    paragraph = re.split(r"\n\n|^Test: ", after, maxsplit=1, flags=re.MULTILINE)[0]
    functions = {}
    for name, target in re.findall(r"\[`(\w+)`\]\(([^)]+)\)", paragraph):
        tree = ast.parse((PAGE.parent / target).read_text("utf-8"))
        defined = {f.name: f for f in ast.walk(tree) if isinstance(f, ast.FunctionDef)}
        assert name in defined, f"{target} has no function {name}"
        functions[name] = defined[name]
    return functions


@pytest.mark.parametrize("number", EQUATIONS)
def test_equation_links_to_the_function_that_bears_its_number(number: str) -> None:
    functions = linked_functions(section(number), "Code")
    assert functions, f"{number} links to no function"
    for name, function in functions.items():
        docstring = ast.get_docstring(function) or ""
        assert re.match(rf"(\w\d and )?{number}\b", docstring), f"{name}: {docstring}"


@pytest.mark.parametrize("number", EQUATIONS)
def test_equation_links_to_a_test_that_bears_its_number(number: str) -> None:
    functions = linked_functions(section(number), "Test")
    assert functions, f"{number} links to no test"
    for name in functions:
        assert name.startswith("test_"), name
        assert re.search(rf"_{number}(_|$)", name), f"{name} lacks {number}"


def test_every_equation_of_the_page_is_listed_here() -> None:
    headings = re.findall(r"^### (\w+)$", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    assert headings == EQUATIONS
