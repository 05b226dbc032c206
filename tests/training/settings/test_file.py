"""TOML is read strictly, and what is written reads back equal."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handgrad.training import (
    Settings,
    TrainingError,
    check_settings,
    load_settings,
    save_settings,
)
from handgrad.training.settings import (
    Data,
    Model,
    Optimizer,
    Schedule,
    Sweep,
    Training,
)

CONFIGS = sorted((Path(__file__).parents[3] / "configs").glob("*.toml"))
MINIMAL = """
name = "minimal"
[data]
source = "digits"
[model]
hidden = [8, 4]
[optimizer]
name = "adam"
learning_rate = 1
[training]
epochs = 1
batch_size = 16
"""

numbers = st.floats(allow_nan=False, allow_infinity=False)
shares = st.floats(0, 0.99)
words = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)
arguments = st.dictionaries(
    words, numbers | st.booleans() | words | st.integers(-9, 9), max_size=3
)
all_settings = st.builds(
    Settings,
    name=words,
    data=st.builds(Data, source=st.sampled_from(["digits", "idx"]), path=words),
    model=st.builds(
        Model,
        hidden=st.lists(st.integers(1, 9), max_size=3).map(tuple),
        activation=words | st.lists(words, max_size=3).map(tuple),
        input_dropout=shares,
    ),
    optimizer=st.builds(
        Optimizer,
        name=words,
        learning_rate=st.floats(1e-6, 1e6),
        arguments=arguments,
        schedule=st.builds(Schedule, name=words, arguments=arguments),
    ),
    training=st.builds(Training, epochs=st.integers(1, 9), batch_size=st.just(1)),
)


def test_a_run_without_a_name_gets_that_of_its_file(tmp_path: Path) -> None:
    path = write(tmp_path, '[data]\nsource = "iris"')
    assert load_settings(path) == Settings("case", Data("iris"))


def write(folder: Path, text: str) -> Path:
    path = folder / "case.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_loads(path: Path) -> None:
    settings = load_settings(path)
    source = settings.data.source
    if source == "idx":  # its folder comes with --data.path
        settings = replace(settings, data=replace(settings.data, path="given later"))
    check_settings(settings)
    assert settings.name == path.stem


def test_what_is_not_given_has_its_default(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, MINIMAL))
    assert settings == Settings(
        "minimal",
        Data("digits"),
        Model((8, 4)),
        Optimizer("adam", 1.0),
        Training(1, 16),
    )
    assert isinstance(settings.optimizer.learning_rate, float)


@given(settings=all_settings)
def test_what_is_written_reads_back_equal(
    tmp_path_factory: pytest.TempPathFactory, settings: Settings
) -> None:
    path = tmp_path_factory.mktemp("settings") / "settings.toml"
    save_settings(settings, path)
    assert load_settings(path) == settings


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "batch_size",
            "batchsize",
            "`training.batchsize` in {path} is not a setting. "
            "The nearest valid key is `training.batch_size`.",
        ),
        (
            "rate = 1",
            "rate = 1\nlr = 1",
            "`optimizer.lr` in {path} is not a setting. The nearest valid key is "
            "`optimizer.learning_rate`. Optax's own arguments belong in "
            "[optimizer.arguments].",
        ),
        ("[model]", "[modle]", "`modle` in {path} is not a setting. The nearest valid"),
        (
            'source = "digits"',
            "",
            "`data.source` is missing in {path}: add a string.",
        ),
        ("[training]", "", "`optimizer.epochs` in {path} is not a setting."),
        (
            '[data]\nsource = "digits"',
            "",
            "`data` is missing in {path}: add a table.",
        ),
        (
            "epochs = 1",
            "epochs = 1.5",
            "`training.epochs` in {path} must be an integer, got 1.5.",
        ),
        ("epochs = 1", "epochs = true", "must be an integer, got True."),
        ("rate = 1", "rate = '1'", "must be a number, got '1'."),
        ("rate = 1", "rate = false", "must be a number, got False."),
        ("[8, 4]", "8", "`model.hidden` in {path} must be a list, got 8."),
        (
            "[8, 4]",
            "[8, 'x']",
            "`model.hidden[1]` in {path} must be an integer, got 'x'.",
        ),
        (
            "[8, 4]",
            "[8]\nactivation = [1]",
            "`model.activation[0]` in {path} must be a string, got 1.",
        ),
        (
            '"digits"',
            '"digits"\nscaling = "feature"',
            "must be 'standard' or 'global' or 'minmax' or 'robust' or 'constant' or "
            "'none', got 'feature'.",
        ),
        ('name = "adam"', "name = 3", "`optimizer.name` in {path} must be a string"),
        ('"minimal"', '"minimal"\nseed = "0"', "`seed` in {path} must be an integer"),
        ("[data]", "data = 3\n[d]", "is not a setting. The nearest valid key"),
        ("rate = 1", "rate = 1\nschedule = 3", "must be a table, got 3."),
        ("rate = 1", "rate = 1\narguments = 3", "must be a table, got 3."),
        ("rate = 1", "rate = ", "`config` {path} must be TOML: "),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in MINIMAL
    path = write(tmp_path, MINIMAL.replace(old, new))
    with pytest.raises(TrainingError) as refused:
        load_settings(path)
    assert message.format(path=path) in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"got .*none.toml: No such file"):
        load_settings(tmp_path / "none.toml")


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "case.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(TrainingError, match=r"`config` .* must be TOML"):
        load_settings(path)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeff" + MINIMAL)
    assert load_settings(path).name == "minimal"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rate = 1", f"rate = {'9' * 400}", "must be a number, got 99999"),
        ("rate = 1", f"rate = {'9' * 5000}", "must be TOML: Exceeds the limit"),
        (
            "epochs = 1",
            f"epochs = {'9' * 400}",
            "must be an integer <= 2147483647, got",
        ),
        (
            "epochs = 1",
            f"epochs = 0x{'f' * 9000}",
            "got an integer of thousands of dig",
        ),
        ("[8, 4]", "[" * 5000, "`config` {path} nests too deeply to be read."),
        ("[8, 4]", "[" * 5000 + "]" * 5000, "nests too deeply to be read."),
        ('"minimal"', '"a\x00b"', "`config` {path} must be TOML: "),
    ],
)
def test_what_no_reader_expects_is_refused(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = write(tmp_path, MINIMAL.replace(old, new))
    with pytest.raises(TrainingError) as refused:
        load_settings(path)
    assert message.format(path=path) in str(refused.value)
    assert len(str(refused.value)) < 400


def test_sweeps_and_what_is_not_given_are_written(
    tmp_path: Path, settings: Settings
) -> None:
    sweep = Sweep(2, {"optimizer.learning_rate": [0.1, 1.0]})
    settings = replace(settings, sweep=sweep, data=Data("csv", "x", test=0.5, label=-1))
    path = tmp_path / "settings.toml"
    save_settings(settings, path)
    assert load_settings(path) == settings
