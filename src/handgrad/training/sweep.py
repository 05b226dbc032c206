"""A sweep: train many networks at once, and leave what came of them in one folder."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax

from handgrad.training.checked import check_gradient
from handgrad.training.data import fingerprint, load_data
from handgrad.training.engine.evaluate import Score
from handgrad.training.engine.layout import about, in_words
from handgrad.training.engine.prepare import prepare
from handgrad.training.engine.programs import start
from handgrad.training.engine.sweep import (
    Entry,
    Phase,
    Plan,
    Trained,
    plan_sweep,
    settings_of,
    train_members,
)
from handgrad.training.files import replace_json
from handgrad.training.interrupt import requested
from handgrad.training.records.folder import claim, recorded
from handgrad.training.records.members import (
    MEANS,
    Combination,
    MemberRecord,
    append_members,
    best_of,
    combinations,
    read_members,
)
from handgrad.training.settings import Settings, check_settings, save_settings
from handgrad.training.views.terminal import file_names, say, say_report

ANSWER = "Interrupted: the networks that are done are kept. Once more: at once."
BEST, SUMMARY, FIGURE = "best.toml", "sweep.json", "sweep.png"


class SweepOutcome(NamedTuple):
    """How a sweep ended."""

    folder: Path
    combinations: tuple[Combination, ...]  # of the members that are done
    signal: int | None = None  # that stopped it


def sweep(
    settings: Settings, root: Path, console: Any, *, fresh: bool = False
) -> SweepOutcome:
    """Train every combination of `sweep.values` with every seed.

    Every chunk of members is written as it comes to its end. The same sweep again goes
    on from there, if it was not finished.

    Args:
      settings: what to do; the table [sweep] says how many networks.
      root: the folder of runs. The sweep's is root/NAME-sweep.
      console: of rich, what to print to.
      fresh: whether to begin anew whatever there is.

    Returns:
      Where everything is, and the means over the seeds.

    Raises:
      TrainingError: for settings or data that cannot work.
      OSError: for what the disk or a folder refuses.
      KeyboardInterrupt: at Ctrl-C before training begins or after it has ended.
    """
    check_settings(settings)
    data = load_data(settings.data)
    plan = plan_sweep(settings, data)
    named = replace(settings, name=f"{settings.name}-sweep")
    check_settings(named)
    claimed = claim(root, named, fingerprint(data), fresh=fresh)
    folder = claimed.folder
    mesh = about(plan.task.layout, settings.scale)
    with recorded(claimed, jax.devices()[0].device_kind, mesh) as ends:
        say(console, _in_words(settings, plan))
        first = prepare(settings_of(settings, plan.members[0]), data)
        report = check_gradient(
            settings.training.check, folder, first, lambda: start(first), data.train
        )
        say_report(console, report)
        signal = _train(plan, folder, console)
        if signal:
            ends("interrupted")
        found = combinations(_finished(plan, folder))
        if found:
            _summarise(settings, found, folder, console)
    if signal:
        say(console, f"{folder}: the same command goes on from here.")
    return SweepOutcome(folder, found, signal)


def _train(plan: Plan, folder: Path, console: Any) -> int | None:
    """Train the members that are not in the folder yet; the signal that stopped it."""
    from handgrad.training.views.sweep import sweep_progress

    known = {_name(record) for record in _finished(plan, folder)}
    missing = [entry for entry in plan.members if _name(entry) not in known]
    done = len(plan.members) - len(missing)
    with (
        requested(ANSWER) as stop,
        sweep_progress(console, len(plan.members)) as show,
        closing(
            train_members(
                plan, missing, stop=stop, tell=lambda share: show(share, done)
            )
        ) as chunks,
    ):
        for trained in chunks:
            append_members(folder, _records(trained))
            done += len(trained.members)
        return stop() if done < len(plan.members) else None


def _finished(plan: Plan, folder: Path) -> tuple[MemberRecord, ...]:
    """The members in the folder, in the order of the plan; without those that a longer
    sweep has to train for longer."""
    epochs = plan.task.settings.training.epochs
    found = {
        _name(record): record
        for record in read_members(folder)
        if record.ended != "done" or record.epochs == epochs
    }
    names = [_name(entry) for entry in plan.members]
    return tuple(found[name] for name in names if name in found)


def _name(member: Entry | MemberRecord) -> tuple[Any, ...]:
    return (*member.values.items(), member.seed)


def _records(trained: Trained) -> list[MemberRecord]:
    return [
        _record(entry, jax.tree.map(lambda leaf, n=number: leaf[n], trained.outcome))
        for number, entry in enumerate(trained.members)
    ]


def _record(entry: Entry, outcome: Any) -> MemberRecord:
    def figures(score: Score | None) -> tuple[float | None, float | None]:
        if score is None or not outcome.best.epoch:
            return None, None
        loss = float(score.loss)
        return loss if abs(loss) < float("inf") else None, float(score.accuracy)

    train, validation, test = map(
        figures, (outcome.train, outcome.validation, outcome.test)
    )
    ended = Phase(int(outcome.phase)).name.lower()
    epochs, best = int(outcome.epoch), int(outcome.best.epoch)
    return MemberRecord(
        entry.values,
        entry.seed,
        ended,  # pyright: ignore[reportArgumentType]
        epochs,
        best,
        *train,
        *validation,
        *test,
    )


def _summarise(
    settings: Settings, found: Sequence[Combination], folder: Path, console: Any
) -> None:
    """Table, JSON, the settings of the best, and last the figure."""
    from handgrad.training.views.style import save_png
    from handgrad.training.views.sweep import sweep_figure, sweep_table

    best = best_of(found)
    summary = {
        "name": settings.name,
        "values": settings.sweep.values,
        "seeds": settings.sweep.seeds,
        "best": best and best.values,
        "combinations": [asdict(each) for each in found],
    }
    replace_json(folder / SUMMARY, summary)
    if best:
        entry = Entry(best.values, settings.seed)
        save_settings(settings_of(settings, entry), folder / BEST)
    console.print(sweep_table(found))
    if any(getattr(each, name) for each in found for name in MEANS):
        save_png(folder / FIGURE, sweep_figure, found)
    say(console, file_names(folder))


def _in_words(settings: Settings, plan: Plan) -> str:
    chunks = f"{plan.size} in a program, {plan.workers} programs at a time"
    return (
        f"{settings.name}: {len(plan.members):,} networks, "
        f"{len(plan.members) // settings.sweep.seeds:,} combinations with "
        f"{settings.sweep.seeds:,} seeds each; {chunks}, on "
        f"{jax.devices()[0].device_kind}{in_words(plan.task.layout)}"
    )
