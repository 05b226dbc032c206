"""Every command explains itself, and the benchmarks share their timing."""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from load_script import SCRIPTS, load_script

pytestmark = pytest.mark.usefixtures("compiled_quickly")

PARTS = {
    *("common", "byproduct_jobs", "false_alarm_losses", "many_classes_torch"),
    *("scoreboard_rivals", "scoreboard_summary", "step_torch"),
}
COMMANDS = [
    str(path.relative_to(SCRIPTS).with_suffix(""))
    for folder in (SCRIPTS, SCRIPTS / "benchmarks", SCRIPTS / "research")
    for path in sorted(folder.glob("*.py"))
    if path.stem not in PARTS
]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as stopped:
        load_script(name).main()
    assert stopped.value.code in (None, 0)
    printed = capsys.readouterr().out
    assert "usage: " in printed
    assert len(printed.splitlines()) > 8


@pytest.fixture(scope="module")
def common() -> ModuleType:
    return load_script("benchmarks/common")


def test_every_round_runs_all_in_an_order_of_its_own(common: ModuleType) -> None:
    ran: list[str] = []
    works = {name: lambda n=name: ran.append(n) for name in "abc"}
    times = common.interleave(works, rounds=20, most={"c": 2}, seed=1)
    assert {name: len(spent) for name, spent in times.items()} == {
        "a": 20,
        "b": 20,
        "c": 2,
    }
    assert all(spent.min() > 0 for spent in times.values())
    warm_up, first, second = ran[:3], ran[3:6], ran[6:9]
    assert set(warm_up) == set(first) == set(second) == set("abc")
    later = {tuple(ran[i : i + 2]) for i in range(9, len(ran), 2)}
    assert later == {("a", "b"), ("b", "a")}
    again = list(ran)
    ran.clear()
    common.interleave(works, rounds=20, most={"c": 2}, seed=1)
    assert ran == again


@pytest.mark.parametrize(("calls", "rounds"), [(1, 0), (3, 0), (4, 1), (7, 2)])
def test_ctrl_c_keeps_the_rounds_that_were_done(
    common: ModuleType, calls: int, rounds: int
) -> None:
    left = iter(range(calls))

    def work() -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    times = common.interleave({"a": work, "b": work}, rounds=9)
    assert [len(spent) for spent in times.values()] == [rounds, rounds]


def test_summaries_and_ratios(common: ModuleType) -> None:
    mine = np.array([2.0, 2.0, 6.0])
    others = np.array([1.0, 2.0, 2.0, 100.0])
    found = common.summary(np.arange(11.0))
    assert found == {"median": 5.0, "tenth": 1.0, "least": 0.0}
    found = common.ratios(mine, others)  # over the three rounds that both have
    assert found == pytest.approx({"median": 2.0, "tenth": 2.0 / 1.2, "least": 2.0})


def test_byproducts_are_timed_beside_their_rivals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = load_script("benchmarks/byproducts")
    jobs = {k: v for k, v in command.jobs().items() if k.startswith(("plain", "norms"))}
    monkeypatch.setattr(command, "jobs", lambda: jobs)
    monkeypatch.setattr(command, "NAMED", ("norms",))
    arguments = ["--rounds", "5", "--batches", "2", "--output", str(tmp_path)]
    assert command.main(arguments) == 0
    report = json.loads((tmp_path / "byproducts.json").read_text())
    assert report["2"].keys() == jobs.keys()
    asked = [(row["what"], row["most"]) for row in report["bounds"]]
    assert asked == [
        ("norms over vmap(grad), time, batch 2", 1 / 30),
        ("norms over vmap(grad), memory, batch 2", 1 / 100),
        ("norms and clipped gradient over plain gradient, batch 2", 1.1),
        ("by-product over the fair rival, worst, batch 2", 1.03),
    ]
    for name, row in report["2"].items():
        assert row["against"] == jobs[name][0]
        assert 0 < row["milliseconds_least"] <= row["milliseconds"]
        assert row["ratio"] == 1 or name != row["against"]
    assert (tmp_path / "byproducts.png").stat().st_size > 1000
    assert "norms, vmap(grad)" in capsys.readouterr().out


def test_byproducts_keep_the_batches_before_ctrl_c(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = load_script("benchmarks/byproducts")
    jobs = {k: v for k, v in command.jobs().items() if k.startswith("plain gradient")}
    monkeypatch.setattr(command, "jobs", lambda: jobs)
    monkeypatch.setattr(command, "NAMED", ())
    right = command.measure

    def measure(batch: int, rounds: int) -> object:
        if batch > 2:
            raise KeyboardInterrupt
        return right(batch, rounds)

    monkeypatch.setattr(command, "measure", measure)
    arguments = ["--rounds", "2", "--output", str(tmp_path), "--batches"]
    assert command.main([*arguments, "2", "4", "6"]) == 0
    report = json.loads((tmp_path / "byproducts.json").read_text())
    assert report.keys() == {"jax", "device", "settings", "2", "bounds"}
    assert report["settings"] == {"rounds": 2, "batches": [2, 4, 6]}
    assert "Ended at batch 4, after 0 of 2 rounds." in capsys.readouterr().out
    assert command.main([*arguments, "4"]) == 1


def test_no_false_alarm_among_a_few_right_gradients(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = load_script("benchmarks/false_alarms")
    assert command.main(["--number", "2", "--output", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "false_alarms.json").read_text())
    assert (report["false_alarms"], len(report["rows"])) == (0, 2)
    assert "false alarms: 0 of 2" in capsys.readouterr().out


def test_scoreboard_counts_what_each_tool_caught(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = load_script("benchmarks/scoreboard")
    chosen = [bug for bug in command.BUGS if bug.name == "b3_sign"]
    monkeypatch.setattr(command, "BUGS", chosen)
    monkeypatch.setattr(command, "NETWORKS", command.NETWORKS[:1])
    arguments = ["--seeds", "1", "--dtypes", "float64", "--output", str(tmp_path)]
    assert command.main(arguments) == 0
    found = json.loads((tmp_path / "scoreboard.json").read_text())["summary"]
    assert (found["missed"], found["alarms"]) == ([], [])
    for tool in ("check_gradients", "check_grads", "allclose 1e-5"):
        counts = found["tools"]["float64"][tool]
        assert (counts["caught"], counts["above"], counts["right"]) == (1, 1, 1)
    assert (tmp_path / "scoreboard.png").stat().st_size > 1000
    assert "1 planted bugs" in capsys.readouterr().out


def test_processes_take_turns(common: ModuleType) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(SCRIPTS / 'benchmarks')!r});"
        "import common; common.serve({name: (lambda: None) for name in sys.argv[1:]})"
    )
    commands = {
        "one": [sys.executable, "-c", program, "a", "b"],
        "other": [sys.executable, "-c", program, "c"],
    }
    times = common.alternate(commands, blocks=2, rounds=3)
    assert {name: len(seconds) for name, seconds in times.items()} == dict.fromkeys(
        "abc", 6
    )


def test_process_that_ends_is_said(common: ModuleType) -> None:
    with pytest.raises(SystemExit, match="a process ended"):
        common.alternate({"": [sys.executable, "-c", ""]}, blocks=1, rounds=1)


def test_compiled_steps_are_rows_or_say_what_they_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = load_script("benchmarks/ahead")
    monkeypatch.setattr(command, "jobs", lambda: [next(jobs())])
    jobs = load_script("benchmarks/ahead").jobs
    absent = "libtpu" if command.missing(command.parse_target("v5e:1x1")) else None
    targets = ["cpu:1", *(["v5e:1x1"] if absent else [])]
    command.main(["--output", str(tmp_path), "--targets", *targets])
    rows = json.loads((tmp_path / "ahead.json").read_text())["bounds"]
    measured = {row["what"]: row["most"] for row in rows if row["measured"] is not None}
    what = "compiled step on cpu over jax.value_and_grad's"
    asked = {f"{what}: {name}": 1.0 for name in ("FLOPs", "bytes", "temporaries")}
    assert measured == asked | {"summed on cpu beyond the gradient": 64}
    left = [row["why"] for row in rows if row["measured"] is None]
    assert [why.split(":")[0] for why in left] == ["it needs libtpu"] * bool(absent)


@dataclass(frozen=True)
class Few:
    """Settings of a benchmark."""

    rounds: int = 5
    output: Path = Path("runs")


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what is resident")
@pytest.mark.parametrize("way", ["memory", "stream"])
def test_streaming_trains_from_memory_and_from_the_disk(
    tmp_path: Path, way: str
) -> None:
    command = load_script("benchmarks/streaming")
    size = 0.011  # GB: just over the two chunks that compile
    settings = command.Settings(size, size, most_steps=command.STEPS, way=way)
    command._write(tmp_path, size)
    found = command._run(settings, tmp_path)
    assert found["samples"] == command.STEPS * command.BATCH
    assert found["samples_per_second"] > 0


def test_bounds_of_all_benchmarks_are_one_table(
    tmp_path: Path, common: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    bounds = [common.bound("fast", 0.9, 1), common.bound("slow", 3, 2, "steps")]
    bounds.append(common.bound("nearly", 1.0004, 1))
    bounds += common.without("over {}", {"A peer": "no_such_module", "JAX": "jax"})
    settings = Few(output=tmp_path)
    common.write_json(settings, "step", {"bounds": bounds})
    common.write_json(replace(settings, rounds=3), "epoch", {"bounds": []})
    arguments = [
        "--no-run",
        "--output",
        str(tmp_path),
        "--page",
        str(tmp_path / "p.md"),
    ]
    assert load_script("benchmarks/all").main(arguments) == 0
    page = (tmp_path / "p.md").read_text()
    assert "| `step.py` | fast | 0.9x | 1x | holds |" in page
    assert "| `step.py` | slow | 3x | 2x | falls short: steps |" in page
    assert "| `step.py` | nearly | 1.0004x | 1x | falls short |" in page
    missing = "not measured: no_such_module is not installed"
    assert f"| `step.py` | over A peer |  |  | {missing} |" in page
    assert "over JAX" not in page
    assert page.startswith("# Performance\n\nWritten by `python scripts/benchmarks")
    assert "Not at their defaults were:\n\n- `epoch.py`: rounds 3\n\n|" in page
    assert "falls short" in capsys.readouterr().out
