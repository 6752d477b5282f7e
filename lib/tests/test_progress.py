"""Progress bars appear where somebody looks, and nowhere else."""

import os
import pty
import subprocess
import sys

import pytest

from trtlab.progress import progress_bar, track

SCRIPT = "from trtlab.progress import track\nprint(sum(track([1, 2, 3], 'adding')))"


def test_tracking_yields_every_item_and_writes_nothing_where_there_is_no_terminal(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert list(track([1, 2, 3], "counting")) == [1, 2, 3]
    assert list(track(iter("ab"), "spelling", total=2)) == ["a", "b"]
    with progress_bar("building", None) as advance:
        advance(1)
    assert capfd.readouterr() == ("", "")


def test_on_a_terminal_the_bar_is_on_stderr_and_stdout_stays_clean() -> None:
    master, slave = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        stdout=subprocess.PIPE,
        stderr=slave,
        text=True,
        check=True,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(slave)
    shown = os.read(master, 65536).decode()
    os.close(master)
    assert done.stdout == "6\n"
    assert "adding" in shown
    assert "3/3" in shown
