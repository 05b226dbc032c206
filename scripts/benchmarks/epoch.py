"""One epoch of training, MNIST's size, beside what users would write otherwise.

python scripts/benchmarks/epoch.py                      # ten minutes on 2 cores
python scripts/benchmarks/epoch.py --blocks 2

784-512-512-10 on 60,000 random samples in float32, Adam, batches of 128, a new order
every epoch. "handgrad" is the engine of `handgrad train`: order and chunks, as it runs
them. "a scan" is the same program with `jax.grad` in it; Flax NNX and Equinox are
loops over compiled steps as their documentation writes them; PyTorch has its fused
Adam, scikit-learn `partial_fit`. The floor is the matrix products of the epoch alone;
beside it stand the passes of Adam over the weights, which no product hides.
Groups that must not share threads have processes of their own, which take turns. Prints
a table, and writes epoch.json to --output. Peers that are not installed are left out.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from common import (
    Work,
    alternate,
    bound,
    installed,
    serve,
    summary,
    without,
    write_json,
)
from rich.console import Console
from rich.table import Table
from step import products, textbook_loss

import handgrad
from handgrad.training import Settings as RunSettings
from handgrad.training import compile_programs, load_data, prepare
from handgrad.training.engine.evaluate import Samples
from handgrad.training.engine.step import Epoch
from handgrad.training.settings import Data, Model, Optimizer, Training

SAMPLES, BATCH = 60_000, 128
SIZES = (784, 512, 512, 10)
STEPS = -(-SAMPLES // BATCH)
RATE = 1e-3
PEERS = {"PyTorch, fused Adam": "torch", "Flax NNX": "flax", "Equinox": "equinox"}
"""The module of each."""

OURS, FLOOR, ADAM = "handgrad", "products alone", "Adam alone"


@dataclass(frozen=True)
class Settings:
    """What to time.

    Attributes:
      blocks: turns that the processes take; in each, every way trains for an epoch.
      output: the folder for epoch.json.
    """

    blocks: int = 7
    output: Path = Path("runs/benchmarks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Time, print, write."""
    if (given := sys.argv[1:] if arguments is None else list(arguments))[:1] == ["of"]:
        serve(GROUPS[given[1]]())
        return 0
    settings = tyro.cli(Settings, description=__doc__, args=arguments)
    commands = {
        group: [sys.executable, __file__, "of", group]
        for group in GROUPS
        if group != "PyTorch" or installed("torch")
    }
    times = alternate(commands, blocks=settings.blocks, rounds=1)
    rows = {name: summary(seconds) for name, seconds in times.items()}
    show(rows)
    over = {name: rows[OURS]["median"] / row["median"] for name, row in rows.items()}
    passes = rows[ADAM]["median"]
    why = f"the passes of Adam over the weights alone take {passes:.2f} s of it"
    both = rows[OURS]["median"] / (rows[FLOOR]["median"] + passes)
    bounds = [
        bound("epoch over its products alone", over.pop(FLOOR), 1.1, why),
        bound("epoch over its products and Adam's passes", both, 1.1),
    ]
    bounds += [
        bound(f"epoch over that of {name}", ratio, 1.0)
        for name, ratio in over.items()
        if name not in (OURS, ADAM)
    ]
    bounds += without("epoch over that of {}", PEERS)
    write_json(settings, "epoch", {"rows": rows, "bounds": bounds})
    return 0


def data() -> tuple[np.ndarray, np.ndarray]:
    """Features (m, 784) and labels (m,)."""
    random = np.random.default_rng(0)
    x = random.standard_normal((SAMPLES, SIZES[0]), np.float32)
    return x, random.integers(0, SIZES[-1], SAMPLES, np.int32)


def batches(epoch: int) -> Iterator[np.ndarray]:
    """Rows of each minibatch, in another order every epoch."""
    order = np.random.default_rng(epoch).permutation(SAMPLES)
    return (order[at : at + BATCH] for at in range(0, SAMPLES, BATCH))


def engine() -> Work:
    """The engine on arrays."""
    x, y = data()
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/x.npy", x)
        np.save(f"{folder}/y.npy", y)
        made = RunSettings(
            name="epoch",
            data=Data("npy", folder, test=0, validation=0, scaling="none"),
            model=Model(SIZES[1:-1]),
            optimizer=Optimizer("adam", RATE),
            training=Training(epochs=1, batch_size=BATCH),
        )
        run = prepare(made, load_data(made.data))
    assert isinstance(run.train, Samples)  # in memory
    samples, programs = run.train, compile_programs(run)
    state, epoch = programs.begin(run.key), 0

    def work() -> Any:
        nonlocal state, epoch
        epoch += 1
        order, present = programs.order(run.key, np.int32(epoch))
        first = np.int32(STEPS * (epoch - 1))
        source = Epoch(*samples, order, present, first)
        state = programs.chunk(state, run.key, source, np.int32(STEPS))
        return state.step

    return work


def scan() -> Work:
    """A whole epoch as one program, as one would write it with `jax.grad`."""
    x, y = map(jnp.asarray, data())
    adam = optax.adam(RATE)

    def step(carry: Any, rows: jax.Array) -> Any:
        params, state = carry
        loss, grads = jax.value_and_grad(textbook_loss)(params, x[rows], y[rows])
        updates, state = adam.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), loss

    @partial(jax.jit, donate_argnums=0)
    def train(carry: Any, key: jax.Array) -> Any:
        rows = jax.random.permutation(key, SAMPLES)
        rows = jnp.pad(rows, (0, STEPS * BATCH - SAMPLES)).reshape(STEPS, BATCH)
        return jax.lax.scan(step, carry, rows)

    params = handgrad.init(jax.random.key(0), SIZES)
    carry, key = (params, adam.init(params)), jax.random.key(1)

    def work() -> Any:
        nonlocal carry, key
        key = jax.random.fold_in(key, 1)
        carry, losses = train(carry, key)
        return losses

    return work


def loop(step: Callable[[jax.Array, jax.Array], Any]) -> Work:
    """A Python loop over minibatches of arrays on the host."""
    x, y = data()
    epoch = 0

    def work() -> Any:
        nonlocal epoch
        epoch, loss = epoch + 1, None
        for rows in batches(epoch):
            loss = step(x[rows], y[rows])  # pyright: ignore[reportArgumentType]
        return loss

    return work


def flax() -> Work:
    """The loop of the first page of Flax NNX."""
    from flax import nnx

    class Network(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            pairs = zip(SIZES, SIZES[1:], strict=False)
            self.layers = nnx.List([nnx.Linear(*pair, rngs=rngs) for pair in pairs])

        def __call__(self, x: jax.Array) -> jax.Array:
            for layer in self.layers[:-1]:
                x = nnx.relu(layer(x))
            return self.layers[-1](x)

    model = Network(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(RATE), wrt=nnx.Param)

    @nnx.jit
    def step(model: Any, optimizer: Any, x: Any, y: Any) -> jax.Array:
        def loss_of(model: Any) -> jax.Array:
            losses = optax.softmax_cross_entropy_with_integer_labels(model(x), y)
            return losses.mean()

        loss, grads = nnx.value_and_grad(loss_of)(model)
        optimizer.update(model, grads)
        return loss

    return loop(lambda x, y: step(model, optimizer, x, y))


def equinox() -> Work:
    """The loop of Equinox's examples."""
    import equinox as eqx

    model = eqx.nn.MLP(SIZES[0], SIZES[-1], SIZES[1], 2, key=jax.random.key(0))
    adam = optax.adam(RATE)
    state = adam.init(eqx.filter(model, eqx.is_array))

    def loss_of(model: Any, x: Any, y: Any) -> jax.Array:
        losses = optax.softmax_cross_entropy_with_integer_labels(jax.vmap(model)(x), y)
        return losses.mean()

    @eqx.filter_jit
    def step(model: Any, state: Any, x: Any, y: Any) -> Any:
        loss, grads = eqx.filter_value_and_grad(loss_of)(model, x, y)
        updates, state = adam.update(grads, state, eqx.filter(model, eqx.is_array))
        return eqx.apply_updates(model, updates), state, loss

    def one(x: Any, y: Any) -> Any:
        nonlocal model, state
        model, state, loss = step(model, state, x, y)
        return loss

    return loop(one)


def floor() -> Work:
    """The products of every step, one compiled call each."""
    x, y = (jnp.asarray(array[:BATCH]) for array in data())
    given = handgrad.init(jax.random.key(0), SIZES), x, y
    program = jax.jit(products).lower(*given).compile()

    def work() -> Any:
        found = None
        for _ in range(STEPS):
            found = program(*given)
        return found

    return work


def adam_alone() -> Work:
    """Adam's passes over the weights, one compiled call each."""
    adam, params = optax.adam(RATE), handgrad.init(jax.random.key(0), SIZES)
    grads = jax.tree.map(jnp.ones_like, params)

    @partial(jax.jit, donate_argnums=0)
    def update(carry: Any, grads: Any) -> Any:
        params, state = carry
        updates, state = adam.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    carry = params, adam.init(params)

    def work() -> Any:
        nonlocal carry
        for _ in range(STEPS):
            carry = update(carry, grads)
        return carry

    return work


def sklearn() -> dict[str, Work]:
    """scikit-learn's own loop, through `partial_fit`: one epoch a call."""
    from sklearn.neural_network import MLPClassifier

    x, y = data()
    model = MLPClassifier(
        SIZES[1:-1],
        batch_size=BATCH,  # pyright: ignore[reportArgumentType]
        learning_rate_init=RATE,
    )
    classes = np.arange(SIZES[-1])
    return {"scikit-learn": lambda: model.partial_fit(x, y, classes=classes)}


def jax_ways() -> dict[str, Work]:
    """All ways that run on JAX's threads."""
    return {
        OURS: engine(),
        "a scan with jax.grad": scan(),
        **({"Flax NNX": flax()} if installed("flax") else {}),
        **({"Equinox": equinox()} if installed("equinox") else {}),
        FLOOR: floor(),
        ADAM: adam_alone(),
    }


def torch() -> dict[str, Work]:
    """The loop of PyTorch's tutorials, with the fused Adam."""
    import torch  # pyright: ignore[reportMissingImports]
    from step_torch import network_of

    x, y = map(torch.from_numpy, data())
    y, network, epoch = y.long(), network_of(SIZES), 0
    adam = torch.optim.Adam(network.parameters(), lr=RATE, fused=True)
    loss_of = torch.nn.CrossEntropyLoss()

    def work() -> None:
        nonlocal epoch
        epoch += 1
        for rows in map(torch.from_numpy, batches(epoch)):
            adam.zero_grad()
            loss_of(network(x[rows]), y[rows]).backward()
            adam.step()

    return {"PyTorch, fused Adam": work}


GROUPS: dict[str, Callable[[], dict[str, Work]]] = {
    "JAX": jax_ways,
    "PyTorch": torch,
    "scikit-learn": sklearn,
}


def show(rows: dict[str, dict[str, float]]) -> None:
    """The table."""
    table = Table("epoch", "median s", "least s", "over handgrad")
    for name, row in rows.items():
        ratio = row["median"] / rows[OURS]["median"]
        cells = (f"{row['median']:.3f}", f"{row['least']:.3f}", f"{ratio:.2f}")
        table.add_row(name, *cells)
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
