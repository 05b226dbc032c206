"""The tests of a mutant, in a process of their own, within the time that they get."""

import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest

BUDGET, AT_IMPORT, ENDLESS = LIMITS = 60, 180, 60
"""Seconds for the tests of a line, and of one that runs only at import; and seconds of
the processor for one test, which may also wait ten times as long by the clock."""

PYTEST = ["-n", "0", "-p", "no:cacheprovider", "-p", "no:terminal"]
PYTEST += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # imported before


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
            code = pytest.main([*PYTEST, "-x", *tests], [self])
        data = self.measured.get_data()
        files = {os.path.relpath(name): name for name in data.measured_files()}
        lines = {path: data.contexts_by_lineno(name) for path, name in files.items()}
        if code == 0:
            out.write_text(json.dumps({"seconds": self.seconds, "lines": lines}))
        return code


@dataclass(eq=False)
class Trial:
    """A pytest plugin: the tests of a mutant in order, until one fails."""

    mutant: Any
    tests: list[str]
    others: set[str]
    seconds: int
    end: float = math.inf

    def pytest_configure(self) -> None:
        phases = hypothesis.Phase.explicit, hypothesis.Phase.generate
        brief = hypothesis.settings(phases=phases)  # any example that fails will do
        hypothesis.settings.register_profile("brief", brief)
        hypothesis.settings.load_profile("brief")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        rank = {test: k for k, test in enumerate(self.tests)}
        items[:] = [item for item in items if item.nodeid not in self.others]
        items.sort(key=lambda item: rank.get(item.nodeid, -1))  # new names first

    def pytest_runtest_logstart(self) -> None:
        if time.monotonic() > self.end:
            os._exit(0)
        signal.setitimer(signal.ITIMER_PROF, ENDLESS)
        signal.alarm(10 * ENDLESS)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            os._exit(1)

    def run(self) -> int:
        """0 if the mutant is alive."""
        self.end = time.monotonic() + self.seconds
        path, code = self.mutant.module_path, self.code()
        path.write_text(code, encoding="utf-8")
        date = int(hashlib.sha256(code.encode()).hexdigest()[:7], 16)
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


def trial(cover: dict[str, Any], mutant: Any) -> Trial:
    """The tests of its line, or all if that runs at import; its module's first."""
    spent, path, row = cover["seconds"], mutant.module_path, mutant.start_pos[0]
    found = set(cover["lines"][str(path)].get(str(row), ())) & set(spent)
    mirror = f"test_{path.stem}."
    tests = sorted(found or spent, key=lambda test: (mirror not in test, spent[test]))
    return Trial(mutant, tests, {*spent} - {*tests}, BUDGET if found else AT_IMPORT)


Job = tuple[str, Callable[[], int]]
"""A name, and what returns an exit code."""


def outcomes(jobs: list[Job], clones: list[str]) -> Generator[tuple[str, int]]:
    """Each job's exit code, below 0 for a signal: one fork at a time in a clone."""
    running: dict[int, tuple[str, str]] = {}

    def end(child: int) -> int:
        os.killpg(child, signal.SIGKILL)  # and what it started
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    try:
        while jobs or running:
            if jobs and clones:
                (name, work), clone = jobs.pop(0), clones.pop()
                running[_fork(work, clone)] = name, clone
                continue
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
            assert ended is not None
            name, clone = running.pop(ended.si_pid)
            clones.append(clone)
            yield name, end(ended.si_pid)
    finally:
        for child in running:
            end(child)


def _fork(work: Callable[[], int], clone: str) -> int:
    """A process in a group of its own, which Ctrl-C does not reach."""
    child = os.fork()
    if child == 0:
        try:
            os.chdir(clone)
            subprocess.run(["git", "checkout", "-q", "."], check=True)
            sys.path[:0] = [f"{clone}/src", f"{clone}/tests"]
            os.environ["PYTHONPATH"] = f"{clone}/src"
            os._exit(work())
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(70)
    os.setpgid(child, child)
    return child
