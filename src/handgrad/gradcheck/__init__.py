"""Is this gradient right, and if not, what is wrong with it? For any loss.

`reference` is what is true, and how far rounding may be from it; `causes` is what may
be wrong; `report` is what is shown.
"""

from handgrad.gradcheck.check import Variant as Variant
from handgrad.gradcheck.gradients import GradientMismatch as GradientMismatch
from handgrad.gradcheck.gradients import assert_gradients as assert_gradients
from handgrad.gradcheck.gradients import check_gradients as check_gradients
from handgrad.gradcheck.report.report import Report as Report
from handgrad.gradcheck.report.results import Leaf as Leaf
from handgrad.gradcheck.vjp import check_vjp as check_vjp
