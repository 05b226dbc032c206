"""Samples of a run: sources, checks, splits, scaling; nothing is compiled."""

from handgrad.training.data.dataset import Dataset as Dataset
from handgrad.training.data.dataset import Part as Part
from handgrad.training.data.dataset import Samples as Samples
from handgrad.training.data.dataset import Source as Source
from handgrad.training.data.fingerprint import fingerprint as fingerprint
from handgrad.training.data.load import load_data as load_data
from handgrad.training.data.load import make_dataset as make_dataset
from handgrad.training.data.on_disk import Rows as Rows
from handgrad.training.data.scaling import Scaling as Scaling
from handgrad.training.data.scaling import scale as scale
from handgrad.training.data.streaming import Block as Block
from handgrad.training.data.streaming import stream as stream
