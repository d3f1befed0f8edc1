"""A training in its run folder, as events: the lock, starting over, stopping, and writing the result."""

from collections.abc import Callable, Generator, Iterator

from randhead import ambient, runs
from randhead.config import Config
from randhead.datasets import Dataset
from randhead.errors import DivergedError, StopRequested
from randhead.files import described, write_json
from randhead.runs import Run, TrainingSummary, replacement
from randhead.train import profiling
from randhead.train.events import Event, Finished, Stopped, Warned
from randhead.train.trainer import Trainer


@ambient.settled_steps
def fit_events(
    config: Config,
    dataset: Dataset,
    run: Run,
    *,
    fresh: bool = False,
    profile: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> Generator[Event, None, None]:
    """Train a classifier in a run folder, from its newest checkpoint if there is one, and yield events.

    Args:
        config: the configuration.
        dataset: the images.
        run: the run folder, which need not exist.
        fresh: start over; an earlier training in the folder is replaced when the new one has its first checkpoint.
        profile: also find out where the time goes; the event `Profiled` has the answer.
        should_stop: called between batches; if it returns True, everything is saved and `Stopped` is the last event.

    Yields:
        `Warned` for each note about the images, `Started`, then `Warned`, `StepDone`, `EpochDone` and `Profiled`, then
        `Finished`; for a finished run `Finished` only.

    Raises:
        DivergedError: before a step whose loss is not a finite number.
        RunError: if the folder is in use, if none of its checkpoints can be read, or if the run is finished and to be
            profiled.
    """
    summary = None if fresh else run.summary()
    if profile:
        profiling.check(run, finished=summary is not None)
    if summary is not None:
        yield Finished(summary)
        return
    # It may raise an error, so it comes before the folder is created.
    trainer = Trainer(config, dataset, run, should_stop, fresh=fresh)
    with runs.locked(run) as warnings, trainer.saver:
        yield from map(Warned, warnings)
        trainer.run = replacement.begin(run, fresh=fresh)
        yield from trainer.start()
        try:
            yield from profiling.profiled(trainer) if profile else trainer.train()
            summary = trainer.finish()
        except StopRequested:
            # Before its first step, a training that replaces another one is worth less than that.
            if not trainer.is_trained and (trainer.state.step or trainer.run == run):
                trainer.save()
            trainer.saver.wait()
            yield Stopped(trainer.state.step)
            return
        except DivergedError as error:
            write_json(trainer.run.diverged_path, {"message": error.message})
            raise
        yield from _write(trainer.run, summary)
        yield from map(Warned, summary.warnings)
        yield Finished(summary)


def _write(run: Run, summary: TrainingSummary) -> Iterator[Warned]:
    """Write summary.json; on a full disk the result is not lost, as the event `Finished` has it."""
    try:
        summary.save(run)
    except OSError as error:
        yield Warned(f"{described(error)}: not written; the same command evaluates the run again")
