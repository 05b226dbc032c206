"""The commands of the check: tables, pictures, JSON files, and exit statuses."""

import json
from pathlib import Path
from types import ModuleType

import jax
import pytest
from load_script import load_script

import handgrad

SMALL = ["--activations", "tanh", "--depths", "0", "--targets", "labels"]


@pytest.fixture
def command() -> ModuleType:
    return load_script("check_gradients")


def test_right_network_exits_with_0_and_leaves_its_files(
    command: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*SMALL, "--dtypes", "float32", "--weights", "none", "real"]
    assert command.main([*arguments, "--output", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "check_gradients.json").read_text())
    assert (found["cases"], found["wrong"]) == (2, 0)
    assert {row["dtype"] for row in found["rows"]} == {"float32"}
    assert all(0 < row["excess"] < 1 for row in found["rows"])
    assert (tmp_path / "check_gradients.png").stat().st_size > 1000
    printed = capsys.readouterr().out
    assert "tanh" in printed
    assert "cases: 2, wrong: 0" in printed
    assert max(map(len, printed.splitlines())) <= 100


def test_wrong_network_exits_with_1_and_says_why(
    command: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = handgrad.value_and_grad

    def wrong(*args, **options):
        value, found = right(*args, **options)
        return value, jax.tree.map(lambda g: -g, found)

    monkeypatch.setattr(handgrad, "value_and_grad", wrong)
    arguments = [*SMALL, "--dtypes", "float32", "--weights", "none", "--jit"]
    assert command.main([*arguments, "--output", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "1 WRONG" in printed
    assert "opposite sign" in printed
    found = json.loads((tmp_path / "check_gradients.json").read_text())
    assert found["rows"][0]["leaves"][0]["cause"] == "sign"


def test_device_and_precision_reach_jax(command: ModuleType) -> None:
    with command.surroundings(command.Settings(device="cpu:0", precision="highest")):
        assert jax.config.values["jax_default_device"] == jax.devices("cpu")[0]
        assert jax.config.values["jax_default_matmul_precision"] == "highest"


def test_without_hidden_layers_one_activation_stands_for_all(
    command: ModuleType,
) -> None:
    settings = command.Settings(activations=("relu", "tanh"), depths=(0, 1))
    found = [(case.activation, case.depth) for case in command.chosen(settings)]
    assert set(found) == {("relu", 0), ("relu", 1), ("tanh", 1)}
    assert len(set(command.chosen(settings))) == len(found) == 3 * 12


def test_activation_that_does_not_exist(command: ModuleType) -> None:
    with pytest.raises(SystemExit, match="`--activations` must be among"):
        list(command.chosen(command.Settings(activations=("rely",))))


def test_benchmark_times_a_right_and_two_wrong_gradients(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = load_script("benchmarks/gradcheck")
    arguments = ["--widths", "3", "--dtypes", "float64", "--output", str(tmp_path)]
    assert benchmark.main(arguments) == 0
    (row,) = json.loads((tmp_path / "gradcheck.json").read_text())["rows"]
    assert row["parameters"] == 784 * 3 + 3 + 3 * 3 + 3 + 3 * 10 + 10
    assert all(row[name] > 0 for name in ("grad", "right", "scale", "unknown"))
    assert "2,407" in capsys.readouterr().out
