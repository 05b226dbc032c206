"""Mutation testing: a fork for each mutant, and the tests that reach its line.

cosmic-ray says what the mutants are and makes them; its `exec` would import JAX and run
all tests of a room for each. Here a forked process, in a clone of what is committed,
runs the tests of the mutated line, those of its module and the fastest first. A mutant
is killed when one fails or does not end, and alive when none has within its time.
Results stay in .mutants/ and count until the room's code changes, comments apart:
Ctrl-C, and the same command goes on.

What nothing can tell from the code is explained by `# mutants: REASON`, at the end of
its line or on the line above. Survivors without a reason are tried again every time.
"""

import ast
import contextlib
import hashlib
import importlib
import json
import linecache
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from trials import LIMITS, Watch, outcomes, trial

ROOT = Path(__file__).parents[1]
KEPT = ROOT / ".mutants"
MARK = "# mutants: "

LEFT_OUT = ("gradients", "dtypes", "rivals", "commands", "documentation")
"""test_*.py with big grids, or of scripts: what dies only there dies by chance."""

NOTHING = (3, 5, 70, -signal.SIGKILL)
"""Exit codes that say nothing of a mutant: pytest's own fault, no test, no memory."""

IMPORTED = ("chex", "hypothesis.extra.numpy", "jax.test_util", "optax", "sklearn")
"""What tests import: once for all forks."""


def mutants_of(paths: list[Path]) -> dict[str, Any]:
    """What cosmic-ray would change, by a name that holds when lines move."""
    from cosmic_ray.commands import init
    from cosmic_ray.config import load_config
    from cosmic_ray.work_db import use_db

    rules = load_config("tests/mutation.toml").sub("filters", "operators-filter")
    left_out = re.compile("|".join(rules["exclude-operators"]))
    with use_db(":memory:") as db:
        init(paths, db, {})
        found = [mutant for item in db.work_items for mutant in item.mutations]
    named = {}
    for mutant in found:
        path, (row, column) = str(mutant.module_path), mutant.end_pos
        until = linecache.getline(path, row)[:column]
        if not left_out.match(f"{mutant.operator_name} {path} {until}"):
            named[f"{path} {mutant.operator_name} {mutant.occurrence}"] = mutant
    return dict(sorted(named.items()))


def marked_places(paths: list[Path]) -> set[tuple[str, int]]:
    """(path, row) of the lines where a mutant may live."""
    return {
        (str(path), row + line.lstrip().startswith(MARK))
        for path in paths
        for row, line in enumerate(path.open(encoding="utf-8"), start=1)
        if MARK in line
    }


def short(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:8]


def clone_in(folder: str) -> str:
    clone = tempfile.mkdtemp(dir=folder)
    subprocess.run(["git", "clone", "-q", str(ROOT), clone], check=True)
    return clone


def main(
    room: Annotated[Literal["network", "gradcheck"], tyro.conf.Positional],
    sample: int | None = None,
    seed: int = 0,
    workers: int = 2,
) -> int:
    """Try all mutants of a room, or a sample; 1 if one lives without a reason."""
    git = ["git", "-C", str(ROOT)]
    if subprocess.check_output([*git, "status", "--porcelain", "src", "tests"]):
        raise SystemExit("Commit first: what is committed is what is tested.")
    trees = subprocess.check_output([*git, "rev-parse", "HEAD:src", "HEAD:tests"])
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(KEPT / "jax")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    for name in IMPORTED:
        importlib.import_module(name)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        clones = [clone_in(folder) for _ in range(workers)]
        os.chdir(clone_in(folder))
        paths = sorted(Path("src/handgrad", room).rglob("[!_]*.py"))
        tests = sorted(Path("tests", room).rglob("test_*.py"))
        tests = [str(path) for path in tests if path.stem[5:] not in LEFT_OUT]
        code = [ast.dump(ast.parse(path.read_bytes())) for path in paths]
        covered = KEPT / f"{room}-{short(trees)}.json"
        results = KEPT / f"{room}-{short([*code, LIMITS])}.jsonl"
        KEPT.mkdir(exist_ok=True)
        results.touch()
        watch = [(room, lambda: Watch(room).run(tests, covered))]
        if not covered.exists() and any(code for _, code in outcomes(watch, clones)):
            raise SystemExit("The tests fail without a mutant: mend them first.")
        cover, mutants = json.loads(covered.read_text()), mutants_of(paths)
        place = {n: (str(m.module_path), m.start_pos[0]) for n, m in mutants.items()}
        marked = marked_places(paths)
        known = {name for name in mutants if place[name] in marked}
        done = dict(map(json.loads, results.open(encoding="utf-8")))
        chosen = random.Random(seed).sample(list(mutants), len(mutants))[:sample]
        trials = {
            name: trial(cover, mutants[name])
            for name in sorted(chosen, key=known.__contains__)
            if name not in done or (done[name] == 0 and name not in known)
        }
        jobs = [(name, trial.run) for name, trial in trials.items()]
        print(
            f"{len(chosen)} of {len(mutants)} mutants, {len(jobs)} to try", flush=True
        )
        with (
            contextlib.suppress(KeyboardInterrupt),
            results.open("a", encoding="utf-8") as file,
            contextlib.closing(outcomes(jobs, clones)) as tried,
        ):
            for name, code in tried:
                if code in NOTHING:
                    continue
                done[name] = code
                file.write(json.dumps([name, code]) + "\n")
                file.flush()
                if code == 0 and name not in known:
                    line = trials[name].line()
                    print("{}:{}: alive:".format(*place[name]), line, flush=True)

    alive = {name for name in chosen if done.get(name) == 0}
    left = sum(name not in done for name in chosen)
    if not left and len(chosen) == len(mutants):
        for path, row in sorted(marked - {place[name] for name in alive}):
            print(f"{path}:{row}: marked, and none lives")
    killed = [done[name] for name in chosen if done.get(name)]
    endless = sum(code in (-signal.SIGPROF, -signal.SIGALRM) for code in killed)
    print(
        f"{len(killed)} killed, {endless} of them by a test without end; alive: "
        f"{len(alive & known)} marked, {len(alive - known)} not; {left} not tried"
    )
    return int(bool(alive - known or left))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(tyro.cli(main))
    except KeyboardInterrupt:
        sys.exit("Stopped before a mutant was tried.")
