"""The epochs of a `fit`: what is noted of each, and when they end."""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from sklearn.exceptions import ConvergenceWarning

import handgrad
from handgrad.training.engine.fit import Progress, fit
from handgrad.training.engine.prepare import Run
from handgrad.training.engine.programs import Programs
from handgrad.training.engine.step import State
from handgrad.training.estimator.network import SKLEARN_SCHEDULES, Network, Numbers
from handgrad.training.estimator.parameters import callbacks_of
from handgrad.training.estimator.programs import penalty_of

LEAST_RATE = 1e-6
"""At which the learning rate 'adaptive' ends, as in scikit-learn."""


class Plan(NamedTuple):
    """What stays the same from epoch to epoch."""

    network: Network
    numbers: Numbers
    run: Run
    programs: Programs
    epochs: int  # at most
    early_stopping: bool  # watch the validation score, keep the best parameters


def begin_history(model: Any, plan: Plan, *, anew: bool) -> None:
    """The attributes that grow with the epochs, empty where they begin anew."""
    validates = plan.run.validation is not None
    if anew:
        model.t_, model.loss_curve_, model.loss_ = 0, [], np.inf
        model.best_loss_ = None if plan.early_stopping else np.inf
        model.validation_scores_ = model.best_validation_score_ = None
        model._rate, model._waited = float(model.learning_rate_init), 0
    if validates and model.validation_scores_ is None:
        model.validation_scores_, model.best_validation_score_ = [], -np.inf
    if plan.early_stopping:
        model.best_loss_ = None
    elif model.best_loss_ is None:
        model.best_loss_ = np.inf
    model.n_iter_ = model._evaluations = 0
    model._best = None


def iterate(model: Any, plan: Plan, state: State, *, incremental: bool) -> State | None:
    """Train until a rule ends it, or epochs are up; the estimator holds the last
    parameters, or the best under early stopping.

    Returns:
      The last state; None where Ctrl-C came before the end of an epoch.
    """
    ended = False
    try:
        while not ended:
            rate = _rate(model, plan)
            for progress in _epochs(plan, state, rate):
                state, ended = progress.state, _note(model, plan, progress)
                if ended or _rate(model, plan) != rate:
                    break
            else:
                break
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=4)
        state = None  # pyright: ignore[reportAssignmentType]
    if plan.early_stopping and model._best is not None:
        model.coefs_, model.intercepts_ = model._best
    if state is not None and not ended and not incremental:
        warnings.warn(
            f"`max_iter` {plan.epochs} is reached, and the training has not converged. "
            "Train for longer, or with another `tol` or `learning_rate_init`.",
            ConvergenceWarning,
            stacklevel=4,
        )
    return state


def keep(model: Any, params: handgrad.Params) -> None:
    """Copies of parameters, as scikit-learn names them."""
    model.coefs_ = [np.array(layer.weight) for layer in params]
    model.intercepts_ = [np.array(layer.bias) for layer in params]


def _epochs(plan: Plan, state: State, rate: float | None) -> Iterator[Progress]:
    """What the engine yields at the end of epochs. Between them, JAX is as the caller
    has it."""
    with jax.enable_x64(plan.network.dtype == "float64"):
        state = _with_rate(state, rate)
    steps = fit(plan.run, plan.programs, state, epochs=plan.epochs)
    while True:
        with jax.enable_x64(plan.network.dtype == "float64"):
            progress = next((each for each in steps if each.record is not None), None)
        if progress is None:
            return
        yield progress


def _note(model: Any, plan: Plan, progress: Progress) -> bool:
    """Add an epoch to the history; whether it was the last."""
    record, params = progress.record, progress.params
    assert record is not None
    assert params is not None
    if not progress.finite:
        raise ValueError(
            f"`X` and the parameters must keep the loss finite, but in epoch "
            f"{record.epoch} it became {record.objective}. Standardise `X`, or lower "
            "`learning_rate_init`."
        )
    keep(model, params)
    with jax.enable_x64(plan.network.dtype == "float64"):
        objective = record.objective + penalty_of(plan.numbers, params)
    found = _found_by_search(progress.state) if _is_lbfgs(plan) else None
    record = replace(record, objective=found[0] if found else objective)
    before, model.loss_ = model.loss_, record.objective
    model.loss_curve_.append(model.loss_)
    model.n_iter_ += 1
    model.t_ += plan.run.samples
    if plan.run.validation is not None:
        model.validation_scores_.append(record.validation_accuracy)
    _tell(model, plan)
    asked = [each(model, record) for each in callbacks_of(model.callbacks)]
    if found:
        return _converged(model, found, before) or True in asked
    return _waited_enough(model, plan) or True in asked


def _tell(model: Any, plan: Plan) -> None:
    if model.verbose:
        print(f"Iteration {model.n_iter_}, loss = {model.loss_:.8f}")
        if plan.run.validation is not None:
            print(f"Validation score: {model.validation_scores_[-1]:.6f}")


def _waited_enough(model: Any, plan: Plan) -> bool:
    """scikit-learn's rule: more than `n_iter_no_change` epochs in a row in which the
    loss, or the validation score, did not become better than the best by `tol`."""
    best, score = model.best_loss_, model.loss_
    stalled = not plan.early_stopping and score > best - model.tol
    if plan.run.validation is not None:
        best, score = model.best_validation_score_, model.validation_scores_[-1]
        stalled = score < best + model.tol if plan.early_stopping else stalled
        if score > best:
            model.best_validation_score_ = score
            model._best = (model.coefs_, model.intercepts_)
    if not plan.early_stopping:
        model.best_loss_ = min(model.best_loss_, model.loss_)
    model._waited = model._waited + 1 if stalled else 0
    if model._waited <= model.n_iter_no_change:
        return False
    if _adapts(model, plan) and model._rate > LEAST_RATE:
        model._rate, model._waited = model._rate / 5, 0
        return False
    return True


class _Found(NamedTuple):
    """What L-BFGS's line search ended with."""

    value: float  # of the objective
    steepest: float  # largest entry of its gradient
    evaluations: int  # of the objective


def _found_by_search(state: State) -> _Found:
    get = optax.tree_utils.tree_get
    grad = get(state.opt_state, "grad")
    return _Found(
        float(get(state.opt_state, "value")),
        max(float(np.abs(np.asarray(leaf)).max()) for leaf in jax.tree.leaves(grad)),
        int(get(state.opt_state, "num_linesearch_steps")),
    )


def _converged(model: Any, found: _Found, before: float) -> bool:
    """The rules of SciPy's L-BFGS-B, which scikit-learn calls; the least relative
    decrease is its own, or what the dtype can tell apart."""
    model.best_loss_ = min(model.best_loss_, found.value)
    model._evaluations += found.evaluations
    least = max(2.2e-9, float(np.finfo(model.coefs_[0].dtype).eps))
    decrease = (before - found.value) / max(abs(before), abs(found.value), 1.0)
    if model._evaluations >= model.max_fun:
        warnings.warn(
            f"`max_fun` {model.max_fun} is reached, and L-BFGS has not converged.",
            ConvergenceWarning,
            stacklevel=6,
        )
        return True
    return found.steepest <= model.tol or bool(decrease <= least)


def _is_lbfgs(plan: Plan) -> bool:
    return plan.network.solver == "lbfgs"


def _adapts(model: Any, plan: Plan) -> bool:
    return model.learning_rate == "adaptive" and plan.network.solver != "adam"


def _rate(model: Any, plan: Plan) -> float | None:
    """The learning rate of the next epoch; None where Optax decides. Adam's stays what
    it is, as in scikit-learn."""
    if _is_lbfgs(plan) or model.learning_rate not in SKLEARN_SCHEDULES:
        return None
    if plan.network.solver != "adam":
        if model.learning_rate == "invscaling":
            return model.learning_rate_init / (model.t_ + 1) ** model.power_t
        if model.learning_rate == "adaptive":
            return model._rate
    return float(model.learning_rate_init)


def _with_rate(state: State, rate: float | None) -> State:
    """The state with another learning rate in its optimiser."""
    if rate is None:
        return state

    def put(path: Any, leaf: Any) -> Any:
        key = getattr(path[-1], "key", None) if path else None
        named = key in ("learning_rate", "max_learning_rate")
        return jax.device_put(np.asarray(rate, leaf.dtype)) if named else leaf

    opt_state = jax.tree_util.tree_map_with_path(put, state.opt_state)
    return state._replace(opt_state=opt_state)
