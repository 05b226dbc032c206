"""Circular convolution by FFT, and the Cholesky factor.

Convolution: y = F^-1(F x F k),   dx = F^-1(F u conj(F k)),   dk = F^-1(F u conj(F x)).
Cholesky, of a = (s + s^T) / 2: with phi the lower triangle and half the diagonal,
    S = l^-T phi(l^T u) l^-1,   da = (S + S^T) / 2.
"""

from typing import Any

import jax.numpy as jnp
import jax.scipy.linalg
import numpy as np

from handgrad.planted_bugs.functions.rule import Array, Rule, bug, changed, normal

N = 9


def fft_convolution(x: Array, k: Array) -> Array:
    """(m, n), (n,) -> (m, n)."""
    return jnp.fft.irfft(jnp.fft.rfft(x) * jnp.fft.rfft(k), N)


def fft_convolution_backward(
    x: Array,
    k: Array,
    u: Array,
    *,
    conj_k: bool = True,
    conj_x: bool = True,
    factor: float = 1,
    real: bool = False,
    axis: tuple[int, ...] = (0,),
) -> tuple[Array, ...]:
    """The keywords: the conjugates, the factor of the FFT, what dk sums over."""
    fu, fk, fx = (jnp.fft.rfft(leaf) for leaf in (u, k, x))
    fk = jnp.conj(fk) if conj_k else fk
    fx = jnp.conj(fx) if conj_x else fx
    dx = jnp.fft.irfft((fu.real if real else fu) * fk, N)
    return factor * dx, jnp.sum(jnp.fft.irfft(fu * fx, N), axis)


def cholesky(s: Array) -> Array:
    """(n, n) -> l, the lower factor of (s + s^T) / 2."""
    return jnp.linalg.cholesky((s + s.T) / 2, symmetrize_input=False)


def cholesky_backward(
    s: Array,
    u: Array,
    *,
    half: float = 0.5,
    lower: bool = True,
    symmetric: bool = True,
    turned: bool = True,
    factor: float = 1,
) -> tuple[Array, ...]:
    """The keywords: the diagonal and triangle of phi, the symmetry, the transposes."""
    low, eye = cholesky(s), jnp.eye(len(s), dtype=s.dtype)
    middle = (low.T if turned else low) @ jnp.tril(u)
    phi = jnp.tril(middle) if lower else middle
    phi = phi - (1 - half) * jnp.diag(jnp.diag(middle))
    inverse = jax.scipy.linalg.solve_triangular(low, eye, lower=True)
    found = inverse.T @ phi @ inverse
    return (factor * ((found + found.T) / 2 if symmetric else found),)


def _definite(rng: np.random.Generator, dtype: Any) -> tuple[Any, ...]:
    a = normal(rng, dtype, 5, 8)
    return (a @ a.T / 8 + jnp.eye(5, dtype=dtype),)


_F, _C = fft_convolution_backward, cholesky_backward

FFT = Rule(
    "FFT",
    fft_convolution,
    _F,
    lambda rng, dtype: (normal(rng, dtype, 4, N), normal(rng, dtype, N)),
    (
        bug("kernel_not_conjugate", _F, "conjugate", conj_k=False),
        bug("input_not_conjugate", _F, "conjugate", conj_x=False),
        bug("not_normalised", _F, "scale", factor=N),
        bug("normalised_twice", _F, "scale", factor=1 / N),
        bug("real_part_only", _F, real=True),
        bug("kernel_not_summed", _F, "structure", "reduced", axis=()),
        changed("time_reversed", _F, 1, lambda g: g[::-1], "entries_swapped"),
        changed("shifted", _F, 0, lambda g: jnp.roll(g, 1, 1), "entries_swapped"),
    ),
    narrow=False,
)

CHOLESKY = Rule(
    "Cholesky",
    cholesky,
    _C,
    _definite,
    (
        bug("diagonal_not_halved", _C, half=1.0),
        bug("triangle_forgotten", _C, lower=False),
        bug("not_symmetric", _C, symmetric=False),
        bug("factor_not_transposed", _C, turned=False),
        bug("factor_two", _C, "scale", factor=2),
        changed("upper_forgotten", _C, 0, jnp.tril, "zero"),
        changed("diagonal_twice", _C, 0, lambda g: g + jnp.diag(jnp.diag(g)), "scale"),
        changed("sign", _C, 0, jnp.negative, "sign"),
    ),
    narrow=False,
)
