"""Is this gradient right? Knows no network; works on any function."""

from handgrad.gradcheck.check import Leaf as Leaf
from handgrad.gradcheck.check import Report as Report
from handgrad.gradcheck.check import check_gradients as check_gradients
