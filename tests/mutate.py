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
import json
import linecache
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import hypothesis
import pytest
import tyro

ROOT = Path(__file__).parents[1]
KEPT = ROOT / ".mutants"
MARK = "# mutants: "

BUDGET, AT_IMPORT, ENDLESS = LIMITS = 60, 180, 60
"""Seconds of the processor: for the tests of a line, for those of one that runs only at
import, and for a single test, which may also wait ten times as long by the clock."""

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


class Trial(NamedTuple):
    """A pytest plugin: the tests of a mutant in order, until its time is up."""

    mutant: Any
    tests: list[str]
    others: set[str]
    seconds: int

    def pytest_configure(self) -> None:
        phases = (
            hypothesis.Phase.explicit,
            hypothesis.Phase.generate,
        )  # what fails will do
        hypothesis.settings.register_profile(
            "brief", hypothesis.settings(phases=phases)
        )
        hypothesis.settings.load_profile("brief")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        rank = {test: k for k, test in enumerate(self.tests)}
        items[:] = [item for item in items if item.nodeid not in self.others]
        items.sort(key=lambda item: rank.get(item.nodeid, -1))  # new names first

    def pytest_runtest_logstart(self) -> None:
        if time.process_time() > self.seconds:
            os._exit(0)
        signal.setitimer(signal.ITIMER_PROF, ENDLESS)
        signal.alarm(10 * ENDLESS)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            os._exit(1)

    def run(self) -> int:
        path, code = self.mutant.module_path, self.code()
        path.write_text(code, encoding="utf-8")
        date = int(short(code)[:7], 16)
        os.utime(path, (date, date))  # of its own, or another's bytecode may be taken
        signal.setitimer(signal.ITIMER_PROF, ENDLESS)
        return pytest.main([*PYTEST, *{t.split("::")[0] for t in self.tests}], [self])

    def code(self) -> str:
        from cosmic_ray.mutating import mutate_code
        from cosmic_ray.plugins import get_operator

        operator = get_operator(self.mutant.operator_name)()
        before = self.mutant.module_path.read_text(encoding="utf-8")
        return mutate_code(before, operator, self.mutant.occurrence) or before

    def line(self) -> str:
        before = self.mutant.module_path.read_text(encoding="utf-8")
        both = zip(before.splitlines(), self.code().splitlines(), strict=False)
        return next((new.strip() for old, new in both if old != new), "nothing")


def clone_in(folder: str) -> str:
    clone = tempfile.mkdtemp(dir=folder)
    subprocess.run(["git", "clone", "-q", str(ROOT), clone], check=True)
    return clone


def start(work: Callable[[], int], clone: str) -> int:
    """A process that works in a clone; Ctrl-C does not reach it."""
    child = os.fork()
    if child == 0:
        try:
            os.chdir(clone)
            subprocess.run(["git", "checkout", "-q", "."], check=True)
            sys.path[:0] = [f"{clone}/src", f"{clone}/tests"]
            os.environ["PYTHONPATH"] = f"{clone}/src"
            os._exit(work())
        except BaseException:
            traceback.print_exc()
            os._exit(70)
    os.setpgid(child, child)
    return child


def outcomes(
    jobs: list[tuple[str, Callable[[], int]]], clones: list[str]
) -> Generator[tuple[str, int]]:
    """The exit code of each job, below 0 for a signal; one at a time in each clone."""
    running: dict[int, tuple[str, str]] = {}

    def end(child: int) -> int:
        os.killpg(child, signal.SIGKILL)  # and what it started
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    try:
        while jobs or running:
            if jobs and clones:
                name, work = jobs.pop()
                clone = clones.pop()
                running[start(work, clone)] = name, clone
                continue
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
            assert ended is not None
            name, clone = running.pop(ended.si_pid)
            clones.append(clone)
            yield name, end(ended.si_pid)
    finally:
        for child in running:
            end(child)


def short(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:8]


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


def trial(cover: dict[str, Any], mutant: Any) -> Trial:
    """The tests of its line, or all if that runs at import; its module's first."""
    spent, path, row = cover["seconds"], mutant.module_path, mutant.start_pos[0]
    found = set(cover["lines"][str(path)].get(str(row), ())) & set(spent)
    mirror = f"test_{path.stem}."
    tests = sorted(found or spent, key=lambda test: (mirror not in test, spent[test]))
    return Trial(mutant, tests, {*spent} - {*tests}, BUDGET if found else AT_IMPORT)


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
    import chex  # noqa: F401  once, for all forks
    import hypothesis.extra.numpy  # noqa: F401
    import jax.test_util  # noqa: F401
    import optax  # noqa: F401
    import sklearn.neural_network  # noqa: F401

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
        marked = {
            (str(path), row + line.lstrip().startswith(MARK))
            for path in paths
            for row, line in enumerate(path.open(encoding="utf-8"), start=1)
            if MARK in line
        }
        done = dict(map(json.loads, results.open(encoding="utf-8")))
        chosen = random.Random(seed).sample(list(mutants), len(mutants))[:sample]
        trials = {
            name: trial(cover, mutants[name])
            for name in chosen
            if done.get(name, 0) == 0 and not (name in done and place[name] in marked)
        }
        jobs = [
            (name, trials[name].run)
            for name in sorted(trials, key=lambda n: place[n] not in marked)
        ]
        print(
            f"{len(chosen)} of {len(mutants)} mutants, {len(jobs)} to try", flush=True
        )
        with (
            results.open("a", encoding="utf-8") as file,
            contextlib.closing(outcomes(jobs, clones)) as tried,
        ):
            for name, code in tried:
                if code != -signal.SIGKILL:  # no memory was left: that says nothing
                    done[name] = code
                    file.write(json.dumps([name, code]) + "\n")
                    file.flush()
                if code == 0 and place[name] not in marked:
                    line = trials[name].line()
                    print("{}:{}: alive:".format(*place[name]), line, flush=True)

    alive = [place[name] for name in chosen if done.get(name) == 0]
    left = sum(name not in done for name in chosen)
    if not left and len(chosen) == len(mutants):
        for path, row in sorted(marked - {*alive}):
            print(f"{path}:{row}: marked, and none lives")
    killed, bare = len(chosen) - left - len(alive), sum(p not in marked for p in alive)
    endless = sum(
        done.get(name) in (-signal.SIGPROF, -signal.SIGALRM) for name in chosen
    )
    print(
        f"{killed} killed, {endless} of them by a test without end; {left} not tried; "
        f"alive: {len(alive) - bare} marked, {bare} not"
    )
    return int(bool(bare or left))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(tyro.cli(main))
    except KeyboardInterrupt:
        sys.exit(
            "Stopped. What was tried is kept; the same command goes on from there."
        )
