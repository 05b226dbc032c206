"""Many networks at once: seeds times combinations of values, as one vmapped program."""

from handgrad.training.engine.sweep.chunks import Trained as Trained
from handgrad.training.engine.sweep.chunks import train_members as train_members
from handgrad.training.engine.sweep.member import Phase as Phase
from handgrad.training.engine.sweep.plan import Entry as Entry
from handgrad.training.engine.sweep.plan import Plan as Plan
from handgrad.training.engine.sweep.plan import plan_sweep as plan_sweep
from handgrad.training.engine.sweep.plan import settings_of as settings_of
