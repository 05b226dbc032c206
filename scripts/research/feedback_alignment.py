"""Other ways to carry the error back: accuracy and angle over training.

Held against: MNIST test errors of 0.84 % for backprop, 1.91 % for feedback alignment
and 1.71 % for direct feedback alignment in biotorch's LeNet. This is an MLP, so the
claim is the order, backprop first, and that the angles to the exact gradient fall below
90 degrees (Lillicrap et al. 2016, figure 2; Nokland 2016, figure 3). Kolen-Pollack's
must fall towards 0 (Akrout et al. 2019, figure 3).

    python scripts/research/feedback_alignment.py [--data.path MNIST_FOLDER]
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import common
import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import handgrad
from handgrad import transport as ways


@dataclass(frozen=True)
class Settings(common.Experiment):
    hidden: tuple[int, ...]
    activation: str
    batch_size: int
    learning_rate: float
    momentum: float
    weight_decay: float
    """Of Kolen-Pollack alone, which needs it to converge: weights, biases, feedback."""
    epochs: int
    seeds: int
    """Repeat with seed, seed + 1, ...; the means are printed and drawn."""


class Learned(NamedTuple):
    """The network, and the feedback that may be learned with it."""

    params: handgrad.Params
    feedback: ways.Feedback


Way = Callable[[Learned, jax.Array], ways.Transport]
WAYS: dict[str, Way] = {
    "backprop": lambda learned, key: ways.backprop,
    "Kolen-Pollack": lambda learned, key: ways.feedback_alignment(learned.feedback),
    "sign-symmetric, uniform": lambda learned, key: ways.sign_symmetric_uniform(),
    "sign-symmetric, fixed": lambda learned, key: ways.sign_symmetric_fixed(
        learned.feedback
    ),
    "sign-symmetric, random": lambda learned, key: ways.sign_symmetric_random(key),
    "feedback alignment": lambda learned, key: ways.feedback_alignment(
        learned.feedback
    ),
    "direct feedback alignment": lambda learned, key: ways.direct_feedback_alignment(
        learned.feedback
    ),
}


def gradient_by(way: str, activation: str) -> Any:
    """The gradient by one way, with the angles to the exact one from the same trace."""

    def gradient(learned: Learned, x: Any, y: Any, weights: Any, key: Any) -> Any:
        params, feedback = learned
        trace = handgrad.forward(params, x, activation=activation)
        transport = WAYS[way](learned, key)
        errors = handgrad.deltas(params, trace, y, weights=weights, transport=transport)
        exact = handgrad.deltas(params, trace, y, weights=weights)
        grads = handgrad.gradients(trace, errors)
        degrees = ways.angles(grads, handgrad.gradients(trace, exact))
        if way == "Kolen-Pollack":
            feedback = ways.kolen_pollack_gradients(grads)
        else:
            feedback = jax.tree.map(jnp.zeros_like, feedback)
        return Learned(grads, feedback), degrees

    return gradient


History = dict[str, np.ndarray]
"""Test error, (seeds, epochs), in per cent; angles, (seeds, epochs, L), in degrees."""


def run(settings: Settings, images: common.Images, way: str) -> History:
    """One way with every seed."""
    seeds = range(settings.seed, settings.seed + settings.seeds)
    runs = [run_once(replace(settings, seed=seed), images, way) for seed in seeds]
    return {key: np.stack([found[key] for found in runs]) for key in runs[0]}


def run_once(settings: Settings, images: common.Images, way: str) -> History:
    """Test error, and the angle of each layer averaged over each epoch."""
    key, feedback_key = jax.random.split(jax.random.key(settings.seed))
    sizes = common.sizes_of(images, settings.hidden)
    params = handgrad.init(key, sizes, activation=settings.activation)
    direct = way == "direct feedback alignment"
    draw = ways.init_direct_feedback if direct else ways.init_feedback
    start = Learned(params, draw(feedback_key, params))
    decay = settings.weight_decay if way == "Kolen-Pollack" else 0.0
    optimizer = optax.chain(
        optax.add_decayed_weights(decay),
        optax.sgd(settings.learning_rate, settings.momentum),
    )
    gradient = gradient_by(way, settings.activation)
    errors, angles = [], []
    for learned, degrees in common.train(gradient, optimizer, start, images, settings):
        test = (images.x_test, images.y_test, settings.activation)
        errors.append(100 * (1 - float(common.accuracy(learned.params, *test))))
        angles.append(degrees.mean(axis=0))
    return {"test error": np.array(errors), "angles": np.array(angles)}


def draw(results: dict[str, History]) -> Figure:
    """Test error and the angle of the first layer over epochs, a line for each way."""
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for i, (way, history) in enumerate(results.items()):
        style: dict[str, Any] = {"color": f"C{i}", "linestyle": ("-", "--", ":")[i % 3]}
        errors, angles = (history[key].mean(axis=0) for key in history)
        epochs = range(1, 1 + len(errors))
        left.plot(epochs, errors, label=way, **style)
        right.plot(epochs, angles[:, 0], **style)
    left.set(xlabel="epoch", ylabel="test error (%)", yscale="log")
    left.yaxis.set_major_formatter("{x:g}")
    left.yaxis.set_minor_formatter("{x:g}")
    right.set(xlabel="epoch", ylabel="degrees to the exact gradient, first layer")
    right.axhline(90, color="black", linewidth=0.8)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure


def main() -> None:
    settings = common.settings_of(Settings, __file__)
    images = common.load_images(settings.data)
    results = {way: run(settings, images, way) for way in WAYS}
    for way, history in results.items():
        last = history["test error"][:, -1]
        first_angles, last_angles = (
            ", ".join(f"{angle:.1f}" for angle in history["angles"][:, i, :-1].mean(0))
            for i in (0, -1)
        )
        print(
            f"{way:26} test error {last.mean():5.2f} % ({last.min():.2f} to "
            f"{last.max():.2f}), angles {first_angles} -> {last_angles}"
        )
    listed = jax.tree.map(np.ndarray.tolist, results)
    common.save(settings, __file__, listed, draw(results))


if __name__ == "__main__":
    main()
