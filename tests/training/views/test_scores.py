"""The figures against scikit-learn's, and at the ends."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from run_folders import classifier, right_predictions, samples
from scipy.special import log_softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
)

import handgrad
from handgrad import Layer
from handgrad.training.data import scale
from handgrad.training.records.predictions import Predictions, predict
from handgrad.training.views import scores


@pytest.fixture(scope="module")
def found() -> Predictions:
    """Class "2" is never true."""
    given = samples(6, 4, 200)
    given = given._replace(y=np.where(given.y == 2, 1, given.y))
    return predict(classifier(), {"test": given})


def test_scores_are_those_of_scikit_learn(found: Predictions) -> None:
    labels = [0, 1, 2, 3]
    division: Any = 0  # which the stubs leave out
    expected = precision_recall_fscore_support(
        found.true, found.predicted, labels=labels, zero_division=division
    )
    rows = scores.class_scores(found)
    columns = np.array([row[1:] for row in rows]).T
    np.testing.assert_allclose(columns, np.array(expected, float), rtol=1e-15)
    assert [row.name for row in rows] == ["0", "1", "2", "3"]
    counts = confusion_matrix(found.true, found.predicted, labels=labels)
    np.testing.assert_array_equal(scores.confusion_counts(found), counts)
    expected = accuracy_score(found.true, found.predicted)
    assert scores.accuracy(found) == pytest.approx(expected, rel=1e-15)
    expected = log_loss(found.true, found.probabilities, labels=labels)
    assert scores.loss(found) == pytest.approx(expected, rel=1e-6)


def test_calibration_is_that_of_scikit_learn(found: Predictions) -> None:
    confidence = found.probabilities.max(axis=1)
    hits = found.true == found.predicted
    share, mean = calibration_curve(hits, confidence, n_bins=10)
    result = scores.calibration(found)
    there = result.counts > 0
    np.testing.assert_allclose(result.accuracy[there], share, rtol=1e-12)
    np.testing.assert_allclose(result.confidence[there], mean, rtol=1e-6)
    gaps = np.abs(share - mean) * result.counts[there] / len(hits)
    assert result.error == pytest.approx(gaps.sum(), rel=1e-6)
    assert result.counts.sum() == len(hits)


def test_mistakes_are_counted_by_kind(found: Predictions) -> None:
    rows = scores.most_confused(found)
    counts = scores.confusion_counts(found)
    assert sum(row.samples for row in rows) == counts.sum() - np.trace(counts)
    first = rows[0]
    assert first.samples == max(row.samples for row in rows)
    i, j = int(first.true), int(first.predicted)
    assert i != j
    assert counts[i, j] == first.samples == round(first.share * counts[i].sum())
    assert len(scores.most_confused(found, most=2)) == 2


def test_all_right() -> None:
    found = right_predictions("ab", 6)
    assert scores.accuracy(found) == 1
    assert scores.most_confused(found) == []
    assert {row.f1 for row in scores.class_scores(found)} == {1.0}


def test_certain_of_the_wrong_class_costs_what_the_logits_say() -> None:
    """Thousands of nats, where the probability is 0 in float32."""
    model, given = classifier(), samples(6, 4, 60)
    sure = tuple(Layer(1e3 * layer.weight, layer.bias) for layer in model.params)
    model = replace(model, params=sure)
    found = predict(model, {"test": given})
    logits = handgrad.forward(
        sure, scale(model.scaling, given.x), activation=model.activation
    ).logits
    expected = log_softmax(np.float64(logits), axis=1)[np.arange(60), given.y]
    assert (found.probabilities[np.arange(60), given.y] == 0).any()
    assert scores.loss(found) == pytest.approx(-expected.mean(), rel=1e-5)
    assert scores.loss(found) > 1000
    order = found.losses[found.mistakes]
    assert (np.diff(order) <= 0).all()
    assert order[0] == found.losses[found.predicted != found.true].max()


def test_of_no_samples_nothing_is_known() -> None:
    found = right_predictions("ab", 6).of("nowhere")
    assert np.isnan([scores.accuracy(found), scores.loss(found)]).all()
    assert scores.calibration(found).error == 0
    assert [row.support for row in scores.class_scores(found)] == [0, 0]
