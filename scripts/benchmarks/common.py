"""What the benchmarks share: timing side by side, summaries of it, and JSON files."""

import contextlib
import json
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

Work = Callable[[], Any]


def timed(work: Work) -> tuple[Any, float]:
    """What ``work`` returns, and how many seconds it took."""
    start = time.perf_counter()
    found = work()
    return found, time.perf_counter() - start


def interleave(
    works: Mapping[str, Work],
    *,
    rounds: int = 300,
    most: Mapping[str, int] | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Seconds of several pieces of work, side by side.

    Every round runs all of them in a new random order, so that what ran just before
    favours none of them. A round before the first warms up. Ctrl-C ends it early, with
    the rounds that were done till then.

    Args:
      works: by name; what each returns is waited for.
      rounds: how many.
      most: of the slow ones, in how many rounds they take part: the first so many.
      seed: of the order.

    Returns:
      By name, the seconds in each of its rounds.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    order = random.Random(seed)
    with contextlib.suppress(KeyboardInterrupt):
        for number in range(rounds + 1):
            seconds = {
                name: timed(lambda w=works[name]: jax.block_until_ready(w()))[1]
                for name in order.sample(list(works), len(works))
                if number <= (most or {}).get(name, rounds)
            }
            if number:
                for name, spent in seconds.items():
                    times[name].append(spent)
    return {name: np.array(spent) for name, spent in times.items()}


def summary(seconds: np.ndarray) -> dict[str, float]:
    """Median, 10th percentile and least of the seconds of one piece of work."""
    return {
        "median": float(np.median(seconds)),
        "tenth": float(np.quantile(seconds, 0.1)),
        "least": float(np.min(seconds)),
    }


def ratios(mine: np.ndarray, others: np.ndarray) -> dict[str, float]:
    """How many times as long as the others: the median of the ratios within a round,
    and the ratios of the 10th percentiles and of the least, over the rounds of both."""
    both = min(len(mine), len(others))
    a, b = mine[:both], others[:both]
    return {
        "median": float(np.median(a / b)),
        "tenth": float(np.quantile(a, 0.1) / np.quantile(b, 0.1)),
        "least": float(a.min() / b.min()),
    }


def write_json(folder: Path, name: str, found: Mapping[str, Any]) -> None:
    """FOLDER/NAME.json: what was found, with JAX's version and the device before it."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {"jax": jax.__version__, "device": str(jax.devices()[0])}
    text = json.dumps({**about, **found}, indent=1, default=str)
    (folder / f"{name}.json").write_text(text + "\n")
