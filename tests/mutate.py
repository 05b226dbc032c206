"""Mutation testing: a fork for each mutant, and the tests that reach its line.

cosmic-ray says what the mutants are and makes them; its `exec` would import JAX and run
all tests of a room for each. Here a forked process, in a clone of what is committed,
runs the tests of the mutated line, those of its module and the fastest first, until one
fails; time up is a failure. Results stay in .mutants/ and count until the room's code
changes, comments apart: Ctrl-C, and the same command goes on.

What nothing can tell from the code is explained by `# mutants: REASON`, at the end of
its line or on the line above. Survivors without a reason are tried again every time.
"""

import ast
import contextlib
import hashlib
import json
import linecache
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import tyro

ROOT = Path(__file__).parents[1]
KEPT = ROOT / ".mutants"
MARK = "# mutants: "
BUDGET = 20.0
"""Seconds that the tests of a line may take, as measured without a mutant."""

LEFT_OUT = ("gradients", "dtypes", "rivals", "commands", "documentation")
"""test_*.py with big grids, or of scripts: what dies only there dies by chance."""

PYTEST = [
    *("-x", "-n", "0", "-p", "no:cacheprovider", "-p", "no:terminal"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # tyro imports a plugin
]


class Watch:
    """A pytest plugin: which test reaches which line, and how long it takes."""

    def __init__(self, room: str) -> None:
        from coverage import Coverage

        self.measured = Coverage(source=[f"src/handgrad/{room}"], data_file=None)
        self.seconds: dict[str, float] = {}

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.measured.switch_context(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        spent = self.seconds.get(report.nodeid, 0.0)
        self.seconds[report.nodeid] = spent + report.duration

    def run(self, tests: list[str], out: Path) -> int:
        with self.measured.collect():
            code = pytest.main([*PYTEST, *tests], [self])
        data = self.measured.get_data()
        files = {os.path.relpath(name): name for name in data.measured_files()}
        lines = {path: data.contexts_by_lineno(name) for path, name in files.items()}
        if code == 0:
            out.write_text(json.dumps({"seconds": self.seconds, "lines": lines}))
        return code


def enter(folder: str) -> None:
    """Work in a clone of what is committed from here on."""
    clone = tempfile.mkdtemp(dir=folder)
    subprocess.run(["git", "clone", "-q", str(ROOT), clone], check=True)
    os.chdir(clone)
    sys.path[:0] = [f"{clone}/src", f"{clone}/tests"]
    os.environ["PYTHONPATH"] = f"{clone}/src"


def forked(work: Callable[[], int], seconds: float = 0) -> int:
    """The exit code of ``work`` in a process of its own; below 0 when time is up."""
    child = os.fork()
    if child == 0:
        signal.alarm(int(seconds))
        try:
            os._exit(work())
        except BaseException as error:
            print(error, file=sys.stderr, flush=True)
            os._exit(70)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


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


def tests_of(cover: dict[str, Any], path: str, row: int) -> tuple[list[str], float]:
    """The tests of a line, all for one that runs at import; and the time they get."""
    spent, mirror = cover["seconds"], f"test_{Path(path).stem}."
    found = set(cover["lines"][path].get(str(row), ())) & set(spent)
    chosen, whole = [], 0.0
    for test in sorted(found or spent, key=lambda t: (mirror not in t, spent[t])):
        if whole < BUDGET or not found:
            chosen.append(test)
            whole += spent[test]
    return chosen, 30 + 3 * whole


def attempt(job: tuple[str, Any, list[str], float]) -> tuple[str, str]:
    """Try one mutant in the clone that is here: its name, and its line if it lives."""
    from cosmic_ray.mutating import use_mutation
    from cosmic_ray.plugins import get_operator

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    name, mutant, tests, seconds = job
    operator, path = get_operator(mutant.operator_name)(), mutant.module_path
    with use_mutation(path, operator, mutant.occurrence) as (before, after):
        time = int(hashlib.sha256(name.encode()).hexdigest()[:7], 16)
        os.utime(path, (time, time))  # of its own, or bytecode of another may be taken
        code = forked(lambda: pytest.main([*PYTEST, *tests]), seconds)
        if code == pytest.ExitCode.USAGE_ERROR:  # the names of the tests changed too
            whole = dict.fromkeys(test.split("[")[0] for test in tests)
            code = forked(lambda: pytest.main([*PYTEST, *whole]), seconds)
    both = zip(before.splitlines(), (after or "").splitlines(), strict=False)
    line = next((new.strip() for old, new in both if old != new), "")
    return name, "" if code else line or "nothing"


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
    import jax.test_util  # noqa: F401  once, for all forks

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        enter(folder)
        paths = sorted(Path("src/handgrad", room).rglob("[!_]*.py"))
        tests = sorted(Path("tests", room).rglob("test_*.py"))
        tests = [str(path) for path in tests if path.stem[5:] not in LEFT_OUT]
        code = b"".join(ast.dump(ast.parse(p.read_bytes())).encode() for p in paths)
        covered = KEPT / f"{room}-{hashlib.sha256(trees).hexdigest()[:8]}.json"
        results = KEPT / f"{room}-{hashlib.sha256(code).hexdigest()[:8]}.jsonl"
        KEPT.mkdir(exist_ok=True)
        results.touch()
        if not covered.exists() and forked(lambda: Watch(room).run(tests, covered)):
            raise SystemExit("The tests fail without a mutant: mend them first.")
        cover, mutants = json.loads(covered.read_text()), mutants_of(paths)
        place = {n: (str(m.module_path), m.start_pos[0]) for n, m in mutants.items()}
        marked = {
            (str(path), row + line.lstrip().startswith(MARK))
            for path in paths
            for row, line in enumerate(path.open(encoding="utf-8"), start=1)
            if MARK in line
        }
        done = dict(map(json.loads, results.open(encoding="utf-8")))
        chosen = random.Random(seed).sample(list(mutants), len(mutants))[:sample]
        jobs = [
            (name, mutants[name], *tests_of(cover, *place[name]))
            for name in chosen
            if name not in done or (done[name] and place[name] not in marked)
        ]
        print(
            f"{len(chosen)} of {len(mutants)} mutants, {len(jobs)} to try", flush=True
        )
        with (
            contextlib.suppress(KeyboardInterrupt),
            results.open("a", encoding="utf-8") as file,
            get_context("fork").Pool(workers, enter, [folder]) as pool,
        ):
            for name, line in pool.imap_unordered(attempt, jobs):
                done[name] = line
                print(json.dumps([name, line]), file=file, flush=True)

    alive = [name for name in chosen if done.get(name)]
    bare = [name for name in alive if place[name] not in marked]
    left = sum(name not in done for name in chosen)
    for name in sorted(bare):
        print("{}:{}: alive:".format(*place[name]), done[name])
    if not left and len(chosen) == len(mutants):
        for path, row in sorted(marked - {place[name] for name in alive}):
            print(f"{path}:{row}: marked, and none lives")
    killed, known = len(chosen) - left - len(alive), len(alive) - len(bare)
    print(f"{killed} killed, {left} not tried; alive: {known} marked, {len(bare)} not")
    return int(bool(bare or left))


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
