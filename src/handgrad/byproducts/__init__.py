"""What else one backward pass pays for: other contractions of (a_{k-1}, delta_k).

``trace`` and ``deltas`` are those of `handgrad.forward` and `handgrad.deltas`. Row i of
the deltas is s_i dl_i/dd_k, s_i = w_i / sum_j w_j, and everything here speaks of
g_i = dl_i/dparams itself. A mean is sum_i s_i (.), exactly 0 if the weights sum to 0.
The gradient of a sample of weight 0 left no trace in the deltas and counts as 0.

What is a gradient has the dtype of the parameters; norms, moments and factors are
float32, or wider. Nothing here is jitted, and all of it can be.
"""

from handgrad.byproducts.budget import noise_for as noise_for
from handgrad.byproducts.budget import privacy_spent as privacy_spent
from handgrad.byproducts.collect import collect as collect
from handgrad.byproducts.curvature import KroneckerFactors as KroneckerFactors
from handgrad.byproducts.curvature import exact_deltas as exact_deltas
from handgrad.byproducts.curvature import ggn_diagonal as ggn_diagonal
from handgrad.byproducts.curvature import kronecker_factors as kronecker_factors
from handgrad.byproducts.curvature import sampled_deltas as sampled_deltas
from handgrad.byproducts.health import Health as Health
from handgrad.byproducts.health import health as health
from handgrad.byproducts.moments import gradient_snr as gradient_snr
from handgrad.byproducts.moments import second_moment as second_moment
from handgrad.byproducts.moments import variance as variance
from handgrad.byproducts.noise import NoiseScale as NoiseScale
from handgrad.byproducts.noise import noise_scale as noise_scale
from handgrad.byproducts.per_sample import clipped_gradient as clipped_gradient
from handgrad.byproducts.per_sample import per_sample_gradients as per_sample_gradients
from handgrad.byproducts.per_sample import per_sample_norms as per_sample_norms
from handgrad.byproducts.private import PoissonBatch as PoissonBatch
from handgrad.byproducts.private import poisson_batch as poisson_batch
from handgrad.byproducts.private import poisson_capacity as poisson_capacity
from handgrad.byproducts.private import private_gradient as private_gradient
from handgrad.byproducts.products import ggn_vector_product as ggn_vector_product
from handgrad.byproducts.products import (
    hessian_vector_product as hessian_vector_product,
)
