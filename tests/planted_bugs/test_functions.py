"""The second set of planted bugs: right rules are right, and wrong ones are wrong."""

import jax
import numpy as np
import pytest

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
        right = rule.backward(*primals, u)
        for wrong in rule.wrong:
            found = wrong.backward(*primals, u)
            assert any(
                a is not None and (a.shape != b.shape or moved(a, b) > 1e-6)
                for a, b in zip(found, right, strict=True)
            ), wrong.name


def moved(found: jax.Array, truth: jax.Array) -> float:
    """The relative distance."""
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("RMS norm", "sign"),
        ("attention", "q_and_k_exchanged"),
        ("embedding", "factor_forgotten"),
        ("softmax cross-entropy", "divided_by_all"),
        ("FFT", "not_normalised"),
    ],
)
def test_what_the_numbers_show_is_named(rule: str, name: str) -> None:
    chosen = next(r for r in RULES if r.name == rule)
    wrong = next(w for w in chosen.wrong if w.name == name)
    primals = chosen.primals(np.random.default_rng(3), "float32")
    report = check_vjp(chosen.function, chosen.forward, bwd(wrong.backward), *primals)
    assert {leaf.cause for leaf in report.wrong} <= set(wrong.causes), str(report)
    assert report.wrong


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_bug_is_caught_and_no_cause_is_false(rule: Rule) -> None:
    primals = rule.primals(np.random.default_rng(3), "float32")
    for wrong in rule.wrong:
        backward = bwd(wrong.backward)
        report = check_vjp(rule.function, rule.forward, backward, *primals)
        assert report.wrong, wrong.name
        causes = {leaf.cause for leaf in report.wrong}
        assert causes <= {*wrong.causes, "unknown"}, f"{wrong.name}: {report}"
