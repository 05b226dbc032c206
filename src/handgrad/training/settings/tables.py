"""What a run is made of: one frozen dataclass per table of the TOML file.

A field without a default must be in the file, but for the run's name, which is that of
the file. The docstring under a field is its help on the command line.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from msgspec import Meta

Whole = Annotated[int, Meta(ge=0, lt=2**31)]  # int32 in the compiled program
Count = Annotated[int, Meta(ge=1, lt=2**31)]
Seed = Annotated[int, Meta(ge=0, lt=2**32)]
Share = Annotated[float, Meta(ge=0, lt=1)]
Amount = Annotated[float, Meta(ge=0, le=3.4e38)]  # in the range of float32
Positive = Annotated[float, Meta(ge=1.2e-38, le=3.4e38)]


@dataclass(frozen=True)
class Data:
    """Which samples, how they are split, how they are scaled."""

    source: str
    """digits, iris, wine, breast_cancer (scikit-learn's); idx, npz, npy, csv (files);
    or openml:NAME."""
    path: str = ""
    """The file, or for idx and npy the folder, of the samples."""
    test_path: str = ""
    """A file of the same kind that holds the test samples."""
    validation_path: str = ""
    """A file of the same kind that holds the validation samples."""
    test: Share | None = None
    """Share of all samples held out for the test, 0 for none: 0.2 unless the source
    brings test samples of its own, which leave no share to choose."""
    validation: Share | None = None
    """Share of the remaining samples held out for validation, 0 for none: 0.1 unless
    validation_path is given."""
    split_seed: Seed = 0
    """Drives the split alone."""
    scaling: Literal["standard", "global", "minmax", "robust", "constant", "none"] = (
        "standard"
    )
    """By the training part. standard: mean 0 and variance 1 per feature; global: over
    all entries; minmax: 0 to 1 per feature; robust: median 0 and quartiles 1 apart,
    with outliers clipped smoothly below 3; constant: divided by divisor."""
    divisor: Amount = 0.0
    """What scaling = constant divides by, such as 255."""
    label: int | str | None = None
    """Label column of a CSV file, by name or by position from 0 (-1: the last); the
    last unless given."""
    header: Literal["auto", "yes", "no"] = "auto"
    """Whether a CSV file begins with names; auto: if no field of its first row is a
    number."""
    ignored: tuple[str, ...] = ()
    """Columns of a table (a CSV file, or openml) that are left out, by name."""
    categorical: tuple[str, ...] = ()
    """Columns of a table that hold categories, by name, to be one-hot encoded; *: all
    that hold text. Text elsewhere is refused."""
    missing: Literal["refuse", "mean", "median", "most_frequent"] = "refuse"
    """What takes the place of a missing number in a table, from the training part."""
    classes: tuple[str, ...] = ()
    """Names of the classes, in order: of the labels 0, 1, ...; where labels are text,
    that text."""
    stream: Literal["auto", "on", "off"] = "auto"
    """Whether the training part is read from the disk in every epoch; auto: if it takes
    more than a quarter of the memory."""


@dataclass(frozen=True)
class Model:
    """The network between the features and the classes."""

    hidden: tuple[Count, ...] = (128,)
    """Units of each hidden layer; none of them is softmax regression."""
    activation: str | tuple[str, ...] = "relu"
    """Hidden activation: one name, or one per hidden layer."""
    input_dropout: Share = 0.0
    """Probability that a feature is dropped in training."""
    hidden_dropout: Share = 0.0
    """Probability that a hidden unit is dropped in training."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the network computes in; its parameters are float32."""
    stack_above: Whole = 0
    """More equal hidden layers than this, one after the other, are one stack, which a
    loop runs: it compiles in the same time however deep it is; 0: none."""


@dataclass(frozen=True)
class Schedule:
    """How the learning rate moves."""

    name: str = "constant_schedule"
    """Any of optax.schedules, by its name."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Its arguments by name; --optimizer.schedule.arguments.NAME VALUE sets one."""
    warmup_steps: Whole = 0
    """Steps in which the learning rate rises from 0, before the schedule begins."""
    epochs: Whole = 0
    """Its length; 0: training.epochs."""


@dataclass(frozen=True)
class Optimizer:
    """What turns gradients into updates."""

    name: str = "adamw"
    """Any of optax or optax.contrib that takes a learning rate, by its name."""
    learning_rate: Positive = 1e-3
    """The learning rate, per step; its peak under a schedule."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Its other arguments by name; --optimizer.arguments.NAME VALUE sets one. Another
    optimiser drops those in the file, another schedule likewise."""
    schedule: Schedule = field(default_factory=Schedule)
    weight_decay: Amount = 0.0
    """Decay of the weights, not of the biases, times the learning rate."""
    clip_norm: Amount = 0.0
    """Largest norm of a step's gradient over all parameters; 0: any."""
    clip_samples: Amount = 0.0
    """Largest norm of one sample's gradient; 0: any."""
    accumulate: Count = 1
    """Minibatches whose gradients make one update."""
    average: Share = 0.0
    """Decay of an exponential moving average of the parameters, which then predicts; 0:
    none."""


@dataclass(frozen=True)
class Training:
    """How long, in which batches, towards which objective."""

    epochs: Count = 100
    """Passes over the training part."""
    batch_size: Count = 32
    """Samples per step; the last batch of an epoch may be shorter."""
    label_smoothing: Share = 0.0
    """Probability spread evenly over all classes."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: every class weighs the same in sum, however many samples it has."""
    patience: Whole = 0
    """Epochs without a lower validation loss after which training ends; 0: never."""
    min_change: Amount = 0.0
    """By how much the validation loss must fall to count as lower."""
    check: Literal["off", "once", "always"] = "once"
    """When gradients are compared with jax.grad first; once: for a network that has not
    been compared before."""
    chunk_steps: Whole = 0
    """Steps per compiled call; 0: chosen by their time."""
    chunk_classes: Whole | Literal["auto"] = 0
    """Classes that the last layer takes at a time, so that no array of samples by
    classes is whole, at one more product of the layer; 0: all; auto: chosen, and all
    where they are few."""


@dataclass(frozen=True)
class Records:
    """What is kept of a run, and how often."""

    checkpoint_epochs: Count = 1
    """Epochs between checkpoints."""
    checkpoint_seconds: Positive = 30.0
    """Seconds between checkpoints within an epoch."""
    keep: Count = 2
    """How many checkpoints are kept beside the best."""
    tensorboard: bool = False
    """Whether scalars are written for TensorBoard too."""


@dataclass(frozen=True)
class Sweep:
    """Many networks at once."""

    seeds: Count = 1
    """Networks per combination of values, with seed, seed + 1, ..."""
    values: dict[str, list[float]] = field(default_factory=dict)
    """Values of numeric settings by their dotted keys; --sweep.values.KEY VALUES sets
    those of one."""
    members: int = 0
    """Networks that one program trains side by side; 0: as many as fit in memory, or
    on a CPU in its cache."""


@dataclass(frozen=True)
class Scale:
    """How a run, or each network of a sweep, is spread over devices; its result is the
    same to rounding."""

    data: Count = 1
    """Devices that share the samples of a minibatch; each has the parameters."""
    model: Count = 1
    """Devices that share the units of the hidden layers; each has its part of the
    parameters. A run takes data times model devices."""
    zero: bool = False
    """Whether the optimiser's state is split over the devices of data as well."""


@dataclass(frozen=True)
class Settings:
    """Everything that decides the result of a run."""

    name: str
    """The run's name: its files go to runs/NAME/."""
    data: Data
    model: Model = field(default_factory=Model)
    optimizer: Optimizer = field(default_factory=Optimizer)
    training: Training = field(default_factory=Training)
    seed: Seed = 0
    """Drives the initial parameters, the shuffling and the dropout."""
    records: Records = field(default_factory=Records)
    sweep: Sweep = field(default_factory=Sweep)
    scale: Scale = field(default_factory=Scale)
