"""A published run, number by number: JAX's own examples/mnist_classifier.py.

Held against: training and test accuracy after epochs 1 to 3 on MNIST, which three sites
publish as .87193/.8803, .89792/.9032 and .90923/.9143; to be met within 2e-4. The
recipe: 784-1024-1024-10, stax's initial weights from PRNGKey(0) with
``jax_threefry_partitionable=False``, SGD of rate 0.001 with momentum 0.9, batches of
128 and a last one of 96, in the permutations of numpy's RandomState(0).

    python scripts/research/published_runs.py --data.path MNIST_FOLDER

On digits nothing is published; there the same recipe by `jax.grad` stands beside it.
"""

from dataclasses import dataclass
from typing import Any

import common
import jax
import optax
from matplotlib.figure import Figure

import handgrad

PUBLISHED = ((0.87193, 0.8803), (0.89792, 0.9032), (0.90923, 0.9143))


@dataclass(frozen=True)
class Settings(common.Experiment):
    hidden: tuple[int, ...]
    batch_size: int
    learning_rate: float
    momentum: float
    epochs: int


def stax_params(seed: int, sizes: tuple[int, ...]) -> handgrad.Params:
    """The parameters that stax.serial(Dense, Relu, ..., Dense, LogSoftmax) draws.

    Every entry of the chain takes a split of the key, the ones without parameters too.
    """
    layers = []
    with jax.threefry_partitionable(False):
        key = jax.random.PRNGKey(seed)
        for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
            key, layer_key = jax.random.split(key)
            key, _ = jax.random.split(key)  # the activation after it
            weight_key, bias_key = jax.random.split(layer_key)
            weight = jax.nn.initializers.glorot_normal()(weight_key, (n_in, n_out))
            bias = jax.nn.initializers.normal()(bias_key, (n_out,))
            layers.append(handgrad.Layer(weight, bias))
    return tuple(layers)


def by_autodiff(params: Any, x: Any, y: Any, weights: Any, key: Any) -> Any:
    return jax.grad(handgrad.loss)(params, x, y, weights=weights), None


def train(
    settings: Settings, images: common.Images, gradient: Any
) -> list[tuple[float, float]]:
    """Training and test accuracy after each epoch."""
    optimizer = optax.sgd(settings.learning_rate, settings.momentum)
    params = stax_params(settings.seed, common.sizes_of(images, settings.hidden))
    return [
        (
            float(common.accuracy(params, images.x, images.y)),
            float(common.accuracy(params, images.x_test, images.y_test)),
        )
        for params, _ in common.train(gradient, optimizer, params, images, settings)
    ]


def draw(history: Any, other: Any, label: str) -> Figure:
    """Accuracy after each epoch, ours as lines and the other run as crosses."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    ax = figure.subplots()
    epochs = range(1, len(history) + 1)
    for part, colour in enumerate(("#0072B2", "#D55E00")):
        name = ("training", "test")[part]
        ax.plot(epochs, [h[part] for h in history], color=colour, label=f"{name}, here")
        ax.plot(
            epochs[: len(other)],
            [h[part] for h in other[: len(history)]],
            "x",
            color=colour,
            markersize=9,
            label=f"{name}, {label}",
        )
    ax.set(xlabel="epoch", ylabel="accuracy", xticks=list(epochs))
    ax.grid(alpha=0.3)
    ax.legend()
    return figure


def main() -> None:
    settings = common.settings_of(Settings, __file__)
    images = common.load_images(settings.data)
    history = train(settings, images, common.plain_gradient)
    if settings.data.path:
        other, label = list(PUBLISHED), "published"
    else:
        other, label = train(settings, images, by_autodiff), "jax.grad"
    for epoch, (ours, theirs) in enumerate(zip(history, other, strict=False), start=1):
        print(
            f"epoch {epoch}: training {ours[0]:.5f}, test {ours[1]:.4f}; "
            f"{label} {theirs[0]:.5f}, {theirs[1]:.4f}"
        )
    results = {"here": history, label: other}
    common.save(settings, __file__, results, draw(history, other, label))


if __name__ == "__main__":
    main()
