"""Mutation testing: a fork for each mutant, and the tests that reach its line.

python tests/mutate.py tests/mutation_gradcheck.toml    # Ctrl-C, and again to go on

cosmic-ray says what the mutants are. Each is written into a clone, and a forked process
that has imported JAX already runs the tests that reach the mutated line, the fastest
first, until one fails or the time is up. What is committed is what is tested. One line
of JSON for each mutant goes to --results; survivors are listed at the end, and how many
were not tried. Kill a survivor with a test, or list it in MUTANTS.md. A mutant that did
not end its first test in time hangs, and counts as killed. After a change of the code,
remove the results.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coverage
import pytest

ROOT = Path(__file__).parents[1]
LEFT_OUT = {
    *("test_gradients.py", "test_dtypes.py", "test_rivals.py"),
    *("test_commands.py", "test_documentation.py"),
}
"""Big grids, and tests of scripts: what dies only there dies by chance."""

RUN_ELSEWHERE = ("test_matplotlib_is_loaded",)
"""Tests that run the source in a process of their own, and so cover no line of it."""

PYTEST = ("-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--no-header", "--tb=no")
Cover = dict[str, Any]


class Watch:
    """A pytest plugin: which test reaches which line, and how long it takes."""

    def __init__(self, room: str) -> None:
        self.measured = coverage.Coverage(
            source=[f"src/handgrad/{room}"], data_file=None
        )
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.measured.switch_context(item.nodeid)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        spent = self.seconds.get(report.nodeid, 0.0)
        self.seconds[report.nodeid] = spent + report.duration

    def lines(self) -> dict[str, dict[int, list[str]]]:
        data = self.measured.get_data()
        return {
            os.path.relpath(name): data.contexts_by_lineno(name)
            for name in data.measured_files()
        }


def forked(work: Any, seconds: int = 0) -> int:
    """The exit code of ``work`` in a process of its own; below 0 when time is up."""
    child = os.fork()
    if child == 0:
        signal.alarm(seconds)
        try:
            os._exit(int(work()))
        except BaseException as error:
            print(error, flush=True)
            os._exit(70)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def watch(room: str, out: Path) -> int:
    """Run the tests of a room once, and write down what they cover."""
    plugin = Watch(room)
    tests = [str(p) for p in Path("tests", room).rglob("test_*.py")]
    plugin.measured.start()
    code = pytest.main(
        [*PYTEST, *(t for t in sorted(tests) if Path(t).name not in LEFT_OUT)], [plugin]
    )
    plugin.measured.stop()
    out.write_text(json.dumps({"seconds": plugin.seconds, "lines": plugin.lines()}))
    return code


def tests_of(cover: Cover, module: str, row: int) -> list[str]:
    """The tests to run: those of the line; at import, of all lines that name it."""
    lines = cover["lines"]
    found = {test for test in lines[module].get(str(row), []) if test}
    if not found:
        texts = {name: Path(name).read_text("utf-8").splitlines() for name in lines}
        name = re.match(r"[A-Z_]+\b", texts[module][row - 1])
        for path, text in texts.items():
            for number, line in enumerate(text, start=1):
                named = name and re.search(rf"\b{name[0]}\b", line)
                if named or (not name and path == module):
                    found |= set(lines[path].get(str(number), []))
    found |= {t for t in cover["seconds"] if any(r in t for r in RUN_ELSEWHERE)}
    mirror = f"test_{Path(module).stem}"
    known = [test for test in found if test in cover["seconds"]]
    return sorted(known, key=lambda t: (mirror not in t, cover["seconds"][t]))


def name_of(mutant: Any) -> str:
    """Such as ``claims:73 NumberReplacer 2``: module, line, operator, occurrence."""
    module, line = Path(mutant.module_path).stem, mutant.start_pos[0]
    return f"{module}:{line} {mutant.operator_name[5:]} {mutant.occurrence}"


def kill(mutant: Any, tests: list[str], seconds: int, log: Path) -> dict[str, Any]:
    """Try one mutant in the clone that is the working directory."""
    from cosmic_ray.mutating import apply_mutation
    from cosmic_ray.plugins import get_operator

    path = Path(mutant.module_path)
    source = path.read_text("utf-8")
    operator = get_operator(mutant.operator_name)(**mutant.operator_args)
    apply_mutation(path, operator, mutant.occurrence)

    def run(tests: list[str]) -> int:
        with log.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        return pytest.main([*PYTEST, *tests])

    try:
        code = forked(lambda: run(tests), seconds)
        if code == pytest.ExitCode.USAGE_ERROR:  # the names of the tests changed too
            whole = dict.fromkeys(test.split("[")[0] for test in tests)
            code = forked(lambda: run(list(whole)), seconds)
    finally:
        path.write_text(source, "utf-8")
    passed = log.read_text(errors="replace").split("\n")[0].count(".")
    alive = code == 0 or (code < 0 and passed > 0)
    return {"mutant": name_of(mutant), "alive": alive, "code": code, "passed": passed}


def mutants_of(config: Path, tree: Path) -> list[Any]:
    """What cosmic-ray would change, its filters applied."""
    from cosmic_ray.work_db import use_db

    session, tools = tree / "session.sqlite", Path(sys.executable).parent
    for command in (
        [tools / "cosmic-ray", "init", config, session],
        [tools / "cr-filter-operators", session, config],
    ):
        subprocess.run(command, cwd=tree, check=True)
    with use_db(str(session)) as db:
        found = [m for item in db.pending_work_items for m in item.mutations]
    return sorted(found, key=lambda m: (str(m.module_path), m.start_pos, name_of(m)))


def main() -> int:
    """Try every mutant that the results do not have yet; 1 if one lives or is left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--results", type=Path, default=Path("mutants.jsonl"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=12)
    asked = parser.parse_args()
    results = asked.results.resolve()
    with tempfile.TemporaryDirectory() as folder:
        trees = [Path(folder, str(i)) for i in range(asked.workers)]
        for tree in trees:
            subprocess.run(["git", "clone", "-q", str(ROOT), str(tree)], check=True)
        todo = mutants_of(asked.config.resolve(), trees[0])
        room = Path(todo[0].module_path).parts[2]  # of src/handgrad
        share(todo, room, trees, results, asked.seconds)
    found = [json.loads(line) for line in results.read_text().splitlines()]
    alive = [f["mutant"] for f in found if f["alive"]]
    left = {name_of(mutant) for mutant in todo} - {f["mutant"] for f in found}
    print(*alive, Counter("alive" if f["alive"] else "killed" for f in found), sep="\n")
    print(f"{len(left)} of {len(todo)} not tried")
    return int(bool(alive or left))


def share(
    todo: list[Any], room: str, trees: list[Path], results: Path, seconds: int
) -> None:
    """Cover, then one process for each tree, each with its part of the mutants."""
    os.environ |= {
        "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    import jax.test_util  # noqa: F401  once, for all forks

    os.chdir(trees[0])
    sys.path[:0] = ["src", "tests"]
    covered = trees[0] / "cover.json"
    if forked(lambda: watch(room, covered)):
        raise SystemExit("The tests fail without a mutant: mend them first.")
    cover = json.loads(covered.read_text())
    results.touch()
    done = {json.loads(line)["mutant"] for line in results.read_text().splitlines()}

    def work(i: int) -> int:
        os.chdir(trees[i])
        os.environ["PYTHONPATH"] = str(trees[i] / "src")  # of what a test starts
        for mutant in todo[i :: len(trees)]:
            tests = tests_of(cover, str(mutant.module_path), mutant.start_pos[0])
            found = kill(mutant, tests, seconds, trees[i] / "log")
            with results.open("a") as file:
                file.write(json.dumps(found) + "\n")
        return 0

    todo = [m for m in todo if name_of(m) not in done]
    print(f"{len(todo)} mutants to try", flush=True)
    children = []
    for i in range(len(trees)):
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os._exit(work(i))
        children.append(child)
    with contextlib.suppress(KeyboardInterrupt):
        for child in children:
            os.waitpid(child, 0)


if __name__ == "__main__":
    sys.exit(main())
