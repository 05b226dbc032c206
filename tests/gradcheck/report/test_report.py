"""What a report says as a whole, as a dictionary, and of several points."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from gradcheck.cases import WEIGHT, check, spoiled

from handgrad.gradcheck import Leaf, Report
from handgrad.gradcheck.report.report import merge


@pytest.mark.parametrize(
    ("verdicts", "faults", "ok"),
    [
        (["right"], (), True),
        (["right", "untested", "not differentiable"], (), True),
        (["right", "wrong"], (), False),
        (["untested"], (), False),
        (["not differentiable"], (), False),
        (["right"], ("the loss",), False),
        ([], (), False),
    ],
)
def test_ok_means_nothing_wrong_and_something_tested(
    verdicts: list, faults: tuple[str, ...], ok: bool
) -> None:
    leaves = [Leaf(str(i), verdict) for i, verdict in enumerate(verdicts)]
    assert Report(tuple(leaves), faults=faults).ok is ok


def test_wrong_and_untested_leaves() -> None:
    verdicts = ("right", "wrong", "untested", "not differentiable")
    leaves = tuple(Leaf(v, v) for v in verdicts)
    _, wrong, untested, _ = leaves
    report = Report(leaves)
    assert report.wrong == (wrong,)
    assert report.untested == (untested,)
    assert [leaf.ok for leaf in leaves] == [True, False, None, None]


def test_matplotlib_is_loaded_for_a_picture_alone() -> None:
    code = "import sys, handgrad.gradcheck; print('matplotlib' in sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_dictionary_is_plain_and_complete() -> None:
    report = check(spoiled(weight=lambda g: -g))
    found = json.loads(json.dumps(report.to_dict()))
    assert found["ok"] is False
    assert found["judge"] == "float64"
    assert [leaf["ok"] for leaf in found["leaves"]] == [True, False]
    wrong = found["leaves"][1]
    assert wrong["path"] == WEIGHT
    assert wrong["cause"] == "sign"
    assert wrong["shape"] == [6, 4]
    assert wrong["scale"] == pytest.approx(-1)


def _leaf(verdict, cause=None, excess=0.5) -> Leaf:
    return Leaf("a", verdict, excess=excess, cause=cause)


def test_merged_report_keeps_the_worst_finding() -> None:
    leaves = [
        _leaf("right"),
        _leaf("wrong", "unknown", 1e9),
        _leaf("wrong", "sign", 3.0),
        _leaf("untested"),
    ]
    merged = merge([Report((leaf,), notes=("n",)) for leaf in leaves])
    assert merged.leaves == (leaves[2],)  # a cause that is told counts for more
    assert merged.notes == ("n",)


def test_merged_report_keeps_the_largest_error_of_equal_findings() -> None:
    leaves = [_leaf("wrong", "sign", excess) for excess in (np.nan, 2.0, 9.0, 0.0)]
    assert merge([Report((leaf,)) for leaf in leaves]).leaves == (leaves[2],)
    endless = _leaf("wrong", "sign", np.inf)
    merged = merge([Report((leaf,)) for leaf in (leaves[1], endless, leaves[2])])
    assert merged.leaves == (endless,)
    nothing = [_leaf("right", None, excess) for excess in (np.nan, 1e-3)]
    assert merge([Report((leaf,)) for leaf in nothing]).leaves == (nothing[1],)
    equal = [_leaf("right", None, excess) for excess in (np.nan, 0.0)]
    assert merge([Report((leaf,)) for leaf in equal]).leaves[0] is equal[0]


def test_merged_report_names_the_judge_of_the_point_given() -> None:
    reports = [Report((_leaf("right"),), judge=dtype) for dtype in "ab"]
    assert merge(reports).judge == "a"


@pytest.mark.parametrize("record", [Leaf("a", "right"), Report(())])
def test_what_is_handed_out_cannot_be_changed(record: Leaf | Report) -> None:
    for field in dataclasses.fields(record):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, field.name, None)
