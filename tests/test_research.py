"""Every research script runs on the digits from its settings, and leaves its files."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "scripts" / "research"
SMALL: dict[str, list[str]] = {
    "feedback_alignment": ["--epochs", "1", "--hidden", "8", "8", "--seeds", "1"],
    "hard_samples": ["--epochs", "1", "--hidden", "8"],
    "natural_gradient": [
        *("--epochs", "1", "--hidden", "8", "--momenta", "0.9", "--dampings", "0.1"),
        *("--sgd-rates", "0.1", "--adam-rates", "0.01", "--kfac-rates", "0.5"),
    ],
    "noise_scale": [
        *("--epochs", "1", "--hidden", "8", "--batch-sizes", "64", "128"),
        *("--learning-rates", "0.1", "--most-steps", "20", "--target", "3"),
    ],
    "private_training": [
        *("--hidden", "8", "--epsilons", "2", "--epochs", "1"),
        *("--learning-rates", "1", "--features", "20", "--held-out", "100"),
    ],
    "published_runs": ["--epochs", "1", "--hidden", "8"],
}


def test_every_script_is_here() -> None:
    scripts = {path.stem for path in FOLDER.glob("*.py")} - {"common"}
    assert scripts == SMALL.keys()


@pytest.mark.parametrize("name", SMALL)
def test_script_leaves_its_json_and_its_figure(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    path = FOLDER / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"research_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", [str(path), "--out", str(tmp_path), *SMALL[name]])
    module.main()
    assert (tmp_path / f"{name}.png").stat().st_size > 0
    report = json.loads((tmp_path / f"{name}.json").read_text())
    assert report["results"]
    assert report["settings"]["seed"] == 0
