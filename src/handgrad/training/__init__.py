"""Training: settings, data, the compiled loop, and the folder of a run.

Needs the extra ``train``: ``pip install 'handgrad[train]'``.
"""

from handgrad.training.data import Dataset as Dataset
from handgrad.training.data import Part as Part
from handgrad.training.data import load_data as load_data
from handgrad.training.engine.fit import fit as fit
from handgrad.training.engine.prepare import prepare as prepare
from handgrad.training.engine.programs import compile_programs as compile_programs
from handgrad.training.engine.programs import start as start
from handgrad.training.errors import TrainingError as TrainingError
from handgrad.training.records.classifier import Classifier as Classifier
from handgrad.training.records.model import load_model as load_model
from handgrad.training.settings import Settings as Settings
from handgrad.training.settings import check_settings as check_settings
from handgrad.training.settings import load_settings as load_settings
from handgrad.training.settings import save_settings as save_settings
