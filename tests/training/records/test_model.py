"""model.safetensors: a model reads back to the last bit, and nothing else reads."""

import json
import pickle
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from run_folders import classifier

import handgrad
from handgrad.training import TrainingError
from handgrad.training.data import Rows, Scaling
from handgrad.training.records import classifier as room
from handgrad.training.records.model import load_model, save_model

CLIPPED = Scaling(
    np.arange(6, dtype=np.float32), np.full(6, 2, np.float32), np.float32(3)
)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, jnp.bfloat16])
@pytest.mark.parametrize("scaling", [None, CLIPPED])
def test_a_model_reads_back_to_the_last_bit(
    tmp_path: Path, dtype: type, scaling: Scaling | None
) -> None:
    written = classifier(
        (6, 3, 5, 4),
        activation=("tanh", "gelu"),
        classes=["ä", '"', "<c>", ""],
        features=list("uvwxyz"),
        dtype=dtype,
        scaling=scaling,
        encoder={"columns": ["u"], "fill": [1.5, None], "deep": {"a": [[]]}},
    )
    save_model(tmp_path / "m", written)
    read = load_model(tmp_path / "m")
    for name in ("activation", "classes", "features", "image_shape", "encoder"):
        assert getattr(read, name) == getattr(written, name)
    for a, b in zip(
        jax.tree.leaves((read.params, read.scaling)),
        jax.tree.leaves((written.params, written.scaling)),
        strict=True,
    ):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_softmax_regression_without_names_reads_back(tmp_path: Path) -> None:
    written = classifier((6, 4), image_shape=None)
    save_model(tmp_path / "m", written)
    read = load_model(tmp_path / "m")
    assert len(read.params) == 1
    assert (read.features, read.image_shape, read.encoder) == ((), None, None)


def test_transposed_arrays_are_stored_as_they_are_read(tmp_path: Path) -> None:
    made = classifier((6, 4))
    weight = np.asfortranarray(np.arange(24.0, dtype=np.float32).reshape(6, 4))
    layer = made.params[0]._replace(weight=jnp.asarray(weight))
    save_model(tmp_path / "m", replace(made, params=(layer,)))
    found = load_model(tmp_path / "m").params[0].weight
    np.testing.assert_array_equal(found, weight)


def test_an_activation_of_ones_own_cannot_be_saved(tmp_path: Path) -> None:
    sine = handgrad.Activation(jnp.sin, lambda d, a: jnp.cos(d))
    with pytest.raises(TrainingError, match="`activation` must be names"):
        save_model(tmp_path / "m", replace(classifier(), activation=(sine,)))  # pyright: ignore[reportArgumentType]
    assert list(tmp_path.iterdir()) == []


def test_predictions_are_those_of_the_network_on_scaled_features() -> None:
    model = classifier((6, 3, 4), activation="tanh", scaling=CLIPPED)
    x = np.random.default_rng(2).normal(size=(5, 6)).astype(np.float32) * 9
    z = (x - np.arange(6)) / 2
    z = z / np.sqrt(1 + (z / 3) ** 2)
    expected = handgrad.predict_proba(
        model.params, z.astype(np.float32), activation="tanh"
    )
    np.testing.assert_allclose(model.predict_proba(x), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("samples", [0, 1, 2, 7, 33])
def test_batches_make_no_difference(
    samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = classifier()
    x = np.random.default_rng(3).normal(size=(samples, 6)).astype(np.float32)
    together = model.predict_proba(x)
    assert together.shape == (samples, 4)
    monkeypatch.setattr(room, "_NUMBERS_AT_ONCE", 8 * 13)
    np.testing.assert_allclose(model.predict_proba(x), together, rtol=1e-6)


def test_images_and_bytes_and_mapped_files_are_samples(tmp_path: Path) -> None:
    model = classifier((6, 3, 4))
    images = np.random.default_rng(4).integers(0, 255, (9, 2, 3), dtype=np.uint8)
    flat = images.reshape(9, 6).astype(np.float32)
    np.testing.assert_array_equal(
        model.predict_proba(images), model.predict_proba(flat)
    )
    np.save(tmp_path / "x.npy", images)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_array_equal(
        model.predict_proba(mapped), model.predict_proba(flat)
    )


def test_rows_that_stay_on_the_disk_are_samples() -> None:
    model = classifier()
    x = np.random.default_rng(6).normal(size=(20, 6)).astype(np.float32)
    chosen = np.arange(19, 0, -2)
    np.testing.assert_array_equal(
        model.predict_proba(Rows(x, chosen)), model.predict_proba(x[chosen])
    )


@pytest.mark.parametrize("shape", [(6,), (2, 5), (2, 3, 3), ()])
def test_samples_of_another_size_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(TrainingError, match="`x` must hold samples of 6 features"):
        classifier().predict_proba(np.zeros(shape))


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    save_model(tmp_path / "model", classifier())
    return (tmp_path / "model").read_bytes()


def _refused(path: Path) -> None:
    with pytest.raises(TrainingError, match=r"^`model` must be "):
        load_model(path)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cut"
    for end in range(0, len(content), 7):
        path.write_bytes(content[:end])
        _refused(path)


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    class Boom:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return pytest.fail, ("a pickle was run",)

    path = tmp_path / "other"
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    tensors = {"layers.1.bias": np.zeros(3, np.float32)}
    for other in (
        pickle.dumps(Boom()),
        (tmp_path / "other.npz").read_bytes(),
        safetensors.numpy.save(tensors),
        safetensors.numpy.save(tensors, {"format": "pt"}),
    ):
        path.write_bytes(other)
        _refused(path)
    _refused(tmp_path)
    _refused(tmp_path / "missing")


@given(at=st.integers(0, 1200), byte=st.integers(0, 255))
@settings(max_examples=200)
def test_a_changed_byte_reads_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int
) -> None:
    path = tmp_path_factory.mktemp("model") / "m"
    save_model(path, classifier())
    content = bytearray(path.read_bytes())
    content[at % len(content)] = byte
    path.write_bytes(content)
    with suppress(TrainingError):
        load_model(path)


CHANGES = {
    "format": {"format": "pt"},
    "version": {"version": 2},
    "activation": {"activation": "rellu"},
    "count of activations": {"activation": ["relu", "relu"]},
    "classes": {"classes": ["a"]},
    "features": {"features": ["a"]},
    "image": {"image_shape": [5, 5]},
    "image of another kind": {"image_shape": 7},
    "no classes": {"classes": None},
}


@pytest.mark.parametrize("name", CHANGES)
def test_parts_that_do_not_fit_are_refused(
    tmp_path: Path, content: bytes, name: str
) -> None:
    path = tmp_path / "model"
    with safetensors.safe_open(path, framework="numpy") as file:
        about = json.loads(file.metadata()["handgrad"])
    _write(path, content, json.dumps(about | CHANGES[name]))
    _refused(path)


@pytest.mark.parametrize("about", ["[" * 100_000, "7", "{", "[]", "null"])
def test_metadata_of_another_kind_is_refused(
    tmp_path: Path, content: bytes, about: str
) -> None:
    _write(tmp_path / "model", content, about)
    _refused(tmp_path / "model")


def _write(path: Path, content: bytes, about: str) -> None:
    tensors = safetensors.numpy.load(content)
    path.write_bytes(safetensors.numpy.save(tensors, {"handgrad": about}))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("layers.1.weight", (5, 3)),
        ("layers.2.weight", (2, 4)),
        ("layers.2.bias", (3,)),
        ("scaling.shift", (5,)),
        ("scaling.other", (6,)),
        ("layers.3.bias", (4,)),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, content: bytes, name: str, shape: tuple[int, ...]
) -> None:
    path = tmp_path / "model"
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    tensors = safetensors.numpy.load(content) | {name: np.zeros(shape, np.float32)}
    path.write_bytes(safetensors.numpy.save(tensors, metadata))
    _refused(path)
