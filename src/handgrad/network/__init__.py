"""The derivation in code: forward, deltas, gradients; imports no other room."""

from handgrad.network.activations import ACTIVATIONS as ACTIVATIONS
from handgrad.network.activations import Activation as Activation
from handgrad.network.affine import backprop as backprop
from handgrad.network.by_hand import loss_by_hand as loss_by_hand
from handgrad.network.chunked import PerSample as PerSample
from handgrad.network.dropout import dropout_masks as dropout_masks
from handgrad.network.initialize import as_params as as_params
from handgrad.network.initialize import init as init
from handgrad.network.mlp import deltas as deltas
from handgrad.network.mlp import forward as forward
from handgrad.network.mlp import gradients as gradients
from handgrad.network.mlp import input_gradient as input_gradient
from handgrad.network.mlp import predict_proba as predict_proba
from handgrad.network.objective import loss as loss
from handgrad.network.objective import value_and_grad as value_and_grad
from handgrad.network.softmax_nll import class_weights as class_weights
from handgrad.network.softmax_nll import smooth_labels as smooth_labels
from handgrad.network.stacks import stack_layers as stack_layers
from handgrad.network.stacks import unstack_layers as unstack_layers
from handgrad.network.types import Deltas as Deltas
from handgrad.network.types import Layer as Layer
from handgrad.network.types import Masks as Masks
from handgrad.network.types import Params as Params
from handgrad.network.types import Smoothed as Smoothed
from handgrad.network.types import Trace as Trace
from handgrad.network.types import Transport as Transport
