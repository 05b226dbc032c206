"""`fit` and `partial_fit`: programs are found for the samples, and epochs run."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.utils import check_random_state

from handgrad.network import Layer, Params
from handgrad.training.engine.evaluate import Samples
from handgrad.training.engine.optimizer import schedule_names
from handgrad.training.engine.order import steps_of
from handgrad.training.engine.prepare import Run, prepare
from handgrad.training.errors import TrainingError, shortened
from handgrad.training.estimator.iterations import Plan, begin_history, iterate, keep
from handgrad.training.estimator.left import leave, take_up
from handgrad.training.estimator.network import (
    Network,
    Numbers,
    check_numbers,
    network_of,
    numbers_of,
    settings_of,
    translated,
)
from handgrad.training.estimator.parameters import (
    callbacks_of,
    check_parameters,
    check_schedule,
)
from handgrad.training.estimator.programs import begin, programs_of
from handgrad.training.estimator.samples import (
    Weighted,
    dataset_of,
    held_out,
    with_class_weight,
    without_weightless,
)
from handgrad.training.estimator.validated import (
    check_classes,
    check_number_of_classes,
    samples_of,
    validated,
    validation_of,
)


def fit(model: Any, x: Any, y: Any, sample_weight: Any, validation_data: Any) -> None:
    """`MLPClassifier.fit`."""
    parameters = _checked(model)
    goes_on = parameters["warm_start"] and hasattr(model, "coefs_")
    x, y = validated(model, x, y, anew=not goes_on)
    if not goes_on:
        model.classes_ = np.unique(y)
    elif set(np.unique(y).tolist()) != set(model.classes_.tolist()):
        raise ValueError(
            "`y` must hold the classes of the last fit with `warm_start`, "
            f"{shortened(model.classes_.tolist())}, got {shortened(set(y.tolist()))}."
        )
    samples = samples_of(model, x, y, sample_weight)
    check_classes(model.classes_, samples)
    random = check_random_state(model.random_state)
    seed = random.randint(2**31 - 1)
    validation = None
    if validation_data is not None:
        validation = validation_of(model, validation_data, x.dtype)
    elif model.early_stopping and model.solver != "lbfgs":
        samples, validation = held_out(samples, model.validation_fraction, random)
    _train(model, samples, validation, seed, anew=not goes_on)


def partial_fit(model: Any, x: Any, y: Any, sample_weight: Any, classes: Any) -> None:
    """`MLPClassifier.partial_fit`."""
    _checked(model)
    anew = not hasattr(model, "coefs_")
    for name, whole in (
        ("solver", model.solver == "lbfgs"),
        ("early_stopping", bool(model.early_stopping)),
        ("class_weight", isinstance(model.class_weight, str)),
    ):
        if whole:
            raise ValueError(
                f"`{name}` must be another for `partial_fit`, got "
                f"{getattr(model, name)!r}, which needs all samples at once. Use `fit`."
            )
    if anew and classes is None:
        raise ValueError(
            "`classes` must be passed in the first call to `partial_fit`: all labels "
            "that there will be."
        )
    x, y = validated(model, x, y, anew=anew)
    if anew:
        model.classes_ = np.unique(classes)
        check_number_of_classes(model.classes_)
    elif classes is not None and not np.array_equal(np.unique(classes), model.classes_):
        raise ValueError(
            f"`classes` must be those of the first call, {model.classes_}, got "
            f"{shortened(classes)}."
        )
    samples = samples_of(model, x, y, sample_weight)
    seed = check_random_state(model.random_state).randint(2**31 - 1)
    _train(model, samples, None, seed, anew=anew, incremental=True)


def params_of(model: Any) -> Params:
    """The parameters of a fitted estimator, as they are now."""
    return tuple(map(Layer, model.coefs_, model.intercepts_))


def _checked(model: Any) -> dict[str, Any]:
    parameters = model.get_params(deep=False)
    check_parameters(parameters)
    check_schedule(parameters["learning_rate"], schedule_names())
    return parameters


def _train(
    model: Any,
    samples: Weighted,
    validation: Weighted | None,
    seed: int,
    *,
    anew: bool,
    incremental: bool = False,
) -> None:
    """Prepare a run, go on from what the estimator holds, and keep what comes out."""
    x, y, weights = samples
    weights = with_class_weight(model.class_weight, y, weights, model.classes_)
    samples = without_weightless(x, y, weights)
    dtype = "bfloat16" if model.dtype == "bfloat16" else x.dtype.name
    network = network_of(
        model.get_params(deep=False), (x.shape[1], len(model.classes_)), dtype
    )
    model._calls = 0 if anew else model._calls + 1
    with jax.enable_x64(dtype == "float64"):
        key = jax.random.fold_in(jax.random.key(seed), model._calls)
        numbers, run = _run(model, network, samples, validation, seed)
        run = run._replace(key=key)
        params = None if anew else _params_that_fit(model, network)
        steps = steps_of(run.samples, run.batch_size)
        state = begin(network, numbers, steps, key, params)
        state = take_up(state, model._left) if incremental and not anew else state
        programs = programs_of(network, numbers, run, state)
        keep(model, params or state.params)
    stops_early = bool(model.early_stopping) and network.solver != "lbfgs"
    epochs = 1 if incremental else int(model.max_iter)
    plan = Plan(network, numbers, run, programs, epochs, stops_early)
    model._left, model._activation = None, network.activation
    model.n_layers_, model.n_outputs_ = len(network.sizes), network.sizes[-1]
    model.out_activation_ = "softmax"
    begin_history(model, plan, anew=anew)
    state = iterate(model, plan, state, incremental=incremental)
    if state is not None:
        others_predict = network.solver.startswith("schedule_free")
        model._left = leave(state, others_predict=others_predict)


def _run(
    model: Any,
    network: Network,
    samples: Weighted,
    validation: Weighted | None,
    seed: int,
) -> tuple[Numbers, Run]:
    """The data on the device, and the numbers of the programs as arrays."""
    count = len(samples.y)
    whole = network.solver == "lbfgs"
    size = min(200, count) if model.batch_size == "auto" else int(model.batch_size)
    batch_size = count if whole else min(size, count)
    weight = 1.0 if samples.weights is None else float(samples.weights.mean())
    parameters = model.get_params(deep=False)
    numbers = numbers_of(parameters, network, batch_size * weight)
    check_numbers(network, numbers)
    settings = settings_of(network, numbers)
    training = replace(settings.training, epochs=model.max_iter, batch_size=batch_size)
    data = dataset_of(samples, validation, network.sizes[-1])
    try:
        run = prepare(replace(settings, training=training), data)
    except TrainingError as error:
        raise translated(error) from None
    if not callbacks_of(model.callbacks):  # nobody looks at the training score
        run = run._replace(
            seen=Samples(jnp.asarray(data.train.x[:1]), jnp.asarray(data.train.y[:1]))
        )
    dtype = np.dtype(network.param_dtype)
    arrays = {name: np.asarray(value, dtype) for name, value in numbers.items()}
    return arrays | {"seed": np.uint32(seed)}, run


def _params_that_fit(model: Any, network: Network) -> Params:
    """The parameters to go on from."""
    params = params_of(model)
    sizes = [params[0].weight.shape[0], *(len(layer.bias) for layer in params)]
    if tuple(sizes) != network.sizes:
        raise ValueError(
            f"`hidden_layer_sizes` must stay what they were, {tuple(sizes[1:-1])}, for "
            f"training to go on, got {network.sizes[1:-1]}. Call `fit` without "
            "`warm_start`, or make a new estimator."
        )
    return params
