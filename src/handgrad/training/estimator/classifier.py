"""`MLPClassifier`: scikit-learn's estimator of this name, trained by the engine."""

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from handgrad.training.estimator import training
from handgrad.training.estimator.prediction import Wanted, predict


class MLPClassifier(ClassifierMixin, BaseEstimator):
    """A multilayer perceptron with a softmax output, for any number of classes.

    scikit-learn's `MLPClassifier` with its names and meanings, on JAX and Optax, and
    with more activations, solvers, regularisation and weights. Different are: two
    classes have two outputs; activations have the initialisation that suits them;
    multi-label targets and sparse `X` are refused; a sample of weight 0 is no sample.

    The first `fit` compiles programs for the network, the solver and the shapes of the
    data. Another in the same process compiles nothing where these are the same,
    whatever the numbers are.

    Args:
      hidden_layer_sizes: widths of the hidden layers; () is softmax regression.
      activation: a name (identity, logistic, tanh, relu, gelu, silu ...) or an
        `handgrad.Activation`, or a list of them, one per hidden layer.
      solver: "adam", "sgd", "lbfgs", or any optimiser of Optax by its name.
      solver_options: further arguments of the solver by name.
      alpha: the L2 penalty alpha / 2 |W|^2, divided by what the samples of a minibatch
        weigh; for solvers that decay weights themselves, as adamw, their weight_decay.
        Biases are spared.
      batch_size: samples per step; "auto": min(200, n_samples). "lbfgs" takes all.
      learning_rate: "constant", "invscaling", "adaptive", or a schedule of Optax by its
        name. "adam" and "lbfgs" pass over scikit-learn's three, as they do there.
      learning_rate_options: arguments of a schedule of Optax by name.
      learning_rate_init: the learning rate, or its peak.
      power_t: of "invscaling", learning_rate_init / (t + 1)^power_t.
      max_iter: most epochs, and for "lbfgs" most iterations.
      shuffle: whether every epoch has a new order.
      random_state: drives initialisation, split, order and dropout.
      tol: what an improvement must exceed; for "lbfgs" the largest entry of a gradient
        that counts as zero.
      verbose: whether losses are printed.
      warm_start: whether `fit` goes on from the parameters of the last.
      momentum, nesterovs_momentum: of "sgd".
      early_stopping: whether training ends when the accuracy on validation samples does
        not improve, with the best parameters: a part of `X`, or `validation_data`.
      validation_fraction: that part.
      beta_1, beta_2, epsilon: of "adam".
      n_iter_no_change: epochs without an improvement after which training ends.
      max_fun: most evaluations of the objective, of "lbfgs".
      dropout: probability that a hidden unit is dropped in training.
      input_dropout: probability that a feature is.
      label_smoothing: probability spread evenly over all classes.
      clip_norm: largest norm of a step's gradient; 0: any.
      class_weight: None, "balanced", or a dictionary by label.
      callbacks: a function or a list of them, called with the estimator, which can
        predict, and the `EpochRecord` after every epoch; one that returns True ends
        the training.
      dtype: "auto" computes in float32 for `X` of float32 and in float64 for all else;
        or "float32", "float64", "bfloat16" (with float32 parameters).

    Attributes:
      As in scikit-learn. Losses are of the objective, with penalty, weights, dropout
      and smoothing.

    Example:
      >>> from sklearn.datasets import load_iris
      >>> x, y = load_iris(return_X_y=True)
      >>> model = MLPClassifier((16,), learning_rate_init=0.01, max_iter=1000)
      >>> model.set_params(random_state=0).fit(x, y).score(x, y) > 0.95
      True
    """

    classes_: np.ndarray  # (C,), the labels
    n_features_in_: int
    feature_names_in_: np.ndarray  # where `X` has names
    coefs_: list[np.ndarray]  # W_k, (n_in, n_out)
    intercepts_: list[np.ndarray]
    n_layers_: int
    n_outputs_: int
    out_activation_: str
    n_iter_: int
    t_: int
    loss_: float
    loss_curve_: list[float]
    best_loss_: float | None
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    _activation: Any
    _rate: float  # that the next epoch has under "adaptive"

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        solver_options: dict[str, Any] | None = None,
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_options: dict[str, Any] | None = None,
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        label_smoothing: float = 0.0,
        clip_norm: float = 0.0,
        class_weight: Any = None,
        callbacks: Any = None,
        dtype: str = "auto",
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.solver_options = solver_options
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_options = learning_rate_options
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.label_smoothing = label_smoothing
        self.clip_norm = clip_norm
        self.class_weight = class_weight
        self.callbacks = callbacks
        self.dtype = dtype

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        validation_data: Any = None,
    ) -> Self:
        """Train on samples.

        Args:
          X: (n_samples, n_features), an array or a frame.
          y: (n_samples,), labels of any kind that sorts.
          sample_weight: (n_samples,), 0 or more; None for all 1.
          validation_data: (X, y) or (X, y, sample_weight) to score every epoch on, and
            to stop early by with `early_stopping`, in the place of a part of `X`.

        Returns:
          The estimator.

        Raises:
          ValueError: for parameters, samples, labels or weights that cannot work, and a
            loss that becomes infinite or NaN.
        """
        training.fit(self, X, y, sample_weight, validation_data)
        return self

    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None
    ) -> Self:
        """One epoch more, on these samples.

        Args:
          X, y, sample_weight: as in `fit`.
          classes: all labels that there will be; needed in the first call alone.

        Returns:
          The estimator.

        Raises:
          ValueError: as `fit`; for labels that are none of the classes, and for
            "lbfgs", early stopping and balanced weights, which need all samples.
        """
        training.partial_fit(self, X, y, sample_weight, classes)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each sample, (n_samples,)."""
        places = self._outputs(X, "class")
        return self.classes_[places]

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class of `classes_`, (n_samples, n_classes)."""
        return self._outputs(X, "probability")

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithm of `predict_proba`, finite where that is 0 for rounding."""
        return self._outputs(X, "log_probability")

    def _outputs(self, X: Any, wanted: Wanted) -> np.ndarray:
        check_is_fitted(self)
        with np.errstate(over="ignore"):  # what does not fit is infinite, and refused
            x: Any = validate_data(self, X, dtype=self.coefs_[0].dtype, reset=False)
        params = training.params_of(self)
        return predict(params, x, self._activation, wanted)
