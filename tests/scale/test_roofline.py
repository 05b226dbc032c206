"""Bounds on paper, by hand."""

import math

import pytest

from handgrad.scale.hlo import Collective
from handgrad.scale.program import Figures
from handgrad.scale.roofline import Limit, limit, sent, times
from handgrad.scale.targets import Chip

CHIP = Chip("made up", "tpu", 10**9, 100.0, 1000.0, 10.0, 2, 4, "")


def figures(flops: float, *collectives: Collective) -> Figures:
    return Figures(0, 0, 0, 0, 0, 0, flops, 300.0, 0, collectives)


@pytest.mark.parametrize(
    ("kind", "bytes_sent"),
    [
        ("all-reduce", 2 * 3 / 4 * 80),
        ("all-gather", 3 / 4 * 80),
        ("reduce-scatter", 3 / 4 * 80),
        ("all-to-all", 3 / 4 * 80),
        ("collective-permute", 80),
    ],
)
def test_what_a_device_sends(kind: str, bytes_sent: float) -> None:
    assert sent(Collective(kind, 80, 4, 1)) == bytes_sent
    assert sent(Collective(kind, 80, 4, 3)) == 3 * bytes_sent


def test_the_slowest_bounds_the_step() -> None:
    found = times(figures(2000.0, Collective("all-reduce", 40, 2, 1)), CHIP)
    assert found == (2.0, 3.0, 4.0)
    assert found.step == 4.0


def test_below_how_many_samples_the_links_bound_the_step() -> None:
    """8 samples compute for 2 s, and their sums along `model` take 1 s; the sum of the
    gradient takes 3 s. With 24 samples, both take 6 s."""
    step = figures(
        2000.0,
        Collective("all-reduce", 20, 4, 1),  # 2 x 3/4 x 20 = 30 bytes, along data
        Collective("all-gather", 20, 2, 1),  # 10 bytes
    )
    assert limit(step, CHIP, data=4, samples=8) == Limit(24.0, 0.5)


def test_links_that_bound_the_step_at_any_batch() -> None:
    step = figures(1000.0, Collective("all-gather", 20, 2, 1))
    assert limit(step, CHIP, data=4, samples=8) == Limit(math.inf, 1.0)
