"""Wrong rules in public software, found by this check: run them all again.

python scripts/found.py
python scripts/found.py --names spence digamma

Each is described in docs/found.md. Prints what the check says of the version that is
installed. Exits with 1 if one that is installed in the version in which it was found is
not found any more.
"""

import importlib.metadata
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from handgrad import check_gradients, check_rules


@dataclass(frozen=True)
class Find:
    """A rule that was found wrong.

    Attributes:
      name: for the command line, and the heading in docs/found.md.
      package: where it is, as pip calls it.
      version: in which it was found.
      check: the call that finds it; its report is not ok.
    """

    name: str
    package: str
    version: str
    check: Callable[[], Any]

    @property
    def installed(self) -> str:
        """The version that is here, or "" if there is none."""
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return ""


def tokamax_cross_entropy() -> Any:
    """The loss and its gradient at a vocabulary that no block divides."""
    import tokamax  # type: ignore[import-not-found]

    random = np.random.default_rng(0)
    x = jnp.asarray(random.standard_normal((8, 16)), jnp.float32)
    w = jnp.asarray(random.standard_normal((16, 4097)) / 4, jnp.float32)
    labels = jnp.asarray(random.integers(0, 4097, 8))

    def loss(params: Any, labels: Any) -> jax.Array:
        logits = params[0] @ params[1]
        picked = jnp.take_along_axis(logits, labels[:, None], 1)[:, 0]
        return jnp.mean(jax.nn.logsumexp(logits, -1) - picked)

    def kernel(params: Any, labels: Any) -> jax.Array:
        return tokamax.linear_softmax_cross_entropy_loss(
            params[0], labels, params[1], reduction="mean", implementation="chunked_xla"
        )

    return check_gradients(loss, jax.value_and_grad(kernel), (x, w), labels)


def spence() -> Any:
    """d/dx Li2(1 - x) = log(x) / (1 - x), between 1 and 2."""
    return check_rules(jax.scipy.special.spence, jnp.array([1.25, 1.5, 1.75]))


def digamma() -> Any:
    """The derivative of digamma, polygamma(1, x), where x is below -9."""
    return check_rules(jax.scipy.special.digamma, jnp.array([-9.25, -12.25, -20.5]))


def optax_cross_entropy() -> Any:
    """The forward rule where a logit is -inf, which this loss is there for."""
    import optax

    labels = jnp.array([0.25, 0.0, 0.75])

    def loss(logits: Any) -> jax.Array:
        return optax.losses.safe_softmax_cross_entropy(logits, labels)

    return check_rules(loss, jnp.array([1.0, -jnp.inf, 2.0]))


FINDS = (
    Find("tokamax", "tokamax", "0.0.17", tokamax_cross_entropy),
    Find("spence", "jax", "0.12.0.1", spence),
    Find("digamma", "jax", "0.12.0.1", digamma),
    Find("optax", "optax", "0.2.8", optax_cross_entropy),
)


@dataclass(frozen=True)
class Settings:
    """What to run.

    Attributes:
      names: of the finds; default all.
    """

    names: tuple[str, ...] = tuple(find.name for find in FINDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print; 1 if something is not found where it was."""
    settings = tyro.cli(Settings, description=__doc__, args=arguments)
    lost = 0
    for find in FINDS:
        if find.name not in settings.names:
            continue
        installed = find.installed
        print(f"\n== {find.name}: found in {find.package} {find.version}, ", end="")
        if not installed:
            print("which is not installed")
            continue
        report = find.check()
        print(f"here {installed}: {'right' if report.ok else 'still wrong'}\n")
        print(report)
        lost += report.ok and installed == find.version
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())
