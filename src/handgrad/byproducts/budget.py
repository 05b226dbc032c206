"""What private training costs, by Google's accountant (extra ``private``).

Nothing is computed here: `dp_accounting` is told of Poisson sampling, the Gaussian
mechanism and the number of steps, and its privacy loss distributions give epsilon.
"""

from typing import Any

import jax.numpy as jnp

from handgrad.network.numbers import check_number


def privacy_spent(
    *, noise_multiplier: float, sampling_rate: float, steps: int, delta: float
) -> float:
    """The epsilon of (epsilon, delta)-differential privacy after so many steps.

    Neighbouring data sets differ in one sample, added or removed.

    Args:
      noise_multiplier: sigma of `private_gradient`, at least 0; 0 gives infinity.
      sampling_rate: q of `poisson_batch`, in [0, 1].
      steps: how often a gradient was released, at least 0.
      delta: above 0 and below 1, e.g. 1e-5; below 1 / n.

    Returns:
      epsilon, an upper bound; 0 where nothing was released.

    Raises:
      ImportError: without the package dp-accounting; install handgrad[private].
      ValueError: for an argument outside its bounds.

    Source: Doroshenko et al. 2022, "Connect the dots".
    """
    check_number("noise_multiplier", noise_multiplier, jnp.float32, at_least=0)
    _check(sampling_rate, steps, delta)
    if steps == 0 or sampling_rate == 0:
        return 0.0
    if noise_multiplier == 0:
        return float("inf")
    from dp_accounting import pld

    accountant = pld.PLDAccountant()
    accountant.compose(_training(noise_multiplier, sampling_rate, steps))
    return float(accountant.get_epsilon(delta))


def noise_for(
    epsilon: float, *, sampling_rate: float, steps: int, delta: float
) -> float:
    """The least noise multiplier with which training spends at most epsilon.

    Args:
      epsilon: the budget, above 0; infinity needs no noise.
      sampling_rate, steps, delta: as in `privacy_spent`.

    Returns:
      sigma, to 1e-3.

    Raises:
      ImportError: without the package dp-accounting; install handgrad[private].
      ValueError: for an argument outside its bounds.
    """
    check_number("epsilon", epsilon, jnp.float32, above=0)
    _check(sampling_rate, steps, delta)
    if epsilon == float("inf") or steps == 0 or sampling_rate == 0:
        return 0.0
    import dp_accounting
    from dp_accounting import pld

    sigma = dp_accounting.calibrate_dp_mechanism(
        pld.PLDAccountant,
        lambda noise_multiplier: _training(noise_multiplier, sampling_rate, steps),
        epsilon,
        delta,
        tol=1e-3,
    )
    return float(sigma)


def _check(sampling_rate: float, steps: int, delta: float) -> None:
    check_number("sampling_rate", sampling_rate, jnp.float32, at_least=0, at_most=1)
    check_number("steps", steps, jnp.float32, at_least=0)
    check_number("delta", delta, jnp.float32, above=0, below=1)


def _training(noise_multiplier: float, sampling_rate: float, steps: int) -> Any:
    import dp_accounting as dp

    step = dp.PoissonSampledDpEvent(sampling_rate, dp.GaussianDpEvent(noise_multiplier))
    return dp.SelfComposedDpEvent(step, steps)
