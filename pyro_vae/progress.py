"""Progress on stderr: a widget in notebooks, a bar on a terminal, otherwise occasional lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:  # The help of a command needs only `quiet`; importing tqdm would take it 60 ms.
    from tqdm.std import tqdm

__all__ = ["Bar", "progress_bar", "quiet"]

SECONDS_BETWEEN_LINES = 10.0
"""Seconds between lines of all bars if stderr is a file or a pipe."""

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


@contextmanager
def quiet(active: bool = True) -> Iterator[None]:
    """Show no progress inside the block if `active`."""
    before = _quiet.set(active)
    try:
        yield
    finally:
        _quiet.reset(before)


def progress_bar(
    total: int,
    unit: str,
    description: str = "",
    *,
    initial: int = 0,
    shown: bool = True,
    leave: bool = True,
) -> Bar:
    """Return a progress bar to `total`, advanced by `update(number)` inside a `with` block.

    Args:
        total: Total number of units.
        unit: Name of the unit, in the plural.
        description: Name of the task.
        initial: Number of finished units.
        shown: Whether to show the bar.
        leave: Whether the finished bar stays on the terminal.
    """
    from tqdm.asyncio import tqdm_asyncio
    from tqdm.auto import tqdm as automatic

    hidden = not shown or _quiet.get() or sys.stderr is None
    notebook = automatic is not tqdm_asyncio  # a Jupyter kernel with ipywidgets
    if not hidden and not notebook and not sys.stderr.isatty():
        return _Lines(total, unit, description, initial)
    return automatic(
        total=total,
        unit=f" {unit}",
        desc=description or None,
        initial=initial,
        unit_scale=total >= 10_000,
        mininterval=0.5,
        disable=hidden,
        leave=leave,
    )


class _Lines:
    """A progress bar as lines for log files; none in the first seconds of a process."""

    printed_at = time.monotonic()

    def __init__(self, total: int, unit: str, description: str, initial: int) -> None:
        self.total, self.unit, self.initial = total, unit, initial
        self.n: float = initial
        self.description, self.postfix = description, ""
        self.started = time.monotonic()
        self._print()

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def update(self, number: float = 1) -> None:
        """Advance, and print a line if enough time has passed."""
        self.n += number
        self._print()

    def set_description_str(self, text: str, refresh: bool = True) -> None:
        """Set the description."""
        self.description = text
        self._print()

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        """Set the text after the numbers."""
        self.postfix = text

    def close(self) -> None:
        """Do nothing: no final line is needed."""

    def _print(self) -> None:
        now = time.monotonic()
        if now - _Lines.printed_at < SECONDS_BETWEEN_LINES:
            return
        _Lines.printed_at = now
        with suppress(OSError, ValueError):  # a full disk or a closed log must not stop the work
            print(self._line(now - self.started), file=sys.stderr, flush=True)

    def _line(self, elapsed: float) -> str:
        from tqdm.std import tqdm

        line = tqdm.format_meter(
            self.n, self.total, elapsed, prefix=f"{self.description}: " if self.description else "",
            unit=f" {self.unit}", unit_scale=self.total >= 10_000, initial=self.initial, postfix=self.postfix,
            bar_format="{desc}{percentage:.0f} %, {n_fmt} of {total_fmt}{unit}, {elapsed} passed, {remaining} left, "
            "{rate_fmt}{postfix}",
        )  # fmt: skip
        return str(line)


Bar: TypeAlias = "tqdm | _Lines"
