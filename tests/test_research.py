"""Every research script runs on the digits from its settings, and leaves its files."""

import json
import sys
from pathlib import Path

import pytest
from load_script import SCRIPTS, load_script

pytestmark = pytest.mark.usefixtures("compiled_quickly")

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
    scripts = {path.stem for path in (SCRIPTS / "research").glob("*.py")} - {"common"}
    assert scripts == SMALL.keys()


@pytest.mark.parametrize("name", SMALL)
def test_script_leaves_its_json_and_its_figure(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load_script(f"research/{name}")
    monkeypatch.setattr(sys, "argv", [name, "--out", str(tmp_path), *SMALL[name]])
    module.main()
    assert (tmp_path / f"{name}.png").stat().st_size > 0
    report = json.loads((tmp_path / f"{name}.json").read_text())
    assert report["results"]
    assert report["settings"]["seed"] == 0
