"""predict, evaluate, report and export as a user calls them."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import onnxruntime
import pytest
from run_folders import (
    classifier,
    right_predictions,
    samples,
    with_closed_output,
    write_run,
)

from handgrad import command
from handgrad.training.records.model import load_model

CLASSES = ["red", "[b]", 'a "b", c', "3"]
FEATURES = ["x 0", "x,1", "x2", "x3", "x4", "x5"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of named features and classes."""
    saved = classifier(classes=CLASSES, features=FEATURES, image_shape=None)
    tested = right_predictions(CLASSES, 6, wrong=15)
    return write_run(tmp_path / "run", saved=saved, tested=tested)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Samples as CSV: columns in another order, with labels and one more."""
    given = samples(6, 4, 40)
    path = tmp_path / "samples.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *FEATURES[::-1], "colour"])
        for number, (x, y) in enumerate(zip(given.x, given.y, strict=True)):
            writer.writerow([f"n{number}", *map(float, x[::-1]), CLASSES[y]])
    return path


def test_predictions_as_csv(
    run: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["predict", str(run), str(table)]) == 0
    printed = capsys.readouterr().out
    rows = list(csv.DictReader(printed.splitlines()))
    expected = load_model(run / "model.safetensors").predict_proba(samples(6, 4, 40).x)
    found = [[float(row[f"p_{name}"]) for name in CLASSES] for row in rows]
    np.testing.assert_array_equal(np.array(found, np.float32), expected)
    assert [row["row"] for row in rows] == list(map(str, range(40)))
    names = [CLASSES[k] for k in expected.argmax(axis=1)]
    assert [row["predicted"] for row in rows] == names
    out = tmp_path / "out.csv"
    assert command.main(["predict", str(run), str(table), "--out", str(out)]) == 0
    assert out.read_text("utf-8") == printed


def test_predictions_as_npz(run: Path, tmp_path: Path) -> None:
    given = samples(6, 4, 40)
    np.savez(tmp_path / "in.npz", x=given.x)
    out = tmp_path / "out.npz"
    arguments = [str(run), str(tmp_path / "in.npz"), "--out", str(out)]
    assert command.main(["predict", *arguments]) == 0
    expected = load_model(run / "model.safetensors").predict_proba(given.x)
    with np.load(out) as found:
        np.testing.assert_array_equal(found["probabilities"], expected)
        assert found["classes"].tolist() == CLASSES
        names = [CLASSES[k] for k in expected.argmax(axis=1)]
        assert found["predicted"].tolist() == names


def test_evaluation_of_a_file(
    run: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = samples(6, 4, 40)
    expected = load_model(run / "model.safetensors").predict_proba(given.x)
    accuracy = np.mean(expected.argmax(axis=1) == given.y)
    out = tmp_path / "figures.json"
    arguments = [str(run), str(table), "--label", "colour", "--out", str(out)]
    assert command.main(["evaluate", *arguments]) == 0
    assert f"accuracy {accuracy:.4f}" in capsys.readouterr().out
    figures = json.loads(out.read_text())
    assert figures["accuracy"] == accuracy
    assert [row["name"] for row in figures["classes"]] == CLASSES
    np.savez(tmp_path / "in.npz", x=given.x, y=given.y + 4 * (given.y == 3))
    assert command.main(["evaluate", str(run), str(tmp_path / "in.npz")]) == 1
    assert "must be labels in 0 ... 3, got 7" in capsys.readouterr().err
    np.savez(tmp_path / "in.npz", x=given.x, y=np.array(CLASSES)[given.y])
    assert command.main(["evaluate", str(run), str(tmp_path / "in.npz")]) == 0
    assert f"accuracy {accuracy:.4f}" in capsys.readouterr().out


def test_evaluation_of_the_test_part(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["evaluate", str(run)]) == 0
    printed = capsys.readouterr().out
    assert "accuracy 0.7500" in printed
    assert "[b]" in printed


def test_report(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["report", str(run)]) == 0
    page = run / "report.html"
    assert capsys.readouterr().out == f"{page}\n"
    assert "<title>run ·" in page.read_text("utf-8")
    other = write_run(tmp_path / "other", losses=())
    out = tmp_path / "both.html"
    assert command.main(["report", str(run), str(other), "--out", str(out)]) == 0
    assert "<title>2 runs ·" in out.read_text("utf-8")
    page.unlink()
    assert command.main(["report", str(run)]) == 0  # the same page again
    alone = page.read_text("utf-8")
    assert command.main(["report", str(run)]) == 0
    assert page.read_text("utf-8") == alone


@pytest.mark.parametrize("format", ["onnx", "jax"])
def test_export(run: Path, format: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["export", str(run), "--format", format]) == 0
    out = run / f"model.{format}"
    assert capsys.readouterr().out == f"{out}\n"
    x = samples(6, 4, 5).x
    if format == "onnx":
        session = onnxruntime.InferenceSession(
            out.read_bytes(), providers=["CPUExecutionProvider"]
        )
        found = session.run(None, {"x": x})[0]
    else:
        found = jax.export.deserialize(bytearray(out.read_bytes())).call(x)
    expected = load_model(run / "model.safetensors").predict_proba(x)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "RUN", "missing.csv"], "`file` must be one that can be read"),
        (["predict", "missing", "FILE"], "`model` must be a file that can be read"),
        (["predict", "RUN", "FILE", "--out", "a.txt"], "`out` must be a .csv or"),
        (["predict", "RUN", "FILE", "--out", "no/a.csv"], "No such file or directory"),
        (["predict", "RUN", "FILE", "--out", "."], "`out` must be a .csv or .npz"),
        (["evaluate", "missing"], "`predictions` must be a file that can be read"),
        (["evaluate", "RUN", "FILE"], "--label"),
        (["evaluate", "RUN", "FILE", "--label", "coluor"], "Did you mean 'colour'?"),
        (
            ["evaluate", "RUN", "FILE", "--label", "id"],
            "got 'n0' in row 0",
        ),
        (["report"], "`runs` must name the folder of a run"),
        (["report", "missing"], "`run` must be the folder of a run"),
        (["report", "RUN", "--out", "RUN"], "Is a directory"),
        (["export", "RUN", "--out", "no/m.onnx"], "No such file or directory: no/m"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str],
    message: str,
    run: Path,
    table: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(run.parent)
    paths = {"RUN": str(run), "FILE": str(table)}
    assert command.main([paths.get(word, word) for word in arguments]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err


@pytest.mark.parametrize(
    "arguments", [["predict", "RUN", "FILE"], ["report", "--help"]]
)
def test_a_closed_pipe_is_one_line(
    arguments: list[str], run: Path, tmp_path: Path
) -> None:
    many = tmp_path / "many.npy"
    np.save(many, np.zeros((20_000, 6), np.float32))
    paths = {"RUN": str(run), "FILE": str(many)}
    words = [paths.get(word, word) for word in arguments]
    code, error = with_closed_output(["-m", "handgrad", *words])
    assert code == 1
    assert error == "error: standard output was closed before all was written.\n"


def test_another_process_predicts_the_same_bits(run: Path, table: Path) -> None:
    """And without what only reports and exports need."""
    script = (
        "import sys\n"
        "from handgrad.command import main\n"
        f"assert main(['predict', {str(run)!r}, {str(table)!r}]) == 0\n"
        "print({'jinja2', 'onnx', 'tensorboardX'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    *lines, imported = done.stdout.splitlines()
    assert imported == "set()"
    expected = load_model(run / "model.safetensors").predict_proba(samples(6, 4, 40).x)
    found = [list(map(float, row[2:])) for row in list(csv.reader(lines))[1:]]
    np.testing.assert_array_equal(np.array(found, np.float32), expected)
