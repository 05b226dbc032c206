"""More points than one: parameters moved at random, and the reports put together."""

from collections.abc import Sequence
from dataclasses import replace

import jax
import numpy as np

from handgrad.gradcheck.judge import like
from handgrad.gradcheck.question import Question
from handgrad.gradcheck.report import Leaf, Report
from handgrad.gradcheck.tolerance import rms
from handgrad.gradcheck.trees import to_numpy

MOVE = 0.1
"""How far parameters are moved, relative to their size: off a kink, not far away."""


def move(question: Question, key: jax.Array) -> Question:
    """The same question at parameters moved by normal noise of `MOVE` their size.

    A leaf of zeros is moved as much as the largest leaf.
    """
    split = question.split
    seed = np.asarray(jax.random.key_data(key)).ravel().tolist()
    generator = np.random.default_rng(seed)
    exact = [to_numpy(leaf) for leaf in split.values]
    usual = max((rms(value) for value in exact), default=0.0) or 1.0
    moved = []
    for value, leaf in zip(exact, split.values, strict=True):
        step = MOVE * (rms(value) or usual)
        noise = generator.standard_normal(value.shape)
        moved.append(like(value + step * noise, leaf))
    return replace(question, params=split.merge(moved))


def merge(reports: Sequence[Report]) -> Report:
    """One report: of each leaf the worst finding; untested only if untested in all."""
    by_path: dict[str, list[Leaf]] = {}
    for report in reports:
        for leaf in report.leaves:
            by_path.setdefault(leaf.path, []).append(leaf)
    return Report(
        leaves=tuple(max(leaves, key=_severity) for leaves in by_path.values()),
        faults=_distinct(fault for report in reports for fault in report.faults),
        notes=_distinct(note for report in reports for note in report.notes),
        judge=reports[0].judge,
    )


def _severity(leaf: Leaf) -> tuple[int, bool, float]:
    order = ("not differentiable", "untested", "right", "wrong")
    told = leaf.cause != "unknown"
    excess = 0.0 if np.isnan(leaf.excess) else leaf.excess
    return order.index(leaf.verdict), told, excess


def _distinct(texts) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
