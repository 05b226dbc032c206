"""Which samples make which minibatch of an epoch: a function of key and epoch alone."""

from enum import IntEnum

import jax
import jax.numpy as jnp


class Draw(IntEnum):
    """What is folded into the key of a run, so that no two draws share one."""

    PARAMS = 0
    ORDER = 1  # then the epoch
    MASKS = 2  # then the step
    NOISE = 3


def shuffled(
    key: jax.Array, epoch: jax.Array | int, samples: int, batch_size: int
) -> tuple[jax.Array, jax.Array]:
    """Every sample once, in random order, in minibatches of one size.

    The last minibatch is padded with sample 0 at weight 0, so that nothing is dropped
    and nothing is counted twice.

    Args:
      key: the run's; ``epoch`` is folded in.
      epoch: its number.
      samples: m.
      batch_size: B, cut to m if larger.

    Returns:
      Rows and presence, both (S, B), with S = ceil(m / B) minibatches.
    """
    batch_size = min(batch_size, samples)
    steps = steps_of(samples, batch_size)
    padding = (0, steps * batch_size - samples)
    key = jax.random.fold_in(jax.random.fold_in(key, Draw.ORDER), epoch)
    rows = jnp.pad(jax.random.permutation(key, samples), padding)
    present = jnp.pad(jnp.ones(samples, jnp.float32), padding)
    shape = (steps, batch_size)
    return rows.reshape(shape), present.reshape(shape)


def steps_of(samples: int, batch_size: int) -> int:
    """S, the minibatches that an epoch takes."""
    return -(-samples // batch_size)
