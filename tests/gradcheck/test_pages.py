"""docs/kernels.md does what it says, and docs/found.md names what the script runs."""

import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from load_script import load_script
from pages import printed_by

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(
    r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL
)


@pytest.mark.skipif(
    jax.default_backend() == "gpu", reason="its kernel is none for a GPU, as it says"
)
def test_page_for_kernels_prints_what_stands_below_its_code() -> None:
    space: dict[str, object] = {"__name__": "kernels"}
    for code, expected in BLOCK.findall((DOCS / "kernels.md").read_text("utf-8")):
        printed = printed_by(code, "kernels.md", space)
        assert verdicts(printed) == verdicts(expected), code


def test_kernel_of_the_page_is_one_for_a_tpu() -> None:
    (code, _), *_ = BLOCK.findall((DOCS / "kernels.md").read_text("utf-8"))
    space: dict[str, Any] = {"__name__": "kernels"}
    printed_by(code, "kernels.md", space)
    space["ON_CPU"] = False
    for shape in [(1, 1), (3, 5), (4, 128)]:
        traced = jax.jit(jax.vmap(space["normalise"])).trace(jnp.ones((2, *shape)))
        assert "tpu_custom_call" in traced.lower(lowering_platforms=("tpu",)).as_text()


def verdicts(printed: str) -> str:
    """What is printed, without the words of JAX's own errors."""
    table, _, _ = printed.partition("\n\njvp: ")
    return table


def test_every_row_of_the_table_is_explained() -> None:
    page = (DOCS / "kernels.md").read_text("utf-8")
    table = next(
        expected for _, expected in BLOCK.findall(page) if "verdict" in expected
    )
    rows = re.findall(r"^(\S.*?)  +(?:right|not offered)", table, re.MULTILINE)
    assert len(rows) == 17
    explained = page[page.index("| row | wrong, if |") :]
    for row in rows:
        words = row.replace("in the cotangent", "").split()
        assert all(word in explained for word in words), row


def test_every_find_has_its_heading_and_its_version() -> None:
    page = (DOCS / "found.md").read_text("utf-8")
    finds = load_script("found").FINDS
    assert re.findall(r"^## (\w+)$", page, re.MULTILINE) == [f.name for f in finds]
    for find in finds:
        assert f"{find.package} " in page
        assert find.version in page


def test_finds_are_run_where_they_are_installed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = load_script("found")
    assert command.main(["--names", "digamma"]) == 0
    printed = capsys.readouterr().out
    assert "== digamma: found in jax" in printed
    assert "NOT ok" in printed
