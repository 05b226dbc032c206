"""Wrong backward passes of functions that people write rules for: `RULES`."""

from handgrad.planted_bugs.functions.attention import ATTENTION, ROTARY
from handgrad.planted_bugs.functions.norms import LAYER_NORM, RMS_NORM
from handgrad.planted_bugs.functions.rule import Rule as Rule
from handgrad.planted_bugs.functions.rule import Wrong as Wrong
from handgrad.planted_bugs.functions.rule import bwd as bwd
from handgrad.planted_bugs.functions.sequences import CONVOLUTION, RECURRENCE
from handgrad.planted_bugs.functions.tokens import CROSS_ENTROPY, EMBEDDING
from handgrad.planted_bugs.functions.transforms import CHOLESKY, FFT

RULES: tuple[Rule, ...] = (
    *(LAYER_NORM, RMS_NORM, ATTENTION, ROTARY, EMBEDDING),
    *(CONVOLUTION, RECURRENCE, CROSS_ENTROPY, FFT, CHOLESKY),
)
