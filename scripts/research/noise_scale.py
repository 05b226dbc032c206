"""How large a batch is worth its cost: the noise scale, and the steps really needed.

Held against: McCandlish et al. 2018, "An empirical model of large-batch training". The
noise scale tr(Sigma) / |G|^2 grows as the loss falls (their figure 6 and section 2.2),
and steps to a fixed loss, at the best learning rate for each batch size B, follow

    S(B) = S_min (1 + B_crit / B)                               (equations 2.7, 2.11)

with B_crit of the order of the noise scale averaged over training to that loss: here,
within a factor of 10.

    python scripts/research/noise_scale.py [--data.path MNIST_FOLDER]
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


@dataclass(frozen=True)
class Settings(common.Experiment):
    hidden: tuple[int, ...]
    epochs: int
    """Of the run along which the noise scale is measured."""
    batch_size: int
    learning_rate: float
    batch_sizes: tuple[int, ...]
    """Of the runs that count steps."""
    learning_rates: tuple[float, ...]
    """The best of them counts, for each batch size."""
    target: float
    """The loss to reach, in nats, on 512 training samples."""
    most_steps: int


def gradient(params: Any, x: Any, y: Any, weights: Any, key: Any) -> Any:
    """The gradient, and the noise scale of the same batch from the same pass."""
    trace = handgrad.forward(params, x)
    errors = handgrad.deltas(params, trace, y, weights=weights)
    found = byproducts.collect(trace, errors, ["noise_scale"])
    return found["gradient"], found["noise_scale"]


def over_training(settings: Settings, images: common.Images, start: Any) -> Any:
    """Per epoch: loss, |G|^2, tr(Sigma) and their ratio, estimates averaged first."""
    optimizer, history = optax.sgd(settings.learning_rate), []
    for params, scales in common.train(gradient, optimizer, start, images, settings):
        mean = jax.tree.map(jnp.mean, scales)
        history.append(
            {
                "loss": float(handgrad.loss(params, images.x, images.y)),
                "squared norm": float(mean.squared_norm),
                "variance": float(mean.variance),
                "noise scale": float(mean.critical_batch_size),
            }
        )
    return history


def steps_needed(
    settings: Settings, images: common.Images, params: Any, batch_size: int
) -> int | None:
    """Steps until the loss is first at the target, at the best learning rate; None if
    that takes more than the settings allow."""
    x, y = jnp.asarray(images.x), jnp.asarray(images.y)

    def run(rate: jax.Array) -> jax.Array:
        def step(params: Any, key: jax.Array) -> Any:
            rows = jax.random.randint(key, (batch_size,), 0, len(y))
            grads = handgrad.value_and_grad(params, x[rows], y[rows])[1]
            params = jax.tree.map(lambda p, g: p - rate * g, params, grads)
            return params, handgrad.loss(params, x[:512], y[:512])

        keys = jax.random.split(jax.random.key(settings.seed), settings.most_steps)
        losses = jax.lax.scan(step, params, keys)[1]
        there = losses <= settings.target
        return jnp.where(there.any(), jnp.argmax(there), settings.most_steps) + 1

    rates = jnp.asarray(settings.learning_rates)
    needed = int(jnp.min(jax.jit(lambda rates: jax.lax.map(run, rates))(rates)))
    return needed if needed <= settings.most_steps else None


def fit(steps: dict[int, int]) -> tuple[float, float]:
    """S_min and B_crit by least squares of log S, over a fine grid of B_crit."""
    sizes, counts = np.array(list(steps)), np.array(list(steps.values()))
    grid = np.geomspace(1, 1e5, 2000)
    logs = np.log(counts) - np.log1p(grid[:, None] / sizes)
    best = np.argmin(logs.var(axis=1))
    return float(np.exp(logs[best].mean())), float(grid[best])


def draw(history: Any, steps: dict[int, int], s_min: float, b_crit: float) -> Figure:
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    losses, scales = ([h[name] for h in history] for name in ("loss", "noise scale"))
    left.loglog(losses, scales, "o-", color="#0072B2")
    left.invert_xaxis()
    left.set(xlabel="loss (nats), falling", ylabel="noise scale (samples)")
    sizes = np.array(list(steps))
    right.loglog(sizes, list(steps.values()), "o", color="#D55E00", label="measured")
    label = f"{s_min:.0f} (1 + {b_crit:.0f} / B)"
    right.loglog(sizes, s_min * (1 + b_crit / sizes), color="black", label=label)
    right.axvspan(min(scales), max(scales), alpha=0.15, label="noise scales, left")
    right.set(xlabel="batch size B", ylabel="steps to the target loss")
    right.legend()
    return figure


def main() -> None:
    settings = common.settings_of(Settings, __file__)
    images = common.load_images(settings.data)
    sizes = common.sizes_of(images, settings.hidden)
    params = handgrad.init(jax.random.key(settings.seed), sizes)
    history = over_training(settings, images, params)
    for number, record in enumerate(history, start=1):
        print(f"epoch {number}", *(f"{k} {v:.4g}" for k, v in record.items()), sep="  ")
    steps = {
        size: steps_needed(settings, images, params, size)
        for size in settings.batch_sizes
    }
    print("steps by batch size:", steps)
    steps = {size: needed for size, needed in steps.items() if needed}
    if len(steps) < 2:
        raise SystemExit("Too few batch sizes reach the target: raise --most-steps.")
    s_min, b_crit = fit(steps)
    before = [h for h in history if h["loss"] >= settings.target] or history[:1]
    mean = float(np.exp(np.mean([np.log(h["noise scale"]) for h in before])))
    print(
        f"S = {s_min:.1f} (1 + {b_crit:.0f} / B); noise scale {mean:.0f} on average, "
        f"down to a loss of {before[-1]['loss']:.2g}"
    )
    results = {
        "over training": history,
        "mean noise scale": mean,
        "steps": steps,
        "S_min": s_min,
        "B_crit": b_crit,
    }
    common.save(settings, __file__, results, draw(history, steps, s_min, b_crit))


if __name__ == "__main__":
    main()
