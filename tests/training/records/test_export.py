"""What is exported predicts what the model predicts, for any batch."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import onnxruntime
import pytest
from run_folders import classifier

import handgrad
from handgrad.training import TrainingError
from handgrad.training.data import Scaling
from handgrad.training.records.classifier import Classifier
from handgrad.training.records.export import PLATFORMS, export_model
from handgrad.training.records.onnx_graph import ACTIVATIONS, onnx_model

SCALE = Scaling(np.arange(6, dtype=np.float32), np.full(6, 2, np.float32))
CLIP = SCALE._replace(clip=np.float32(3))


def inputs(samples: int) -> np.ndarray:
    """Some far out."""
    random = np.random.default_rng(5)
    return (random.normal(size=(samples, 6)) * 20).astype(np.float32)


def run_onnx(content: bytes) -> Any:
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def assert_same(found: np.ndarray, model: Classifier, x: np.ndarray) -> None:
    """To rounding: the sums of float32 are taken in another order."""
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, model.predict_proba(x), rtol=2e-5, atol=1e-6)


def test_onnx_has_every_activation() -> None:
    assert list(ACTIVATIONS) == list(handgrad.ACTIVATIONS)


@pytest.mark.parametrize("activation", handgrad.ACTIVATIONS)
def test_onnx_predicts_the_same(activation: str) -> None:
    model = classifier((6, 5, 4), activation=activation, scaling=SCALE)
    x = inputs(8)
    (found,) = run_onnx(onnx_model(model)).run(["probabilities"], {"x": x})
    assert_same(found, model, x)


@pytest.mark.parametrize("scaling", [SCALE, CLIP])
@pytest.mark.parametrize("sizes", [(6, 4), (6, 1, 3, 2)])
def test_both_formats_take_any_batch(
    tmp_path: Path, sizes: tuple[int, ...], scaling: Scaling
) -> None:
    hidden = ("relu", "tanh")[: len(sizes) - 2]
    model = classifier(sizes, activation=hidden, scaling=scaling)
    export_model(tmp_path / "m.jax", model, "jax")
    export_model(tmp_path / "m.onnx", model, "onnx")
    program = jax.export.deserialize(bytearray((tmp_path / "m.jax").read_bytes()))
    assert program.platforms == PLATFORMS
    session = run_onnx((tmp_path / "m.onnx").read_bytes())
    for samples in (1, 7):
        x = inputs(samples)
        assert_same(np.asarray(program.call(x)), model, x)
        assert_same(session.run(None, {"x": x})[0], model, x)


def test_onnx_carries_the_names() -> None:
    names = ["ä", "<b>", '"', ","]
    features = list("uvwxyz")
    content = onnx_model(classifier(classes=names, features=features))
    found = run_onnx(content).get_modelmeta().custom_metadata_map
    assert json.loads(found["classes"]) == names
    assert json.loads(found["features"]) == features


def test_an_activation_without_operators_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(ACTIVATIONS, "mish")
    with pytest.raises(TrainingError, match="`activation` must be one of .* 'mish'"):
        onnx_model(classifier(activation="mish"))
