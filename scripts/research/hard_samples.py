"""Which samples pull hardest: the largest gradient norms, before and after training.

Held against: Paul et al. 2021, "Deep learning on a data diet", where the gradient norm
early in training (GraNd) ranks the samples that matter, and wrong labels come first.
Here 5 % of the training labels are replaced by another class. Looking at as many
samples as there are wrong labels, those of the largest norms, a random order finds 5 %
of the wrong ones: so must the norms at initialisation, and the norms after training,
nearly all.

    python scripts/research/hard_samples.py [--data.path MNIST_FOLDER]
"""

from dataclasses import dataclass
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import handgrad
from handgrad import byproducts

COLUMNS, ROWS = 8, 2


@dataclass(frozen=True)
class Settings(common.Experiment):
    hidden: tuple[int, ...]
    wrong_labels: float
    """Share of the training labels that are replaced."""
    batch_size: int
    learning_rate: float
    epochs: int


@jax.jit
def norms(params: handgrad.Params, x: jax.Array, y: jax.Array) -> jax.Array:
    """|dl_i/dparams| of every sample, with no gradient formed."""
    trace = handgrad.forward(params, x)
    return byproducts.per_sample_norms(trace, handgrad.deltas(params, trace, y))


def spoilt(random: Any, y: np.ndarray, share: float) -> np.ndarray:
    """The labels, a share of them moved to another class at random."""
    classes = int(y.max()) + 1
    wrong = random.permutation(len(y))[: round(share * len(y))]
    spoilt = y.copy()
    spoilt[wrong] = (y[wrong] + random.randint(1, classes, len(wrong))) % classes
    return spoilt


def train(settings: Settings, images: common.Images) -> tuple[Any, Any]:
    """The parameters before training and after it."""
    sizes = common.sizes_of(images, settings.hidden)
    params = handgrad.init(jax.random.key(settings.seed), sizes)
    optimizer = optax.adam(settings.learning_rate)
    *_, (trained, _) = common.train(
        common.plain_gradient, optimizer, params, images, settings
    )
    return params, trained


def draw(orders: dict[str, Any], images: common.Images, y: np.ndarray) -> Figure:
    """The first samples of each order, wrong labels marked in colour and in words."""
    figure = Figure(figsize=(9, 2.9 * len(orders)), layout="constrained")
    panels = figure.subfigures(len(orders), 1, squeeze=False)[:, 0]
    for panel, (title, order) in zip(panels, orders.items(), strict=True):
        panel.suptitle(title)
        for ax, i in zip(panel.subplots(ROWS, COLUMNS).flat, order, strict=False):
            ax.imshow(images.x[i].reshape(images.shape), cmap="gray_r")
            ax.set(xticks=[], yticks=[])
            wrong = y[i] != images.y[i]
            note = f"{y[i]}, truly {images.y[i]}" if wrong else f"{y[i]}"
            ax.set_title(note, fontsize=8, color="#D55E00" if wrong else "black")
    return figure


def main() -> None:
    settings = common.settings_of(Settings, __file__)
    images = common.load_images(settings.data)
    random = np.random.RandomState(settings.seed)
    y = spoilt(random, images.y, settings.wrong_labels)
    wrong = np.flatnonzero(y != images.y)
    results: dict[str, Any] = {"wrong labels": len(wrong), "samples": len(y)}
    orders = {}
    for when, params in zip(
        ("before", "after"), train(settings, images._replace(y=y)), strict=True
    ):
        order = np.argsort(-np.asarray(norms(params, images.x, jnp.asarray(y))))
        found = np.isin(order[: len(wrong)], wrong).mean()
        title = f"{when} training: {found:.1%} of the wrong labels found"
        print(f"{title}, looking at {len(wrong)} of {len(y)} samples")
        accuracy = common.accuracy(params, images.x_test, images.y_test)
        results[when] = {"found": float(found), "test accuracy": float(accuracy)}
        orders[f"Largest gradient norms {title}"] = order
    common.save(settings, __file__, results, draw(orders, images, y))


if __name__ == "__main__":
    main()
