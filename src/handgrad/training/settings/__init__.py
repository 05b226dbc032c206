"""What a run is made of: settings as dataclasses, as TOML and as a command line."""

from handgrad.training.settings.check import check_settings as check_settings
from handgrad.training.settings.file import load_settings as load_settings
from handgrad.training.settings.file import save_settings as save_settings
from handgrad.training.settings.tables import Data as Data
from handgrad.training.settings.tables import Model as Model
from handgrad.training.settings.tables import Optimizer as Optimizer
from handgrad.training.settings.tables import Records as Records
from handgrad.training.settings.tables import Scale as Scale
from handgrad.training.settings.tables import Schedule as Schedule
from handgrad.training.settings.tables import Settings as Settings
from handgrad.training.settings.tables import Sweep as Sweep
from handgrad.training.settings.tables import Training as Training
from handgrad.training.settings.values import value_at as value_at
from handgrad.training.settings.values import with_array as with_array
from handgrad.training.settings.values import with_value as with_value
