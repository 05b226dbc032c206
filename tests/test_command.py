"""The command `handgrad`: its version, its help, and training as scripts/train.py."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from load_script import load_script

from handgrad import command
from handgrad.training.commands import train

ROOT = Path(__file__).parents[1]
DIGITS = str(ROOT / "configs" / "digits.toml")
HEAVY = "{'handgrad.training', 'tyro', 'rich', 'matplotlib', 'sklearn', 'joblib'}"


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"handgrad {version('handgrad')}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_the_subcommands(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main(arguments)
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith("usage: handgrad [-h] [--version] COMMAND ...")
    for name, (_, _, summary) in command.SUBCOMMANDS.items():
        assert name in printed
        assert summary in printed


@pytest.mark.parametrize("words", ["trian", "--trian", "a.toml train", "-- train"])
def test_what_is_not_a_command(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main(words.split())
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert "handgrad: error: " in error
    assert words.split()[0] in error


def test_module_runs_and_the_version_needs_no_extra() -> None:
    script = (
        "import runpy, sys; sys.argv = ['handgrad', '--version']\n"
        "try: runpy.run_module('handgrad', run_name='__main__')\n"
        f"finally: print(sorted({HEAVY} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"handgrad {version('handgrad')}\n[]\n"


def test_without_the_extra_one_line_says_which() -> None:
    script = (
        "import sys; sys.modules['tyro'] = None\n"
        "from handgrad.command import main\n"
        f"sys.exit(main(['train', {DIGITS!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: `handgrad train` needs the package tyro, which is not installed: "
        "pip install 'handgrad[train]'\n"
    )


def test_a_mistake_of_our_own_is_not_a_missing_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(arguments: object) -> int:
        raise ModuleNotFoundError("no such module", name="handgrad.nowhere")

    monkeypatch.setitem(command.SUBCOMMANDS, "train", (broken, "train", ""))
    monkeypatch.setattr(sys, "argv", ["handgrad"])
    with pytest.raises(ModuleNotFoundError, match="no such module"):
        command.main(["train"])


def test_help_of_train_says_how_it_was_called(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["handgrad"])
    with pytest.raises(SystemExit) as stopped:
        command.main(["train", DIGITS, "--help"])
    assert stopped.value.code in (None, 0)
    printed = capsys.readouterr().out
    assert "usage: handgrad train " in printed
    assert "--optimizer.learning-rate" in printed


def test_train_is_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same function sees the same arguments: it refuses the same setting alike."""
    arguments = [DIGITS, "--optimizer.name", "adamm", "--runs", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["handgrad"])
    by_command = command.main(["train", *arguments]), capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["train", *arguments])
    script = load_script("train").main
    assert script is train.main
    assert (script(), capsys.readouterr()) == by_command
    assert by_command[0] == 1
    assert "adamm" in "".join(by_command[1])
