"""How a command becomes one of many processes."""

from handgrad.scale.processes import join
from handgrad.training.errors import TrainingError
from handgrad.training.settings.processes import Processes


def join_processes(flags: Processes) -> None:
    """Join the others, if there are any; before anything asks for a device.

    Raises:
      TrainingError: for flags that do not fit each other, and where the others do not
        come.
    """
    by_hand = (flags.coordinator, flags.processes, flags.index)
    if by_hand == (None, None, None):
        if flags.distributed:
            _join()
        return
    if flags.coordinator is None or flags.processes is None or flags.index is None:
        raise TrainingError(
            "`coordinator`, `processes` and `index` must be given together, got "
            f"{flags.coordinator}, {flags.processes} and {flags.index}."
        )
    host, _, port = flags.coordinator.rpartition(":")
    if not host or not port.isdigit():
        raise TrainingError(
            f"`coordinator` must be HOST:PORT, got {flags.coordinator!r}."
        )
    if not 0 <= flags.index < flags.processes:
        raise TrainingError(
            f"`index` must be one of 0 ... {flags.processes - 1}, got {flags.index}."
        )
    _join(flags.coordinator, flags.processes, flags.index)


def _join(*by_hand: str | int) -> None:
    try:
        join(*by_hand)  # pyright: ignore[reportArgumentType]
    except (ValueError, RuntimeError, TypeError) as error:
        raise TrainingError(
            f"`distributed` processes must find each other, but: {error}"
        ) from error
