"""Progress bars on stderr."""

import io
import sys
import time

import pytest

from pyro_vae import progress
from pyro_vae.progress import progress_bar, quiet


class Terminal(io.StringIO):
    def isatty(self):
        return True


class FullDisk(io.StringIO):
    def write(self, text):
        raise OSError(28, "No space left on device")


def work(bar, steps=20, seconds=0.0):
    with bar:
        for _ in range(steps):
            time.sleep(seconds)
            bar.update(5)


@pytest.fixture
def often(monkeypatch):
    """A line each twentieth of a second instead of each ten seconds."""
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.05)


def test_a_terminal_has_a_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    work(progress_bar(100, "rows", "ELBO of the test rows"))
    text = sys.stderr.getvalue()
    assert "\r" in text
    assert "ELBO of the test rows: 100%" in text
    assert "100/100" in text


def test_a_pipe_has_one_line_at_most_of_much_work_that_is_short(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    for _ in range(5):
        work(progress_bar(100, "rows"))
    assert len(sys.stderr.getvalue().splitlines()) <= 1


def test_a_pipe_has_plain_lines_now_and_then(monkeypatch, often):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    started = time.monotonic()
    work(progress_bar(100, "rows", "training"), seconds=0.02)
    elapsed = time.monotonic() - started
    text = sys.stderr.getvalue()
    assert "\r" not in text
    assert text.endswith("\n")
    assert 2 <= len(text.splitlines()) <= elapsed / 0.05 + 1
    assert all(line.startswith("training: ") and "rows/s" in line for line in text.splitlines())


def test_several_bars_share_the_lines(monkeypatch, often):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    started = time.monotonic()
    for _ in range(40):
        work(progress_bar(100, "rows", "one of many"), steps=2, seconds=0.002)
    assert len(sys.stderr.getvalue().splitlines()) <= (time.monotonic() - started) / 0.05 + 1


def test_a_log_that_cannot_be_written_ends_nothing(monkeypatch, often):
    monkeypatch.setattr(sys, "stderr", FullDisk())
    work(progress_bar(100, "rows"), seconds=0.01)


@pytest.mark.parametrize("stderr", [Terminal, io.StringIO])
def test_quiet_shows_nothing(monkeypatch, often, stderr):
    monkeypatch.setattr(sys, "stderr", stderr())
    with quiet():
        work(progress_bar(100, "rows"), seconds=0.01)
    work(progress_bar(100, "rows", shown=False), seconds=0.01)
    assert sys.stderr.getvalue() == ""


def test_a_process_without_stderr_continues(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    work(progress_bar(100, "rows"))


def test_the_bar_counts_what_was_done_before(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar(100, "rows", initial=40) as bar:
        bar.update(10)
    assert "50/100" in sys.stderr.getvalue()
