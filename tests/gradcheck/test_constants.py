"""docs/gradcheck.md states every named constant of the check, with its value."""

import ast
import re
from pathlib import Path

from handgrad import gradcheck

PAGE = (Path(__file__).parents[2] / "docs" / "gradcheck.md").read_text("utf-8")
ROW = re.compile(r"^\| `(\w+\.[A-Z_]+)` \| ([\d.,]+) \|", re.MULTILINE)
OF_PAGE_AND_PICTURE = {"table.WIDTH", "figure.SMALLEST"}


def test_table_of_constants_is_that_of_the_code() -> None:
    stated = {name: float(value.replace(",", "")) for name, value in ROW.findall(PAGE)}
    found = {
        f"{path.stem}.{ast.unparse(node.targets[0])}": node.value.value
        for path in Path(gradcheck.__path__[0]).glob("*.py")
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        if isinstance(node.value.value, int | float)
    }
    assert stated == {k: v for k, v in found.items() if k not in OF_PAGE_AND_PICTURE}
