"""The scikit-learn estimator: scikit-learn's checks and numbers, and what is more."""

import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import pandas as pd
import polars as pl
import pytest
from joblib import Parallel, delayed
from sklearn import neural_network
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

import handgrad
from handgrad.sklearn import MLPClassifier
from handgrad.training.engine.optimizer import optimizer_names
from handgrad.training.estimator.programs import _compiled_order

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning"  # few epochs suffice here
)

SAMPLES, FEATURES = 60, 4
RANDOM = np.random.default_rng(0)
Y = np.arange(SAMPLES) % 3
X = (RANDOM.normal(size=(3, FEATURES))[Y] * 2 + RANDOM.normal(size=(60, 4))).astype(
    np.float32
)
WORDS = np.array(["ash", "birch", "cedar"])


def small(**parameters: Any) -> MLPClassifier:
    """Of shapes that share their programs."""
    defaults: dict[str, Any] = {"max_iter": 5, "random_state": 0}
    return MLPClassifier((8,), **(defaults | parameters))


def assert_same_parameters(one: MLPClassifier, other: MLPClassifier) -> None:
    for mine, theirs in zip(
        one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


CHECKS = [
    pytest.param(*pair, id=pair[1].func.__name__)
    for pair in cast("list[Any]", list(estimator_checks_generator(MLPClassifier())))
    if pair[1].func.__name__ != "check_array_api_input"  # skips itself
]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(("estimator", "check"), CHECKS)
def test_scikit_learns_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


# --- the same numbers as scikit-learn ---


@pytest.mark.parametrize(
    ("parameters", "weight"),
    [
        ({"solver": "sgd", "learning_rate_init": 0.05}, None),
        (
            {
                "solver": "sgd",
                "learning_rate": "invscaling",
                "momentum": 0.0,
                "learning_rate_init": 0.3,
            },
            2.0,
        ),
        ({"solver": "adam", "beta_1": 0.8, "beta_2": 0.9}, 2.0),
        (
            {
                "solver": "sgd",
                "nesterovs_momentum": False,
                "momentum": 0.5,
                "learning_rate_init": 0.1,
            },
            None,
        ),
    ],
    ids=["nesterov", "invscaling", "adam", "momentum"],
)
def test_steps_are_those_of_scikit_learn(
    parameters: dict[str, Any], weight: float | None
) -> None:
    """From the same parameters, in float64, with a penalty that matters. Adam's epsilon
    stands beside the root before its correction there, after it here: 1e-8 of 1e-2.
    Weights are the objective's and no solver sees them: two cases have some."""
    weights = None if weight is None else np.full(SAMPLES, weight)
    shared = parameters | {"alpha": 3.0, "batch_size": 20, "shuffle": False}
    shared |= {"warm_start": True, "activation": "tanh"}
    x = X.astype(np.float64)
    theirs = neural_network.MLPClassifier((8,), max_iter=1, random_state=0, **shared)
    ours = small(**shared).fit(x, Y)
    theirs.fit(x, Y)
    ours.coefs_ = [weight.copy() for weight in theirs.coefs_]
    ours.intercepts_ = [bias.copy() for bias in theirs.intercepts_]
    ours.t_ = theirs.t_ = 0  # the time of invscaling
    tolerance = 1e-5 if parameters["solver"] == "adam" else 1e-10
    theirs.set_params(max_iter=5).fit(x, Y, weights)
    ours.fit(x, Y, weights)
    for mine, other in zip(
        ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True
    ):
        np.testing.assert_allclose(mine, other, rtol=tolerance, atol=tolerance / 10)


def test_lbfgs_finds_the_minimum_that_scikit_learn_finds() -> None:
    """Convex: softmax regression with a penalty that the line search must see."""
    shared: dict[str, Any] = {"solver": "lbfgs", "alpha": 20.0, "tol": 1e-8}
    x = X.astype(np.float64)
    ours = MLPClassifier((), **shared, random_state=1).fit(x, Y)
    theirs = neural_network.MLPClassifier((), **shared, random_state=0).fit(x, Y)
    # scikit-learn's ends where the loss falls by less than 2e-9 of itself.
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-7)
    np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], atol=1e-3)
    assert ours.n_iter_ < 50


def test_attributes_are_those_of_scikit_learn() -> None:
    model = small().fit(X, Y)
    theirs = neural_network.MLPClassifier((8,), max_iter=5, random_state=0).fit(X, Y)
    missing = {
        name for name in vars(theirs) if name.endswith("_") and not hasattr(model, name)
    }
    assert missing == set()
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "n_features_in_"):
        assert getattr(model, name) == getattr(theirs, name), name
    assert len(model.loss_curve_) == 5
    assert model.best_loss_ == min(model.loss_curve_)
    assert [w.shape for w in model.coefs_] == [w.shape for w in theirs.coefs_]
    assert set(theirs.get_params()) <= set(model.get_params())
    for name, value in theirs.get_params().items():
        if name not in ("hidden_layer_sizes", "max_iter", "random_state"):
            assert getattr(MLPClassifier(), name) == value, name


# --- programs ---


def test_another_fit_compiles_nothing() -> None:
    """Whatever the numbers are; another network does, but for the order of the same
    samples, which is no part of it."""
    compiled: list[str] = []

    def listen(event: str, duration: float, **__: str | int) -> None:
        if "compile" in event:
            compiled.append(event)

    small().fit(X, Y).predict(X)
    jax.monitoring.register_event_duration_secs_listener(listen)  # pyright: ignore[reportArgumentType]
    other = small(alpha=0.1, learning_rate_init=0.01, beta_1=0.8, random_state=7)
    other.fit(X[::-1], Y).predict(X)
    assert compiled == []
    before = _compiled_order.cache_info()
    MLPClassifier((), max_iter=1).fit(X, Y)
    assert compiled != []
    after = _compiled_order.cache_info()
    assert (after.hits, after.misses) == (before.hits + 1, before.misses)


def test_nothing_heavy_is_imported() -> None:
    program = """
import sys, handgrad
assert "sklearn" not in sys.modules and "handgrad.training" not in sys.modules
import handgrad.sklearn
heavy = {"rich", "tyro", "matplotlib", "tensorboardX", "polars", "orbax"}
heavy |= {"handgrad.training.views", "handgrad.training.main", "handgrad.training.run"}
print(sorted(heavy & sys.modules.keys()))
"""
    run = [sys.executable, "-c", program]
    found = subprocess.run(run, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # optimistic_adam
@pytest.mark.parametrize("solver", sorted(optimizer_names()))
def test_every_solver_of_optax_takes_a_step(solver: str) -> None:
    """With the defaults of all else; by shapes, which compile nothing."""
    from handgrad.training.engine.step import Epoch, make_chunk
    from handgrad.training.estimator.network import network_of, numbers_of
    from handgrad.training.estimator.programs import _begin, _step

    options = {"schedule_free": {"base_optimizer": None}}.get(solver)
    if options:
        pytest.raises(ValueError, small(solver=solver).fit, X, Y).match("`solver")
        return
    parameters = small(solver=solver).get_params()
    network = network_of(parameters, (FEATURES, 3), "float32")
    numbers: dict[str, Any] = {
        name: jax.ShapeDtypeStruct((), np.float32)
        for name in numbers_of(parameters, network, 60.0)
    }
    numbers["seed"] = jax.ShapeDtypeStruct((), np.uint32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(_begin(network, 0), numbers, key, None)
    rows = jax.ShapeDtypeStruct((1, SAMPLES), np.int32)
    one = jax.ShapeDtypeStruct((), np.int32)
    present = jax.ShapeDtypeStruct((1, SAMPLES), np.float32)
    epoch: Any = Epoch(
        *cast("tuple[Any, ...]", (X, Y.astype(np.int32), None, rows, present, one))
    )

    def chunk(numbers: Any, state: Any, key: Any, epoch: Any, count: Any) -> Any:
        return make_chunk(_step(network, numbers, 0))(state, key, epoch, count)

    after = jax.eval_shape(chunk, numbers, state, key, epoch, one)
    assert jax.tree.structure(after) == jax.tree.structure(state)


# --- labels and samples ---


@pytest.mark.parametrize(
    "labels",
    [
        WORDS,
        WORDS.astype(object),
        np.array([False, True, True]),
        np.array([-1.0, 0.0, 7.0]),
        np.array([2**53, 2**53 + 1, 2**62], np.int64),
        np.array([2**63, 2**63 + 1, 2**64 - 1], np.uint64),
        np.array([-(2**63), 0, 2**63 - 1], np.int64),
        np.array([1, 2, 3], np.uint8),
    ],
    ids=["text", "object", "bool", "float", "int53", "uint64", "int64", "uint8"],
)
def test_labels_of_any_kind_come_back(labels: np.ndarray) -> None:
    y = labels[Y]
    model = small(max_iter=60, learning_rate_init=0.05).fit(X, y)
    assert model.classes_.dtype == np.unique(labels).dtype
    np.testing.assert_array_equal(model.classes_, np.unique(labels))
    found = model.predict(X)
    assert found.dtype == model.classes_.dtype
    assert np.mean(found == y) > 0.8
    assert model.predict_proba(X).shape == (SAMPLES, len(np.unique(labels)))


def test_labels_of_another_dtype_are_not_rounded_to_a_class() -> None:
    """int64 and uint64 meet as float64, where 2^53 and 2^53 + 1 are one number."""
    classes = np.array([2**53, 2**53 + 2], np.int64)
    model = small().partial_fit(X, classes[Y % 2], classes=classes)
    model.partial_fit(X, classes[Y % 2].astype(np.uint64))
    with pytest.raises(ValueError, match=rf"^`y` .*{2**53 + 1}"):
        model.partial_fit(X, np.full(SAMPLES, 2**53 + 1, np.uint64))


def test_a_column_of_labels_is_a_vector_and_said_so() -> None:
    with pytest.warns(Warning, match="column-vector"):
        model = small().fit(X, Y[:, None])
    assert_same_parameters(model, small().fit(X, Y))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(SAMPLES), "`y` must hold two classes or more, got one class"),
        (np.eye(3)[Y], "1d array"),
        (RANDOM.normal(size=SAMPLES), "continuous"),
        (np.where(Y == 0, np.nan, Y), "NaN"),
        (np.array([None, "a", "b"], object)[Y], "label type|str|None"),
        (Y[:-1], "inconsistent"),
    ],
    ids=["one", "many", "continuous", "nan", "none", "short"],
)
def test_labels_that_are_none_are_refused(y: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        small().fit(X, y)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames(frame: Any) -> None:
    names = ["a", "b", "c", "d"]
    table = frame(dict(zip(names, X.T, strict=True)))
    labels = {pd.DataFrame: pd.Series, pl.DataFrame: pl.Series}[frame](WORDS[Y])
    model = small().fit(table, labels)
    assert list(model.feature_names_in_) == names
    assert_same_parameters(model, small().fit(X, WORDS[Y]))
    np.testing.assert_array_equal(
        model.predict(table), small().fit(X, Y).predict(X).choose(WORDS)
    )
    with pytest.raises(ValueError, match="feature names"):
        model.predict(table[names[::-1]])


def test_pandas_categories_and_nullable_integers_are_labels() -> None:
    for labels in (
        pd.Series(WORDS[Y], dtype="category"),
        pd.Series(Y, dtype="Int64"),
    ):
        assert small().fit(X, labels).predict(X)[0] in list(labels.unique())


@pytest.mark.parametrize(
    ("x", "asked", "dtype"),
    [
        (X, "auto", "float32"),
        (X.astype(np.float64), "auto", "float64"),
        (np.round(X).astype(int), "auto", "float64"),
        (X.astype(np.float64), "float32", "float32"),
        (X, "float64", "float64"),
        (X, "bfloat16", "float32"),
    ],
)
def test_dtypes(x: np.ndarray, asked: str, dtype: str) -> None:
    model = small(dtype=asked, max_iter=30, learning_rate_init=0.02).fit(x, Y)
    assert {leaf.dtype.name for leaf in model.coefs_ + model.intercepts_} == {dtype}
    assert model.predict_proba(x).dtype == dtype
    assert model.predict_log_proba(x).dtype == dtype
    assert model.score(x, Y) > 0.7
    assert jnp.zeros(()).dtype == jnp.float32  # as before


def test_what_float32_cannot_hold_is_refused() -> None:
    x = X.astype(np.float64)
    x[3, 1] = 1e300
    with pytest.raises(ValueError, match="infinity or a value too large"):
        small(dtype="float32").fit(x, Y)
    with pytest.raises(ValueError, match="infinity or a value too large"):
        small().fit(X, Y).predict(x)


# --- weights ---


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.where(Y == 1, -1.0, 1.0), "0 or more, and finite, got -1.0 for sample 1"),
        (np.where(Y == 1, np.nan, 1.0), "finite, got nan for sample 1"),
        (np.where(Y == 1, np.inf, 1.0), "finite, got inf for sample 1"),
        (np.zeros(SAMPLES), "zero"),
        (np.ones((SAMPLES, 1)), "shape"),
        (np.ones(SAMPLES - 1), "shape"),
        ((Y == 1) * 1.0, "two classes or more with some weight"),
    ],
)
def test_weights_that_are_none_are_refused(weights: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^`sample_weight` .*{message}"):
        small().fit(X, Y, sample_weight=weights)


def test_a_class_without_weight_is_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"`sample_weight` leaves class \[2\]"):
        model = small(max_iter=50, learning_rate_init=0.05).fit(X, Y, (Y != 2) * 1.0)
    assert model.predict_proba(X).shape == (SAMPLES, 3)
    assert not (model.predict(X) == 2).any()


def test_only_ratios_of_weights_count() -> None:
    """Beside the penalty, which is divided by what the samples weigh."""
    weights = RANDOM.uniform(0.5, 2, SAMPLES)
    few = small(alpha=0).fit(X, Y, weights)
    for factor in (2.0**-900, 2.0**1000):
        assert_same_parameters(few, small(alpha=0).fit(X, Y, weights * factor))
    even = small(alpha=0).fit(X, Y, np.ones(SAMPLES))
    assert not np.array_equal(few.coefs_[0], even.coefs_[0])


def test_a_weight_of_zero_is_no_sample() -> None:
    kept = np.arange(SAMPLES) % 5 != 0
    without = small().fit(X[kept], Y[kept], np.ones(kept.sum()))
    assert_same_parameters(without, small().fit(X, Y, kept * 1.0))


def test_weights_of_classes_are_weights_of_their_samples() -> None:
    words = WORDS[Y]
    factors = np.array([1.0, 5.0, 0.5])
    by_class = small(class_weight={"birch": 5.0, "cedar": 0.5}).fit(X, words)
    assert_same_parameters(by_class, small().fit(X, words, factors[Y]))
    uneven = np.flatnonzero((Y > 0) | (np.arange(SAMPLES) < 24))
    balanced = small(class_weight="balanced").fit(X[uneven], Y[uneven])
    counts = np.bincount(Y[uneven])
    weights = (len(uneven) / (3 * counts))[Y[uneven]]
    assert_same_parameters(balanced, small().fit(X[uneven], Y[uneven], weights))
    with pytest.raises(ValueError, match=r"^`class_weight` .*'oak'"):
        small(class_weight={"oak": 1}).fit(X, words)
    with pytest.raises(ValueError, match=r"^`class_weight` must be 0 or more"):
        small(class_weight={"ash": -1}).fit(X, words)


# --- partial_fit, warm_start, validation ---


@pytest.mark.parametrize("solver", ["adam", "noisy_sgd", "schedule_free_adamw"])
def test_partial_fit_goes_on_where_it_was(solver: str) -> None:
    """Two epochs in two calls, with pickle between, are two epochs in one."""
    shared: dict[str, Any] = {"shuffle": False, "solver": solver}
    whole = small(**shared, max_iter=2).fit(X, Y)
    parts = small(**shared).partial_fit(X, Y, classes=[0, 1, 2])
    parts = pickle.loads(pickle.dumps(parts)).partial_fit(X, Y)
    assert_same_parameters(whole, parts)
    assert parts.loss_curve_ == whole.loss_curve_
    assert parts.t_ == whole.t_ == 2 * SAMPLES


def test_every_call_of_partial_fit_drops_other_units() -> None:
    shared: dict[str, Any] = {"shuffle": False, "solver": "sgd", "momentum": 0.0}
    shared |= {"dropout": 0.5, "alpha": 0.0}
    model = small(**shared).partial_fit(X, Y, classes=[0, 1, 2])
    first, bias = model.coefs_, model.intercepts_
    losses = []
    for _ in range(2):
        model.coefs_, model.intercepts_ = first, bias
        losses.append(model.partial_fit(X, Y).loss_)
    assert losses[0] != losses[1]


def test_what_partial_fit_cannot_do_is_said() -> None:
    with pytest.raises(ValueError, match="^`classes` must be passed"):
        small().partial_fit(X, Y)
    with pytest.raises(ValueError, match="two classes or more"):
        small().partial_fit(X, Y * 0, classes=[0])
    model = small().partial_fit(X[:20], Y[:20] * 0, classes=[0, 1, 2])  # one of three
    with pytest.raises(ValueError, match=r"^`y` must hold labels.*got \[3\]"):
        model.partial_fit(X, Y + 1)
    with pytest.raises(ValueError, match="^`classes` must be those of the first"):
        model.partial_fit(X, Y, classes=[0, 1])
    for name, value in (
        ("solver", "lbfgs"),
        ("early_stopping", True),
        ("class_weight", "balanced"),
    ):
        with pytest.raises(ValueError, match=f"^`{name}` must be another"):
            small(**{name: value}).partial_fit(X, Y, classes=[0, 1, 2])


def test_warm_start_goes_on_from_the_parameters() -> None:
    model = small(warm_start=True).fit(X, Y)
    loss, first = model.loss_, model.coefs_[0].copy()
    model.set_params(max_iter=1).fit(X, Y)
    assert model.loss_ < loss
    assert len(model.loss_curve_) == 6
    assert model.n_iter_ == 1
    assert 0 < np.abs(model.coefs_[0] - first).max() < 0.01
    with pytest.raises(ValueError, match="^`y` must hold the classes of the last fit"):
        model.fit(X, Y + 1)
    with pytest.raises(ValueError, match="^`hidden_layer_sizes` must stay"):
        model.set_params(hidden_layer_sizes=(9,)).fit(X, Y)


def test_early_stopping_keeps_the_best_parameters() -> None:
    """On validation data of the user, whose weights count."""
    weights = np.where(Y == 1, 3.0, 1.0)
    model = small(max_iter=200, early_stopping=True, learning_rate_init=0.1)
    model.fit(X, Y, validation_data=(X[::-1], Y[::-1], weights[::-1]))
    assert model.n_iter_ < 200
    scores = model.validation_scores_ or []
    assert len(scores) == model.n_iter_
    assert model.best_validation_score_ == max(scores)
    score = model.score(X, Y, weights)
    assert score == pytest.approx(model.best_validation_score_, abs=1e-6)
    assert model.best_loss_ is None


def test_early_stopping_holds_samples_out() -> None:
    model = small(max_iter=3, early_stopping=True, validation_fraction=0.2)
    assert model.fit(X, Y).t_ == 3 * 48
    with pytest.raises(ValueError, match="^`validation_fraction` must hold out 2"):
        model.set_params(validation_fraction=0.01).fit(X, Y)
    with pytest.raises(ValueError, match="^`validation_data` must be"):
        model.fit(X, Y, validation_data=X)
    with pytest.raises(ValueError, match="^`y` must hold labels"):
        model.fit(X, Y, validation_data=(X, Y + 1))


def test_training_ends_when_the_loss_no_longer_falls() -> None:
    model = small(max_iter=100, tol=10.0, n_iter_no_change=4).fit(X, Y)
    assert model.n_iter_ == 6  # one that is better than nothing, then 5 > 4
    adaptive = small(
        solver="sgd",
        max_iter=1000,
        tol=10.0,
        n_iter_no_change=1,
        learning_rate="adaptive",
        learning_rate_init=1e-4,
    ).fit(X, Y)
    # 1e-4 is divided by 5 until it is below 1e-6, every second epoch.
    assert adaptive.n_iter_ == 1 + 2 * 4
    assert adaptive._rate == pytest.approx(1e-4 / 5**3)


def test_not_to_have_converged_is_a_warning() -> None:
    with pytest.warns(ConvergenceWarning, match="^`max_iter` 5 is reached"):
        small().fit(X, Y)
    few = MLPClassifier((), solver="lbfgs", max_fun=2, max_iter=50)
    with pytest.warns(ConvergenceWarning, match="^`max_fun` 2 is reached"):
        few.fit(X.astype(np.float64), Y)


# --- callbacks, interrupts, divergence ---


def test_callbacks_see_every_epoch_and_can_end_it() -> None:
    seen: list[tuple[int, float, float]] = []

    def watch(model: MLPClassifier, record: Any) -> None:
        seen.append((record.epoch, record.train_accuracy, model.score(X, Y)))

    model = small(callbacks=[watch, lambda model, record: record.epoch == 3])
    model.fit(X.astype(np.float64), Y)
    assert (
        [epoch for epoch, *_ in seen] == [1, 2, 3] == list(range(1, model.n_iter_ + 1))
    )
    for _, accuracy, score in seen:
        assert accuracy == pytest.approx(score, abs=1e-6)


def test_ctrl_c_keeps_what_was_learned() -> None:
    def interrupt(model: MLPClassifier, record: Any) -> None:
        if record.epoch == 2:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="interrupted"):
        model = small(callbacks=interrupt).fit(X, Y)
    assert model.n_iter_ == 2
    assert_same_parameters(model, small(max_iter=2).fit(X, Y))


def test_a_loss_that_diverges_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^`X` .* lower `learning_rate_init`"):
        small(solver="sgd", learning_rate_init=1e30, max_iter=50).fit(X, Y)


def test_losses_are_printed_if_asked(capsys: pytest.CaptureFixture[str]) -> None:
    small(verbose=True, max_iter=2).fit(X, Y, validation_data=(X, Y))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" = ")[0].split(":")[0] for line in lines] == [
        "Iteration 1, loss",
        "Validation score",
        "Iteration 2, loss",
        "Validation score",
    ]


# --- parameters ---


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hidden_layer_sizes": (8, 0)}, "`hidden_layer_sizes` must be widths"),
        ({"hidden_layer_sizes": 2.5}, "`hidden_layer_sizes` must be widths"),
        ({"activation": "rellu"}, "`activation` must name .*'relu'"),
        ({"activation": ["relu", "tanh"]}, "`activation` must be one name, or one per"),
        ({"solver": "adm"}, "`solver` must be a function of Optax.*'adam'"),
        ({"solver": 3}, "`solver` must be a name"),
        ({"solver_options": {"b3": 1}}, "`solver_options.b3` is not an argument"),
        ({"learning_rate": "cosine"}, "`learning_rate` must be one of constant"),
        ({"learning_rate_options": {"a": 1}}, "`learning_rate_options` must be left"),
        ({"learning_rate_init": 1e-60}, "`learning_rate_init` must be"),
        ({"learning_rate_init": 0}, "`learning_rate_init` must be positive"),
        ({"alpha": -1}, "`alpha` must be 0 or more"),
        ({"alpha": np.nan}, "`alpha` must be 0 or more"),
        ({"batch_size": 0}, "`batch_size` must be 'auto' or"),
        ({"max_iter": 2.0}, "`max_iter` must be a whole number"),
        ({"max_iter": True}, "`max_iter` must be a whole number"),
        ({"momentum": 1.5}, "`momentum` must be in"),
        ({"beta_1": 1.0}, "`beta_1` must be in"),
        ({"validation_fraction": 0}, "`validation_fraction` must be between"),
        ({"dropout": 1.0}, "`dropout` must be in"),
        ({"hidden_layer_sizes": (), "dropout": 0.5}, "`dropout` must be 0 without"),
        ({"early_stopping": "yes"}, "`early_stopping` must be True or False"),
        ({"dtype": "float16"}, "`dtype` must be one of auto"),
        ({"class_weight": "even"}, "`class_weight` must be None, 'balanced'"),
        ({"callbacks": [3]}, "`callbacks` must be a function"),
        ({"n_iter_no_change": 0}, "`n_iter_no_change` must be"),
    ],
)
def test_parameters_that_cannot_work_are_refused(
    parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        small().set_params(**parameters).fit(X, Y)


def test_an_activation_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="^`activation` must be a name or"):
        small(activation=3).fit(X, Y)


def test_activations_of_each_layer_and_of_the_user() -> None:
    sine = handgrad.Activation(jnp.sin, lambda d, a: jnp.cos(d))
    model = MLPClassifier((8, 8), ["logistic", sine], random_state=0, max_iter=2)
    model.fit(X, Y)
    hidden = 1 / (1 + np.exp(-(X @ model.coefs_[0] + model.intercepts_[0])))
    hidden = np.sin(hidden @ model.coefs_[1] + model.intercepts_[1])
    logits = hidden @ model.coefs_[2] + model.intercepts_[2]
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(X), expected, rtol=1e-4)
    np.testing.assert_allclose(model.predict_log_proba(X), np.log(expected), atol=1e-5)


def test_the_same_random_state_gives_the_same_bits() -> None:
    shared: dict[str, Any] = {"dropout": 0.3, "input_dropout": 0.1, "batch_size": 7}
    shared |= {"label_smoothing": 0.1, "clip_norm": 1.0}
    once, again = (small(**shared).fit(X, Y) for _ in range(2))
    assert_same_parameters(once, again)
    other = small(**shared, random_state=1).fit(X, Y)
    assert not np.array_equal(once.coefs_[0], other.coefs_[0])
    drawn = np.random.RandomState(0)
    assert_same_parameters(once, small(**shared, random_state=drawn).fit(X, Y))


def test_a_schedule_of_optax() -> None:
    shared: dict[str, Any] = {"learning_rate": "linear_schedule", "solver": "sgd"}
    model = small(**shared, learning_rate_options={"end_value": 0.0}, max_iter=4)
    before = []
    model.callbacks = lambda model, record: before.append(record.learning_rate)
    model.fit(X, Y)
    np.testing.assert_allclose(before, [1e-3, 7.5e-4, 5e-4, 2.5e-4], rtol=1e-5)
    with pytest.raises(
        ValueError, match="^`learning_rate_options` must hold end_value"
    ):
        small(**shared).fit(X, Y)


# --- predictions, and the rest of scikit-learn ---


@pytest.mark.parametrize("count", [1, 32, 33, 1024, 2500])
def test_predictions_of_any_number_of_samples(count: int) -> None:
    model = small().fit(X, Y)
    x = np.random.default_rng(1).normal(size=(2500, FEATURES)).astype(np.float32)
    params = handgrad.as_params(zip(model.coefs_, model.intercepts_, strict=True))
    expected = np.asarray(jax.jit(handgrad.predict_proba)(params, x))[:count]
    found = model.predict_proba(x[:count])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    assert model.predict(x[:count]).shape == (count,)


def test_logarithms_stay_finite_where_probabilities_are_0() -> None:
    model = small().fit(X, Y)
    model.coefs_ = [1e4 * weight for weight in model.coefs_]
    assert model.predict_proba(X).min() == 0
    assert np.isfinite(model.predict_log_proba(X)).all()


def test_pickle_and_clone() -> None:
    model = small(early_stopping=True, validation_fraction=0.2).fit(X, WORDS[Y])
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    copy: Any = clone(model)
    assert not hasattr(copy, "coefs_")
    assert_same_parameters(copy.fit(X, WORDS[Y]), model)


def test_pipelines_grids_in_two_processes_and_calibration() -> None:
    pipeline = make_pipeline(StandardScaler(), small(max_iter=100))
    scores = cross_val_score(pipeline, X, WORDS[Y], cv=3)
    assert scores.mean() > 0.6
    grid = {"mlpclassifier__learning_rate_init": [1e-6, 0.05]}
    search = GridSearchCV(pipeline, grid, n_jobs=2, cv=3).fit(X, WORDS[Y])
    assert search.best_params_ == {"mlpclassifier__learning_rate_init": 0.05}
    calibrated = CalibratedClassifierCV(clone(pipeline), cv=3).fit(X, WORDS[Y])
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1)


def test_threads_do_not_disturb_each_other() -> None:
    """Of two precisions, each of which is a state of JAX's in its thread."""
    kinds = [X, X.astype(np.float64)] * 3
    alone = [small().fit(x, Y) for x in kinds[:2]]
    models: Any = Parallel(n_jobs=3, backend="threading")(
        delayed(small().fit)(x, Y) for x in kinds
    )
    for place, model in enumerate(models):
        assert_same_parameters(model, alone[place % 2])
