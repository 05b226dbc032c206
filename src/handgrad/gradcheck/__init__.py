"""Is this gradient right, and if not, what is wrong with it? For any loss.

`reference` is what is true, and how far rounding may be from it; `causes` is what may
be wrong; `report` is what is shown; `rules` is every rule of a function in one call;
`search` draws the points.
"""

from handgrad.gradcheck.check import Variant as Variant
from handgrad.gradcheck.gradients import GradientMismatch as GradientMismatch
from handgrad.gradcheck.gradients import assert_gradients as assert_gradients
from handgrad.gradcheck.gradients import check_gradients as check_gradients
from handgrad.gradcheck.jvp import check_jvp as check_jvp
from handgrad.gradcheck.report.report import Report as Report
from handgrad.gradcheck.report.results import Leaf as Leaf
from handgrad.gradcheck.rules import RuleMismatch as RuleMismatch
from handgrad.gradcheck.rules import Rules as Rules
from handgrad.gradcheck.rules import assert_rules as assert_rules
from handgrad.gradcheck.rules import check_rules as check_rules
from handgrad.gradcheck.search import Draw as Draw
from handgrad.gradcheck.search import Search as Search
from handgrad.gradcheck.search import point_of as point_of
from handgrad.gradcheck.search import search_gradients as search_gradients
from handgrad.gradcheck.vjp import check_vjp as check_vjp
