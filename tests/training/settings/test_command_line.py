"""Flags overlay the settings file, arguments of optimisers among them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from handgrad.training import TrainingError, save_settings
from handgrad.training.settings import (
    Data,
    Model,
    Optimizer,
    Schedule,
    Settings,
    Training,
)
from handgrad.training.settings.command_line import parse


@pytest.fixture
def config(tmp_path: Path) -> str:
    settings = Settings(
        name="case",
        data=Data("digits"),
        model=Model((16,)),
        optimizer=Optimizer(
            "adamw",
            1e-3,
            {"weight_decay": 0.1},
            Schedule("exponential_decay", {"decay_rate": 0.5}),
        ),
        training=Training(5, 32),
    )
    path = tmp_path / "case.toml"
    save_settings(settings, path)
    return str(path)


def test_without_flags_the_file_decides(config: str) -> None:
    command = parse([config])
    assert command.settings.optimizer.arguments == {"weight_decay": 0.1}
    assert (command.seeds, command.runs) == (1, Path("runs"))


@pytest.mark.parametrize(
    ("flags", "key", "value"),
    [
        ("--optimizer.learning-rate 3e-3", "optimizer.learning_rate", 3e-3),
        ("--optimizer.learning_rate=3e-3", "optimizer.learning_rate", 3e-3),
        ("--model.hidden 8 4", "model.hidden", (8, 4)),
        ("--model.hidden", "model.hidden", ()),
        ("--model.hidden 2 2 --model.activation relu elu", "model.hidden", (2, 2)),
        ("--model.activation tanh", "model.activation", "tanh"),
        ("--data.scaling global", "data.scaling", "global"),
        ("--training.class-weights balanced", "training.class_weights", "balanced"),
        ("--seed 7", "seed", 7),
        ("--name other", "name", "other"),
    ],
)
def test_any_value_can_be_overridden(
    config: str, flags: str, key: str, value: Any
) -> None:
    for arguments in ([config, *flags.split()], ["--seeds", "2", config]):
        came: Any = parse([*arguments, *flags.split()]).settings
        for part in key.split("."):
            came = getattr(came, part)
        assert came == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", 0.5),
        (".5", 0.5),
        ("1e-3", 1e-3),
        ("3", 3),
        ("true", True),
        ("False", False),
        ("bfloat16", "bfloat16"),
        ("[0.9, 0.99]", [0.9, 0.99]),
    ],
)
def test_a_new_argument_of_the_optimizer_is_added(
    config: str, text: str, value: Any
) -> None:
    for flags in (
        ["--optimizer.arguments.some-name", text],
        [f"--optimizer.arguments.some_name={text}"],
    ):
        arguments = parse([*flags, config]).settings.optimizer.arguments
        assert arguments == {"weight_decay": 0.1, "some_name": value}
        assert type(arguments["some_name"]) is type(value)


def test_an_argument_in_the_file_is_overridden(config: str) -> None:
    flags = ["--optimizer.schedule.arguments.decay-rate", "0.25"]
    schedule = parse([config, *flags]).settings.optimizer.schedule
    assert schedule == Schedule("exponential_decay", {"decay_rate": 0.25})


def test_another_optimizer_drops_the_arguments_of_the_file(config: str) -> None:
    flags = ["--optimizer.name", "sgd", "--optimizer.arguments.momentum", "0.9"]
    optimizer = parse([config, *flags]).settings.optimizer
    assert optimizer.arguments == {"momentum": 0.9}
    assert optimizer.schedule.arguments == {"decay_rate": 0.5}


def test_another_schedule_drops_the_arguments_of_the_file(config: str) -> None:
    flags = ["--optimizer.schedule.name", "cosine_decay_schedule"]
    optimizer = parse([config, *flags]).settings.optimizer
    assert optimizer.schedule == Schedule("cosine_decay_schedule", {})
    assert optimizer.arguments == {"weight_decay": 0.1}


def test_help_shows_the_defaults_of_the_file(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        parse([config, "--help"])
    words = " ".join(capsys.readouterr().out.split())
    assert "(default: adamw)" in words
    assert "--optimizer.arguments.NAME" in words


def test_help_without_a_file_shows_what_is_required(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="0"):
        parse(["--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "--data.source STR" in printed
    assert "(required)" in printed


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--seeds 0", "`seeds` must be 1 or more, got 0."),
        ("--training.epochs 0", "`training.epochs` must be an integer >= 1, got 0."),
        (
            "--optimizer.arguments.b1",
            "`optimizer.arguments.b1` must be followed by a value, got none.",
        ),
    ],
)
def test_values_that_cannot_work_are_refused(
    config: str, flags: str, message: str
) -> None:
    with pytest.raises(TrainingError) as refused:
        parse([config, *flags.split()])
    assert str(refused.value) == message


@pytest.mark.parametrize("argv", [[], ["--seeds", "3"]])
def test_a_settings_file_must_be_given(argv: list[str]) -> None:
    with pytest.raises(TrainingError, match="`config` must be given first"):
        parse(argv)


@pytest.mark.parametrize(
    ("given", "name", "data"),
    [
        ("digits", "digits", Data("digits")),
        ("openml:adult:2", "adult-2", Data("openml:adult:2")),
        ("my table.csv", "my-table", Data("csv", "my table.csv")),
        ("a/T.v2.CSV.GZ", "T", Data("csv", "a/T.v2.CSV.GZ")),
        ("a/.csv", "csv", Data("csv", "a/.csv")),
        ("a/-.npz", "run", Data("npz", "a/-.npz")),
        ("images", "images", Data("idx", "images")),
        ("arrays", "arrays", Data("npy", "arrays")),
        ("./iris", "iris", Data("idx", "./iris")),
    ],
)
def test_samples_alone_get_the_default_of_every_setting(
    given: str,
    name: str,
    data: Data,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("images", "arrays", "iris"):
        (tmp_path / folder).mkdir()
    (tmp_path / "arrays" / "x.npy").touch()
    assert parse([given]).settings == Settings(name, data)
    flags = ["--model.hidden", "7", "--optimizer.name", "sgd"]
    changed = parse([given, *flags]).settings
    assert (changed.model, changed.optimizer) == (Model((7,)), Optimizer("sgd"))


def test_a_file_of_another_name_is_read_if_it_comes_first(config: str) -> None:
    path = Path(config).rename(Path(config).with_suffix(".settings"))
    assert parse([str(path)]).settings.name == "case"


def test_an_unknown_flag_is_refused_with_the_nearest(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse([config, "--optimizer.learnin-rate", "1"])
    assert "--optimizer.learning-rate" in capsys.readouterr().err


def test_values_of_a_sweep_and_whole_tables_can_be_given(config: str) -> None:
    flags = ["--sweep.values.optimizer.learning-rate", "[0.1, 1]", "--sweep.seeds", "3"]
    sweep = parse([config, *flags]).settings.sweep
    assert sweep.seeds == 3
    assert sweep.values == {"optimizer.learning_rate": [0.1, 1]}
    flags = ["--optimizer.arguments", "{ b1 = 0.5 }"]
    assert parse([config, *flags]).settings.optimizer.arguments == {"b1": 0.5}


def test_values_of_a_sweep_are_numbers(config: str) -> None:
    with pytest.raises(TrainingError, match=r"`sweep.values.seed` must be a list of"):
        parse([config, "--sweep.values.seed", "many"])


def test_help_names_what_can_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        parse(["--help"])
    words = capsys.readouterr().out.replace(",", " ").split()
    assert {"gelu", "adamw", "lion", "cosine_decay_schedule"} <= set(words)


def test_what_reads_flags_is_imported_for_flags_alone(config: str) -> None:
    code = (
        "import sys; from handgrad.training.settings.command_line import parse; "
        f"parse([{config!r}]); "
        "print(*{'tyro', 'grain'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""
