"""predictions.npz: rows, parts and the worst mistakes."""

from pathlib import Path

import numpy as np
import pytest
from run_folders import classifier, samples

from handgrad.training import TrainingError
from handgrad.training.records.predictions import (
    MOST_MISTAKES,
    Examples,
    Predictions,
    load_predictions,
    predict,
    save_predictions,
    worst_mistakes,
)


@pytest.fixture(scope="module")
def found() -> Predictions:
    parts = {"validation": samples(6, 4, 20), "test": samples(6, 4, 60)}
    return predict(classifier(), parts)


def test_every_sample_has_a_line(found: Predictions) -> None:
    model, given = classifier(), samples(6, 4, 60)
    assert found.part.tolist() == ["validation"] * 20 + ["test"] * 60
    np.testing.assert_array_equal(found.row[20:], given.rows)
    np.testing.assert_array_equal(found.true[20:], given.y)
    expected = model.predict_proba(given.x)
    np.testing.assert_array_equal(found.probabilities[20:], expected)
    np.testing.assert_array_equal(found.predicted[20:], expected.argmax(axis=1))


def test_mistakes_are_wrong_and_the_worst_come_first(found: Predictions) -> None:
    test = found.of("test")
    wrong = np.flatnonzero(test.predicted != test.true)
    assert len(wrong) > MOST_MISTAKES == len(test.mistakes)
    of_true = test.probabilities[np.arange(60), test.true]
    assert of_true[test.mistakes].tolist() == sorted(of_true[wrong])[:MOST_MISTAKES]
    np.testing.assert_array_equal(
        test.mistake_inputs, samples(6, 4, 60).x[test.mistakes]
    )


def test_the_parts_are_told_apart(found: Predictions) -> None:
    both = [found.of(part) for part in ("validation", "test")]
    assert [len(one.part) for one in both] == [20, 60]
    for one in both:
        assert (one.predicted[one.mistakes] != one.true[one.mistakes]).all()
    mistakes = sum(len(one.mistakes) for one in both)
    assert mistakes == len(found.mistakes)
    assert len(found.of("nowhere").part) == 0


def test_predictions_read_back(tmp_path: Path, found: Predictions) -> None:
    save_predictions(tmp_path / "p.npz", found)
    for a, b in zip(load_predictions(tmp_path / "p.npz"), found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_sample_and_no_mistake(tmp_path: Path) -> None:
    empty = Examples(np.zeros((0, 6)), np.zeros(0, int), np.zeros(0, int))
    found = predict(classifier(), {"test": empty})
    save_predictions(tmp_path / "p.npz", found)
    assert len(load_predictions(tmp_path / "p.npz").of("test").mistakes) == 0
    assert worst_mistakes(np.arange(3), np.arange(3), np.zeros(3)).size == 0


def test_equally_bad_mistakes_keep_their_order() -> None:
    true, predicted = np.zeros(5, int), np.ones(5, int)
    found = worst_mistakes(true, predicted, np.array([1.0, 1, 2, 1, 1]))
    assert found.tolist() == [2, 0, 1, 3, 4]


def test_other_files_are_refused(tmp_path: Path, found: Predictions) -> None:
    path = tmp_path / "p.npz"
    save_predictions(path, found)
    content = path.read_bytes()
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, **found._replace(row=np.array([{}], dtype=object))._asdict())
    np.savez(tmp_path / "other.npz", x=np.zeros(2))
    for cut in (0, 10, len(content) // 2, len(content) - 3):
        (tmp_path / f"{cut}.npz").write_bytes(content[:cut])
    for other in [tmp_path, *tmp_path.iterdir()]:
        if other != path:
            with pytest.raises(TrainingError, match=r"^`predictions` must be "):
                load_predictions(other)
