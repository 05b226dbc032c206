"""Every rule of a function in one call: `check_rules`.

`subject` is what is checked, `plain` the function without its rules, `agreement`
whether two ways to compute the same agree; `rows` lists the rows, which are made in
`derivatives` (against the truth), `linear`, `transforms` and `purity` (against the
function itself).
"""

from handgrad.gradcheck.rules.check import RuleMismatch as RuleMismatch
from handgrad.gradcheck.rules.check import assert_rules as assert_rules
from handgrad.gradcheck.rules.check import check_rules as check_rules
from handgrad.gradcheck.rules.table import Row as Row
from handgrad.gradcheck.rules.table import Rules as Rules
