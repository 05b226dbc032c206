"""Two processes of four devices each, on this machine: they train, one is killed, and
others go on from what they left."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from meshes import with_cpus

from handgrad.scale.processes import HEARTBEAT
from handgrad.training.commands.train import main
from handgrad.training.records.metrics import read_records

ROOT = Path(__file__).parents[2]
PATIENCE = 300
"""Seconds until a test is given up, on a machine with much else to do."""

EPOCHS = 10
"""Enough that a signal comes on the way."""
SETTINGS = """\
name = "blobs"

[data]
source = "npy"
path = "{path}"
validation = 0.2
stream = "{stream}"

[model]
hidden = [8, 8]
hidden_dropout = 0.2

[optimizer]
name = "adamw"
learning_rate = 0.01

[training]
epochs = {epochs}
batch_size = 16
check = "off"
chunk_steps = 2
"""


def write_data(folder: Path) -> Path:
    """80 samples of 3 classes: 51 to train on, the last batch of an epoch holds 3."""
    random = np.random.default_rng(0)
    y = np.arange(80, dtype=np.int32) % 3
    x = random.normal(size=(80, 6)) + random.normal(size=(3, 6))[y]
    (folder / "data").mkdir()
    np.save(folder / "data" / "x.npy", x.astype(np.float32))
    np.save(folder / "data" / "y.npy", y)
    return folder


def write_settings(folder: Path, stream: str = "off", epochs: int = EPOCHS) -> str:
    path = folder / f"{stream}-{epochs}.toml"
    data = folder / "data"
    path.write_text(SETTINGS.format(path=data, stream=stream, epochs=epochs))
    return str(path)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


Launcher = Callable[[int, int], tuple[list[str], dict[str, str]]]
"""(port, index) -> the flags and the environment of a process."""


def by_hand(port: int, index: int) -> tuple[list[str], dict[str, str]]:
    flags = f"--coordinator 127.0.0.1:{port} --processes 2 --index {index}"
    return flags.split(), {}


def by_slurm(port: int, index: int) -> tuple[list[str], dict[str, str]]:
    """As srun leaves it."""
    numbers = {"JOB_ID": 7, "NTASKS": 2, "PROCID": index, "LOCALID": index}
    found = {f"SLURM_{name}": str(number) for name, number in numbers.items()}
    found |= {"SLURM_STEP_NODELIST": "127.0.0.1", "JAX_COORDINATOR_PORT": str(port)}
    return ["--distributed"], found


def by_mpirun(port: int, index: int) -> tuple[list[str], dict[str, str]]:
    """As mpirun of Open MPI 4 leaves it."""
    names = {"SIZE": 2, "RANK": index, "LOCAL_RANK": index}
    found = {f"OMPI_COMM_WORLD_{name}": str(number) for name, number in names.items()}
    uri = {"OMPI_MCA_orte_hnp_uri": "4096.0;tcp://127.0.0.1:9"}
    return ["--distributed"], found | uri | {"JAX_COORDINATOR_PORT": str(port)}


@contextmanager
def two(
    arguments: list[str], launcher: Launcher = by_hand
) -> Iterator[list[subprocess.Popen[str]]]:
    """The two processes of a command; what is left of them at the end is killed."""
    port = free_port()
    command = [sys.executable, "-m", "handgrad", "train", *arguments]
    with ExitStack() as stack:
        started = []
        for index in range(2):
            flags, environment = launcher(port, index)
            process = subprocess.Popen(
                [*command, *flags],
                env=with_cpus(4) | environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            started.append(stack.enter_context(process))
            stack.callback(process.kill)
        yield started


def curve(folder: Path) -> np.ndarray:
    """All that metrics.jsonl holds."""
    return np.array([list(vars(record).values()) for record in read_records(folder)])


def status(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "status.json").read_text())


def checkpoints(folder: Path) -> set[str]:
    """Which kinds there are."""
    found = {path.suffix for path in (folder / "checkpoints").glob("step-*")}
    return found - {".orbax-checkpoint-tmp"}  # which was not whole yet


def wait_for_epochs(
    folder: Path, processes: list[subprocess.Popen[str]], count: int
) -> None:
    """Until so many are recorded."""
    until = time.monotonic() + PATIENCE
    lines = folder / "metrics.jsonl"
    while not lines.exists() or lines.read_text().count("\n") < count:
        assert time.monotonic() < until
        assert [process.poll() for process in processes] == [None, None]
        time.sleep(0.1)


@pytest.fixture(scope="module", params=["off", "on"])
def stream(request: pytest.FixtureRequest) -> str:
    """Whether the training part is read from the disk in every epoch."""
    return request.param


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("processes"))


@pytest.fixture(scope="module")
def one(data: Path, stream: str) -> Path:
    """A run on one device that nothing disturbs."""
    runs = data / f"one-{stream}"
    assert main([write_settings(data, stream), "--runs", str(runs)]) == 0
    return runs / "blobs"


def test_one_is_killed_and_another_mesh_goes_on(
    tmp_path: Path, data: Path, one: Path, stream: str
) -> None:
    folder, victim = tmp_path / "blobs", 1 if stream == "off" else 0
    arguments = [write_settings(data, stream), "--runs", str(tmp_path)]
    spread = ["--scale.data", "4", "--scale.model", "2", "--scale.zero"]
    with two([*arguments, *spread]) as processes:
        wait_for_epochs(folder, processes, 2)
        processes[victim].send_signal(signal.SIGKILL)
        killed = time.monotonic()
        out, error = processes[1 - victim].communicate(timeout=PATIENCE)
        assert time.monotonic() - killed < HEARTBEAT
    code, ours = processes[1 - victim].returncode, f"process {victim} has ended"
    if victim == 1 or ours in error:
        assert code == 1
        assert f"error: `processes` must all live, but {ours}" in error
    else:  # process 0 is JAX's coordinator, and its own watch may be faster
        assert code == -signal.SIGABRT
        assert "another task died" in error
    if victim == 1:
        assert "8 of them: 4 along data, 2 along model, in 2 processes" in out
        assert status(folder)["state"] == "failed"
        assert ours in status(folder)["error"]
    else:
        assert "epoch" not in out  # process 0 alone prints
    assert status(folder)["mesh"]["processes"] == 2
    assert checkpoints(folder) == {".orbax"}
    assert main([*arguments, "--scale.data", "2", "--scale.model", "2"]) == 0
    assert status(folder)["mesh"]["processes"] == 1
    assert ".ckpt" in checkpoints(folder)
    assert not [*(folder / "checkpoints").glob("*tmp")]
    np.testing.assert_allclose(curve(folder), curve(one), rtol=1e-4)


@pytest.mark.parametrize("stream", ["off"], indirect=True)
def test_two_go_on_with_one_and_stop_together(
    tmp_path: Path, data: Path, one: Path
) -> None:
    """From the checkpoint of one process; from their own on another mesh; to the end,
    with all that a run leaves."""
    folder = tmp_path / "blobs"
    arguments = [write_settings(data), "--runs", str(tmp_path)]
    assert main([write_settings(data, epochs=1), *arguments[1:]]) == 0
    with two([*arguments, "--scale.model", "8"], by_mpirun) as processes:
        wait_for_epochs(folder, processes, 3)
        processes[1].send_signal(signal.SIGTERM)
        said = [process.communicate(timeout=PATIENCE) for process in processes]
    assert [each.returncode for each in processes] == [128 + signal.SIGTERM] * 2, said
    assert status(folder)["state"] == "interrupted"
    with two([*arguments, "--scale.data", "8"], by_slurm) as processes:
        said = [process.communicate(timeout=PATIENCE) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert status(folder)["state"] == "done"
    np.testing.assert_allclose(curve(folder), curve(one), rtol=1e-4)
    ours, theirs = (np.load(each / "predictions.npz") for each in (folder, one))
    np.testing.assert_allclose(
        ours["probabilities"], theirs["probabilities"], atol=1e-4
    )


BAD = [
    (["--processes", "2"], "`coordinator`, `processes` and `index` must be given"),
    (["--coordinator", "here", "--processes", "2", "--index", "0"], "`coordinator`"),
    (["--coordinator", "h:1", "--processes", "2", "--index", "2"], "`index` must be"),
    (["--distributed"], "`distributed` processes must find each other, but"),
]


@pytest.mark.parametrize(("flags", "words"), BAD)
def test_flags_that_do_not_fit_are_one_line(
    tmp_path: Path,
    data: Path,
    flags: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([write_settings(data), "--runs", str(tmp_path / "runs"), *flags]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {words}")
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()
