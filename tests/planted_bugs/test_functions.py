"""The second set of planted bugs: right rules are right, and wrong ones are wrong."""

import jax
import numpy as np
import pytest
from helpers import compiled

from handgrad import check_vjp
from handgrad.gradcheck.causes.claims import CAUSES
from handgrad.planted_bugs.functions import RULES, Rule, bwd


def test_there_are_sixty_bugs_and_more_on_ten_functions() -> None:
    names = [(rule.name, wrong.name) for rule in RULES for wrong in rule.wrong]
    assert len(RULES) == 10
    assert len(names) == len(set(names)) == 96
    causes = {cause for rule in RULES for wrong in rule.wrong for cause in wrong.causes}
    assert causes <= set(CAUSES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_right_rule_is_right_and_wrong_ones_are_wrong(rule: Rule) -> None:
    with jax.enable_x64(True):
        primals = rule.primals(np.random.default_rng(3), "float64")
        report = check_vjp(rule.function, rule.forward, bwd(rule.backward), *primals)
        assert report.ok, str(report)
        u = np.random.default_rng(4).standard_normal(
            jax.eval_shape(rule.function, *primals).shape
        )
        passes = [rule.backward, *(wrong.backward for wrong in rule.wrong)]
        together = compiled(lambda *args: [backward(*args) for backward in passes])
        right, *all_wrong = together(*primals, u)
        for wrong, found in zip(rule.wrong, all_wrong, strict=True):
            assert any(
                a is not None and (a.shape != b.shape or moved(a, b) > 1e-6)
                for a, b in zip(found, right, strict=True)
            ), wrong.name


def moved(found: jax.Array, truth: jax.Array) -> float:
    """The relative distance."""
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))


NAMED = {
    ("RMS norm", "sign"),
    ("attention", "q_and_k_exchanged"),
    ("embedding", "factor_forgotten"),
    ("softmax cross-entropy", "divided_by_all"),
    ("FFT", "not_normalised"),
}
"""Bugs of which the numbers show the cause."""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_bug_is_caught_and_no_cause_is_false(rule: Rule) -> None:
    primals = rule.primals(np.random.default_rng(3), "float32")
    for wrong in rule.wrong:
        backward = bwd(wrong.backward)
        report = check_vjp(rule.function, rule.forward, backward, *primals)
        assert report.wrong, wrong.name
        causes = {leaf.cause for leaf in report.wrong}
        named = (rule.name, wrong.name) in NAMED
        possible = {*wrong.causes} if named else {*wrong.causes, "unknown"}
        assert causes <= possible, f"{wrong.name}: {report}"
