"""The gradient check is remembered for what it checked, and for nothing else."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import pytest

from handgrad.training import Dataset, Settings, prepare, start
from handgrad.training.cache import cache_folder, default_folder, use_compilation_cache
from handgrad.training.checked import check_gradient, remember, report_of


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Iterator[Path]:
    """A compilation cache of the test's own."""
    before = cache_folder()
    use_compilation_cache(str(tmp_path / "cache"))
    yield tmp_path / "cache"
    jax.config.update("jax_compilation_cache_dir", before and str(before))


def changed(settings: Settings, **model: Any) -> Settings:
    return replace(settings, model=replace(settings.model, **model))


def test_a_report_is_of_its_network(settings: Settings, data: Dataset) -> None:
    run = prepare(settings, data)
    assert report_of(run) is None
    remember(run, "right")
    assert report_of(prepare(settings, data)) == "right"
    assert report_of(prepare(replace(settings, seed=1), data)) == "right"
    for other in (
        changed(settings, hidden=(8, 6)),
        changed(settings, activation="tanh"),
        changed(settings, hidden_dropout=0.1),
        changed(settings, dtype="bfloat16"),
        replace(settings, training=replace(settings.training, label_smoothing=0.1)),
    ):
        assert report_of(prepare(other, data)) is None


def test_a_cache_that_refuses_is_a_warning(
    settings: Settings, data: Dataset, folder: Path
) -> None:
    folder.mkdir()
    (folder / "checked").write_text("no folder")
    with pytest.warns(UserWarning, match="The check is not remembered: "):
        remember(prepare(settings, data), "right")


@pytest.mark.parametrize("how", ["off", "once", "always"])
def test_the_check_is_made_when_it_is_wanted(
    settings: Settings, data: Dataset, tmp_path: Path, how: Any
) -> None:
    """In a new folder, in the same again, and in a new one of the same network."""
    run, asked = prepare(settings, data), []

    def state() -> Any:
        asked.append(how)
        return start(run)

    shown = []
    for name in ("a", "a", "b"):
        (tmp_path / name).mkdir(exist_ok=True)
        report = check_gradient(how, tmp_path / name, run, state, data.train)
        shown.append(report is not None)
    expected = {
        "off": (0, [False] * 3),
        "once": (1, [True, False, True]),
        "always": (3, [True] * 3),
    }
    assert (len(asked), shown) == expected[how]
    assert (tmp_path / "b" / "check.txt").exists() == (how != "off")


def test_without_a_cache_nothing_is_remembered(
    settings: Settings, data: Dataset
) -> None:
    use_compilation_cache("off")
    run = prepare(settings, data)
    remember(run, "right")
    assert report_of(run) is None
    assert cache_folder() is None


def test_the_user_s_cache_is_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "handgrad"
    use_compilation_cache("off")
    use_compilation_cache(None)
    assert cache_folder() == tmp_path / "handgrad"
    use_compilation_cache(str(tmp_path / "own"))
    use_compilation_cache(None)
    assert cache_folder() == tmp_path / "own", "what JAX has been told is kept"
