"""The compiled epoch and the main job on the bundled digits."""

import json
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import handgrad
from handgrad.training import main
from handgrad.training.errors import TrainingError
from handgrad.training.loop import shuffled_batches
from handgrad.training.settings_file import load_settings

CONFIG = Path(__file__).parents[2] / "configs" / "digits.toml"


def test_an_epoch_meets_every_sample_once_and_pads_with_weight_0() -> None:
    batches = shuffled_batches(jax.random.key(0), 1, samples=10, batch_size=4)
    assert batches.rows.shape == (3, 4)
    rows = np.asarray(batches.rows)[np.asarray(batches.present) == 1]
    assert sorted(rows) == list(range(10))


def test_twenty_steps_by_hand_and_by_autodiff_stay_together() -> None:
    keys = jax.random.split(jax.random.key(0), 2)
    start = handgrad.init(keys[0], (5, 8, 3))
    x, y = jax.random.normal(keys[1], (12, 5)), jnp.arange(12) % 3
    optimizer = optax.adam(1e-2)
    ends = []
    for function in (handgrad.value_and_grad, jax.value_and_grad(handgrad.loss)):
        params, state, step = start, optimizer.init(start), jax.jit(function)
        for _ in range(20):
            updates, state = optimizer.update(step(params, x, y)[1], state)
            params = optax.apply_updates(params, updates)
        ends.append(params)
    chex.assert_trees_all_close(*ends, rtol=1e-4, atol=1e-5)


def test_the_main_job_is_reproducible_to_the_last_bit(tmp_path: Path) -> None:
    arguments = [str(CONFIG), "--training.epochs", "2", "--runs", str(tmp_path)]
    assert main(arguments) == 0
    assert main(arguments) == 0
    with (
        np.load(tmp_path / "digits" / "params.npz") as second,
        np.load(tmp_path / "digits.1" / "params.npz") as first,
    ):
        assert first["weight_1"].shape == (64, 128)
        for name in first.files:
            np.testing.assert_array_equal(first[name], second[name])
    lines = (tmp_path / "digits" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
    assert len(list((tmp_path / "digits").glob("*.png"))) == 3


def test_an_unknown_key_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    config = tmp_path / "bad.toml"
    config.write_text(CONFIG.read_text().replace("batch_size", "batch_siz"))
    with pytest.raises(TrainingError, match=r"batch_siz` in .*`training.batch_size`"):
        load_settings(config)
