"""Other ways to carry the error back, in the place of B6: ``deltas(..., transport=)``.

A transport is a function (k, delta_{k+1}, W_{k+1}, delta_L) -> dl/da_k, (m, n_k). The
exact one is B6; your own is any function of that form. B3, B4, B5 and B7 stay.
"""

from handgrad.network.affine import backprop as backprop
from handgrad.network.types import Transport as Transport
from handgrad.transport.angles import angles as angles
from handgrad.transport.feedback import Feedback as Feedback
from handgrad.transport.feedback import (
    direct_feedback_alignment as direct_feedback_alignment,
)
from handgrad.transport.feedback import feedback_alignment as feedback_alignment
from handgrad.transport.feedback import init_direct_feedback as init_direct_feedback
from handgrad.transport.feedback import init_feedback as init_feedback
from handgrad.transport.feedback import (
    kolen_pollack_gradients as kolen_pollack_gradients,
)
from handgrad.transport.sign_symmetry import (
    sign_symmetric_fixed as sign_symmetric_fixed,
)
from handgrad.transport.sign_symmetry import (
    sign_symmetric_random as sign_symmetric_random,
)
from handgrad.transport.sign_symmetry import (
    sign_symmetric_uniform as sign_symmetric_uniform,
)
