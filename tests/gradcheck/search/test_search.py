"""Points are drawn where gradients go wrong, and the failing one is shrunk."""

import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from handgrad import check_gradients, search_gradients
from handgrad.gradcheck import Draw, point_of
from handgrad.gradcheck.search.draw import KINDS, SIZES, numbers, replayed

FIRST = {"array 0 kind": "normal", "array 0 scale": 1.0, "dtype": "float32"}


def make(draw: Draw) -> tuple[Any, ...]:
    return (draw.array(draw.size("n", most=20)),)


def loss(x: Any) -> Any:
    return jnp.sum(x.astype(jnp.float32) ** 2)


def right(x: Any) -> Any:
    return 2 * x


def by_blocks(x: Any) -> Any:
    """Forgets what is left over by blocks of four."""
    return jnp.where(jnp.arange(len(x)) < len(x) // 4 * 4, 2 * x, 0)


def test_right_gradient_passes_at_every_point() -> None:
    found = search_gradients(make, loss, right, examples=8, dtypes=["float32"])
    assert found.ok, str(found)
    assert found.passed + found.untested == 8
    assert str(found).startswith(f"search ok (seed 0): {found.passed} points passed")


def test_size_that_no_block_divides_is_found_and_shrunk() -> None:
    found = search_gradients(make, loss, by_blocks, dtypes=["float32"])
    assert found.failure is not None
    assert found.failure.case == {"n": 1, **FIRST}
    assert not found.ok
    point = point_of(make, found.failure.case)
    assert check_gradients(loss, by_blocks, *point).leaves[0].cause == "zero"
    assert str(dict(found.failure.case)) in found.failure.call
    assert "by_blocks, *point_of(make, case)" in str(found)


def test_saturated_numbers_are_found() -> None:
    def stable(x: Any) -> Any:
        return jnp.sum(jax.nn.softplus(x))

    def overflows(x: Any) -> Any:
        return jnp.exp(x) / (1 + jnp.exp(x))

    found = search_gradients(
        lambda draw: (draw.array(3),), stable, overflows, dtypes=["float32"]
    )
    assert found.failure is not None
    assert found.failure.case["array 0 scale"] >= 100


def test_value_that_is_off_is_found() -> None:
    def valued(x: Any) -> Any:
        return 1.5 * loss(x), 2 * x

    found = search_gradients(make, loss, valued, examples=5, dtypes=["float32"])
    assert found.failure is not None
    assert found.failure.report is not None
    assert found.failure.report.faults


def test_gradient_that_raises_is_found_and_loss_that_refuses_is_not() -> None:
    def refuses(x: Any) -> Any:
        if x.shape[0] != 2:
            raise ValueError("two entries, please")
        return loss(x)

    found = search_gradients(make, refuses, right, examples=6, dtypes=["float32"])
    assert found.failure is None
    assert found.untested >= 5

    def raises(x: Any) -> Any:
        raise ValueError("never")

    found = search_gradients(make, loss, raises, examples=3, dtypes=["float32"])
    assert found.failure is not None
    assert found.failure.raised == "ValueError: never"


def test_same_seed_draws_the_same_points() -> None:
    def cases(seed: int) -> list[Any]:
        drawn: list[Any] = []

        def remembering(draw: Draw) -> Any:
            point = make(draw)
            drawn.append(dict(draw.case))
            return point

        search_gradients(remembering, lambda x: None, right, examples=10, seed=seed)
        return drawn

    assert cases(1) == cases(1)
    assert cases(1) != cases(2)


def test_database_is_tried_first(tmp_path: Path) -> None:
    tried: list[int] = []

    def watched(x: Any) -> Any:
        tried.append(len(x))
        return jnp.where(len(x) > 16, 0, 2) * x

    for _ in range(2):
        tried.clear()
        found = search_gradients(
            make, loss, watched, dtypes=["float32"], database=tmp_path
        )
        assert found.failure is not None
        assert found.failure.case["n"] == 17
    assert tried[0] == 17


def test_without_hypothesis_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(ImportError, match=r'pip install "handgrad\[search\]"'):
        search_gradients(make, loss, right)


def test_kinds_are_what_they_are_called() -> None:
    generator = np.random.default_rng(0)
    drawn = {kind: numbers(generator, kind, (40,)) for kind in KINDS}
    assert (drawn["zeros"] == 0).all()
    assert 0 < (drawn["some zeros"] == 0).mean() < 1
    assert len(set(drawn["ties"])) < 12
    assert len(set(drawn["constant"])) == 1
    assert (drawn["positive"] >= 0).all()
    spikes = np.abs(numbers(generator, "spike", (4000,))) > 6
    assert 0.01 < spikes.mean() < 0.08
    assert 0 < np.isneginf(numbers(generator, "minus infinity", (40,))).mean() < 0.5
    assert set(numbers(generator, "real", (9,), np.arange(3.0))) == {0.0, 1.0, 2.0}


@pytest.mark.parametrize("infinite", [False, True])
def test_minus_infinity_is_drawn_where_the_loss_takes_it(infinite: bool) -> None:
    seen: list[bool] = []

    def make(draw: Draw) -> tuple[Any, ...]:
        x = draw.array(40, infinite=infinite)
        seen.append(bool(jnp.isneginf(x).any()))
        return (jnp.zeros(1),)

    search_gradients(make, loss, right, examples=60, seed=0)
    assert any(seen) is infinite


def test_sizes_lie_within_their_bounds_and_beside_powers_of_two() -> None:
    seen: list[Any] = []

    def last(name: str, options: Any) -> Any:
        seen.extend(options)
        return options[-1]

    draw = Draw(last, ["float16"])
    assert draw.size("n", least=0, most=100) == 100
    assert {0, 1, 7, 8, 9, 63, 64, 65} <= set(seen)
    assert max(seen) == 100
    assert {4095, 4096, 4097} <= set(SIZES)
    assert draw.array(3, dtype="float32").dtype == jnp.float32
    labels = Draw(lambda name, options: options[2], []).integers(4, below=7)
    assert labels.tolist() == [6, 6, 6, 6]


def test_case_of_another_make_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^`case` must have a choice for 'n'"):
        make(replayed({"m": 1}))
