"""Backpropagation derived by hand, in JAX.

    params = handgrad.init(jax.random.key(0), (784, 128, 10))
    value, grads = handgrad.value_and_grad(params, x, labels)

`handgrad.network` holds the derivation; `handgrad.gradcheck` checks any gradient and
says what is wrong with it; `handgrad.planted_bugs` are wrong backward passes to test it
with; `handgrad.byproducts` is what else a backward pass pays for; `handgrad.transport`
carries the error back in other ways; `handgrad.training` trains
(extra ``train``).
"""

from handgrad.gradcheck import GradientMismatch as GradientMismatch
from handgrad.gradcheck import Report as Report
from handgrad.gradcheck import RuleMismatch as RuleMismatch
from handgrad.gradcheck import Rules as Rules
from handgrad.gradcheck import assert_gradients as assert_gradients
from handgrad.gradcheck import assert_rules as assert_rules
from handgrad.gradcheck import check_gradients as check_gradients
from handgrad.gradcheck import check_jvp as check_jvp
from handgrad.gradcheck import check_rules as check_rules
from handgrad.gradcheck import check_vjp as check_vjp
from handgrad.gradcheck import search_gradients as search_gradients
from handgrad.network import ACTIVATIONS as ACTIVATIONS
from handgrad.network import Activation as Activation
from handgrad.network import Deltas as Deltas
from handgrad.network import Layer as Layer
from handgrad.network import Masks as Masks
from handgrad.network import Params as Params
from handgrad.network import PerSample as PerSample
from handgrad.network import Smoothed as Smoothed
from handgrad.network import Trace as Trace
from handgrad.network import Transport as Transport
from handgrad.network import as_params as as_params
from handgrad.network import class_weights as class_weights
from handgrad.network import deltas as deltas
from handgrad.network import dropout_masks as dropout_masks
from handgrad.network import forward as forward
from handgrad.network import gradients as gradients
from handgrad.network import init as init
from handgrad.network import input_gradient as input_gradient
from handgrad.network import loss as loss
from handgrad.network import loss_by_hand as loss_by_hand
from handgrad.network import predict_proba as predict_proba
from handgrad.network import smooth_labels as smooth_labels
from handgrad.network import stack_layers as stack_layers
from handgrad.network import unstack_layers as unstack_layers
from handgrad.network import value_and_grad as value_and_grad
