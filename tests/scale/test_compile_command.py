"""The command `handgrad compile-ahead`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from load_script import load_script

from handgrad import command
from handgrad.scale import command as compile_ahead

DIGITS = str(Path(__file__).parents[2] / "configs" / "digits.toml")
MNIST = str(Path(__file__).parents[2] / "configs" / "mnist.toml")


def test_table_and_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    file = tmp_path / "ahead.json"
    arguments = [DIGITS, "--target", "cpu:2", "cpu:4", "--json", str(file)]
    assert command.main(["compile-ahead", *arguments]) == 0
    printed = capsys.readouterr().out
    assert "cpu:4: 4 x this CPU, data 4, model 1, 64 samples a step" in printed
    assert "26,122 parameters; 104,488 bytes of gradient per device." in printed
    table = "\n".join(line for line in printed.splitlines() if line[:1] in "┃│")
    for name in ("FLOPs", "bytes accessed", "peak memory", "temporaries", "ratio"):
        assert table.count(name) == 2
    two, four = json.loads(file.read_text("utf-8"))
    assert (two["target"], four["target"]) == ("cpu:2", "cpu:4")
    assert four["devices"] == {"data": 4, "model": 1}
    assert f"{four['by_hand']['flops']:,.0f}" in printed
    assert f"{four['by_autodiff']['accessed']:,.0f}" in printed
    reduced = max(four["by_hand"]["collectives"], key=lambda row: row["size"])
    assert f"all-reduce of {reduced['size']:,} bytes over 4" in printed
    assert two["by_hand"]["flops"] > four["by_hand"]["flops"]


def test_without_the_data_by_their_shape(capsys: pytest.CaptureFixture[str]) -> None:
    shape = ["--inputs", "12", "--classes", "10", "--per-device", "8", "--model", "2"]
    assert compile_ahead.main([DIGITS, *shape, "--target", "cpu:4"]) == 0
    assert "data 2, model 2, 16 samples a step" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [MNIST, "--target", "cpu:1"],
            "Without the data, give --inputs and --classes.",
        ),
        ([DIGITS, "--target", "v7:2x2"], "error: `target` must begin with a chip"),
        ([DIGITS, "--target"], "error: `target` must be given, such as v5e:2x2"),
        ([DIGITS, "--target", "cpu:1", "--inputs", "3"], "must be given together"),
        (
            [DIGITS, "--target", "cpu:1", "--per-device", "0"],
            "error: `per_device` must be 1 or more, got 0.",
        ),
        (["none.toml", "--target", "cpu:1"], "error: `config` must be a TOML file"),
    ],
)
def test_mistakes(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compile_ahead.main(arguments) == 1
    assert message in capsys.readouterr().err


def test_a_compiler_that_is_not_installed() -> None:
    """Whatever is installed here, a process that finds nothing says what to install."""
    script = (
        "import sys\n"
        "sys.modules.update(libtpu=None, jax_plugins=None)\n"
        "from handgrad.command import main\n"
        "print([main(['compile-ahead', *words]) for words in (\n"
        f"    [{DIGITS!r}, '--target', 'v5e:2x2'],\n"
        f"    [{DIGITS!r}, '--target', 'cpu:1', 'h100:1'])])"
    )
    without = {key: os.environ[key] for key in os.environ if key != "TPU_LIBRARY_PATH"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=without,
    )
    assert done.stdout == "[1, 1]\n"
    lines = done.stderr.splitlines()  # XLA may say more, of drivers that are not here
    tpu, gpu = (line for line in lines if line.startswith("error: "))
    assert tpu == (
        "error: `target` v5e:2x2 must have its compiler, which is not installed: "
        "libtpu: pip install 'handgrad[ahead]'"
    )
    assert gpu == (
        "error: `target` h100:1 must have its compiler, which is not installed: "
        "jax-cuda12-plugin: pip install 'handgrad[ahead-gpu]'"
    )


def test_the_script_is_the_command() -> None:
    assert load_script("compile_ahead").main is compile_ahead.main
