"""The score of a part: in blocks as at once, without what training adds."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import handgrad
from handgrad.training import Dataset, Settings, prepare, start
from handgrad.training.data import scale
from handgrad.training.engine import evaluate as room
from handgrad.training.engine.evaluate import Samples, evaluate


@pytest.mark.parametrize("rows", [1, 5, 12, 64])
def test_blocks_of_any_size_give_the_same(
    settings: Settings, data: Dataset, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "ROWS", rows)
    training = replace(settings.training, label_smoothing=0.3, class_weights="balanced")
    model = replace(settings.model, hidden_dropout=0.5)
    settings = replace(settings, training=training, model=model)
    run = prepare(settings, data)
    params = start(run).params
    x, y = data.test
    part = Samples(jnp.asarray(x), jnp.asarray(y))
    score = jax.jit(
        lambda params: evaluate(run.step.objective, data.scaling, params, part)
    )
    found = score(params)
    inputs = jnp.asarray(scale(data.scaling, x))
    assert float(found.loss) == pytest.approx(
        float(handgrad.loss(params, inputs, y)), rel=1e-6
    )
    predicted = handgrad.predict_proba(params, inputs).argmax(axis=1)
    assert float(found.accuracy) == pytest.approx(np.mean(predicted == y))


def test_samples_weigh_as_they_are_told(settings: Settings, data: Dataset) -> None:
    run = prepare(settings, data)
    params = start(run).params
    x, y = (jnp.asarray(each) for each in data.test)
    weights = jnp.arange(12.0)
    found = evaluate(run.step.objective, data.scaling, params, Samples(x, y, weights))
    inputs = scale(data.scaling, x)
    expected = handgrad.loss(params, inputs, y, weights=weights)
    assert float(found.loss) == pytest.approx(float(expected), rel=1e-6)
    hits = handgrad.predict_proba(params, inputs).argmax(axis=1) == y
    assert float(found.accuracy) == pytest.approx(float((hits * weights).sum() / 66))
