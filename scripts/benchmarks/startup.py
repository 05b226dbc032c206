"""Seconds from the start of a process to the end of its first epoch on digits.

python scripts/benchmarks/startup.py                    # three minutes on 2 quiet cores
python scripts/benchmarks/startup.py --rounds 3

`handgrad train` with nothing compiled before (cold), and with its compilation cache
(warm), beside PyTorch, where installed, and scikit-learn as users write it: the same
network, batches and optimiser. Processes take turns, in a new random order every round.
Prints a table, and writes startup.json to --output.
"""

import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from common import bound, installed, summary, until_line, without, write_json
from rich.console import Console
from rich.table import Table

CONFIG = Path(__file__).parents[2] / "configs" / "digits.toml"

TORCH = """
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
x, y = load_digits(return_X_y=True)
x, _, y, _ = train_test_split(x, y, test_size=0.28, stratify=y, random_state=0)
x = torch.tensor((x - x.mean(0)) / (x.std(0) + 1e-8), dtype=torch.float32)
data = torch.utils.data.TensorDataset(x, torch.tensor(y))
loader = torch.utils.data.DataLoader(data, batch_size=64, shuffle=True)
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(),
                      nn.Linear(128, 10))
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
loss = nn.CrossEntropyLoss()
for x, y in loader:
    optimizer.zero_grad()
    loss(model(x), y).backward()
    optimizer.step()
print("epoch 1/1  loss")
"""

SKLEARN = """
import warnings
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
x, y = load_digits(return_X_y=True)
x, _, y, _ = train_test_split(x, y, test_size=0.28, stratify=y, random_state=0)
x = StandardScaler().fit_transform(x)
warnings.simplefilter("ignore")
MLPClassifier((128, 128), batch_size=64, learning_rate_init=2e-3, max_iter=1).fit(x, y)
print("epoch 1/1  loss")
"""


@dataclass(frozen=True)
class Settings:
    """What to time.

    Attributes:
      rounds: in which every program runs once.
      output: the folder for startup.json.
    """

    rounds: int = 9
    output: Path = Path("runs/benchmarks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Time, print, write."""
    settings = tyro.cli(Settings, description=__doc__, args=arguments)
    peers = ["PyTorch", "scikit-learn"] if installed("torch") else ["scikit-learn"]
    names = ["handgrad, cold", "handgrad, warm", *peers]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        first_epoch("handgrad, warm", Path(folder))  # fills its cache
        for number in range(settings.rounds):
            for name in random.Random(number).sample(names, len(names)):
                seconds[name].append(first_epoch(name, Path(folder)))
    rows = {name: summary(np.array(seconds[name])) for name in names}
    show(rows)
    medians = {name: row["median"] for name, row in rows.items()}
    what = "start to first epoch, {}, over {}"
    bounds = [
        bound(what.format(way, peer), medians[f"handgrad, {way}"] / medians[peer], most)
        for way, peer, most in (("cold", "PyTorch", 1.0), ("warm", "scikit-learn", 2.5))
        if peer in medians
    ]
    bounds += without(what.format("cold", "{}"), {"PyTorch": "torch"})
    write_json(settings, "startup", {"rows": rows, "bounds": bounds})
    return 0


def first_epoch(name: str, folder: Path) -> float:
    """Seconds until the process says that its first epoch has ended."""
    return until_line(name, command(name, folder), "epoch 1/1  loss")[1]


def command(name: str, folder: Path) -> list[str]:
    """The process that trains."""
    if name in ("PyTorch", "scikit-learn"):
        return [sys.executable, "-c", TORCH if name == "PyTorch" else SKLEARN]
    cache = folder / "cache"
    if name == "handgrad, cold":
        cache = Path(tempfile.mkdtemp(dir=folder))
    return [
        *(sys.executable, "-m", "handgrad", "train", str(CONFIG)),
        *("--training.epochs", "1", "--runs", str(folder / "runs"), "--fresh"),
        *("--compilation-cache", str(cache)),
    ]


def show(rows: dict[str, dict[str, float]]) -> None:
    """Medians and least times, and both over those of the peers."""
    peers = [name for name in rows if not name.startswith("handgrad")]
    table = Table(
        "to the first epoch", "median s", "least s", *(f"over {peer}" for peer in peers)
    )
    for name, row in rows.items():
        over = (row["median"] / rows[peer]["median"] for peer in peers)
        cells = (f"{value:.2f}" for value in (row["median"], row["least"], *over))
        table.add_row(name, *cells)
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
