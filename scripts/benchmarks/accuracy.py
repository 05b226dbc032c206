"""Seconds from the start of a process to 98 % test accuracy on MNIST.

python scripts/benchmarks/accuracy.py FOLDER            # five minutes on 2 quiet cores
python scripts/benchmarks/accuracy.py FOLDER --rounds 1

`handgrad train configs/mnist_fast.toml` with nothing compiled before (cold), and with
its compilation cache (warm), beside PyTorch and Keras (on JAX), where installed, with
the same network, batches, optimiser and schedule, written well. FOLDER holds the four
IDX files. Processes take turns, in a new random order every round. "data" is when the
samples are in memory; what cold takes more than warm is compiling, and the check of the
gradient. Prints a table, and writes accuracy.json to --output.
"""

import json
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from common import bound, installed, summary, until_line, without, write_json
from rich.console import Console
from rich.table import Table

CONFIG = Path(__file__).parents[2] / "configs" / "mnist_fast.toml"
ASKED = 0.98

READ = """
import gzip, sys
from pathlib import Path
import numpy as np

def read(name):
    path = next(Path(sys.argv[1]).glob(f"{name}*"))
    data = path.read_bytes()
    data = gzip.decompress(data) if data[:2] == b"\\x1f\\x8b" else data
    return np.frombuffer(data, np.uint8, offset=16 if "images" in name else 8)

x, y = read("train-images").reshape(-1, 784), read("train-labels")
x_test, y_test = read("t10k-images").reshape(-1, 784), read("t10k-labels")
mean, deviation = x.mean(), x.std()
x, x_test = (((a - mean) / deviation).astype(np.float32) for a in (x, x_test))
print("data", flush=True)
EPOCHS, BATCH, RATE = 3, 128, 5e-3
STEPS = -(-len(x) // BATCH) * EPOCHS
"""

TORCH = """
import torch
from torch import nn
x, x_test = map(torch.from_numpy, (x, x_test))
y, y_test = (torch.from_numpy(a.copy()).long() for a in (y, y_test))
model = nn.Sequential(nn.Linear(784, 384), nn.ReLU(), nn.Linear(384, 10))
optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, fused=True)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, STEPS, pct_start=0.25)
loss = nn.CrossEntropyLoss()
for _ in range(EPOCHS):
    for rows in torch.randperm(len(x)).split(BATCH):
        optimizer.zero_grad()
        loss(model(x[rows]), y[rows]).backward()
        optimizer.step()
        schedule.step()
with torch.no_grad():
    accuracy = (model(x_test).argmax(1) == y_test).float().mean().item()
print("test accuracy", accuracy, flush=True)
"""

KERAS = """
import os
os.environ["KERAS_BACKEND"] = "jax"
import keras
model = keras.Sequential([
    keras.Input((784,)), keras.layers.Dense(384, "relu"), keras.layers.Dense(10)
])
rate = keras.optimizers.schedules.CosineDecay(
    RATE / 25, STEPS - STEPS // 4, warmup_target=RATE, warmup_steps=STEPS // 4
)
model.compile(
    keras.optimizers.AdamW(rate, weight_decay=1e-2),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"], jit_compile=True,
)
model.fit(x, y, batch_size=BATCH, epochs=EPOCHS, verbose=0)
accuracy = model.evaluate(x_test, y_test, batch_size=1000, verbose=0)[1]
print("test accuracy", accuracy, flush=True)
"""

PEERS = {"PyTorch": ("torch", TORCH), "Keras, on JAX": ("keras", KERAS)}
COLD, WARM = "handgrad, cold", "handgrad, warm"


@dataclass(frozen=True)
class Settings:
    """What to time.

    Attributes:
      folder: of the IDX files of MNIST.
      rounds: in which every program runs once.
      output: the folder for accuracy.json.
    """

    folder: Annotated[Path, tyro.conf.Positional]
    rounds: int = 5
    output: Path = Path("runs/benchmarks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Time, print, write; 1 if a program falls short of 98 %."""
    settings = tyro.cli(Settings, description=__doc__, args=arguments)
    here = [name for name, (module, _) in PEERS.items() if installed(module)]
    names = [COLD, WARM, *here]
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        one_run(WARM, settings.folder, root)  # fills its cache
        for number in range(settings.rounds):
            for name in random.Random(number).sample(names, len(names)):
                found[name].append(one_run(name, settings.folder, root))
    rows = {name: row_of(np.array(runs)) for name, runs in found.items()}
    show(rows)
    bounds = [
        bound(
            f"seconds to 98 % ({way}) over {peer}",
            rows[way]["seconds"]["median"] / rows[peer]["seconds"]["median"],
            1.0,
        )
        for way in (COLD, WARM)
        for peer in here
    ]
    modules = {name: module for name, (module, _) in PEERS.items()}
    bounds += without("seconds to 98 % over {}", modules)
    write_json(settings, "accuracy", {"rows": rows, "bounds": bounds})
    return int(min(row["accuracy"] for row in rows.values()) < ASKED)


def row_of(runs: np.ndarray) -> dict:
    """Of (data, whole, accuracy) of every run."""
    data, whole, accuracy = runs.T
    return {
        "data": float(np.median(data)),
        "seconds": summary(whole),
        "accuracy": float(accuracy.min()),
    }


def one_run(name: str, data: Path, root: Path) -> tuple[float, float, float]:
    """Seconds until the samples are there, and until the test accuracy is; and that."""
    runs = Path(tempfile.mkdtemp(dir=root))
    wanted = ("test accuracy", "By class")
    line, taken, read = until_line(name, command(name, data, root, runs), wanted)
    result = next(runs.glob("*/result.json"), None)
    if result:
        return read, taken, json.loads(result.read_text())["test_accuracy"]
    return read, taken, float(line.split()[-1])


def command(name: str, data: Path, root: Path, runs: Path) -> list[str]:
    """The process that trains."""
    if name in PEERS:
        return [sys.executable, "-c", READ + PEERS[name][1], str(data)]
    cache = root / "cache" if name == WARM else runs / "cache"
    return [
        *(sys.executable, "-m", "handgrad", "train", str(CONFIG)),
        *("--data.path", str(data), "--runs", str(runs)),
        *("--compilation-cache", str(cache)),
    ]


def show(rows: dict[str, dict]) -> None:
    """The table."""
    table = Table("to 98 %", "data s", "median s", "least s", "least accuracy")
    for name, row in rows.items():
        seconds = row["seconds"]
        numbers = (row["data"], seconds["median"], seconds["least"])
        cells = (f"{value:.2f}" for value in numbers)
        table.add_row(name, *cells, f"{row['accuracy']:.4f}")
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
