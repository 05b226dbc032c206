"""Training from the disk beside training from memory: rate and resident memory.

python scripts/benchmarks/streaming.py                  # a file of 4 GB, two rounds
python scripts/benchmarks/streaming.py --gigabytes 20 --folder /somewhere/large

Writes x.npy, random uint8 of 784 features, and y.npy into --folder, and trains
784-512-512-10 on it by Adam, in chunks of 50 steps of 128 samples: from memory, where
each chunk gathers its rows on the device, and streamed, where `handgrad.training.data`
reads them ahead. Each run is a process of its own and trains for one epoch, or for
--most-steps; rounds take turns. Of each it prints samples per second, processor time
(user and system) per million samples, and the most memory that was resident. Training
from memory uses the first --in-memory-gigabytes of the file. Writes streaming.json to
--output.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from common import bound, write_json

import handgrad
from handgrad.training.data import Part, stream

FEATURES, CLASSES, HIDDEN = 784, 10, (512, 512)
BATCH, STEPS = 128, 50

Way = str  # "memory" or "stream"


@dataclass(frozen=True)
class Settings:
    """What to run."""

    gigabytes: float = 4.0
    """Size of the file."""
    in_memory_gigabytes: float = 4.0
    """How much of it is trained on from memory."""
    most_steps: int = 20_000
    """Steps of a run at most."""
    rounds: int = 2
    """How often each way is run."""
    folder: str = ""
    """Where the file goes, and stays; a temporary folder unless given."""
    output: str = "runs/benchmarks"
    """The folder for streaming.json."""
    way: str = ""
    """One run, by a process that this script starts: memory or stream."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write, train, print."""
    settings = tyro.cli(Settings, description=__doc__, args=arguments)
    if settings.way:
        print(json.dumps(_run(settings, Path(settings.folder))))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(settings.folder or temporary)
        _write(folder, settings.gigabytes)
        rows = []
        for number in range(settings.rounds):
            for way in ("memory", "stream")[:: 1 if number % 2 else -1]:
                rows.append(_child(settings, folder, way))
                print(_in_words(rows[-1]), flush=True)
    ratio = {}
    for key in ("samples_per_second", "cpu_seconds_per_million"):
        memory, streamed = (
            np.median([row[key] for row in rows if row["way"] == way])
            for way in ("memory", "stream")
        )
        ratio[key] = float(streamed / memory)
        print(f"{key}: streamed is {ratio[key]:.2f} of memory")
    resident = max(
        row["peak_resident_gigabytes"] for row in rows if row["way"] == "stream"
    )
    size = f"{settings.gigabytes:g} GB streamed"
    slower = 1 / ratio["samples_per_second"]
    bounds = [
        bound(f"{size}: time over that from memory", slower, 1 / 0.8),
        bound(f"{size}: resident memory", resident, 2.0, unit="GB"),
    ]
    write_json(settings, "streaming", {"runs": rows, "bounds": bounds})
    return 0


def _write(folder: Path, gigabytes: float) -> None:
    samples = int(gigabytes * 1e9 / FEATURES)
    if (folder / "x.npy").exists():
        return
    random = np.random.default_rng(0)
    x = np.lib.format.open_memmap(folder / "x.npy", "w+", np.uint8, (samples, FEATURES))
    for start in range(0, samples, 2**17):
        block = x[start : start + 2**17]
        block[:] = random.integers(0, 256, block.shape, np.uint8)
    x.flush()
    np.save(folder / "y.npy", random.integers(0, CLASSES, samples, np.int32))


def _child(settings: Settings, folder: Path, way: Way) -> dict[str, Any]:
    command = [sys.executable, __file__, "--way", way, "--folder", str(folder)]
    for key in ("gigabytes", "in_memory_gigabytes", "most_steps"):
        command += [f"--{key.replace('_', '-')}", str(asdict(settings)[key])]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)


def _run(settings: Settings, folder: Path) -> dict[str, Any]:
    part = Part(np.load(folder / "x.npy", mmap_mode="r"), np.load(folder / "y.npy"))
    if settings.way == "memory":
        count = int(settings.in_memory_gigabytes * 1e9 / FEATURES)
        part = Part(*(jnp.asarray(np.array(array[:count])) for array in part[:2]))
    train = _from_memory if settings.way == "memory" else _from_disk
    train(part, 2 * STEPS)  # compiles
    began, cpu = time.perf_counter(), time.process_time()
    samples = train(part, settings.most_steps)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return {
        "way": settings.way,
        "gigabytes": part.x.nbytes / 1e9,
        "samples": samples,
        "samples_per_second": samples / seconds,
        "cpu_seconds_per_million": cpu / samples * 1e6,
        "peak_resident_gigabytes": _peak_resident() / 1e9,
    }


def _peak_resident() -> int:
    """The most bytes that were resident, of this process alone: Linux says so there."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if "VmHWM" in line))


def _from_disk(part: Part, most_steps: int) -> int:
    state, done = _start(), 0
    for block in stream(part, 0, 1, 0, BATCH, STEPS):
        state = _chunk(state, block.x, block.y)
        done += block.y.size
        if done >= most_steps * BATCH or block.y.shape[0] < STEPS:
            break
    jax.block_until_ready(state)
    return done


def _from_memory(part: Part, most_steps: int) -> int:
    state, done = _start(), 0
    order = jax.random.permutation(jax.random.key(0), len(part.y))
    while done < most_steps * BATCH and done + STEPS * BATCH <= len(order):
        rows = order[done : done + STEPS * BATCH].reshape(STEPS, BATCH)
        state = _gathered_chunk(state, part.x, part.y, rows)
        done += STEPS * BATCH
    jax.block_until_ready(state)
    return done


OPTIMIZER = optax.adam(1e-3)
State = tuple[handgrad.Params, optax.OptState]


def _start() -> State:
    params = handgrad.init(jax.random.key(0), (FEATURES, *HIDDEN, CLASSES))
    return params, OPTIMIZER.init(params)


def _step(state: State, x: jax.Array, y: jax.Array) -> tuple[State, jax.Array]:
    params, opt_state = state
    loss, grads = handgrad.value_and_grad(params, x.astype(jnp.float32) / 255, y)
    updates, opt_state = OPTIMIZER.update(grads, opt_state, params)
    params = cast(handgrad.Params, optax.apply_updates(params, updates))
    return (params, opt_state), loss


@jax.jit
def _chunk(state: State, x: jax.Array, y: jax.Array) -> State:
    return jax.lax.scan(lambda state, batch: _step(state, *batch), state, (x, y))[0]


@jax.jit
def _gathered_chunk(state: State, x: jax.Array, y: jax.Array, rows: jax.Array) -> State:
    def step(state: State, rows: jax.Array) -> tuple[State, jax.Array]:
        return _step(state, x[rows], y[rows])

    return jax.lax.scan(step, state, rows)[0]


def _in_words(row: dict[str, Any]) -> str:
    return (
        f"{row['way']}: {row['samples_per_second']:,.0f} samples/s, "
        f"{row['cpu_seconds_per_million']:.1f} s of processor per million, peak "
        f"{row['peak_resident_gigabytes']:.2f} GB resident of {row['gigabytes']:.1f} GB"
    )


if __name__ == "__main__":
    sys.exit(main())
