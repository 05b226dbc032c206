"""The README does what it says: its Python prints what stands below it."""

import re
from pathlib import Path

import pytest
from pages import printed_by, without_rounding

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
EXAMPLES = [
    (code, printed)
    for (kind, code), (next_kind, printed) in zip(BLOCKS, BLOCKS[1:], strict=False)
    if kind == "python" and next_kind == "text"
]


@pytest.mark.parametrize(("code", "printed"), EXAMPLES)
def test_python_block_prints_what_stands_below_it(code: str, printed: str) -> None:
    found = printed_by(code, "README.md", {})
    assert without_rounding(found) == without_rounding(printed)


def test_every_python_block_is_followed_by_its_output() -> None:
    assert len(EXAMPLES) == sum(kind == "python" for kind, _ in BLOCKS) > 0


def test_first_two_commands_are_one_line_each() -> None:
    commands = [code for kind, code in BLOCKS if kind == "sh"][:2]
    assert all(command.count("\n") == 1 for command in commands)
    assert "scripts/train.py configs/digits.toml" in commands[0]
    assert commands[1].rstrip().endswith("-m pytest")


def test_relative_links_lead_to_files() -> None:
    root = Path(__file__).parents[1]
    for page in [root / "README.md", *root.glob("*.md"), *root.glob("docs/*.md")]:
        text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            path = target.partition("#")[0]
            if path and "://" not in target:
                assert (page.parent / path).exists(), f"{page.name}: {target}"
