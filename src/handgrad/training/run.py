"""A run: train by the settings, and leave everything worth keeping in its folder."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax

from handgrad.scale.processes import first_says, highest, is_first, many
from handgrad.scale.watch import Watch
from handgrad.training.checked import check_gradient
from handgrad.training.data import Dataset, fingerprint, load_data
from handgrad.training.engine.best import Best, better, nothing_yet
from handgrad.training.engine.diagnose import why_not_finite
from handgrad.training.engine.fit import Progress, fit
from handgrad.training.engine.layout import about, gathered, in_words, laid
from handgrad.training.engine.order import steps_of
from handgrad.training.engine.prepare import Run, prepare
from handgrad.training.engine.programs import Programs, compile_programs, prove, start
from handgrad.training.engine.step import State
from handgrad.training.errors import Diverged
from handgrad.training.interrupt import requested
from handgrad.training.records.checkpoints import Checkpointer
from handgrad.training.records.folder import Claim, claim, reclaim, recorded
from handgrad.training.records.metrics import append_record, truncate_records
from handgrad.training.records.model import MODEL, save_model
from handgrad.training.results import classifier, results
from handgrad.training.settings import Settings, Training, check_settings
from handgrad.training.together import claimed_by_first, ended_with_others
from handgrad.training.views.terminal import say, say_report, training_progress

ANSWER = "Interrupted: ending with the steps in flight. Once more: at once."


class Outcome(NamedTuple):
    """How a run ended."""

    folder: Path
    result: dict[str, Any] | None  # of result.json; None if it was stopped
    signal: int | None = None  # that stopped it


class Job(NamedTuple):
    """What is decided before a folder is made."""

    settings: Settings
    data: Dataset
    fingerprint: str  # of the data
    run: Run


def train(
    settings: Settings,
    root: Path,
    console: Any,
    *,
    resume: Path | None = None,
    fresh: bool = False,
    watch: Watch | None = None,
) -> Outcome:
    """Check, train, test, and write the folder of the run.

    Args:
      settings: what to do.
      root: the folder of runs.
      console: of rich, what to print to.
      resume: the folder of an earlier run to go on in. Without it a run goes on where
        an unfinished run of the same settings and data ended, in the folder of that.
      fresh: whether to begin anew whatever there is.
      watch: of many processes, what ends this one when another has died.

    Returns:
      Where everything is, and what result.json holds.

    Raises:
      TrainingError: for settings or data that cannot work, or training that diverges.
      OSError: for what the disk or a folder refuses.
      KeyboardInterrupt: at Ctrl-C before training begins or after it has ended.
    """
    job = _job(settings)

    def claims() -> Claim:
        if resume:
            return reclaim(resume, settings, job.fingerprint)
        return claim(root, settings, job.fingerprint, fresh=fresh)

    claimed = claimed_by_first(claims)
    say(console, _in_words(job))
    mesh = about(job.run.step.layout, settings.scale)
    with recorded(claimed, jax.devices()[0].device_kind, mesh) as ends:
        with ended_with_others(watch, claimed.folder):
            best, signal = _train(job, claimed, console)
        if not is_first():
            return Outcome(claimed.folder, None, signal)
        model = classifier(settings, job.data, best.params)
        save_model(claimed.folder / MODEL, model)
        if signal:
            ends("interrupted")
            say(console, f"{claimed.folder}: the same command goes on from here.")
            return Outcome(claimed.folder, None, signal)
        epoch, folder = int(best.epoch), claimed.folder
        result = results(settings, job.data, model, epoch, folder, console)
    return Outcome(claimed.folder, result)


def _job(settings: Settings) -> Job:
    """Settings, data and optimiser proven to fit; nothing is compiled or written."""
    check_settings(settings)
    data = load_data(settings.data)
    with ThreadPoolExecutor(1) as beside:
        digest = beside.submit(fingerprint, data)
        run = prepare(settings, data)
        prove(run, settings.optimizer.name)
        return Job(settings, data, digest.result(), run)


def _train(job: Job, claimed: Claim, console: Any) -> tuple[Best, int | None]:
    """Fit from the newest checkpoint to the end, or to a signal; what ends it leaves a
    checkpoint that the next process goes on from."""
    training, run = job.settings.training, job.run
    per_epoch = steps_of(run.samples, run.batch_size)
    checkpoint = Checkpointer(claimed.folder, job.settings.records, per_epoch)
    with closing(compile_programs(run)) as programs:
        state, best = _restored(job, programs, checkpoint, console)
        done = int(state.step)
        if claimed.resumed:
            say(console, f"Going on in {claimed.folder} after {done:,} steps.")
        _check(job, claimed, state, console)
        how = {"epochs": training.epochs, "chunk_steps": training.chunk_steps}
        progresses = fit(run, programs, state, **how)
        with requested(ANSWER) as stop, _consumers(job, claimed, console, done) as tell:
            if first_says(_waited(best, training)):
                return best, None
            try:
                return _followed(training, progresses, best, checkpoint, stop, tell)
            except Diverged as error:
                state, _ = _restored(job, programs, checkpoint, console)
                why = why_not_finite(run, programs, state, error.steps)
                raise Diverged(f"{error} {why}", error.steps) from error


def _followed(
    training: Training,
    progresses: Iterable[Progress],
    best: Best,
    checkpoint: Checkpointer,
    stop: Callable[[], int | None],
    tell: Callable[[Progress], None],
) -> tuple[Best, int | None]:
    """The best of a fit, which is followed to its end, or till patience ends, or to a
    signal."""
    for progress in progresses:
        best = better(best, progress, training.min_change)
        tell(progress)
        if not progress.finite:
            continue  # `fit` raises next
        signal = highest(stop() or 0) or None
        ends = progress.last or _waited(best, training) or signal is not None
        last = bool(first_says(ends))
        checkpoint(
            progress.steps,
            {"state": progress.state, "best": best},
            ended=progress.record is not None,
            best=int(best.epoch),
            now=last,
        )
        if last:
            return best, signal
    return best, None


def _check(job: Job, claimed: Claim, state: State, console: Any) -> None:
    """The gradient against `jax.grad`, by process 0 and on one device; of many
    processes none has more of a state than the beginning."""
    run, how = job.run, job.settings.training.check if is_first() else "off"

    def at_home() -> State:
        if run.step.layout is None:
            return state
        return start(run) if many() else jax.device_put(jax.device_get(state))

    report = check_gradient(how, claimed.folder, run, at_home, job.data.train)
    say_report(console, report)


def _restored(
    job: Job, programs: Programs, checkpoint: Checkpointer, console: Any
) -> tuple[State, Best]:
    """State and best of the newest checkpoint, or those of the beginning."""
    state = programs.begin(job.run.key)
    best = nothing_yet(gathered(state.params, job.run.step.layout))
    found = checkpoint.newest(
        {"state": state, "best": best}, lambda text: say(console, text)
    )
    if found is None:
        return state, best
    layout = job.run.step.layout
    if layout is None:
        return jax.device_put(found["state"]), found["best"]
    return jax.tree.map(laid, found["state"], layout.state), found["best"]


@contextmanager
def _consumers(
    job: Job, claimed: Claim, console: Any, done: int
) -> Iterator[Callable[[Progress], None]]:
    """Who is told of every chunk: metrics.jsonl, TensorBoard, the terminal."""
    settings, folder = job.settings, claimed.folder
    per_epoch = steps_of(job.run.samples, job.run.batch_size)
    if not is_first():
        yield lambda _: None
        return
    truncate_records(folder, done // per_epoch)
    with ExitStack() as stack:
        show = stack.enter_context(
            training_progress(console, settings.training.epochs, per_epoch)
        )
        board = None
        if settings.records.tensorboard:
            from handgrad.training.views.tensorboard import tensorboard_writer

            board = stack.enter_context(tensorboard_writer(folder, done // per_epoch))

        def tell(progress: Progress) -> None:
            if progress.record:
                append_record(folder, progress.record)
                if board:
                    board(progress.record)
            show(progress.steps, progress.record)

        yield tell


def _waited(best: Best, training: Training) -> bool:
    return 0 < training.patience <= best.waited


def _in_words(job: Job) -> str:
    data = job.data
    sizes = [len(part.y) for part in data[:3]]
    widths = (data.train.x.shape[1], *job.settings.model.hidden, len(data.classes))
    return (
        f"{job.settings.name}, seed {job.settings.seed}: "
        f"{'-'.join(map(str, widths))}, {sizes[0]:,} training, {sizes[1]:,} validation "
        f"and {sizes[2]:,} test samples, on {jax.devices()[0].device_kind}"
        f"{in_words(job.run.step.layout)}"
    )
