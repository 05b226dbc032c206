"""K-FAC from the Kronecker factors, against Adam and SGD with momentum.

Held against: Martens and Grosse 2015, figure 10 and section 13: K-FAC needs several
times fewer iterations than SGD with momentum to the same training loss, each of them
dearer. All three are tuned alike: each gets the best of six settings, three learning
rates by two values of a second one (momentum, beta_1, damping); the rest is fixed in
the file beside this one. Steps come in whole epochs. Factors are exact, those of
`exact_deltas`, C backward passes. Seconds are steps times the median time of a step,
compilation left out.

    python scripts/research/natural_gradient.py [--data.path MNIST_FOLDER]
"""

import functools
import itertools
import statistics
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import common
import jax
import jax.numpy as jnp
import optax
from matplotlib.figure import Figure

import handgrad
from handgrad import byproducts


@dataclass(frozen=True)
class Settings(common.Experiment):
    hidden: tuple[int, ...]
    batch_size: int
    epochs: int
    target: float
    """The training loss to reach, in nats."""
    sgd_rates: tuple[float, ...]
    adam_rates: tuple[float, ...]
    kfac_rates: tuple[float, ...]
    momenta: tuple[float, ...]
    """Of SGD, and beta_1 of Adam."""
    dampings: tuple[float, ...]
    """lambda of K-FAC, added to the curvature, split between the two factors."""
    kfac_momentum: float
    decay: float
    """Of the moving average of the factors, per step."""
    trust: float
    """The most that one step of K-FAC may change the model, in nats (KL)."""


class Curved(NamedTuple):
    """What K-FAC takes for a gradient."""

    grads: handgrad.Params
    factors: tuple[byproducts.KroneckerFactors, ...]


class KfacState(NamedTuple):
    steps: jax.Array
    factors: Any
    momentum: handgrad.Params


def curved_gradient(params: Any, x: Any, y: Any, weights: Any, key: Any) -> Any:
    """The gradient and the exact Kronecker factors of one batch."""
    trace = handgrad.forward(params, x)
    errors = handgrad.deltas(params, trace, y, weights=weights)
    columns = byproducts.exact_deltas(params, trace, weights=weights)
    return Curved(
        handgrad.gradients(trace, errors),
        byproducts.kronecker_factors(trace, columns),
    ), None


def natural(
    layer: handgrad.Layer, factors: byproducts.KroneckerFactors, damping: float
) -> handgrad.Layer:
    """(A + pi sqrt(lambda) I)^-1 (W; b) (G + sqrt(lambda)/pi I)^-1 (section 6.3)."""
    a, g = factors
    pi = jnp.sqrt(jnp.trace(a) / len(a) / (jnp.trace(g) / len(g) + 1e-30))
    root = jnp.sqrt(damping)
    rows = jnp.concatenate([layer.weight, layer.bias[None]])
    solve = jax.scipy.linalg.solve
    half = solve(a + pi * root * jnp.eye(len(a)), rows, assume_a="pos")
    done = solve(g + root / pi * jnp.eye(len(g)), half.T, assume_a="pos").T
    return handgrad.Layer(done[:-1], done[-1])


def kfac(
    rate: float, damping: float, settings: Settings
) -> optax.GradientTransformation:
    """Natural gradient with momentum, each step shortened to the trusted change."""

    def init(params: Any) -> KfacState:
        factors = tuple(
            byproducts.KroneckerFactors(
                jnp.zeros((len(w) + 1, len(w) + 1)), jnp.zeros((len(b), len(b)))
            )
            for w, b in params
        )
        zeros = jax.tree.map(jnp.zeros_like, params)
        return KfacState(jnp.zeros((), int), factors, zeros)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        grads, new = updates
        keep = jnp.minimum(1 - 1 / (state.steps + 1), settings.decay)
        factors = jax.tree.map(
            lambda old, f: keep * old + (1 - keep) * f, state.factors, new
        )
        step = tuple(
            natural(g, f, damping) for g, f in zip(grads, factors, strict=True)
        )
        change = rate**2 / 2 * optax.tree.vdot(step, grads)  # half step^T F step
        scale = rate * jnp.minimum(1, jnp.sqrt(settings.trust / (change + 1e-30)))
        momentum = jax.tree.map(
            lambda m, s: settings.kfac_momentum * m - scale * s, state.momentum, step
        )
        return momentum, KfacState(state.steps + 1, factors, momentum)

    return optax.GradientTransformation(init, update)


def run(
    settings: Settings, images: common.Images, gradient: Any, optimizer: Any
) -> Any:
    """Training loss after each epoch up to the target, and the seconds of a step."""
    sizes = common.sizes_of(images, settings.hidden)
    first = handgrad.init(jax.random.key(settings.seed), sizes)
    loss = jax.jit(handgrad.loss)
    losses, seconds = [float(loss(first, images.x, images.y))], []
    steps = -(-len(images.y) // settings.batch_size)
    start = time.perf_counter()
    for params, _ in common.train(gradient, optimizer, first, images, settings):
        jax.block_until_ready(params)
        seconds.append((time.perf_counter() - start) / steps)
        losses.append(float(loss(params, images.x, images.y)))
        if not losses[-1] > settings.target:
            break
        start = time.perf_counter()
    return {"losses": losses, "step": statistics.median(seconds[1:] or seconds)}


def best(settings: Settings, runs: dict[Any, Any], steps: int) -> dict[str, Any]:
    """The setting that reaches the target first, or comes closest to it."""
    there = {r: run for r, run in runs.items() if run["losses"][-1] <= settings.target}
    if there:
        chosen = min(there, key=lambda r: len(there[r]["losses"]))
    else:
        chosen = min(runs, key=lambda r: min(runs[r]["losses"]))
    needed = steps * (len(runs[chosen]["losses"]) - 1) if there else None
    seconds = needed * runs[chosen]["step"] if needed else None
    rate, second = chosen
    found = {"rate": rate, "second": second, "steps": needed, "seconds": seconds}
    return found | runs[chosen]


def draw(results: dict[str, Any], steps: int, target: float) -> Figure:
    """Training loss against steps and against seconds."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for i, (name, found) in enumerate(results.items()):
        count = [steps * epoch for epoch in range(len(found["losses"]))]
        label = f"{name} {found['second']:g}, rate {found['rate']:g}"
        axes[0].semilogy(count, found["losses"], f"C{i}", label=label)
        seconds = [found["step"] * c for c in count]
        axes[1].semilogy(seconds, found["losses"], f"C{i}", label=label)
    for ax, label in zip(axes, ("steps", "seconds"), strict=True):
        ax.axhline(target, color="black", linewidth=0.8)
        ax.set(xlabel=label)
    axes[0].set(ylabel="training loss (nats)")
    axes[0].legend()
    return figure


def main() -> None:
    settings = common.settings_of(Settings, __file__)
    images = common.load_images(settings.data)
    steps = -(-len(images.y) // settings.batch_size)
    plain = common.plain_gradient
    curved = curved_gradient
    kfac_of = functools.partial(kfac, settings=settings)
    momenta, dampings = settings.momenta, settings.dampings
    grids: dict[str, tuple[Any, Any, Any, Any]] = {
        "SGD, momentum": (plain, optax.sgd, settings.sgd_rates, momenta),
        "Adam, beta_1": (plain, optax.adam, settings.adam_rates, momenta),
        "K-FAC, damping": (curved, kfac_of, settings.kfac_rates, dampings),
    }
    results = {}
    for name, (gradient, optimizer, rates, seconds) in grids.items():
        runs = {
            setting: run(settings, images, gradient, optimizer(*setting))
            for setting in itertools.product(rates, seconds)
        }
        results[name] = found = best(settings, runs, steps)
        print(
            f"{name:14} {found['second']:g}, rate {found['rate']:g}: steps "
            f"{found['steps']}, seconds {found['seconds'] or float('nan'):.2f}, "
            f"{1e3 * found['step']:.2f} ms a step"
        )
    figure = draw(results, steps, settings.target)
    common.save(settings, __file__, results, figure)


if __name__ == "__main__":
    main()
