"""docs/gradcheck.md does what it says: its Python prints what stands below it."""

import re
from pathlib import Path

from pages import printed_by, without_rounding

from handgrad.gradcheck.causes.claims import CAUSES
from handgrad.gradcheck.causes.samples import MOST_SAMPLES
from handgrad.gradcheck.reference.slope import FINER
from handgrad.gradcheck.reference.tolerance import PROJECTED, SAFETY, SHARED, STRICT
from handgrad.planted_bugs import BUGS

PAGE = (Path(__file__).parents[2] / "docs" / "gradcheck.md").read_text("utf-8")
BLOCKS = re.findall(
    r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?", PAGE, re.MULTILINE | re.DOTALL
)


def test_python_blocks_print_what_stands_below_them() -> None:
    space: dict[str, object] = {}
    for code, expected in BLOCKS:
        printed = printed_by(code, "gradcheck.md", space)
        assert without_rounding(printed) == without_rounding(expected), code


def test_every_cause_has_a_heading_and_a_run_example() -> None:
    headings = " ".join(re.findall(r"^### (.*)$", PAGE, re.MULTILINE))
    printed = " ".join(expected for _, expected in BLOCKS)
    for cause in CAUSES:
        assert cause in headings
        assert f"{cause} at " in printed


def test_numbers_in_the_text_are_those_of_the_code() -> None:
    assert f"such a list: {len(BUGS)} wrong backward passes" in PAGE
    assert f"floor_rms = {SAFETY:g} c_n max(" in PAGE
    assert f"max( {PROJECTED:g} c_n max_j |<a_j, p>|" in PAGE
    assert f"{SHARED:g} u rms(g) / rms(p)" in PAGE
    assert f"no more than {STRICT:g} of the floor" in PAGE
    assert f"a step {FINER:g} times shorter" in PAGE
    assert f"one of each sample (up to {MOST_SAMPLES})" in PAGE.replace("\n", " ")
