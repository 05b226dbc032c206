"""How large an array is, and how much of another is in it; nothing overflows."""

import numpy as np


def rms(values: np.ndarray) -> float:
    """Root mean square; 0 for no entries. Scaled, so that no square overflows."""
    peak = largest(values)
    if peak == 0 or not np.isfinite(peak):
        return peak
    return peak * float(np.sqrt(np.mean(np.square(np.abs(values) / peak))))


def largest(values: np.ndarray) -> float:
    """The largest absolute entry; 0 for no entries."""
    return float(np.max(np.abs(values))) if values.size else 0.0


def projection(values: np.ndarray, direction: np.ndarray) -> float | complex:
    """<values, p> / <p, p>: the factor of p in values; 0 where p is 0."""
    peak = largest(direction)
    if peak == 0 or not np.isfinite(peak):
        return 0.0
    unit = direction.ravel() / peak
    share = np.vdot(unit, values.ravel()) / np.vdot(unit, unit).real / peak
    return complex(share) if np.iscomplexobj(share) else float(share)


def finite(values: np.ndarray) -> np.ndarray:
    """The same with 0 for NaN and infinity: a direction to project on."""
    return np.where(np.isfinite(values), values, 0.0)
