"""Scalars for TensorBoard, beside metrics.jsonl. Needs the extra ``tensorboard``."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from handgrad.training.records.metrics import EpochRecord

_TAGS = {
    "objective": "loss/objective",
    "train_loss": "loss/train",
    "validation_loss": "loss/validation",
    "train_accuracy": "accuracy/train",
    "validation_accuracy": "accuracy/validation",
    "learning_rate": "learning_rate",
}


@contextmanager
def tensorboard_writer(
    folder: Path, after: int = 0
) -> Iterator[Callable[[EpochRecord], None]]:
    """Write records as scalars over epochs, to be seen with ``tensorboard --logdir``.

    Args:
      folder: of the run; the files go to its folder tensorboard.
      after: the epoch from which a resumed run goes on: what an earlier file holds of
        later ones is hidden.

    Yields:
      The function to call with the record of each epoch; it is on disk within seconds,
      and at the latest when the context ends.
    """
    from tensorboardX import SummaryWriter

    with SummaryWriter(
        str(folder / "tensorboard"),
        purge_step=after + 1 if after else None,
        flush_secs=5,
        filename_suffix=f".{time.time_ns()}",  # its own names differ by the second
    ) as writer:

        def write(record: EpochRecord) -> None:
            for field, tag in _TAGS.items():
                writer.add_scalar(tag, getattr(record, field), record.epoch)

        yield write
