"""The networks and batches of check_gradients.py, and the check of one of them."""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

import handgrad
from handgrad.gradcheck import Report

SAMPLES, FEATURES, WIDTH, CLASSES = 32, 12, 16, 10

Dtype = Literal["float32", "float64", "bfloat16", "float16"]
Targets = Literal["labels", "distribution"]
Weights = Literal["none", "real", "mask"]


@dataclass(frozen=True)
class Settings:
    """What to check, and where.

    Attributes:
      activations: of the hidden layers; names of handgrad.ACTIVATIONS.
      depths: numbers of hidden layers.
      dtypes: of parameters, inputs and weights.
      targets: integer labels, or distributions.
      weights: none, real numbers, or a mask.
      seed: of parameters and batch.
      jit: check the compiled gradient.
      device: a platform and perhaps a number, such as "cpu", "gpu" or "gpu:1".
      precision: of matrix products, as jax.default_matmul_precision takes it.
      output: the folder for check_gradients.json and check_gradients.png.
    """

    activations: tuple[str, ...] = tuple(handgrad.ACTIVATIONS)
    depths: tuple[int, ...] = (0, 1, 3)
    dtypes: tuple[Dtype, ...] = ("float32", "bfloat16")
    targets: tuple[Targets, ...] = ("labels", "distribution")
    weights: tuple[Weights, ...] = ("none", "real", "mask")
    seed: int = 0
    jit: bool = False
    device: str | None = None
    precision: str | None = None
    output: Path = Path("runs/check_gradients")


@dataclass(frozen=True)
class Case:
    """One network and batch."""

    activation: str
    depth: int
    dtype: Dtype
    targets: Targets
    weights: Weights


def chosen(settings: Settings) -> Iterator[Case]:
    """All combinations; without hidden layers there is one activation, not many."""
    unknown = set(settings.activations) - set(handgrad.ACTIVATIONS)
    if unknown:
        raise SystemExit(
            f"`--activations` must be among {', '.join(handgrad.ACTIVATIONS)}, got "
            f"{', '.join(sorted(unknown))}."
        )
    for case in itertools.starmap(
        Case,
        itertools.product(
            settings.activations,
            settings.depths,
            settings.dtypes,
            settings.targets,
            settings.weights,
        ),
    ):
        if case.depth > 0 or case.activation == settings.activations[0]:
            yield case


def check(case: Case, settings: Settings) -> Report:
    """One report."""
    with jax.enable_x64(case.dtype == "float64"):
        point = problem(case, settings.seed)
        gradient = functools.partial(
            handgrad.value_and_grad, activation=case.activation
        )
        return handgrad.check_gradients(
            lambda params, x, targets, w: handgrad.loss(
                params, x, targets, activation=case.activation, weights=w
            ),
            lambda params, x, targets, w: (
                jax.jit(gradient) if settings.jit else gradient
            )(params, x, targets, weights=w),
            *point,
        )


def problem(case: Case, seed: int) -> tuple[Any, ...]:
    """params, x, targets, weights."""
    random, dtype = np.random.default_rng(seed), jnp.dtype(case.dtype)
    sizes = (FEATURES, *[WIDTH] * case.depth, CLASSES)
    params = handgrad.init(
        jax.random.key(seed), sizes, activation=case.activation, dtype=dtype
    )
    params = tuple(  # zero biases are a special point
        layer._replace(bias=jnp.asarray(random.normal(0, 0.3, layer.bias.shape), dtype))
        for layer in params
    )
    x = jnp.asarray(random.standard_normal((SAMPLES, FEATURES)), dtype)
    labels = random.integers(0, CLASSES, SAMPLES)
    soft = 0.9 * np.eye(CLASSES)[labels] + 0.1 / CLASSES
    targets = {"labels": jnp.asarray(labels), "distribution": jnp.asarray(soft, dtype)}
    weights = {
        "none": None,
        "real": jnp.asarray(random.uniform(0.2, 2, SAMPLES), dtype),
        "mask": jnp.asarray(np.arange(SAMPLES) % 4 > 0),
    }
    return params, x, targets[case.targets], weights[case.weights]
