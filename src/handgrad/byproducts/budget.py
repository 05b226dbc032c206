"""What private training costs, by Google's accountant (extra ``private``).

Nothing is computed here: `dp_accounting` is told of Poisson sampling, the Gaussian
mechanism and the number of steps, and its privacy loss distributions give epsilon.
"""

from typing import Any


def privacy_spent(
    *, noise_multiplier: float, sampling_rate: float, steps: int, delta: float
) -> float:
    """The epsilon of (epsilon, delta)-differential privacy after so many steps.

    Neighbouring data sets differ in one sample, added or removed.

    Args:
      noise_multiplier: sigma of `private_gradient`; 0 gives infinity.
      sampling_rate: q of `poisson_batch`.
      steps: how often a gradient was released.
      delta: e.g. 1e-5; below 1 / n.

    Returns:
      epsilon, an upper bound.

    Raises:
      ImportError: without the package dp-accounting; install handgrad[private].

    Source: Doroshenko et al. 2022, "Connect the dots".
    """
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
      epsilon: the budget.
      sampling_rate, steps, delta: as in `privacy_spent`.

    Returns:
      sigma, to 1e-3.

    Raises:
      ImportError: without the package dp-accounting; install handgrad[private].
    """
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


def _training(noise_multiplier: float, sampling_rate: float, steps: int) -> Any:
    import dp_accounting as dp

    step = dp.PoissonSampledDpEvent(sampling_rate, dp.GaussianDpEvent(noise_multiplier))
    return dp.SelfComposedDpEvent(step, steps)
