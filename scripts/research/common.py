"""What the research scripts share: settings beside the script, pictures of digits, and
a JSON and a figure for each.

Every script takes the TOML file that lies beside it; each key in it is also a flag.
Without a path it runs on scikit-learn's digits; ``--data.path FOLDER`` names a folder
of IDX files, such as MNIST's.
"""

import functools
import json
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import handgrad
from handgrad.training.data.idx import read_idx_folder

Settings = TypeVar("Settings", bound="Experiment")


@dataclass(frozen=True)
class Data:
    path: str = ""
    """A folder of IDX files; empty for the bundled digits."""


@dataclass(frozen=True)
class Experiment:
    data: Data
    out: str
    """The folder for NAME.json and NAME.png."""
    seed: int
    """Drives initial parameters, batches and noise; the split of digits is fixed."""


class Images(NamedTuple):
    """Pictures with values in [0, 1], and their labels, as NumPy arrays."""

    x: np.ndarray  # (m, height * width), float32
    y: np.ndarray  # (m,), int32
    x_test: np.ndarray
    y_test: np.ndarray
    shape: tuple[int, int]


def settings_of(kind: type[Settings], script: str) -> Settings:
    """The TOML file beside the script, overlaid by the command line."""
    table: dict[str, Any] = tomllib.loads(Path(script).with_suffix(".toml").read_text())
    for key, value in table.items():
        table[key] = tuple(value) if isinstance(value, list) else value
    table["data"] = Data(**table.get("data", {}))
    return tyro.cli(kind, default=kind(**table))


def load_images(data: Data) -> Images:
    """MNIST's own split in its own order, or digits: 1,437 to train, 360 to test."""
    if data.path:
        files = read_idx_folder(data.path)
        x, x_test = (
            (images.reshape(len(images), -1) / np.float32(255)).astype(np.float32)
            for images in (files.train_images, files.test_images)
        )
        shape = files.train_images.shape[1:]
        labels = files.train_labels.astype(np.int32), files.test_labels.astype(np.int32)
        return Images(x, labels[0], x_test, labels[1], shape)
    bunch: Any = load_digits()
    x, y = (bunch.data / 16).astype(np.float32), bunch.target.astype(np.int32)
    rest, test = _split(x, y, 0.2)
    kept, out = _split(*rest, 0.1)
    x, y = np.concatenate([kept[0], out[0]]), np.concatenate([kept[1], out[1]])
    return Images(x, y, *test, (8, 8))


Samples = tuple[np.ndarray, np.ndarray]


def _split(x: np.ndarray, y: np.ndarray, share: float) -> tuple[Samples, Samples]:
    """What stays and the share that is held out, stratified."""
    rows, out = train_test_split(
        np.arange(len(y)), test_size=share, random_state=0, stratify=y
    )
    return (x[rows], y[rows]), (x[out], y[out])


def epoch_rows(
    random: np.random.RandomState, samples: int, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """A permutation in batches, the last one filled up by sample 0 at weight 0.

    Returns:
      Which samples, (S, B) int32, and their weights, (S, B) float32.
    """
    padding = -samples % batch_size
    rows = np.pad(random.permutation(samples), (0, padding)).astype(np.int32)
    weights = np.pad(np.ones(samples, np.float32), (0, padding))
    return rows.reshape(-1, batch_size), weights.reshape(-1, batch_size)


class State(NamedTuple):
    """What an optimiser carries from step to step."""

    params: Any  # the network, or whatever else is learned with it
    opt_state: optax.OptState


def make_epoch(gradient: Any, optimizer: optax.GradientTransformation) -> Any:
    """Training as one program, a step for every batch.

    Args:
      gradient: (params, x, y, weights, key) of one batch -> (what the optimiser takes,
        what else to keep of the step).
      optimizer: of optax.

    Returns:
      The jitted function (state, x, y, rows, weights, key) -> (state, kept), ``rows``
      and ``weights`` of `epoch_rows`; what was kept is stacked along a leading axis.
    """

    @jax.jit
    def epoch(state: State, x: Any, y: Any, rows: Any, weights: Any, key: Any) -> Any:
        def step(state: State, batch: Any) -> Any:
            rows, weights, key = batch
            grads, kept = gradient(state.params, x[rows], y[rows], weights, key)
            updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
            return State(optax.apply_updates(state.params, updates), opt_state), kept

        keys = jax.random.split(key, len(rows))
        return jax.lax.scan(step, state, (rows, weights, keys))

    return epoch


def train(
    gradient: Any,
    optimizer: optax.GradientTransformation,
    params: Any,
    images: Images,
    settings: Any,
) -> Iterator[tuple[Any, Any]]:
    """What is learned, and what was kept of the steps, after every epoch.

    ``settings`` has a seed, epochs and batch_size.
    """
    x, y = jnp.asarray(images.x), jnp.asarray(images.y)
    epoch, state = (
        make_epoch(gradient, optimizer),
        State(params, optimizer.init(params)),
    )
    random, key = np.random.RandomState(settings.seed), jax.random.key(settings.seed)
    for number in range(settings.epochs):
        batches = epoch_rows(random, len(y), settings.batch_size)
        state, kept = epoch(state, x, y, *batches, jax.random.fold_in(key, number))
        yield state.params, kept


def sizes_of(images: Images, hidden: tuple[int, ...]) -> tuple[int, ...]:
    """The widths of a network for these pictures."""
    return (images.x.shape[1], *hidden, int(images.y.max()) + 1)


def plain_gradient(params: Any, x: Any, y: Any, weights: Any, key: Any) -> Any:
    """The gradient of handgrad, and nothing else kept."""
    return handgrad.value_and_grad(params, x, y, weights=weights)[1], None


@functools.partial(jax.jit, static_argnames="activation")
def accuracy(
    params: handgrad.Params, x: Any, y: Any, activation: str = "relu"
) -> jax.Array:
    """The share of the samples that get their label."""
    logits = handgrad.forward(params, x, activation=activation).logits
    return jnp.mean(jnp.argmax(logits, axis=1) == y)


def save(settings: Experiment, script: str, results: Any, figure: Figure) -> None:
    """Write NAME.json (settings and results) and NAME.png, and say where."""
    folder, name = Path(settings.out), Path(script).stem
    folder.mkdir(parents=True, exist_ok=True)
    report = {
        "settings": asdict(settings),
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "results": results,
    }
    (folder / f"{name}.json").write_text(json.dumps(report, indent=2) + "\n")
    figure.savefig(folder / f"{name}.png", dpi=150)
    print(f"Wrote {folder / name}.json and .png")
