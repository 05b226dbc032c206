"""Is this gradient right, and if not, what is wrong with it? For any loss."""

from handgrad.gradcheck.check import GradientMismatch as GradientMismatch
from handgrad.gradcheck.check import assert_gradients as assert_gradients
from handgrad.gradcheck.check import check_gradients as check_gradients
from handgrad.gradcheck.question import Variant as Variant
from handgrad.gradcheck.report import Leaf as Leaf
from handgrad.gradcheck.report import Report as Report
from handgrad.gradcheck.vjp import check_vjp as check_vjp
