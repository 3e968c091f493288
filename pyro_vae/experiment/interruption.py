"""Handling of SIGINT and SIGTERM after training, when the trained run is already saved."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from pyro_vae.processes import Processes

__all__ = ["SIGNALS", "Interrupted", "interruptible"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """SIGINT or SIGTERM was received.

    Args:
        number: Number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = signal.Signals(number)


@contextmanager
def interruptible(processes: Processes) -> Iterator[None]:
    """Raise `Interrupted` inside the block on SIGINT or SIGTERM; a second signal ends the process at once.

    With several processes the second signal is ignored, because the launcher forwards each signal to all processes.
    """
    before: dict[signal.Signals, Any] = {}

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN if processes.count > 1 else before[each])
        raise Interrupted(number)

    for each in SIGNALS:
        before[each] = signal.signal(each, interrupt)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is interrupt:
            for each, handler in before.items():
                signal.signal(each, handler)
