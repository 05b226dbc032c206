"""The figures against scikit-learn's, and at the ends."""

from typing import Any

import numpy as np
import pytest
from run_folders import classifier, right_predictions, samples
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
)

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


def test_certain_of_the_wrong_class_is_a_finite_loss() -> None:
    found = right_predictions("ab", 6)
    certain = np.eye(2, dtype=np.float32)[1 - found.true]
    found = found._replace(probabilities=certain, predicted=1 - found.true)
    assert scores.loss(found) == pytest.approx(-np.log(np.finfo(np.float32).tiny))
    assert scores.calibration(found).error == 1
    assert scores.calibration(found).counts[-1] == len(found.true)


def test_of_no_samples_nothing_is_known() -> None:
    found = right_predictions("ab", 6).of("nowhere")
    assert np.isnan([scores.accuracy(found), scores.loss(found)]).all()
    assert scores.calibration(found).error == 0
    assert [row.support for row in scores.class_scores(found)] == [0, 0]
