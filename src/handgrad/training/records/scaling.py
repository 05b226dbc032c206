"""Scaling: from raw features to the network's inputs."""

from typing import Any, NamedTuple

import numpy as np


class Scaling(NamedTuple):
    """z = (x - shift) / divisor, and with a clip, z / sqrt(1 + (z / clip)^2)."""

    shift: Any  # (n_0,), float32
    divisor: Any  # (n_0,), float32, positive
    clip: Any = None  # (), float32: the bound that no |z| exceeds


def scale(scaling: Scaling, x: Any) -> Any:
    """The inputs of the network: x (m, n_0) of any real dtype to float32."""
    z = (x.astype(np.float32) - scaling.shift) / scaling.divisor
    if scaling.clip is None:
        return z
    z = z.clip(-1e9, 1e9)  # whose square float32 holds; the result is that of any more
    return z * (1 + (z / scaling.clip) ** 2) ** np.float32(-0.5)
