"""A table of numbers and words, from the file to a prediction by another command."""

import json
from pathlib import Path

import numpy as np
import pytest

from handgrad.training.commands.evaluate import main as evaluate
from handgrad.training.commands.predict import main as predict
from handgrad.training.commands.train import main as train

CONFIG = """
name = "flowers"
[data]
source = "csv"
label = "kind"
categorical = ["colour"]
missing = "median"
test = 0.3
[model]
hidden = [8]
[optimizer]
name = "adam"
learning_rate = 0.05
[training]
epochs = 30
batch_size = 16
check = "off"
"""


def write_table(path: Path) -> None:
    """Red flowers are roses; blue ones are irises where they are long."""
    random = np.random.default_rng(0)
    rows = ["length,colour,kind"]
    for _ in range(90):
        colour, length = random.choice(["red", "blue"]), random.normal()
        kind = "rose" if colour == "red" else "iris" if length > 0 else "violet"
        rows.append(f"{length:.3f},{colour},{kind}")
    rows.append(",red,rose")
    path.write_text("\n".join(rows), "utf-8")


def test_words_and_gaps_are_predicted_as_they_were_learnt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "flowers.csv"
    write_table(table)
    config = tmp_path / "flowers.toml"
    config.write_text(CONFIG, "utf-8")
    runs = ["--runs", str(tmp_path / "runs")]
    assert train([str(config), "--data.path", str(table), *runs]) == 0
    run = tmp_path / "runs" / "flowers"
    new = tmp_path / "new.csv"
    new.write_text("colour,length\nred,-1\nblue,2\nblue,-2\nred,\n", "utf-8")
    capsys.readouterr()
    assert predict([str(run), str(new)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[1] for line in lines[1:]] == [
        *("rose", "iris", "violet", "rose")
    ]
    figures = tmp_path / "figures.json"
    assert evaluate([str(run), str(table), "--out", str(figures)]) == 0
    assert json.loads(figures.read_text())["accuracy"] > 0.9
