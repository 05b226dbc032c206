"""Accuracy against epsilon: DP-SGD, with the budget of Google's accountant.

Held against: Abadi et al. 2016, figure 3: MNIST, 60 principal components, 1,000 ReLU
units, lots of 600, clip 4: test accuracy 90 %, 95 % and 97 % at epsilon 0.5, 2 and 8,
delta 1e-5; to be reached or passed. Different here: the inputs are low frequencies of
the picture, which look at no data and so cost no budget (the paper's components do);
their number, the lots and the activation are in the settings beside this file.

    python scripts/research/private_training.py --data.path MNIST_FOLDER

Needs the extra ``private``. Neighbouring data sets differ in one sample, added or
removed; the noise is that of `jax.random`, good for research and not for a release.
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

PUBLISHED = {0.5: 0.90, 2.0: 0.95, 8.0: 0.97}


@dataclass(frozen=True)
class Settings(common.Experiment):
    features: int
    """How many low frequencies of each picture the network sees."""
    hidden: tuple[int, ...]
    activation: str
    delta: float
    sampling_rate: float
    """q: each sample is in a batch with this probability."""
    clip_norm: float
    epsilons: tuple[float, ...]
    epochs: tuple[int, ...]
    """For each epsilon; an epoch is 1 / q steps."""
    learning_rates: tuple[float, ...]
    """For each epsilon; they fall linearly to 0."""
    momentum: float
    held_out: int
    """Hold out the last training samples and test on them, as in choosing settings."""


def low_frequencies(x: np.ndarray, shape: tuple[int, int], count: int) -> np.ndarray:
    """The first cosine coefficients of each picture by i + j, the constant left out.

    Each sample is scaled to the norm sqrt(count), by itself.
    """
    height, width = shape
    pictures = jnp.asarray(x).reshape(-1, height, width)
    cosines = np.asarray(jax.scipy.fft.dctn(pictures, axes=(1, 2), norm="ortho"))
    order = np.argsort(
        np.add.outer(np.arange(height), np.arange(width)).ravel(), kind="stable"
    )
    kept = cosines.reshape(len(x), -1)[:, order[1 : count + 1]]
    return kept / np.linalg.norm(kept, axis=1, keepdims=True) * np.float32(count**0.5)


def train(
    settings: Settings, images: common.Images, sigma: float, steps: int, rate: float
) -> tuple[handgrad.Params, int]:
    """The network after so many private steps, and how many samples found no room."""
    x, y = jnp.asarray(images.x), jnp.asarray(images.y)
    key, init_key = jax.random.split(jax.random.key(settings.seed))
    sizes = common.sizes_of(images, settings.hidden)
    params = handgrad.init(init_key, sizes, activation=settings.activation)
    schedule = optax.linear_schedule(rate, 0, steps)
    optimizer = optax.sgd(schedule, settings.momentum)
    capacity = byproducts.poisson_capacity(len(y), settings.sampling_rate)

    def step(state: common.State, key: jax.Array) -> Any:
        params, opt_state = state
        batch_key, noise_key = jax.random.split(key)
        batch = byproducts.poisson_batch(
            batch_key, len(y), settings.sampling_rate, capacity
        )
        trace = handgrad.forward(
            params, x[batch.indices], activation=settings.activation
        )
        labels = y[batch.indices]
        errors = handgrad.deltas(params, trace, labels, weights=batch.weights)
        grads = byproducts.private_gradient(
            noise_key,
            trace,
            errors,
            clip_norm=settings.clip_norm,
            noise_multiplier=sigma,
            expected_batch_size=settings.sampling_rate * len(y),
        )
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return common.State(
            optax.apply_updates(params, updates), opt_state
        ), batch.dropped

    state = common.State(params, optimizer.init(params))
    keys = jax.random.split(key, steps)
    state, dropped = jax.jit(lambda state: jax.lax.scan(step, state, keys))(state)
    return state.params, int(dropped.sum())


def run(settings: Settings, images: common.Images, index: int) -> dict[str, Any]:
    """Noise from the budget, training, and what was spent."""
    steps = round(settings.epochs[index] / settings.sampling_rate)
    budget: dict[str, Any] = {
        "sampling_rate": settings.sampling_rate,
        "steps": steps,
        "delta": settings.delta,
    }
    sigma = byproducts.noise_for(settings.epsilons[index], **budget)
    rate = settings.learning_rates[index]
    params, dropped = train(settings, images, sigma, steps, rate)
    if dropped:
        raise RuntimeError(f"{dropped} samples were dropped: the budget does not hold.")
    test = (images.x_test, images.y_test, settings.activation)
    return {
        "epsilon": byproducts.privacy_spent(noise_multiplier=sigma, **budget),
        "noise multiplier": sigma,
        "steps": steps,
        "test accuracy": float(common.accuracy(params, *test)),
    }


def draw(results: list[dict[str, Any]], published: dict[float, float]) -> Figure:
    figure = Figure(figsize=(6, 4), layout="constrained")
    ax = figure.subplots()
    epsilons = [found["epsilon"] for found in results]
    accuracies = [found["test accuracy"] for found in results]
    ax.semilogx(epsilons, accuracies, "o-", color="#0072B2", label="here")
    if published:
        ax.semilogx(*zip(*published.items(), strict=True), "kx", label="Abadi et al.")
    ax.set(xlabel="epsilon (log scale)", ylabel="test accuracy")
    ax.set_xticks(epsilons, [f"{epsilon:.2g}" for epsilon in epsilons])
    ax.minorticks_off()
    ax.grid(alpha=0.3)
    ax.legend()
    return figure


def main() -> None:
    settings = common.settings_of(Settings, __file__)
    images = common.load_images(settings.data)
    x, x_test = (
        low_frequencies(part, images.shape, settings.features)
        for part in (images.x, images.x_test)
    )
    images = images._replace(x=x, x_test=x_test)
    if settings.held_out:
        end = -settings.held_out
        images = common.Images(
            x[:end], images.y[:end], x[end:], images.y[end:], images.shape
        )
    published, results = PUBLISHED if settings.data.path else {}, []
    for index in range(len(settings.epsilons)):
        results.append(found := run(settings, images, index))
        print(
            f"epsilon {found['epsilon']:.3f} (noise {found['noise multiplier']:.3f}, "
            f"{found['steps']} steps): test accuracy {found['test accuracy']:.4f}"
            f"; published {published.get(settings.epsilons[index], 'nothing')}"
        )
    common.save(settings, __file__, results, draw(results, published))


if __name__ == "__main__":
    main()
