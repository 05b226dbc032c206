"""Signals: a request to stop where something would be lost, an exception elsewhere."""

import os
import signal
import subprocess
import sys

import pytest

from handgrad.training.interrupt import SIGNALS, Interrupted, raised, requested


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_asks_to_stop(number: int, capfd: pytest.CaptureFixture[str]) -> None:
    before = {each: signal.getsignal(each) for each in SIGNALS}
    with requested("Stopping.") as stop:
        assert stop() is None
        os.kill(os.getpid(), number)
        assert stop() == number
        assert capfd.readouterr().err == "Stopping.\n"
    assert {each: signal.getsignal(each) for each in SIGNALS} == before


def test_the_second_ends_the_process() -> None:
    """Even one that hears nothing, as compiled code does not."""
    script = (
        "import os, signal, time\n"
        "from handgrad.training.interrupt import requested\n"
        "with requested('first'):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "print('still here')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "")
    assert done.stderr == "first\n"


@pytest.mark.parametrize("number", SIGNALS)
def test_elsewhere_it_is_an_exception(number: int) -> None:
    with (
        pytest.raises(Interrupted, match=signal.Signals(number).name) as caught,
        raised(),
    ):
        os.kill(os.getpid(), number)
    assert caught.value.number == number
    assert isinstance(caught.value, KeyboardInterrupt)
